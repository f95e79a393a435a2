"""Network graphs in PyTorch.

Layers are created without values: the caller fills every tensor that neutral_tensors lists. Maps are [N,K,h,w] in
channels-last memory, tokens [N,T,K], vectors [N,K].
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cxrscore.contract import Array, ModelSpec
from cxrscore.networks.graph import FILM, Node, last_uses
from cxrscore.networks.graph import Network as Graph
from cxrscore.networks.tensors import NORM_MOMENTUM, NORMALISATIONS, feature_count, position_weights


class Norm(nn.Module):
    """Batch normalisation with the stored statistics, also in training; ``by_batch``: with batch statistics, which then
    update the stored ones."""

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))
        self.register_buffer("moving_mean", torch.empty(channels))
        self.register_buffer("moving_variance", torch.empty(channels))
        self.epsilon = epsilon
        self.by_batch = False

    def forward(self, x: Tensor) -> Tensor:
        if self.by_batch:
            return self._by_batch(x)
        return functional.batch_norm(x, self.moving_mean, self.moving_variance, self.gamma, self.beta, eps=self.epsilon)

    def _by_batch(self, x: Tensor) -> Tensor:
        """Keras stores the biased variance, torch would store the unbiased one: it is moved by hand."""
        out, mean, inverse = torch.native_batch_norm(x, self.gamma, self.beta, None, None, True, 0.0, self.epsilon)
        with torch.no_grad():
            variance = (inverse.float() ** -2 - self.epsilon).clamp_(min=0)
            self.moving_mean.lerp_(mean.float(), 1 - NORM_MOMENTUM)
            self.moving_variance.lerp_(variance, 1 - NORM_MOMENTUM)
        return out


class LayerNorm(nn.Module):
    """Normalisation over the channels."""

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return self._normal(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self._normal(x)

    def _normal(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.gamma.shape, self.gamma, self.beta, self.epsilon)


class Scale(nn.Module):
    """A factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.gamma[:, None, None] if x.ndim == 4 else self.gamma)


class Dense(nn.Linear):
    """A dense layer over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return super().forward(x)


class Tokens(nn.Module):
    """A class token before the places of a map, with position embeddings of a grid."""

    def __init__(self, channels: int, grid: int, side: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(channels))
        self.position = nn.Parameter(torch.empty(1 + grid**2, channels))
        weights = position_weights(grid, side)
        between = None if weights is None else torch.from_numpy(weights)
        self.register_buffer("between", between, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2).transpose(1, 2)
        first = self.class_token.to(places.dtype).expand(len(x), 1, -1)
        position = self.position
        if self.between is not None:
            with torch.autocast(x.device.type, enabled=False):
                position = self.between @ position
        return torch.cat([first, places], dim=1) + position


def _conv(node: Node, channels: int) -> nn.Module:
    given = node.attributes
    before, after = given["padding"]
    layer = nn.utils.skip_init(
        nn.Conv2d,
        channels,
        given["filters"],
        given["size"],
        stride=given["stride"],
        padding=before if before == after else 0,
        groups=given["groups"],
        bias=given["bias"],
    )
    if before == after:
        return layer
    return _Padded(layer, before, after)


class _Padded(nn.Module):
    """A convolution with different numbers of zeros before and after; its tensors are those of the convolution."""

    def __init__(self, layer: nn.Conv2d, before: int, after: int) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self._padding, self._stride, self._groups = (before, after, before, after), layer.stride, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, self._padding)
        return functional.conv2d(padded, self.weight, self.bias, self._stride, groups=self._groups)


def _layer(node: Node, shape: Sequence[int]) -> nn.Module | None:
    """The layer of a node that has tensors, for an input of this shape without the batch axis; else None."""
    given, channels = node.attributes, shape[-1]
    makers: dict[str, Callable[[], nn.Module]] = {
        "conv2d": lambda: _conv(node, channels),
        "dense": lambda: nn.utils.skip_init(Dense, channels, given["units"], bias=given["bias"]),
        "batch_norm": lambda: Norm(channels, given["epsilon"]),
        "layer_norm": lambda: LayerNorm(channels, given["epsilon"]),
        "scale": lambda: Scale(channels),
        "embed_tokens": lambda: Tokens(channels, given["grid"], shape[0]),
    }
    make = makers.get(node.operation)
    return None if make is None else make()


def _max_pool(given: Mapping[str, Any], x: Tensor) -> Tensor:
    size, stride, (before, after) = given["size"], given["stride"], given["padding"]
    if before == after and 2 * before <= size:
        return functional.max_pool2d(x, size, stride, before)
    return functional.max_pool2d(functional.pad(x, (before, after) * 2, value=-math.inf), size, stride)


def _attention(given: Mapping[str, Any], *parts: Tensor) -> Tensor:
    q, k, v = (part.unflatten(-1, (given["heads"], -1)).transpose(1, 2) for part in parts)
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _patch_map(given: Mapping[str, Any], x: Tensor) -> Tensor:
    side = math.isqrt(x.shape[1] - 1)
    return x[:, 1:].transpose(1, 2).unflatten(2, (side, side))


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "gelu": lambda given, x: functional.gelu(x),
    "silu": lambda given, x: functional.silu(x),
    "sigmoid": lambda given, x: torch.sigmoid(x),
    "add": lambda given, x, y: x + y,
    "multiply": lambda given, x, y: x * y,
    "concat": lambda given, *values: torch.cat(values, dim=1 if values[0].ndim == 4 else -1),
    "max_pool": _max_pool,
    "avg_pool": lambda given, x: functional.avg_pool2d(x, given["size"], given["stride"]),
    "global_avg_pool": lambda given, x: x.mean(dim=(2, 3), keepdim=True),
    "attention": _attention,
    "class_token": lambda given, x: x[:, 0],
    "patch_map": _patch_map,
}
"""Operations without tensors, other than relu: function of the attributes and the inputs."""

OPERATIONS = ("conv2d", "dense", "batch_norm", "layer_norm", "scale", "embed_tokens", "relu", *FUNCTIONS)

_UNREAD_AFTERWARDS = ("conv2d", "batch_norm", "add", "avg_pool", "layer_norm", "dense")
"""Operations whose gradient does not need their own result, so that a ReLU may overwrite it."""


def _relu(given: Mapping[str, Any], in_place: bool, x: Tensor) -> Tensor:
    if given["maximum"] is None:
        return functional.relu(x, inplace=in_place)
    return functional.hardtanh(x, 0.0, given["maximum"], inplace=in_place)


_Step = tuple[Callable[..., Tensor], tuple[str, ...], str, tuple[str, ...]]
"""A function, the names of its inputs and of its result, and the values that are freed after it."""


class Network(nn.Module):
    """Normalisation, graph and head: films [N,S,S] -> logits [N,C], float32 whatever the graph computes in. Films are
    float32 in 0..1, or their levels: uint8, or the bits of uint16 as int16."""

    def __init__(self, spec: ModelSpec, *, bf16: bool = False) -> None:
        super().__init__()
        mean, sd = NORMALISATIONS[spec.normalize]
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("sd", torch.tensor(sd).reshape(1, 3, 1, 1))
        self.register_buffer("white", torch.tensor([255.0, 65535.0]))
        self.graph: Graph = spec.graph
        shapes = self.graph.shapes(spec.size)
        made = {node.name: _layer(node, shapes[node.inputs[0]]) for node in self.graph.nodes}
        # No ModuleDict: it refuses names that it uses itself, such as "type", and a plugin may name a node so.
        self.base = {name: layer for name, layer in made.items() if layer is not None}
        self.layers = nn.ModuleList(self.base.values())
        self.head = nn.utils.skip_init(nn.Linear, feature_count(spec), len(spec.findings))
        self._kind, self._head_node, self._bf16 = spec.head, spec.head_node, bf16
        self._known_steps: dict[tuple[str, tuple[str, ...]], list[_Step]] = {}
        self._steps(FILM, (self._head_node,))  # known before torch.compile traces the network

    def _steps(self, given: str, wanted: tuple[str, ...]) -> list[_Step]:
        """How the wanted values are computed from a given one."""
        if (given, wanted) not in self._known_steps:
            self._known_steps[given, wanted] = self._found_steps(given, wanted)
        return self._known_steps[given, wanted]

    def _found_steps(self, given: str, wanted: tuple[str, ...]) -> list[_Step]:
        nodes = self.graph.needed(wanted, [given])
        unused = last_uses(nodes, kept=wanted)
        users = [name for node in nodes for name in node.inputs]
        steps = []
        for node in nodes:
            first = node.inputs[0]
            source = self.graph.by_name.get(first)
            alone = users.count(first) == 1 and first not in (*wanted, given)
            in_place = alone and source is not None and source.operation in _UNREAD_AFTERWARDS
            steps.append((self._function(node, in_place), node.inputs, node.name, unused.get(node.name, ())))
        return steps

    def _function(self, node: Node, in_place: bool) -> Callable[..., Tensor]:
        if node.name in self.base:
            return self.base[node.name]
        if node.operation == "relu":
            return functools.partial(_relu, node.attributes, in_place)
        return functools.partial(FUNCTIONS[node.operation], node.attributes)

    def _run(self, given: str, x: Tensor, *wanted: str) -> list[Tensor]:
        values = {given: x}
        # No weight is used twice in a pass, and cached weights cannot be recorded in a CUDA graph.
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            for function, inputs, name, unused in self._steps(given, wanted):
                values[name] = function(*[values[each] for each in inputs])
                for each in unused:
                    del values[each]
        return [values[name].float() for name in wanted]

    def at(self, films: Tensor, cam_layer: str) -> tuple[Tensor, Tensor]:
        """[N,S,S] -> logits [N,C], and the map [N,K,h,w] at one of the graph's CAM layers."""
        normal = self._normalised(films)
        if self._kind == "cls":
            found, pooled = self._run(FILM, normal, cam_layer, self._head_node)
            return self.head(pooled), found
        (found,) = self._run(FILM, normal, cam_layer)
        return self.head(self.embedding(self.after(found, cam_layer, keep=True))), found

    def after(self, found: Tensor, cam_layer: str, *, keep: bool = False) -> Tensor:
        """The output of the graph, [N,K,h,w], from the map at one of its CAM layers, which is overwritten unless it is
        kept."""
        if cam_layer == self.graph.output:
            return found
        return _relu(self.graph.by_name[self.graph.output].attributes, not keep, found)

    def stem(self, films: Tensor) -> Tensor:
        """[N,S,S] -> input of the last block, [N,h,w,K] or [N,T,K]."""
        (found,) = self._run(FILM, self._normalised(films), self.graph.entry)
        return found.permute(0, 2, 3, 1) if found.ndim == 4 else found

    def tail(self, entered: Tensor) -> Tensor:
        """[N,h,w,K] or [N,T,K] -> [N,C]."""
        x = entered.permute(0, 3, 1, 2) if entered.ndim == 4 else entered
        x = x.bfloat16() if self._bf16 else x
        return self.head(self._features_of(self.graph.entry, x))

    def _normalised(self, films: Tensor) -> Tensor:
        unit = self.unit(films)[:, None]
        return ((unit - self.mean) / self.sd).contiguous(memory_format=torch.channels_last)

    def unit(self, films: Tensor) -> Tensor:
        """float32 in 0..1, to the bit what the core makes of these levels. It is divided by a tensor, as CUDA makes of
        a division by a number a product with its inverse, which rounds twice."""
        if films.dtype == torch.float32:
            return films
        if films.dtype == torch.uint8:
            return films.float() / self.white[:1]
        return (films.int() & 0xFFFF).float() / self.white[1:]

    def embedding(self, features: Tensor) -> Tensor:
        """[N,K,h,w] -> [N,K], or [N,h*w*K] in the order of Keras: row, column, channel."""
        if self._kind == "flatten":
            return features.permute(0, 2, 3, 1).flatten(1)
        return features.mean(dim=(2, 3))

    def _features_of(self, given: str, x: Tensor) -> Tensor:
        """The input of the dense layer, [N,K]."""
        (found,) = self._run(given, x, self._head_node)
        return found if self._kind == "cls" else self.embedding(found)

    def features(self, films: Tensor) -> Tensor:
        """[N,S,S] -> the input of the dense layer, [N,K]."""
        return self._features_of(FILM, self._normalised(films))

    def forward(self, films: Tensor) -> Tensor:
        return self.head(self.features(films))


def neutral_tensors(network: Network) -> dict[str, Tensor]:
    """The network's own parameters and buffers under their neutral names, in torch's layout."""
    return {
        f"{layer}/{variable.replace('weight', 'kernel')}": tensor
        for layer, module in [*network.base.items(), ("head", network.head)]
        for variable, tensor in module.state_dict(keep_vars=True).items()
    }


def to_neutral(tensor: Tensor, name: str) -> Tensor:
    """A view in the neutral layout: convolutions OIHW -> HWIO, dense kernels [C,K] -> [K,C]."""
    if not name.endswith("/kernel"):
        return tensor
    return tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T


def from_neutral(tensor: Tensor, name: str) -> Tensor:
    """The inverse of to_neutral."""
    if not name.endswith("/kernel"):
        return tensor
    return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T


def to_numpy(tensor: Tensor) -> Array:
    """A C-contiguous NumPy copy, never a view of tensors that training changes later."""
    return np.array(tensor.detach().cpu().numpy(), order="C")
