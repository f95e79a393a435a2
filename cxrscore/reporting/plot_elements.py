"""What all plots of a report share: colours, sizes, plain axes and thin curves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

DOTS = 200
"""Dots per inch of raster plots: two dots per pixel at the displayed width of about 2 inches."""
CURVE_GRID = 2000
"""Grid steps per axis to which a drawn curve is exact: a tenth of a dot."""

# Blue and vermillion of Okabe and Ito's palette, distinguishable by all readers.
BLUE, RED, GREY, INK = "#0072b2", "#d55e00", "#8a929c", "#30363d"
SMALL = 7.5


def thin_curve(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """A rising curve [n] without invisible points: of consecutive points in the same cell of a grid of CURVE_GRID steps
    per axis only the first remains, and the last point of the curve. A million films give at most 2 * CURVE_GRID
    points, and a curve of few films keeps all its corners."""
    spots = np.rint(np.column_stack([x, y]) * CURVE_GRID)
    selected = np.r_[True, (spots[1:] != spots[:-1]).any(axis=1)]
    selected[-1] = True
    return x[selected], y[selected]


def plain_axes(axes: Axes, x: str, y: str) -> None:
    """Small text, thin lines and no frame, to emphasise the data."""
    axes.set_xlabel(x, fontsize=SMALL, color=INK, labelpad=2, parse_math=False)
    axes.set_ylabel(y, fontsize=SMALL, color=INK, labelpad=2, parse_math=False)
    axes.tick_params(labelsize=SMALL, colors=INK, length=2.5, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.6)
