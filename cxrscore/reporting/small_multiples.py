"""Small multiples: one figure with a panel for each finding, all of one size, in rows of at most four."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.transforms import Affine2D, Bbox, TransformedBbox
from numpy.typing import ArrayLike

from cxrscore.contract import Array
from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.reporting.plot_elements import GREY, INK, SMALL, text_width

MOST_PANELS = 40
"""Maximum number of panels of a figure on the page."""
COLUMNS = 4
LONGEST_TITLE = 23
"""Characters of a title; those that are wider than a panel are smaller."""
WIDTH, HEIGHT = 1.3, 1.3
"""Of a panel, inches."""
_SIDE = 0.46
"""Margin left of the panels, inches."""
_DOTS = 160
"""Dots per inch: a row of four panels has as many dots as the text of the page is wide."""
_LINE = 0.125
"""Height of a line of text, inches."""
SMALLEST = 1e-4
"""Probabilities are drawn as if they were not nearer to 0 or 1."""
_TICKS = (
    *(0.5, 0.1, 0.01, 0.9, 0.99, 0.001, 0.999, 0.05, 0.2, 0.95, 0.8, 0.02, 0.3, 0.7, 0.03, 0.15, 0.4, 0.6),
    *(0.07, 0.04),
)
"""Probabilities beside an axis of log odds, the first that fit."""

Item = TypeVar("Item")
Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class Panels:
    """What the panels of a figure have in common.

    x, y      names of the axes
    x_ticks   (position, text) of the x axis; empty: each panel has its own
    y_ticks   the same of the y axis
    x_limits  of all panels, unless they have their own
    y_limits  the same
    legend    what the marks are
    """

    x: str
    y: str
    x_ticks: Ticks = ()
    y_ticks: Ticks = ()
    x_limits: tuple[float, float] = (0, 1)
    y_limits: tuple[float, float] = (0, 1)
    legend: Sequence[Line2D] = ()


class Panel:
    """A panel of a figure: a rectangle in which data are drawn without the cost of matplotlib's axes.

    Parameters
    ----------
    figure : Figure
    left, bottom : float
        Place of the lower left corner, inches.
    """

    def __init__(self, figure: Figure, left: float, bottom: float) -> None:
        self.figure, self.left, self.bottom = figure, left, bottom
        self._to_inches = Affine2D()
        self._transform = self._to_inches + figure.dpi_scale_trans
        self._clip = TransformedBbox(Bbox.from_bounds(left, bottom, WIDTH, HEIGHT), figure.dpi_scale_trans)
        self.x_limits = self.y_limits = (0.0, 1.0)

    def set_limits(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        """The data at the sides of the panel."""
        self.x_limits, self.y_limits = x, y
        scale = WIDTH / (x[1] - x[0]), HEIGHT / (y[1] - y[0])
        self._to_inches.clear().translate(-x[0], -y[0]).scale(*scale).translate(self.left, self.bottom)

    def plot(self, x: ArrayLike, y: ArrayLike, *, clip: bool = True, **style: Any) -> None:
        """A line or marks, with the options of Line2D."""
        drawn = Line2D(x, y, transform=self._transform, **style)
        if clip:
            drawn.set_clip_box(self._clip)
        self._add(drawn)

    def dashes(self, x: ArrayLike, y: ArrayLike, colour: str) -> None:
        """A thin dashed line."""
        self.plot(x, y, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))

    def bars(self, heights: Array, edges: Array, colour: str) -> None:
        """A filled histogram from 0."""
        drawn = StepPatch(heights, edges, fill=True, color=colour, linewidth=0, transform=self._transform)
        drawn.set_clip_box(self._clip)
        self._add(drawn)

    def strokes(self, x: Array, ends: Sequence[tuple[float, float]], **style: Any) -> None:
        """Vertical strokes as one line with gaps, the smallest as SVG."""
        low, high = np.array(ends, np.float64).reshape(-1, 2).T
        gaps = np.full(len(x), np.nan)
        self.plot(np.repeat(x, 3), np.column_stack([low, high, gaps]).ravel(), **style)

    def ticks(self, x: Ticks = (), y: Ticks = ()) -> None:
        """Ticks with their text below and left of the panel."""
        for at, words in x:
            place = self.left + WIDTH * (at - self.x_limits[0]) / (self.x_limits[1] - self.x_limits[0])
            self._stroke([place, place], [self.bottom - 0.03, self.bottom])
            self.write(place, self.bottom - 0.045, words, ha="center", va="top")
        for at, words in y:
            place = self.bottom + HEIGHT * (at - self.y_limits[0]) / (self.y_limits[1] - self.y_limits[0])
            self._stroke([self.left - 0.03, self.left], [place, place])
            self.write(self.left - 0.05, place, words, ha="right", va="center_baseline")

    def frame(self) -> None:
        """The left and the lower side."""
        top, right = self.bottom + HEIGHT, self.left + WIDTH
        self._stroke([self.left, self.left, right], [top, self.bottom, self.bottom])

    def write(self, x: float, y: float, words: str, **style: Any) -> None:
        """Text at a place in inches."""
        style = {"fontsize": SMALL - 0.5, "color": INK, "parse_math": False, **style}
        self.figure.text(x, y, words, transform=self.figure.dpi_scale_trans, **style)

    def _stroke(self, x: Sequence[float], y: Sequence[float]) -> None:
        self._add(Line2D(x, y, color=GREY, linewidth=0.6, transform=self.figure.dpi_scale_trans))

    def _add(self, drawn: Artist) -> None:
        drawn.set_figure(self.figure)
        self.figure.artists.append(drawn)


def small_multiples(
    items: Sequence[Item], titles: Sequence[str], draw: Callable[[Panel, Item], None], panels: Panels
) -> Figure:
    """A figure with one panel for each item.

    Parameters
    ----------
    items : sequence
        What ``draw`` draws, one in a panel.
    titles : sequence of str
        Above each panel: the first line is the name of the finding.
    draw : function of Panel and item
        Draws an item. Where the panels have no common ticks it sets limits and ticks.
    panels : Panels
        Names, ticks and limits of the axes, and the legend. Only the outer panels have common ticks.
    """
    columns = min(len(items), COLUMNS)
    rows = -(-len(items) // columns)
    own = not panels.x_ticks
    head = _LINE * max(title.count("\n") + 1 for title in titles) + 0.09
    across, down = WIDTH + (0.4 if own else 0.3), HEIGHT + head + (0.2 if own else 0.1)
    legend_columns = len(panels.legend) if columns == COLUMNS else columns
    above = 0.06 + 0.16 * -(-len(panels.legend) // max(legend_columns, 1))
    below = 0.28 if own else 0.36
    width, height = _SIDE + across * columns, above + rows * down + below
    figure = Figure(figsize=(width, height), dpi=_DOTS)
    for place, (item, title) in enumerate(zip(items, titles, strict=True)):
        row, column = divmod(place, columns)
        panel = Panel(figure, _SIDE + column * across, height - above - row * down - head - HEIGHT)
        panel.set_limits(panels.x_limits, panels.y_limits)
        panel.frame()
        draw(panel, item)
        panel.ticks(panels.x_ticks if place + columns >= len(items) else (), panels.y_ticks if column == 0 else ())
        _write_title(panel, title)
    style: dict[str, Any] = {"fontsize": SMALL, "color": INK, "parse_math": False}
    style["transform"] = figure.dpi_scale_trans
    figure.text(_SIDE + (across * (columns - 1) + WIDTH) / 2, 0.05, panels.x, ha="center", **style)
    figure.text(0.04, below + rows * down / 2, panels.y, va="center", rotation="vertical", **style)
    if panels.legend:
        _write_legend(figure, panels.legend, legend_columns)
    return figure


def _write_title(panel: Panel, title: str) -> None:
    name, *rest = title.split("\n")
    words = short_title(name) or "?"
    foot = panel.bottom + HEIGHT + 0.04
    if rest:
        panel.write(panel.left, foot, "\n".join(rest), va="bottom", linespacing=1.15)
    size = 8 * min(1, WIDTH / text_width(words, 8, bold=True))
    panel.write(panel.left, foot + _LINE * len(rest), words, fontsize=size, va="bottom", weight="bold")


def short_title(name: str) -> str:
    """The name of a finding, cut to the width of a panel."""
    words = escape_control_characters(name)
    return words if len(words) <= LONGEST_TITLE else f"{words[: LONGEST_TITLE - 1]}\N{HORIZONTAL ELLIPSIS}"


def _write_legend(figure: Figure, handles: Sequence[Line2D], columns: int) -> None:
    legend = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.008, 1), ncols=columns, fontsize=SMALL, frameon=False,
        labelcolor=INK, borderpad=0, borderaxespad=0.2, handlelength=1.8, columnspacing=1.2, labelspacing=0.2,
    )  # fmt: skip
    for words in legend.get_texts():
        words.set_parse_math(False)


def line(colour: str, label: str, style: Literal["-", "--", "none"] = "-", marker: str = "") -> Line2D:
    """An entry of a legend."""
    drawn = Line2D([], [], color=colour, label=label, linestyle=style, linewidth=1.5, marker=marker, markersize=4)
    if style == "--":
        drawn.set(linestyle=(0, (4, 3)), linewidth=0.9)
    return drawn


def log_odds(prob: Array) -> Array:
    """The log odds of probabilities, which are moved inside SMALLEST .. 1 - SMALLEST."""
    inside = np.clip(np.asarray(prob, np.float64), SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def probability_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks with probabilities on an axis of log odds between these two, (log odds, text), at most five."""
    found: list[float] = []
    for prob in _TICKS:
        at = float(log_odds(np.array(prob)))
        inside = low <= at <= high
        if inside and all(abs(at - other) > 0.2 * (high - low) for other in map(_log_odds, found)):
            found.append(prob)
    return [(_log_odds(prob), f"{prob:g}") for prob in sorted(found)]


def _log_odds(prob: float) -> float:
    return float(log_odds(np.array(prob)))
