"""Forest plots: differences with their intervals, one row for each finding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxrscore.reporting.compare import PairedComparison
from cxrscore.reporting.figures import DOTS, GREY, INK, SMALL, plain_axes
from cxrscore.reporting.groups import SubgroupAnalysis

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Colours of Okabe and Ito's palette, distinguishable by colour-blind readers."""
MARKERS = ("o", "s", "D", "^", "v", "P")
LINE = 0.19
"""Height of a row, inches."""
NOTHING = (math.nan, math.nan, math.nan)
WIDEST = 0.5
"""Intervals are drawn up to this size; wider ones only show that there are few films."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One group or file: differences by finding as (value, low, high), NaN if undefined."""

    name: str
    values: Sequence[tuple[float, float, float]]


def difference_plot(against: PairedComparison) -> Figure:
    """AUCs of another file minus those of the first."""
    rows = [*against.findings, against.macro]
    values = [(one.found.value, *one.found.interval) for one in rows]
    return forest_plot([one.finding for one in rows], [Series(name="", values=values)], "AUC difference")


def gap_plot(grouping: SubgroupAnalysis) -> Figure:
    """AUCs of each group minus those of all other films."""
    finite = [one for group in grouping.groups for one in group.findings if math.isfinite(one.gap.value)]
    findings = list(dict.fromkeys(one.finding for one in finite))
    series = []
    for group in grouping.groups:
        gaps = {one.finding: (one.gap.value, *one.gap.interval) for one in group.findings}
        series.append(Series(name=group.name, values=[gaps.get(finding, NOTHING) for finding in findings]))
    return forest_plot(findings, series, "AUC gap to the rest")


def forest_plot(rows: Sequence[str], series: Sequence[Series], label: str) -> Figure:
    """Rows from top to bottom with a marker and an interval for each series, and a line at 0."""
    height = max(LINE * len(rows) * max(len(series), 1) ** 0.5, 0.6) + 0.75
    figure = Figure(figsize=(4.6, height), dpi=DOTS)
    bottom = 0.42 / height
    axes = figure.add_axes((0.27, bottom, 0.71, 1 - bottom - 0.3 / height))
    axes.axvline(0, color=GREY, linewidth=0.8)
    step = 0.72 / max(len(series), 1)
    for place, one in enumerate(series):
        marker, colour = _style(place)
        offset = (place - (len(series) - 1) / 2) * step
        there = [(row + offset, *three) for row, three in enumerate(one.values) if math.isfinite(three[0])]
        for y, _, low, high in there:
            axes.plot([low, high], [y, y], color=colour, linewidth=1.1)
        axes.plot([value for _, value, *_ in there], [y for y, *_ in there], marker, color=colour, markersize=3.2)
    reach = _reach(series)
    axes.set(xlim=(-reach, reach), ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
    axes.set_yticklabels(rows, parse_math=False)
    plain_axes(axes, label, "")
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color=GREY, linewidth=0.3, alpha=0.5)
    if len(series) > 1:
        _name(figure, series)
    return figure


def _style(place: int) -> tuple[str, str]:
    """Marker and colour of a series: the first six differ in both, the first 36 in at least one."""
    turn = place // len(COLOURS)
    return MARKERS[(place + turn) % len(MARKERS)], COLOURS[place % len(COLOURS)]


def _name(figure: Figure, series: Sequence[Series]) -> None:
    """The legend; names of groups are drawn as plain text, whatever they contain."""
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3.2, linewidth=1.1)
        for marker, colour in map(_style, range(len(series)))
    ]
    names = [one.name for one in series]
    legend = figure.legend(
        handles, names, loc="upper right", ncols=min(len(series), 4), fontsize=SMALL, frameon=False, labelcolor=INK
    )
    for words in legend.get_texts():
        words.set_parse_math(False)


def _reach(series: Sequence[Series]) -> float:
    """The limit of the axis on both sides of 0: it includes all values, and intervals up to WIDEST."""
    values = [abs(three[0]) for one in series for three in one.values if math.isfinite(three[0])]
    ends = [abs(end) for one in series for three in one.values for end in three[1:] if math.isfinite(end)]
    return 1.05 * max(0.02, *values, min(max(ends, default=0.0), WIDEST)) if values else 0.05
