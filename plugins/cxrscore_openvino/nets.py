"""The networks as OpenVINO graphs, with the layers and layer names of keras.applications.

A graph maps one film to the feature map before the last ReLU. NumPy computes the rest, a mean and a small product,
because OpenVINO would round it in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from openvino import Model, Node
from openvino import opset13 as ops

from cxrscore.contract import Array, Floats, ModelSpec, Ranges, Tensors
from cxrscore.networks.tensors import (
    DENSENET121_BLOCKS,
    NORM_EPSILON,
    NORMALISATIONS,
    RESNET50_BLOCKS,
    TINYCNN_LAYERS,
)

_NO_RANGES: Ranges = {}
_INPUT_LEVELS, _KERNEL_LEVELS = 256, 255
"""Values of an unsigned and of a symmetric signed byte."""
_NARROWEST = 1e-6
"""Minimum width of a range: the input of a convolution, or a kernel, may be 0 everywhere."""


class _Layers:
    """What the networks are made of; every tensor is found by the name of its layer.

    ranges    of what enters a convolution, by layer: those named here are computed in 8-bit integers
    entering  what enters each convolution of the network that was built
    """

    def __init__(self, tensors: Tensors, ranges: Ranges) -> None:
        self._tensors = tensors
        self._ranges = ranges
        self.entering: dict[str, Node] = {}

    def has(self, layer: str) -> bool:
        return f"{layer}/kernel" in self._tensors

    def _constant(self, name: str) -> Node:
        return ops.constant(self._tensors[name], shared_memory=True)

    def conv(self, layer: str, x: Node, stride: int = 1) -> Node:
        """A convolution with side // 2 zeros around, which is also what Keras' explicit padding amounts to."""
        self.entering[layer] = x
        kernel = self._constant(f"{layer}/kernel")
        pad = [kernel.shape[-1] // 2] * 2
        if layer in self._ranges:
            x, kernel = _rounded_input(x, *self._ranges[layer]), self._rounded_kernel(layer, kernel)
        x = ops.convolution(x, kernel, [stride] * 2, pad, pad, [1, 1])
        bias = self._tensors.get(f"{layer}/bias")
        return x if bias is None else ops.add(x, ops.constant(bias.reshape(1, -1, 1, 1), shared_memory=True))

    def _rounded_kernel(self, layer: str, kernel: Node) -> Node:
        """To steps of each output channel's own size, symmetric about 0."""
        largest = np.abs(self._tensors[f"{layer}/kernel"]).max(axis=(1, 2, 3), keepdims=True)
        return _rounded(kernel, -largest, largest, _KERNEL_LEVELS)

    def norm(self, layer: str, x: Node) -> Node:
        """Batch normalisation, which OpenVINO folds into the convolution before it where there is one."""
        variables = (self._constant(f"{layer}/{v}") for v in ("gamma", "beta", "moving_mean", "moving_variance"))
        return ops.batch_norm_inference(x, *variables, epsilon=NORM_EPSILON)

    def norm_relu(self, layer: str, x: Node) -> Node:
        return ops.relu(self.norm(layer, x))


def _rounded_input(x: Node, low: float, high: float) -> Node:
    """To 256 steps of a range that holds 0; what is beyond it becomes its end."""
    return _rounded(x, np.array(min(low, 0.0)), np.array(max(high, 0.0)), _INPUT_LEVELS)


def _rounded(x: Node, low: Array, high: Array, levels: int) -> Node:
    """A FakeQuantize node, which makes OpenVINO compute in 8-bit integers."""
    ends = [ops.constant(end.astype(np.float32)) for end in (low, np.maximum(high, low + _NARROWEST))]
    return ops.fake_quantize(x, *ends, *ends, levels)


def _pool1(x: Node) -> Node:
    # Keras pads with zeros and OpenVINO with -inf: equivalent, because the input is never negative.
    return ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)


def _densenet121(layers: _Layers, x: Node) -> Node:
    x = _pool1(layers.norm_relu("conv1_bn", layers.conv("conv1_conv", x, stride=2)))
    for stage, blocks in enumerate(DENSENET121_BLOCKS, start=2):
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            new = layers.conv(f"{name}_1_conv", layers.norm_relu(f"{name}_0_bn", x))
            new = layers.conv(f"{name}_2_conv", layers.norm_relu(f"{name}_1_bn", new))
            x = ops.concat([x, new], axis=1)
        if stage < 5:
            x = layers.conv(f"pool{stage}_conv", layers.norm_relu(f"pool{stage}_bn", x))
            x = ops.avg_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=True)
    return layers.norm("bn", x)


def _resnet50(layers: _Layers, x: Node) -> Node:
    """Version 1: the stride is in the first 1x1 convolution."""
    x = _pool1(layers.norm_relu("conv1_bn", layers.conv("conv1_conv", x, stride=2)))
    for stage, blocks in enumerate(RESNET50_BLOCKS, start=2):
        for block in range(1, blocks + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _residual_block(layers, f"conv{stage}_block{block}", ops.relu(x), stride)
    return x


def _residual_block(layers: _Layers, name: str, x: Node, stride: int) -> Node:
    shortcut = x
    if layers.has(f"{name}_0_conv"):
        shortcut = layers.norm(f"{name}_0_bn", layers.conv(f"{name}_0_conv", x, stride))
    x = layers.norm_relu(f"{name}_1_bn", layers.conv(f"{name}_1_conv", x, stride))
    x = layers.norm_relu(f"{name}_2_bn", layers.conv(f"{name}_2_conv", x))
    return ops.add(shortcut, layers.norm(f"{name}_3_bn", layers.conv(f"{name}_3_conv", x)))


def _tinycnn(layers: _Layers, x: Node) -> Node:
    for number, (_, stride) in enumerate(TINYCNN_LAYERS, start=1):
        x = layers.conv(f"conv{number}", ops.relu(x) if number > 1 else x, stride)
    return x


_BASES: dict[str, Callable[[_Layers, Node], Node]] = {
    "densenet121": _densenet121,
    "resnet50": _resnet50,
    "tinycnn": _tinycnn,
}


def network(spec: ModelSpec, tensors: Tensors, ranges: Ranges = _NO_RANGES) -> Model:
    """One film [1,S,S] in 0..1 -> the map before the last ReLU, [1,K,h,w]. The constants are the tensors' own memory,
    in the layout of from_neutral, and keep it for as long as OpenVINO needs it."""
    film, _, last = _built(spec, tensors, ranges)
    return Model([last], [film], spec.architecture)


def range_network(spec: ModelSpec, tensors: Tensors) -> tuple[Model, tuple[str, ...]]:
    """One film [1,S,S] -> lowest and highest value that enters each convolution, [2 * layers], and the layers."""
    film, layers, _ = _built(spec, tensors, _NO_RANGES)
    axes = ops.constant(np.arange(4))
    ends = [end(x, axes) for x in layers.entering.values() for end in (ops.reduce_min, ops.reduce_max)]
    listed = ops.concat([ops.unsqueeze(end, np.int64(0)) for end in ends], axis=0)
    return Model([listed], [film], spec.architecture), tuple(layers.entering)


def _built(spec: ModelSpec, tensors: Tensors, ranges: Ranges) -> tuple[Node, _Layers, Node]:
    """The film, the layers, and the map before the last ReLU."""
    mean, sd = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in NORMALISATIONS[spec.normalize])
    film = ops.parameter([1, spec.size, spec.size], np.float32, name="film")
    colour = ops.divide(ops.subtract(ops.unsqueeze(film, np.int64(1)), mean), sd)
    layers = _Layers(tensors, ranges)
    return film, layers, _BASES[spec.architecture](layers, colour)


def from_neutral(tensor: Floats) -> Floats:
    """In OpenVINO's layout: convolutions HWIO -> OIHW, copied; all else is the same array."""
    return np.ascontiguousarray(tensor.transpose(3, 2, 0, 1)) if tensor.ndim == 4 else tensor
