"""The networks in OpenVINO's operators, layer for layer those of keras.applications and under their names.

A graph goes from one film to the map before the last ReLU. What comes after it, a mean and a small product, is
left to NumPy: OpenVINO would round it too where it computes in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from openvino import Model, Node
from openvino import opset13 as ops

from cxrscore.contract import Array, Floats, ModelSpec, Tensors
from cxrscore.models.architectures import (
    DENSENET121_BLOCKS,
    NORM_EPSILON,
    NORMALISATIONS,
    RESNET50_BLOCKS,
    TINYCNN_LAYERS,
)


class _Layers:
    """What the networks are made of; every tensor is found by the name of its layer."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def has(self, layer: str) -> bool:
        return f"{layer}/kernel" in self._tensors

    def _constant(self, name: str) -> Node:
        return ops.constant(self._tensors[name], shared_memory=True)

    def conv(self, layer: str, x: Node, stride: int = 1) -> Node:
        """A convolution with side // 2 zeros around, which is also what Keras' explicit padding amounts to."""
        kernel = self._constant(f"{layer}/kernel")
        pad = [kernel.shape[-1] // 2] * 2
        x = ops.convolution(x, kernel, [stride] * 2, pad, pad, [1, 1])
        bias = self._tensors.get(f"{layer}/bias")
        return x if bias is None else ops.add(x, ops.constant(bias.reshape(1, -1, 1, 1), shared_memory=True))

    def norm(self, layer: str, x: Node) -> Node:
        """Batch normalisation, which OpenVINO folds into the convolution before it where there is one."""
        variables = (self._constant(f"{layer}/{v}") for v in ("gamma", "beta", "moving_mean", "moving_variance"))
        return ops.batch_norm_inference(x, *variables, epsilon=NORM_EPSILON)

    def norm_relu(self, layer: str, x: Node) -> Node:
        return ops.relu(self.norm(layer, x))


def _pool1(x: Node) -> Node:
    # Keras pads with zeros and OpenVINO with -inf: the same, as what comes in is never negative.
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


def network(spec: ModelSpec, tensors: Tensors) -> Model:
    """One film [1,S,S] in 0..1 -> the map before the last ReLU, [1,K,h,w]. The constants are the tensors' own memory,
    in the layout of from_neutral: whoever calls keeps them."""
    mean, sd = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in NORMALISATIONS[spec.normalize])
    film = ops.parameter([1, spec.size, spec.size], np.float32, name="film")
    colour = ops.divide(ops.subtract(ops.unsqueeze(film, np.int64(1)), mean), sd)
    return Model([_BASES[spec.architecture](_Layers(tensors), colour)], [film], spec.architecture)


def from_neutral(tensor: Floats) -> Floats:
    """A copy in OpenVINO's layout: convolutions HWIO -> OIHW."""
    return np.array(tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor, order="C")


def to_neutral(tensor: Floats) -> Array:
    """The inverse of from_neutral."""
    return np.array(tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor, order="C")
