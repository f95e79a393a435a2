"""The operations of a network graph: their inputs, attributes, tensors and shapes. docs/networks.md explains them, and
networks.reference defines their values.

A value has no batch axis here: a map [h,w,K], tokens [T,K], or a vector [K].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, ...]
Attributes: TypeAlias = Mapping[str, Any]

LARGEST = 1 << 16
"""Largest integer of an attribute: channels, sides, strides."""
LARGEST_NUMBER = 1e30
"""Largest other number, such as epsilon: it is finite in float32."""
LARGEST_INTERPOLATION = 1 << 28
"""Most numbers of the matrix that interpolates positions: enough for 4096 pixels in patches of 14."""


class ShapeError(ValueError):
    """An operation cannot be applied to these shapes. Raised and caught inside this package."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute of an operation: what it may be, and its default (required if there is none)."""

    meaning: str
    wanted: str
    fits: Callable[[Any], bool]
    default: Any = None
    required: bool = False
    cast: Callable[[Any], Any] = lambda value: value
    """Makes equal values the same: a network has one digest, whether it says 6 or 6.0."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation.

    Parameters
    ----------
    summary
        One line.
    inputs
        Names of the inputs; the last may end in "...", for one or more.
    shape
        function(shapes of the inputs, attributes) -> shape of the output; ShapeError if they do not fit.
    tensors
        function(shapes of the inputs, attributes) -> shape of each tensor, by the name of its variable.
    """

    summary: str
    inputs: tuple[str, ...]
    shape: Callable[[Sequence[Shape], Attributes], Shape]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    tensors: Callable[[Sequence[Shape], Attributes], dict[str, Shape]] = lambda shapes, given: {}


def _count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST


def _whole(meaning: str, default: int | None = None) -> Attribute:
    return Attribute(
        meaning=meaning,
        wanted=f"an integer in 1..{LARGEST}",
        fits=_count,
        default=default,
        required=default is None,
    )


def _number(meaning: str, default: float | None) -> Attribute:
    return Attribute(
        meaning=meaning,
        wanted=f"a number above 0 and at most {LARGEST_NUMBER:g}",
        fits=lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 < v <= LARGEST_NUMBER,
        default=default,
        cast=float,
    )


_PADDING = Attribute(
    meaning="rows added before and after the map, and as many columns",
    wanted=f"an integer in 0..{LARGEST}, or two",
    fits=lambda v: isinstance(v, tuple) and len(v) == 2 and all(_count(each, 0) for each in v),
    default=(0, 0),
)
_BIAS = Attribute(
    meaning="whether a bias is added", wanted="True or False", fits=lambda v: isinstance(v, bool), default=True
)


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise ShapeError(why)


def _axes(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _as_map(shape: Shape) -> Shape:
    _require(len(shape) == 3, f"its input has shape {_axes(shape)}, expected a map [h, w, K]")
    return shape


def _as_tokens(shape: Shape) -> Shape:
    _require(len(shape) == 2, f"its input has shape {_axes(shape)}, expected tokens [T, K]")
    return shape


def _unchanged(shapes: Sequence[Shape], given: Attributes) -> Shape:
    return shapes[0]


def _of_map(shapes: Sequence[Shape], given: Attributes) -> Shape:
    return _as_map(shapes[0])


def _windows(side: int, size: int, stride: int, padding: tuple[int, int]) -> int:
    inner = side + sum(padding) - size
    _require(inner >= 0, f"a window of {size} does not fit a map of {side} with padding {list(padding)}")
    return inner // stride + 1


def _slid(shape: Shape, given: Attributes, size: int, padding: tuple[int, int], channels: int) -> Shape:
    height, width = (_windows(side, size, given["stride"], padding) for side in shape[:2])
    return height, width, channels


def _conv_shape(shapes: Sequence[Shape], given: Attributes) -> Shape:
    into, groups = _as_map(shapes[0])[2], given["groups"]
    _require(
        into % groups == 0 and given["filters"] % groups == 0,
        f"{groups} groups divide neither {into} channels nor {given['filters']} filters evenly"
        if into % groups and given["filters"] % groups
        else f"{groups} groups do not divide {into if into % groups else given['filters']} evenly",
    )
    return _slid(shapes[0], given, given["size"], given["padding"], given["filters"])


def _conv_tensors(shapes: Sequence[Shape], given: Attributes) -> dict[str, Shape]:
    side, filters = given["size"], given["filters"]
    kernel = {"kernel": (side, side, shapes[0][2] // given["groups"], filters)}
    return kernel | ({"bias": (filters,)} if given["bias"] else {})


def _dense_tensors(shapes: Sequence[Shape], given: Attributes) -> dict[str, Shape]:
    return {"kernel": (shapes[0][-1], given["units"])} | ({"bias": (given["units"],)} if given["bias"] else {})


def _per_channel(*variables: str) -> Callable[[Sequence[Shape], Attributes], dict[str, Shape]]:
    return lambda shapes, given: dict.fromkeys(variables, (shapes[0][-1],))


def _same_shape(shapes: Sequence[Shape], given: Attributes) -> Shape:
    _require(len(set(shapes)) == 1, f"its inputs have shapes {' and '.join(map(_axes, shapes))}, expected equal ones")
    return shapes[0]


def _multiplied(shapes: Sequence[Shape], given: Attributes) -> Shape:
    first, second = shapes
    gate = len(first) == 3 and second == (1, 1, first[2])
    _require(
        first == second or gate,
        f"its inputs have shapes {_axes(first)} and {_axes(second)}, expected equal ones, or [1, 1, K] as the second",
    )
    return first


def _joined(shapes: Sequence[Shape], given: Attributes) -> Shape:
    other = next((shape for shape in shapes if shape[:-1] != shapes[0][:-1]), shapes[0])
    _require(
        other[:-1] == shapes[0][:-1],
        f"its inputs have shapes {_axes(shapes[0])} and {_axes(other)}, expected equal ones but for K",
    )
    return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def _max_pooled(shapes: Sequence[Shape], given: Attributes) -> Shape:
    size, padding = given["size"], given["padding"]
    _require(max(padding) < size, f"padding {list(padding)} is not below the window's {size}")
    return _slid(_as_map(shapes[0]), given, size, padding, shapes[0][2])


def _avg_pooled(shapes: Sequence[Shape], given: Attributes) -> Shape:
    return _slid(_as_map(shapes[0]), given, given["size"], (0, 0), shapes[0][2])


def _attended(shapes: Sequence[Shape], given: Attributes) -> Shape:
    query, key, value = map(_as_tokens, shapes)
    _require(
        query == key == value, f"query, key and value have shapes {', '.join(map(_axes, shapes))}, expected equal ones"
    )
    _require(query[1] % given["heads"] == 0, f"{given['heads']} heads do not divide {query[1]} channels evenly")
    return query


def _embedded(shapes: Sequence[Shape], given: Attributes) -> Shape:
    height, width, channels = _as_map(shapes[0])
    grid = given["grid"]
    _require(
        height == grid or (1 + height * width) * (1 + grid**2) <= LARGEST_INTERPOLATION,
        f"positions of a {grid} x {grid} grid are too many to interpolate to a map of {height} x {width}",
    )
    return 1 + height * width, channels


def _embedding_tensors(shapes: Sequence[Shape], given: Attributes) -> dict[str, Shape]:
    channels = shapes[0][2]
    return {"class_token": (channels,), "position": (1 + given["grid"] ** 2, channels)}


def _map_of_tokens(shapes: Sequence[Shape], given: Attributes) -> Shape:
    count, channels = _as_tokens(shapes[0])
    side = math.isqrt(count - 1)
    _require(side > 0 and side * side == count - 1, f"{count - 1} patch tokens are not a square map")
    return side, side, channels


OPERATIONS: dict[str, Operation] = {
    "conv2d": Operation(
        summary="Convolution with a square kernel, zeros around the map.",
        inputs=("map",),
        shape=_conv_shape,
        tensors=_conv_tensors,
        attributes={
            "filters": _whole("channels of the output"),
            "size": _whole("side of the kernel"),
            "stride": _whole("step of the kernel", 1),
            "padding": _PADDING,
            "groups": _whole("groups of channels that are convolved separately; K for a depthwise convolution", 1),
            "bias": _BIAS,
        },
    ),
    "dense": Operation(
        summary="x W + b over the last axis.",
        inputs=("any",),
        shape=lambda shapes, given: (*shapes[0][:-1], given["units"]),
        tensors=_dense_tensors,
        attributes={"units": _whole("length of the last axis of the output"), "bias": _BIAS},
    ),
    "batch_norm": Operation(
        summary="gamma (x - mean) / sqrt(variance + epsilon) + beta per channel, with the stored mean and variance.",
        inputs=("map",),
        shape=_of_map,
        tensors=_per_channel("gamma", "beta", "moving_mean", "moving_variance"),
        attributes={"epsilon": _number("what is added to the variance", 1e-3)},
    ),
    "layer_norm": Operation(
        summary="gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance (biased) over the last axis.",
        inputs=("any",),
        shape=_unchanged,
        tensors=_per_channel("gamma", "beta"),
        attributes={"epsilon": _number("what is added to the variance", 1e-6)},
    ),
    "scale": Operation(
        summary="gamma x per channel (layer scale).", inputs=("any",), shape=_unchanged, tensors=_per_channel("gamma")
    ),
    "relu": Operation(
        summary="max(x, 0), and not above maximum if it is given.",
        inputs=("any",),
        shape=_unchanged,
        attributes={"maximum": _number("largest value of the output; None: no limit", None)},
    ),
    "gelu": Operation(
        summary="x Phi(x), with the normal distribution function Phi itself, not its tanh approximation.",
        inputs=("any",),
        shape=_unchanged,
    ),
    "silu": Operation(summary="x / (1 + exp(-x)).", inputs=("any",), shape=_unchanged),
    "sigmoid": Operation(summary="1 / (1 + exp(-x)).", inputs=("any",), shape=_unchanged),
    "add": Operation(summary="Sum of two values of the same shape.", inputs=("any", "any"), shape=_same_shape),
    "multiply": Operation(
        summary="Product of two values of the same shape, or of a map and [1, 1, K].",
        inputs=("any", "any"),
        shape=_multiplied,
    ),
    "concat": Operation(
        summary="Values one after the other along the last axis.", inputs=("any", "any..."), shape=_joined
    ),
    "max_pool": Operation(
        summary="Largest value of each window; padding never is the largest.",
        inputs=("map",),
        shape=_max_pooled,
        attributes={
            "size": _whole("side of the window"),
            "stride": _whole("step of the window"),
            "padding": _PADDING,
        },
    ),
    "avg_pool": Operation(
        summary="Mean of each window; rows and columns at the end that fill no window are left out.",
        inputs=("map",),
        shape=_avg_pooled,
        attributes={"size": _whole("side of the window"), "stride": _whole("step of the window")},
    ),
    "global_avg_pool": Operation(
        summary="Mean over the map.",
        inputs=("map",),
        shape=lambda shapes, given: (1, 1, _as_map(shapes[0])[2]),
    ),
    "attention": Operation(
        summary="softmax(q k' / sqrt(d)) v in each head of d = K / heads channels (Vaswani et al., NeurIPS 2017).",
        inputs=("tokens", "tokens", "tokens"),
        shape=_attended,
        attributes={"heads": _whole("number of heads")},
    ),
    "embed_tokens": Operation(
        summary="A class token and the places of a map, row by row, plus position embeddings.",
        inputs=("map",),
        shape=_embedded,
        tensors=_embedding_tensors,
        attributes={"grid": _whole("side of the map that position was trained for; another is interpolated")},
    ),
    "class_token": Operation(
        summary="The first token.", inputs=("tokens",), shape=lambda shapes, given: (_as_tokens(shapes[0])[1],)
    ),
    "patch_map": Operation(
        summary="All tokens but the first as a square map, row by row.", inputs=("tokens",), shape=_map_of_tokens
    ),
}
"""Every operation by name."""
