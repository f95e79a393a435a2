"""Float64 NumPy interpreter of network graphs: the definition of every operation, and what backends are measured by.

It is written for readability, and takes a few seconds for a film of 400 pixels; films are processed one by one, so
memory does not grow with their number, except with batch statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrscore.networks.graph import FILM, Network, Node, last_uses
from cxrscore.networks.spec import ModelSpec
from cxrscore.networks.tensors import position_weights
from cxrscore.types import Array, Floats, Tensors

Doubles: TypeAlias = NDArray[np.float64]

RGB_MEAN, RGB_SD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
BGR_MEAN = np.array([103.939, 116.779, 123.68])


def logits(spec: ModelSpec, tensors: Tensors, films: Floats) -> Doubles:
    """float64 [N,C] of films [N,S,S] in 0..1."""
    return dense_head(tensors, embedding(spec, tensors, films))


def embedding(spec: ModelSpec, tensors: Tensors, films: Floats) -> Doubles:
    """The input of the dense layer, float64 [N,K], of films [N,S,S] in 0..1."""
    wanted = spec.head_node
    values = _doubles(tensors)
    found = [run(spec.graph, values, normalised(film, spec.normalize)[None], [wanted])[wanted] for film in films]
    return pool(spec, np.concatenate(found))


def features(spec: ModelSpec, tensors: Tensors, films: Floats) -> tuple[Doubles, ...]:
    """The map [N,h,w,K] at each CAM layer, in the order of Network.cam_layers: the pooled one first; float64."""
    values, layers = _doubles(tensors), spec.graph.cam_layers
    each = [run(spec.graph, values, normalised(film, spec.normalize)[None], layers) for film in films]
    return tuple(np.concatenate([found[layer] for found in each]) for layer in layers)


def by_batch(
    spec: ModelSpec, tensors: Tensors, films: Floats, norms: Collection[str]
) -> tuple[Doubles, dict[str, Doubles]]:
    """Logits with batch statistics of all films in these batch normalisation layers, and the tensors with these
    statistics (mean and biased variance) instead of the stored ones."""
    values, wanted = _doubles(tensors), spec.head_node
    found = run(spec.graph, values, normalised(films, spec.normalize), [wanted], norms=norms)[wanted]
    return dense_head(tensors, pool(spec, found)), values


def head(spec: ModelSpec, tensors: Tensors, pooled: Array) -> Doubles:
    """float64 [N,C] of the map [N,h,w,K] at the network's output; of a "cls" head what its heat maps explain: its dense
    layer on the mean over the patches."""
    return dense_head(tensors, pool(spec, np.asarray(pooled, np.float64)))


def dense_head(tensors: Tensors, embeddings: Doubles) -> Doubles:
    """float64 [N,C] of the input of the dense layer [N,K]."""
    kernel, bias = (np.asarray(tensors[f"head/{variable}"], np.float64) for variable in ("kernel", "bias"))
    found: Doubles = embeddings @ kernel + bias
    return found


def pool(spec: ModelSpec, values: Doubles) -> Doubles:
    """The input of the dense layer [N,K] from the map [N,h,w,K], or from the class token [N,K] itself."""
    if values.ndim == 2:
        return values
    flat = (len(values), math.prod(values.shape[1:]))
    found: Doubles = values.reshape(flat) if spec.head == "flatten" else values.mean(axis=(1, 2))
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
    if normalize == "rad-dino":
        grey = (grey - 0.5307) / 0.2583
    return grey


def run(
    network: Network,
    tensors: dict[str, Doubles],
    films: Doubles,
    wanted: Sequence[str],
    *,
    norms: Collection[str] = (),
) -> dict[str, Doubles]:
    """The values of the wanted nodes, for normalised films [N,S,S,3].

    norms: batch normalisation layers that use the statistics of these films, which replace those in ``tensors``.
    """
    values, nodes = {FILM: films}, network.needed(wanted)
    unused = last_uses(nodes, kept=wanted)
    for node in nodes:
        inputs = [values[name] for name in node.inputs]
        if node.name in norms:
            places = tuple(range(inputs[0].ndim - 1))
            tensors[f"{node.name}/moving_mean"] = inputs[0].mean(places)
            tensors[f"{node.name}/moving_variance"] = inputs[0].var(places)
        own = _Tensors(node, tensors)
        values[node.name] = FUNCTIONS[node.operation](own, *inputs)
        for name in unused.get(node.name, ()):
            del values[name]
    return {name: values[name] for name in wanted}


class _Tensors:
    """A node's attributes by their names, and its tensors by their variables."""

    def __init__(self, node: Node, tensors: dict[str, Doubles]) -> None:
        self.node, self._all = node, tensors

    def __getitem__(self, variable: str) -> Doubles:
        return self._all[f"{self.node.name}/{variable}"]

    def integer(self, name: str) -> int:
        return int(self.node.attributes[name])


def _doubles(tensors: Tensors) -> dict[str, Doubles]:
    return {name: np.asarray(value, np.float64) for name, value in tensors.items()}


def _windows(x: Doubles, size: int, stride: int, padding: tuple[int, int], outside: float) -> Doubles:
    """Squares of size x size at every stride-th place: [N,H,W,K] -> [N,h,w,K,size,size]."""
    padded = np.pad(x, [(0, 0), padding, padding, (0, 0)], constant_values=outside)
    found: Doubles = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return found[:, ::stride, ::stride]


def _conv2d(own: _Tensors, x: Doubles) -> Doubles:
    given, kernel = own.node.attributes, own["kernel"]
    windows = np.moveaxis(_windows(x, given["size"], given["stride"], given["padding"], 0.0), 3, -1)
    into, out = kernel.shape[2], kernel.shape[3] // given["groups"]
    groups = []
    for group in range(given["groups"]):
        rows = windows[..., group * into : (group + 1) * into].reshape(-1, into * given["size"] ** 2)
        groups.append(rows @ kernel[..., group * out : (group + 1) * out].reshape(-1, out))
    found = np.concatenate(groups, axis=-1).reshape(*windows.shape[:3], given["filters"])
    return found + own["bias"] if given["bias"] else found


def _dense(own: _Tensors, x: Doubles) -> Doubles:
    found: Doubles = x @ own["kernel"]
    return found + own["bias"] if own.node.attributes["bias"] else found


def _batch_norm(own: _Tensors, x: Doubles) -> Doubles:
    scale = own["gamma"] / np.sqrt(own["moving_variance"] + own.node.attributes["epsilon"])
    found: Doubles = (x - own["moving_mean"]) * scale + own["beta"]
    return found


def _layer_norm(own: _Tensors, x: Doubles) -> Doubles:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + own.node.attributes["epsilon"])
    found: Doubles = centred / deviation * own["gamma"] + own["beta"]
    return found


def _relu(own: _Tensors, x: Doubles) -> Doubles:
    found: Doubles = np.maximum(x, 0)
    limit = own.node.attributes["maximum"]
    return found if limit is None else np.minimum(found, limit)


def _gelu(own: _Tensors, x: Doubles) -> Doubles:
    from scipy.special import ndtr

    found: Doubles = x * ndtr(x)
    return found


def _sigmoid(own: _Tensors, x: Doubles) -> Doubles:
    from scipy.special import expit

    found: Doubles = expit(x)
    return found


def _max_pool(own: _Tensors, x: Doubles) -> Doubles:
    given = own.node.attributes
    found: Doubles = _windows(x, given["size"], given["stride"], given["padding"], -np.inf).max(axis=(-2, -1))
    return found


def _avg_pool(own: _Tensors, x: Doubles) -> Doubles:
    found: Doubles = _windows(x, own.integer("size"), own.integer("stride"), (0, 0), 0.0).mean(axis=(-2, -1))
    return found


def _attention(own: _Tensors, *parts: Doubles) -> Doubles:
    heads = own.integer("heads")
    count, length, channels = parts[0].shape
    by_head = (count, length, heads, channels // heads)
    q, k, v = (part.reshape(by_head).transpose(0, 2, 1, 3) for part in parts)  # [N,heads,T,d]
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found = weights / weights.sum(axis=-1, keepdims=True) @ v
    return np.asarray(found.transpose(0, 2, 1, 3).reshape(parts[0].shape))


def _embed_tokens(own: _Tensors, x: Doubles) -> Doubles:
    first = np.broadcast_to(own["class_token"], (len(x), 1, x.shape[-1]))
    tokens = np.concatenate([first, x.reshape(len(x), x.shape[1] * x.shape[2], x.shape[-1])], axis=1)
    return tokens + positions(own["position"], own.integer("grid"), x.shape[1])


def positions(position: Array, grid: int, side: int) -> Array:
    """Position embeddings [1 + side^2, K] of a map of this side, from those of the grid."""
    weights = position_weights(grid, side)
    return position if weights is None else weights @ position


def _patch_map(own: _Tensors, x: Doubles) -> Doubles:
    side = math.isqrt(x.shape[1] - 1)
    return x[:, 1:].reshape(len(x), side, side, x.shape[-1])


FUNCTIONS: dict[str, Callable[..., Doubles]] = {
    "conv2d": _conv2d,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "scale": lambda own, x: x * own["gamma"],
    "relu": _relu,
    "gelu": _gelu,
    "silu": lambda own, x: x * _sigmoid(own, x),
    "sigmoid": _sigmoid,
    "add": lambda own, x, y: x + y,
    "multiply": lambda own, x, y: x * y,
    "concat": lambda own, *values: np.concatenate(values, axis=-1),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_avg_pool": lambda own, x: x.mean(axis=(1, 2), keepdims=True),
    "attention": _attention,
    "embed_tokens": _embed_tokens,
    "class_token": lambda own, x: x[:, 0],
    "patch_map": _patch_map,
}
"""By operation: its function of the node's tensors and its inputs, each with a batch axis."""
