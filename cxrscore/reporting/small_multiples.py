"""Small multiples: one figure with a panel for each finding, all of one size, in rows of at most four."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxrscore.contract import Array
from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.reporting.plot_elements import DOTS, GREY, INK, SMALL

MOST_PANELS = 40
"""Maximum number of panels of a figure on the page."""
COLUMNS = 4
LONGEST_TITLE = 23
"""Characters of a title; those of more than _BOLD are smaller."""
_BOLD = 19
_PANEL, _SIDE, _GAP = (1.3, 1.3), 0.46, 0.4
"""Inches: width and height of axes; the margin left of them; between columns."""
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
    x_ticks: Sequence[tuple[float, str]] = ()
    y_ticks: Sequence[tuple[float, str]] = ()
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    legend: Sequence[Line2D] = ()


def small_multiples(
    items: Sequence[Item], titles: Sequence[str], draw: Callable[[Axes, Item], None], panels: Panels
) -> Figure:
    """A figure with one panel for each item.

    Parameters
    ----------
    items : sequence
        What ``draw`` draws, one in a panel.
    titles : sequence of str
        Above each panel: the first line is the name of the finding.
    draw : function of Axes and item
        Draws an item. Where the panels have no common ticks it sets limits and ticks.
    panels : Panels
        Names, ticks and limits of the axes, and the legend. Only the outer panels have common ticks.
    """
    columns = min(len(items), COLUMNS)
    rows = -(-len(items) // columns)
    own = not (panels.x_ticks and panels.y_ticks)
    head = _LINE * max(title.count("\n") + 1 for title in titles) + 0.09
    step = (_PANEL[0] + (_GAP if own else 0.3), _PANEL[1] + head + (0.2 if own else 0.1))
    width = _SIDE + step[0] * columns
    legend_columns = len(panels.legend) if columns == COLUMNS else columns
    above = 0.06 + 0.16 * -(-len(panels.legend) // max(legend_columns, 1))
    below = 0.36 if own else 0.3
    height = above + rows * step[1] + below
    figure = Figure(figsize=(width, height), dpi=DOTS)
    for place, (item, title) in enumerate(zip(items, titles, strict=True)):
        row, column = divmod(place, columns)
        left, top = _SIDE + column * step[0], above + row * step[1] + head
        axes = figure.add_axes((left / width, 1 - (top + _PANEL[1]) / height, _PANEL[0] / width, _PANEL[1] / height))
        is_lowest = place + columns >= len(items)
        _style(axes, panels, is_first=column == 0, is_lowest=is_lowest)
        draw(axes, item)
        _write_title(axes, title)
    middle = (_SIDE + (step[0] * columns - step[0] + _PANEL[0]) / 2) / width
    figure.text(middle, 0.05 / height, panels.x, fontsize=SMALL, color=INK, ha="center", parse_math=False)
    height_of_panels = 1 - (above + rows * step[1]) / height
    figure.text(
        0.04 / width, (1 - above / height + height_of_panels) / 2, panels.y, fontsize=SMALL, color=INK, va="center",
        rotation="vertical", parse_math=False,
    )  # fmt: skip
    if panels.legend:
        _write_legend(figure, panels.legend, legend_columns)
    return figure


def _style(axes: Axes, panels: Panels, *, is_first: bool, is_lowest: bool) -> None:
    """Thin axes with common limits; ticks, which take most of the time of drawing, only where they are read."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.6)
    axes.tick_params(labelsize=SMALL - 0.5, colors=INK, length=2, width=0.6, pad=2)
    if panels.x_limits:
        axes.set_xlim(panels.x_limits)
    if panels.y_limits:
        axes.set_ylim(panels.y_limits)
    shown = panels.x_ticks if is_lowest else ()
    axes.set_xticks([at for at, _ in shown], [words for _, words in shown])
    shown = panels.y_ticks if is_first else ()
    axes.set_yticks([at for at, _ in shown], [words for _, words in shown])


def _write_title(axes: Axes, title: str) -> None:
    name, *rest = title.split("\n")
    words = short_title(name) or "?"
    lines = "\n".join(rest)
    style: dict[str, Any] = {"color": INK, "transform": axes.transAxes, "va": "bottom", "parse_math": False}
    gap = 0.04 / _PANEL[1]
    if lines:
        axes.text(0, 1 + gap, lines, fontsize=SMALL - 0.5, linespacing=1.15, **style)
    style["weight"] = "bold"
    axes.text(0, 1 + gap + _LINE * len(rest) / _PANEL[1], words, fontsize=8 * min(1, _BOLD / len(words)), **style)


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
