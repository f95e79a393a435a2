"""Reference implementation of the networks in float64 NumPy, independent of backends, to measure rounding errors.

Layers and their names are those of keras.applications, as models.architectures lists them. It is
written for readability, and takes a few seconds for a film of 400 pixels; films are processed one by one, so memory
does not grow with their number, except with batch statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats, ModelSpec, Tensors

Doubles: TypeAlias = NDArray[np.float64]
Layers: TypeAlias = Mapping[str, Doubles]

EPSILON = 1.001e-5
"""Added to the variance in batch normalisation."""
RGB_MEAN, RGB_SD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
BGR_MEAN = np.array([103.939, 116.779, 123.68])


def logits(spec: ModelSpec, tensors: Tensors, films: Floats) -> Doubles:
    """float64 [N,C] of films [N,S,S] in 0..1."""
    return head(spec, tensors, features(spec, tensors, films)[1])


def features(spec: ModelSpec, tensors: Tensors, films: Floats) -> tuple[Doubles, Doubles]:
    """The map before the last ReLU and the one after it, which the head pools or flattens; float64 [N,h,w,K] each."""
    layers = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    base = _BASES[spec.architecture]
    before = np.stack([base(layers, normalised(film, spec.normalize)) for film in films])
    return before, np.maximum(before, 0)


def by_batch(
    spec: ModelSpec, tensors: Tensors, films: Floats, norms: Collection[str]
) -> tuple[Doubles, dict[str, Doubles]]:
    """Logits with batch statistics of all films in these batch normalisation layers, and the tensors with these
    statistics (mean and biased variance) instead of the stored ones."""
    layers = _ByBatch({name: np.asarray(value, np.float64) for name, value in tensors.items()})
    layers.norms = frozenset(norms)
    before = _BASES[spec.architecture](layers, normalised(films, spec.normalize))
    return head(spec, tensors, np.maximum(before, 0)), layers


class _ByBatch(dict[str, Doubles]):
    """Tensors in which a layer's statistics become those of what it is given."""

    norms: frozenset[str] = frozenset()

    def measure(self, name: str, x: Doubles) -> None:
        if name in self.norms:
            places = tuple(range(x.ndim - 1))
            self[f"{name}/moving_mean"], self[f"{name}/moving_variance"] = x.mean(places), x.var(places)


def head(spec: ModelSpec, tensors: Tensors, pooled: Array) -> Doubles:
    """float64 [N,C] of the map that the head pools or flattens, [N,h,w,K]."""
    kernel, bias = (np.asarray(tensors[f"head/{variable}"], np.float64) for variable in ("kernel", "bias"))
    found: Doubles = embedding(spec, pooled) @ kernel + bias
    return found


def embedding(spec: ModelSpec, pooled: Array) -> Doubles:
    """The input of the dense layer, float64 [N,K], from the map that the head pools or flattens."""
    given = np.asarray(pooled, np.float64)
    found: Doubles = given.mean(axis=(1, 2)) if spec.head == "gap" else given.reshape(len(given), -1)
    return found


def normalised(films: Array, normalize: str) -> Doubles:
    """[...,S,S] in 0..1 -> [...,S,S,3], as ModelSpec.normalize says."""
    grey: Doubles = np.repeat(np.asarray(films, np.float64)[..., None], 3, axis=-1)
    if normalize == "imagenet-rgb":
        grey = (grey - RGB_MEAN) / RGB_SD
    if normalize == "imagenet-caffe":
        grey = 255 * grey - BGR_MEAN
    if normalize == "signed-1024":
        grey = 2048 * grey - 1024
    return grey


def _relu(x: Doubles) -> Doubles:
    return np.maximum(x, 0)


def _windows(x: Doubles, side: int, stride: int) -> Doubles:
    """Squares of an odd side around every stride-th place, zeros outside: [...,H,W,K] -> [...,h,w,K,side,side]."""
    edge = (side // 2, side // 2)
    padded = np.pad(x, [*[(0, 0)] * (x.ndim - 3), edge, edge, (0, 0)])
    found: Doubles = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(-3, -2))
    return found[..., ::stride, ::stride, :, :, :]


def _conv(layers: Layers, name: str, x: Doubles, stride: int = 1) -> Doubles:
    """A square kernel of odd side, zeros outside: [...,H,W,K] -> [...,ceil(H/stride),ceil(W/stride),out]."""
    kernel = layers[f"{name}/kernel"]
    windows = np.moveaxis(_windows(x, len(kernel), stride), -3, -1)
    rows = windows.reshape(-1, kernel[..., 0].size)
    found: Doubles = (rows @ kernel.reshape(-1, kernel.shape[-1])).reshape(*windows.shape[:-3], -1)
    return found + layers.get(f"{name}/bias", 0.0)


def _norm(layers: Layers, name: str, x: Doubles) -> Doubles:
    """Batch normalisation, with the stored statistics unless the tensors say otherwise."""
    if isinstance(layers, _ByBatch):
        layers.measure(name, x)
    gamma, beta, mean, variance = (
        layers[f"{name}/{variable}"] for variable in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (x - mean) * (gamma / np.sqrt(variance + EPSILON)) + beta


def _max_pool(x: Doubles) -> Doubles:
    """3 x 3, stride 2, zeros outside."""
    found: Doubles = _windows(x, 3, 2).max(axis=(-2, -1))
    return found


def _mean_pool(x: Doubles) -> Doubles:
    """2 x 2, stride 2; a last odd row or column is left out."""
    *outer, h, w, channels = (*x.shape[:-3], x.shape[-3] // 2, x.shape[-2] // 2, x.shape[-1])
    found: Doubles = x[..., : 2 * h, : 2 * w, :].reshape(*outer, h, 2, w, 2, channels).mean(axis=(-4, -2))
    return found


def _stem(layers: Layers, film: Doubles) -> Doubles:
    """What DenseNet121 and ResNet50 begin with."""
    return _max_pool(_relu(_norm(layers, "conv1_bn", _conv(layers, "conv1_conv", film, 2))))


def _densenet121(layers: Layers, film: Doubles) -> Doubles:
    """Huang et al., Densely Connected Convolutional Networks, CVPR 2017, table 1."""
    x = _stem(layers, film)
    for stage, blocks in enumerate((6, 12, 24, 16), start=2):
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            narrow = _conv(layers, f"{name}_1_conv", _relu(_norm(layers, f"{name}_0_bn", x)))
            new = _conv(layers, f"{name}_2_conv", _relu(_norm(layers, f"{name}_1_bn", narrow)))
            x = np.concatenate([x, new], axis=-1)
        if stage < 5:
            x = _mean_pool(_conv(layers, f"pool{stage}_conv", _relu(_norm(layers, f"pool{stage}_bn", x))))
    return _norm(layers, "bn", x)


def _resnet50(layers: Layers, film: Doubles) -> Doubles:
    """He et al., Deep Residual Learning, CVPR 2016, table 1; the stride is in the first 1 x 1 convolution."""
    x = _stem(layers, film)
    for stage, blocks in enumerate((3, 4, 6, 3), start=2):
        for block in range(1, blocks + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _residual(layers, f"conv{stage}_block{block}", _relu(x), stride)
    return x


def _residual(layers: Layers, name: str, x: Doubles, stride: int) -> Doubles:
    """One block, before its last ReLU."""

    def part(number: int, given: Doubles, stride: int = 1) -> Doubles:
        return _norm(layers, f"{name}_{number}_bn", _conv(layers, f"{name}_{number}_conv", given, stride))

    shortcut = part(0, x, stride) if f"{name}_0_conv/kernel" in layers else x
    return shortcut + part(3, _relu(part(2, _relu(part(1, x, stride)))))


def _tinycnn(layers: Layers, film: Doubles) -> Doubles:
    """Four 3 x 3 convolutions, all but the last followed by a ReLU."""
    x = film
    for number, stride in enumerate((2, 2, 2, 1), start=1):
        x = _conv(layers, f"conv{number}", x if number == 1 else _relu(x), stride)
    return x


_BASES: dict[str, Callable[[Layers, Doubles], Doubles]] = {
    "densenet121": _densenet121,
    "resnet50": _resnet50,
    "tinycnn": _tinycnn,
}
