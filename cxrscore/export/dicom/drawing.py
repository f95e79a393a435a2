"""The picture of a capture: the film with a heat map over it, between bands of text."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.plot_style import blend_heat

Picture = NDArray[np.uint8]

WARNING = "RESEARCH ONLY - NOT FOR DIAGNOSTIC USE"
_AMBER, _WHITE, _BLACK = (255, 191, 0), (255, 255, 255), (0, 0, 0)
_LETTERS_ACROSS = 52
"""Width of a picture in heights of its letters."""
_ROWS = 64
"""Rows of a film that are coloured at a time: colours need ten times the memory of a picture."""
_NARROWEST = 480
"""Smallest width of a picture, pixels: the warning fits."""
_SMALLEST = 9
"""Height of the smallest letters, pixels."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """The text of a capture.

    lines  below the film
    scale  the number at the end of the colour scale, and what it is; empty if no map is drawn
    """

    lines: Sequence[str]
    scale: tuple[str, str] | None


def capture(film: Picture, strength: Floats, caption: Caption) -> Picture:
    """The picture uint8 [H',W',3] of a film uint8 [H,W] with the strength 0..1 [H,W] of a map: a band with the warning,
    the film, and a band with the caption. The film itself is not written on; a narrow one has black beside it."""
    width = max(film.shape[1], _NARROWEST)
    beside = (width - film.shape[1]) // 2, width - film.shape[1] - (width - film.shape[1]) // 2
    film = np.pad(film, ((0, 0), beside))
    strength = np.pad(strength, ((0, 0), beside))
    size = max(width // _LETTERS_ACROSS, _SMALLEST + 2)
    bands = [
        _band(width, [_text(WARNING, 4 * size // 3, width - size, _AMBER, bold=True)]),
        *(blend_heat(film[at : at + _ROWS], strength[at : at + _ROWS]) for at in range(0, len(film), _ROWS)),
        _band(
            width,
            [
                *(_text(line, size, width - size, _WHITE) for line in caption.lines[:1]),
                *([] if caption.scale is None else [_scale(caption.scale, size, width)]),
                *(_text(line, size, width - size, _WHITE) for line in caption.lines[1:]),
            ],
        ),
    ]
    return np.concatenate(bands)


def _band(width: int, rows: Sequence[Picture]) -> Picture:
    """Pictures of text below each other, on black, at the left."""
    gap = max(rows[0].shape[0] // 3, 3)
    height = sum(len(row) + gap for row in rows) + gap
    band = np.zeros((height, width, 3), np.uint8)
    at = gap
    for row in rows:
        band[at : at + len(row), gap : gap + row.shape[1]] = row[:, : width - gap]
        at += len(row) + gap
    return band


def _scale(scale: tuple[str, str], size: int, width: int) -> Picture:
    """The colour scale on mid-grey, with the numbers of its ends and what it is."""
    length = width // 4
    ramp = blend_heat(
        np.full((size, length), 128, np.uint8), np.broadcast_to(np.linspace(0, 1, length), (size, length))
    )
    left = width - length - 4 * size
    parts = [_text("0", size, left, _WHITE), ramp, _text("  ".join(scale), size, left, _WHITE)]
    height = max(len(part) for part in parts)
    gap = np.zeros((height, size // 2, 3), np.uint8)
    return np.concatenate([piece for part in parts for piece in (_as_high(part, height), gap)], axis=1)


def _as_high(part: Picture, height: int) -> Picture:
    """The part on black of this height, in the middle."""
    spare = height - len(part)
    return np.pad(part, ((spare // 2, spare - spare // 2), (0, 0), (0, 0)))


def _text(text: str, size: int, width: int, colour: tuple[int, int, int], *, bold: bool = False) -> Picture:
    """A line of text with letters of this size, or smaller ones if it does not fit, and cut if it still does not."""
    coverage = _coverage(text, size, bold)
    if coverage.shape[1] > width:
        size = max(size * width // coverage.shape[1], _SMALLEST)
        coverage = _coverage(text, size, bold)
    own = coverage[:, :width, None] / 255
    return np.asarray(np.rint(own * np.array(colour)), np.uint8)


def _coverage(text: str, size: int, bold: bool) -> NDArray[np.uint8]:
    """Coverage 0..255 of each pixel by the text, with the base line at the same height for all texts of one size."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"  # part of Matplotlib, with Latin, Greek and Cyrillic
    font: Any = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name))
    font.set_size(size, 72)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font does not have: they are drawn as boxes
        font.set_text(text)
        font.draw_glyphs_to_bitmap(antialiased=True)
    letters = np.asarray(font.get_image(), np.uint8)
    line = np.zeros((size * 4 // 3, letters.shape[1]), np.uint8)
    start = size + math.ceil(font.get_descent() / 64) - len(letters)
    for row, values in enumerate(letters, start):
        if 0 <= row < len(line):
            line[row] = values
    return line
