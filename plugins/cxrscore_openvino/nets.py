"""Network graphs as OpenVINO models.

A model maps one film to the feature map before the last ReLU, and for a "cls" head also to the class token. NumPy
computes the rest, a mean and a small product, because OpenVINO would round it in bfloat16. Maps are [1,K,h,w], tokens
[1,T,K], vectors [1,K].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from openvino import Model, Node
from openvino import opset13 as ops

from cxrscore.contract import Array, Floats, ModelSpec, Ranges, Tensors
from cxrscore.contract import Node as NetworkNode
from cxrscore.networks.graph import FILM
from cxrscore.networks.tensors import NORMALISATIONS, nodes_before_head, position_weights

_NO_RANGES: Ranges = {}
_ROUNDED = ("conv2d", "dense")
"""Operations that int8 computes in 8-bit integers."""
_INPUT_LEVELS, _KERNEL_LEVELS = 256, 255
"""Values of an unsigned and of a symmetric signed byte."""
_NARROWEST = 1e-6
"""Minimum width of a range: the input of a layer, or a kernel, may be 0 everywhere."""


@dataclass(frozen=True)
class _Parts:
    """Maps whose channels follow one another, not yet concatenated. In int8 the parts are rounded first: bytes are
    concatenated in a fraction of the time of floating-point numbers."""

    maps: tuple[Node, ...]


_Value: TypeAlias = Node | _Parts


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """What the function of an operation needs of its node.

    tensors  by variable, in the layout of from_neutral
    bounds   lowest and highest input, if the layer is computed in 8-bit integers
    """

    given: Mapping[str, Any]
    tensors: Mapping[str, Floats]
    bounds: tuple[float, float] | None

    def constant(self, variable: str, *shape: int) -> Node:
        """The tensor, which the constant uses without a copy, in another shape if one is given."""
        tensor = self.tensors[variable]
        return ops.constant(tensor.reshape(shape) if shape else tensor, shared_memory=True)

    def per_channel(self, variable: str, x: Node) -> Node:
        """A tensor of a value for each channel of x."""
        return self.constant(variable, *((1, -1, 1, 1) if _is_map(x) else (1,) * (len(x.shape) - 1) + (-1,)))

    def of_channels(self, start: int, stop: int) -> _Layer:
        """This layer of some of the channels, if each of its tensors has a value for each channel."""
        return replace(self, tensors={variable: tensor[start:stop] for variable, tensor in self.tensors.items()})

    def entering(self, x: _Value) -> Node:
        """The input, rounded in int8 to 256 steps of a range that holds 0; what is beyond it becomes its end."""
        if self.bounds is None:
            return _joined(x)
        low, high = self.bounds
        ends = np.array(min(low, 0.0)), np.array(max(high, 0.0))
        return _joined(_by_part(lambda part: _rounded(part, *ends, _INPUT_LEVELS), x))

    def kernel(self, inner: Sequence[int], *shape: int) -> Node:
        """The kernel, rounded in int8 to steps of each output channel's own size, symmetric about 0. inner: the axes
        other than those of the output channels."""
        kernel = self.constant("kernel", *shape)
        if self.bounds is None:
            return kernel
        largest = np.abs(self.tensors["kernel"].reshape(kernel.shape)).max(axis=tuple(inner), keepdims=True)
        return _rounded(kernel, -largest, largest, _KERNEL_LEVELS)


def _joined(x: _Value) -> Node:
    if isinstance(x, _Parts):
        return x.maps[0] if len(x.maps) == 1 else ops.concat(list(x.maps), axis=1)
    return x


def _by_part(function: Callable[[Node], Node], x: _Value) -> _Value:
    return _Parts(tuple(map(function, x.maps))) if isinstance(x, _Parts) else function(x)


def _in_parts(*values: _Value) -> _Parts:
    """The values as parts, the last of them joined like the digits of a counter: in a dense block, where each layer
    adds a part, each channel is copied a few times instead of once in each layer."""
    maps: list[Node] = []
    for value in values:
        for part in value.maps if isinstance(value, _Parts) else (value,):
            maps.append(part)
            while len(maps) > 1 and maps[-1].shape[1] >= maps[-2].shape[1]:
                maps[-2:] = [ops.concat(maps[-2:], axis=1)]
    return _Parts(tuple(maps))


def _is_map(x: Node) -> bool:
    return len(x.shape) == 4


def _rounded(x: Node, low: Array, high: Array, levels: int) -> Node:
    """A FakeQuantize node, which makes OpenVINO compute in 8-bit integers."""
    ends = [ops.constant(end.astype(np.float32)) for end in (low, np.maximum(high, low + _NARROWEST))]
    return ops.fake_quantize(x, *ends, *ends, levels)


def _indices(*values: int) -> Node:
    return ops.constant(np.array(values, np.int64))


def _transposed(x: Node, *axes: int) -> Node:
    return ops.transpose(x, _indices(*axes))


def _reshaped(x: Node, *shape: int) -> Node:
    return ops.reshape(x, _indices(*shape), special_zero=False)


def _channels_last(function: Callable[[Node], Node], x: Node) -> Node:
    """What a function of the last axis makes of the channels."""
    if _is_map(x):
        return _transposed(function(_transposed(x, 0, 2, 3, 1)), 0, 3, 1, 2)
    return function(x)


def _conv2d(layer: _Layer, x: _Value) -> Node:
    given, groups = layer.given, layer.given["groups"]
    before, after = ([side] * 2 for side in given["padding"])
    x, stride = layer.entering(x), given["stride"]
    if given["size"] == 1 and stride > 1 and any(given["padding"]):
        # OpenVINO moves the stride of such a window to the layer before it, and forgets the padding.
        padded = ops.pad(x, _indices(0, 0, *before), _indices(0, 0, *after), "constant", ops.constant(np.float32(0)))
        ends = _indices(*padded.shape[2:])
        x = ops.slice(padded, _indices(0, 0), ends, _indices(stride, stride), _indices(2, 3))
        stride, before, after = 1, [0, 0], [0, 0]
    places = ([stride] * 2, before, after, [1, 1])
    if groups == 1:
        found = ops.convolution(x, layer.kernel((1, 2, 3)), *places)
    else:
        shape = layer.tensors["kernel"].shape
        kernel = layer.kernel((2, 3, 4), groups, shape[0] // groups, *shape[1:])
        found = ops.group_convolution(x, kernel, *places)
    return ops.add(found, layer.per_channel("bias", found)) if given["bias"] else found


def _dense(layer: _Layer, x: Node) -> Node:
    def product(rows: Node) -> Node:
        found = ops.matmul(layer.entering(rows), layer.kernel((0,)), False, False)
        return ops.add(found, layer.constant("bias")) if layer.given["bias"] else found

    return _channels_last(product, x)


def _batch_norm(layer: _Layer, x: _Value) -> _Value:
    """OpenVINO folds it into the convolution before it where there is one."""
    if isinstance(x, _Parts):
        ends = np.cumsum([0, *(part.shape[1] for part in x.maps)])
        own = [layer.of_channels(*place) for place in pairwise(ends)]
        return _Parts(tuple(map(_batch_norm, own, x.maps)))
    variables = map(layer.constant, ("gamma", "beta", "moving_mean", "moving_variance"))
    return ops.batch_norm_inference(x, *variables, epsilon=layer.given["epsilon"])


def _layer_norm(layer: _Layer, x: Node) -> Node:
    def normalised(rows: Node) -> Node:
        found = ops.mvn(rows, _indices(-1), True, layer.given["epsilon"], "inside_sqrt")
        return ops.add(ops.multiply(found, layer.constant("gamma")), layer.constant("beta"))

    return _channels_last(normalised, x)


def _relu(layer: _Layer, x: _Value) -> _Value:
    limit = layer.given["maximum"]
    return _by_part(lambda part: ops.relu(part) if limit is None else ops.clamp(part, 0.0, limit), x)


def _max_pool(layer: _Layer, x: Node) -> Node:
    given = layer.given
    before, after = ([side] * 2 for side in given["padding"])
    return ops.max_pool(x, [given["stride"]] * 2, [1, 1], before, after, [given["size"]] * 2).output(0)


def _kept_after_pooling(x: Node) -> Node:
    """OpenVINO computes an activation before a pooling that it follows, as if its values rose with x everywhere. Those
    of gelu and silu do not, so a step that changes nothing stands between."""
    of_pool = x.get_node().get_type_name() == "MaxPool" if hasattr(x, "get_node") else False
    return ops.maximum(x, ops.constant(np.finfo(np.float32).min)) if of_pool else x


def _avg_pool(layer: _Layer, x: Node) -> Node:
    size, stride = layer.given["size"], layer.given["stride"]
    return ops.avg_pool(x, [stride] * 2, [0, 0], [0, 0], [size] * 2, exclude_pad=True)


def _attention(layer: _Layer, *parts: Node) -> Node:
    count, channels = parts[0].shape[1:]
    heads = layer.given["heads"]
    split = [_transposed(_reshaped(part, 1, count, heads, channels // heads), 0, 2, 1, 3) for part in parts]
    found = ops.scaled_dot_product_attention(*split)
    return _reshaped(_transposed(found, 0, 2, 1, 3), 1, count, channels)


def _embed_tokens(layer: _Layer, x: Node) -> Node:
    channels, side = x.shape[1:3]
    places = _transposed(_reshaped(x, 1, channels, side * side), 0, 2, 1)
    position, weights = layer.tensors["position"], position_weights(layer.given["grid"], side)
    positions = layer.constant("position") if weights is None else ops.constant(weights @ position)
    return ops.add(ops.concat([layer.constant("class_token", 1, 1, -1), places], axis=1), positions)


def _class_token(layer: _Layer, x: Node) -> Node:
    return ops.gather(x, np.int64(0), np.int64(1))


def _patch_map(layer: _Layer, x: Node) -> Node:
    count, channels = x.shape[1:]
    side = math.isqrt(count - 1)
    patches = ops.slice(x, _indices(1), _indices(count), _indices(1), _indices(1))
    return _reshaped(_transposed(patches, 0, 2, 1), 1, channels, side, side)


FUNCTIONS: dict[str, Callable[..., Node]] = {
    "conv2d": _conv2d,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "scale": lambda layer, x: ops.multiply(x, layer.per_channel("gamma", x)),
    "relu": _relu,
    "gelu": lambda layer, x: ops.gelu(_kept_after_pooling(x), "erf"),
    "silu": lambda layer, x: ops.swish(_kept_after_pooling(x)),
    "sigmoid": lambda layer, x: ops.sigmoid(x),
    "add": lambda layer, x, y: ops.add(x, y),
    "multiply": lambda layer, x, y: ops.multiply(x, y),
    "concat": lambda layer, *values: ops.concat(list(values), axis=1 if _is_map(values[0]) else -1),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_avg_pool": lambda layer, x: ops.reduce_mean(x, _indices(2, 3), keep_dims=True),
    "attention": _attention,
    "embed_tokens": _embed_tokens,
    "class_token": _class_token,
    "patch_map": _patch_map,
}
"""By operation: function of the layer and the inputs."""
_TAKE_PARTS = frozenset({"batch_norm", "relu", "conv2d"})
"""Operations that take an input in parts."""


def network(spec: ModelSpec, tensors: Tensors, ranges: Ranges = _NO_RANGES) -> Model:
    """One film [1,S,S] in 0..1 -> the map before the last ReLU, [1,K,h,w], and with a "cls" head the class token [1,K].
    The constants are the tensors' own memory, in the layout of from_neutral, and keep it for as long as OpenVINO needs
    it. Layers that ``ranges`` names are computed in 8-bit integers."""
    wanted = nodes_before_head(spec)
    film, values = _built(spec, tensors, ranges, wanted)
    return Model([_joined(values[name]) for name in wanted], [film], spec.architecture)


def range_network(spec: ModelSpec, tensors: Tensors) -> tuple[Model, dict[str, int]]:
    """One film [1,S,S] -> lowest and highest of each value that enters a convolution or dense layer, [2 * values]; and
    by layer the place of its value among them."""
    entering = {node.name: node.inputs[0] for node in spec.graph.nodes if node.operation in _ROUNDED}
    wanted = list(dict.fromkeys(entering.values()))
    film, values = _built(spec, tensors, _NO_RANGES, wanted)
    ends = [end(values[name], _indices(*range(len(values[name].shape)))) for name in wanted for end in _ENDS]
    listed = ops.concat([ops.unsqueeze(end, np.int64(0)) for end in ends], axis=0)
    return Model([listed], [film], spec.architecture), {name: wanted.index(entering[name]) for name in entering}


_ENDS = (ops.reduce_min, ops.reduce_max)


def _built(spec: ModelSpec, tensors: Tensors, ranges: Ranges, wanted: Sequence[str]) -> tuple[Node, dict[str, _Value]]:
    """The film, and the values by name of what leads to the wanted ones."""
    film = ops.parameter([1, spec.size, spec.size], np.float32, name=FILM)
    own: dict[str, dict[str, Floats]] = {}
    for name, tensor in tensors.items():
        node_name, _, variable = name.rpartition("/")
        own.setdefault(node_name, {})[variable] = tensor
    needed = spec.graph.needed(wanted)
    values: dict[str, _Value] = {FILM: _entry(spec, film, [n for n in needed if FILM in n.inputs], ranges, own)}
    for node in needed:
        layer = _Layer(given=node.attributes, tensors=own.get(node.name, {}), bounds=ranges.get(node.name))
        inputs = [values[name] for name in node.inputs]
        if ranges and node.operation == "concat" and len(spec.graph.shapes(spec.size)[node.name]) == 3:
            values[node.name] = _in_parts(*inputs)
        else:
            taken = inputs if node.operation in _TAKE_PARTS else map(_joined, inputs)
            values[node.name] = FUNCTIONS[node.operation](layer, *taken)
    return film, values


def _entry(
    spec: ModelSpec, film: Node, readers: Sequence[NetworkNode], ranges: Ranges, own: dict[str, dict[str, Floats]]
) -> Node:
    """What the nodes that read the film get: three channels, or two in int8, with kernels in ``own`` to match."""
    mean, sd = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in NORMALISATIONS[spec.normalize])
    grey = ops.unsqueeze(film, np.int64(1))
    if any(node.operation != "conv2d" for node in readers):
        # OpenVINO would fold a factor that makes three channels of one into a convolution after it, and then fails.
        grey = ops.concat([grey] * 3, axis=1)
    elif ranges and all(node.attributes["groups"] == 1 and node.name not in ranges for node in readers):
        # The three channels are one, scaled. That one and ones, for the shift, take two thirds of the products.
        centre = mean.mean()
        for node in readers:
            kernel = own[node.name]["kernel"]
            scaled = (kernel / sd).sum(axis=1, keepdims=True)
            shift = (kernel * (centre - mean) / sd).sum(axis=1, keepdims=True)
            own[node.name]["kernel"] = np.concatenate([scaled, shift], axis=1)
        ones = ops.constant(np.ones((1, 1, spec.size, spec.size), np.float32))
        return ops.concat([ops.subtract(grey, ops.constant(centre)), ones], axis=1)
    return ops.divide(ops.subtract(grey, mean), sd)


def from_neutral(tensor: Floats) -> Floats:
    """A copy in OpenVINO's layout: convolutions HWIO -> OIHW, all else as it is."""
    return np.array(tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor, order="C")


def to_neutral(tensor: Floats) -> Floats:
    """A copy in the neutral layout, what from_neutral was given."""
    return np.array(tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor, order="C")
