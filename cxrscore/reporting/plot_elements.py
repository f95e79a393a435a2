"""What all plots of a report share: colours, sizes, plain axes and thin curves."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from cxrscore.escape_control_chars import escape_control_characters

Doubles = NDArray[np.float64]

DOTS = 200
"""Dots per inch of raster plots: two dots per pixel at the displayed width of about 2 inches."""
CURVE_GRID = 2000
"""Grid steps per axis to which a drawn curve is exact: a tenth of a dot."""

# Blue and vermillion of Okabe and Ito's palette, distinguishable by all readers.
BLUE, RED, GREY, INK = "#0072b2", "#d55e00", "#8a929c", "#30363d"
SMALL = 7.5
WIDEST_NAME = 1.85
"""Inches: maximum width of the name of a finding beside the axes."""
LONGEST_NAME = 100
"""Maximum number of letters of which a width is measured."""


def thin_curve(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """A rising curve [n] without invisible points: of consecutive points in the same cell of a grid of CURVE_GRID steps
    per axis only the first remains, and the last point of the curve. A million films give at most 2 * CURVE_GRID
    points, and a curve of few films keeps all its corners."""
    spots = np.rint(np.column_stack([x, y]) * CURVE_GRID)
    selected = np.r_[True, (spots[1:] != spots[:-1]).any(axis=1)]
    selected[-1] = True
    return x[selected], y[selected]


def text_width(words: str, size: float, *, bold: bool = False) -> float:
    """The width of a line of text of a size in points, in inches."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    with ignored_missing_glyphs():
        return float(text_to_path.get_text_width_height_descent(words, font, ismath=False)[0]) / 72


def short_name(name: str, size: float, widest: float = WIDEST_NAME) -> str:
    """A name that is cut to a width in inches when it is drawn in a size in points."""
    words = escape_control_characters(name)
    if text_width(words, size) <= widest:
        return words
    ends = range(min(len(words), LONGEST_NAME), 0, -1)
    return next((cut for end in ends if text_width(cut := _cut(words, end), size) <= widest), _cut(words, 0))


def _cut(words: str, length: int) -> str:
    return f"{words[:length]}\N{HORIZONTAL ELLIPSIS}"


@contextlib.contextmanager
def ignored_missing_glyphs() -> Iterator[None]:
    """No warning for letters that the font lacks: the figure has a box in their place, and the tables the name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield


def plain_axes(axes: Axes, x: str, y: str) -> None:
    """Small text, thin lines and no frame, to emphasise the data."""
    axes.set_xlabel(x, fontsize=SMALL, color=INK, labelpad=2, parse_math=False)
    axes.set_ylabel(y, fontsize=SMALL, color=INK, labelpad=2, parse_math=False)
    axes.tick_params(labelsize=SMALL, colors=INK, length=2.5, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.6)
