"""Convert decoded films to the square input of a network; the same values for every backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import InputError
from cxrscore.images.codecs import cv2
from cxrscore.images.film import Pixels
from cxrscore.types import Floats

Fit = Literal["stretch", "pad", "crop"]
Resize = Literal["area"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a film becomes a square; stored in the model file, so that scoring and training use the same settings.

    size    side of the square, pixels, 1..4096
    fit     for films that are not square: "stretch" to it, "pad" with black, "crop" to the middle
    resize  "area": mean over the area of a new pixel where the film shrinks, bilinear where it grows
    """

    size: int
    fit: Fit = "stretch"
    resize: Resize = "area"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 4096:
            raise InputError(f"size {self.size} is outside 1..4096 pixels")
        if self.fit not in get_args(Fit):
            raise InputError(f"fit is {self.fit!r}, expected one of {', '.join(get_args(Fit))}")
        if self.resize not in get_args(Resize):
            raise InputError(f"resize is {self.resize!r}, expected one of {', '.join(get_args(Resize))}")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values, as stored in a model file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of as_dict; raises InputError for unknown, missing or wrong values."""
        wanted = {field.name for field in dataclasses.fields(cls)}
        if set(values) != wanted:
            raise InputError(f"preprocessing has the fields {sorted(values)}, expected {sorted(wanted)}")
        return cls(**values)


def preprocess(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """The square film [S,S] of a film [H,W], in its own bit depth."""
    side = preprocessing.size
    if preprocessing.fit == "pad":
        return _pad(pixels, side)
    return _resized(_middle(pixels) if preprocessing.fit == "crop" else pixels, side, side)


def shrink_to(pixels: Pixels, longest: int) -> Pixels:
    """The film [H,W] with its longer side reduced to at most this many pixels; its proportions and bit depth remain."""
    height, width = pixels.shape
    if max(height, width) <= longest:
        return pixels
    share = longest / max(height, width)
    return _resized(pixels, max(1, round(width * share)), max(1, round(height * share)))


def film_in_square(
    height: int, width: int, preprocessing: Preprocessing
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where preprocess() places a film of this size: start and length of its rows, and of its columns, as fractions of
    the side of the square.

    The point at the fraction x of the film's width is at start + x * length of the square. A padded film covers a part
    of one axis only; of a cropped film parts are outside: they are below 0 and above 1.
    """
    side = preprocessing.size
    if preprocessing.fit == "pad":
        inner = _padded_size(height, width, side)
        rows, columns = (((side - length) // 2 / side, length / side) for length in inner)
        return rows, columns
    if preprocessing.fit == "crop":
        middle = min(height, width)
        rows, columns = ((-((length - middle) // 2) / middle, length / middle) for length in (height, width))
        return rows, columns
    return (0.0, 1.0), (0.0, 1.0)


def to_unit(pixels: Pixels, out: Floats | None = None) -> Floats:
    """Convert 8- or 16-bit pixels of any shape to float32, 0 black..1 white; written to ``out`` if it is given.

    8-bit v and 16-bit 257 v give exactly the same number: both divisions are exact and rounded once.
    """
    return np.divide(pixels, np.float32(np.iinfo(pixels.dtype).max), out=out, dtype=np.float32)


def thumbnail(pixels: Pixels, side: int) -> NDArray[np.uint8]:
    """The film [H,W] stretched to uint8 [side,side], as a thumbnail."""
    small = _resized(pixels, side, side)
    if small.dtype == np.uint8:
        return cast(NDArray[np.uint8], small)
    return ((small.astype(np.uint32) + 128) // 257).astype(np.uint8)


def resize_maps(maps: Floats, height: int, width: int) -> Floats:
    """Resize maps float32 [n,C,h,w] to [n,C,height,width]: bilinear to enlarge, means to shrink."""
    flat = maps.reshape(-1, *maps.shape[2:])
    resized = [_resized(cast(Pixels, one), width, height) for one in flat]
    return np.array(resized, np.float32).reshape(*maps.shape[:2], height, width)


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Two passes, because INTER_AREA averages only if it does not enlarge the other axis."""
    shrunk = (min(width, pixels.shape[1]), min(height, pixels.shape[0]))
    for wanted, how in ((shrunk, cv2.INTER_AREA), ((width, height), cv2.INTER_LINEAR)):
        if pixels.shape != wanted[::-1]:
            pixels = cast(Pixels, cv2.resize(pixels, wanted, interpolation=how))
    return pixels


def _middle(pixels: Pixels) -> Pixels:
    height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _padded_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of a film inside of the padded square, pixels of the square."""
    longest = max(height, width)
    return max(1, round(height * side / longest)), max(1, round(width * side / longest))


def _pad(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape
    inner = _resized(pixels, *reversed(_padded_size(height, width, side)))
    square = np.zeros((side, side), pixels.dtype)
    top, left = (side - inner.shape[0]) // 2, (side - inner.shape[1]) // 2
    square[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return cast(Pixels, square)
