"""Forest plots: AUCs or differences of AUCs with their intervals, one row for each finding."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxrscore.metrics import mean_calibration
from cxrscore.models.evaluation import Yardsticks
from cxrscore.reporting.auc import AucResult
from cxrscore.reporting.figures import FindingData
from cxrscore.reporting.groups import SubgroupAnalysis
from cxrscore.reporting.plot_elements import BLUE, DOTS, GREY, INK, RED, SMALL, plain_axes, short_name, text_width
from cxrscore.reporting.small_multiples import line, log_odds, probability_ticks
from cxrscore.reporting.summary import FEW_POSITIVES, FindingResult, Summary

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Colours of Okabe and Ito's palette, distinguishable by colour-blind readers."""
MARKERS = ("o", "s", "D", "^", "v", "P")
LINE = 0.19
"""Height of a row, inches."""
NOTHING = (math.nan, math.nan, math.nan)
WIDEST = 0.5
"""Intervals are drawn up to this size; wider ones only show that there are few films."""
MOST_ROWS = 40
"""Maximum number of findings of an overview; a page is as high as about 40 rows."""
LIGHT = "#8fbddb"
"""Blue of findings with few positives."""
_WIDTH, _RIGHT = 5.6, 1.95
"""Inches: of an overview and of its columns of text."""
_OVERVIEW_LINE, _TEXT = 0.215, 8
"""Height of a row, inches, and of its text, points."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One group or file: differences by finding as (value, low, high), NaN if undefined."""

    name: str
    values: Sequence[tuple[float, float, float]]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of an overview; ``interval`` NaN if there is none, ``known`` number of films with a label."""

    name: str
    auc: float
    interval: tuple[float, float]
    positives: int
    known: int
    is_imprecise: bool

    @property
    def auc_text(self) -> str:
        low, high = self.interval
        return f"{self.auc:.3f}" + (f" ({low:.2f}\N{EN DASH}{high:.2f})" if math.isfinite(low) else "")

    @property
    def count_text(self) -> str:
        return f"{self.positives:,} / {self.known:,}"


def overview_plot(summary: Summary, yardsticks: Yardsticks | None) -> Figure:
    """The AUCs of all findings with their intervals, the highest first, and their mean.

    Parameters
    ----------
    summary : Summary
        The metrics of the report.
    yardsticks : Yardsticks or None
        Those of the model; its macro AUC of age, sex and view alone is a dotted line.

    Returns
    -------
    Figure
        One row for each finding with an AUC: value, interval, positives and films with a label. With more than
        MOST_ROWS of them, those with the most positives. A finding without an interval has a hollow mark, one with
        few positives a faint one. A diamond is the macro AUC. Findings without an AUC are named below.
    """
    rows, means, notes = _overview_rows(summary)
    notes = [line for note in notes for line in textwrap.wrap(note, 88)]
    figure = Figure(dpi=DOTS)
    axes = figure.add_axes((0, 0, 1, 1))
    _limit_to_data(axes, [*rows, *means], _yardstick_auc(yardsticks))
    handles = [*_draw_references(axes, yardsticks), *_draw_rows(axes, rows)]
    for y, mean in enumerate(means, start=len(rows)):
        _draw_diamond(axes, mean, y)
    axes.axhline(len(rows) - 0.5, color=GREY, linewidth=0.8)
    below = 0.15 * len(notes)
    top, bottom = 0.38, 0.47 + 0.16 * len(handles) + below
    height = top + _OVERVIEW_LINE * (len(rows) + len(means)) + bottom
    left = 0.15 + max(text_width(row.name, _TEXT, bold=not row.known) for row in (*rows, *means))
    figure.set_size_inches(_WIDTH, height)
    right = max(_RIGHT, 1.5 + 0.065 * max((len(row.count_text) for row in rows), default=0))
    axes.set_position((left / _WIDTH, bottom / height, 1 - (left + right) / _WIDTH, 1 - (top + bottom) / height))
    _write_columns(axes, [*rows, *means], right / (_WIDTH - left - right))
    legend = figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, below / height), fontsize=SMALL, frameon=False,
        labelcolor=INK, borderpad=0.2, handlelength=2.2, labelspacing=0.3,
    )  # fmt: skip
    for words in legend.get_texts():
        words.set_parse_math(False)
    for place, note in enumerate(reversed(notes)):
        figure.text(0.012, (0.05 + 0.15 * place) / height, note, fontsize=SMALL, color=INK, parse_math=False)
    return figure


def overview_alt(summary: Summary) -> str:
    """The numbers of an overview as text."""
    rows, means, _ = _overview_rows(summary)
    return "AUC with 95 % interval: " + "; ".join(
        f"{row.name} {row.auc_text if math.isfinite(row.auc) else 'undefined'}" for row in (*means, *rows)
    )


def _overview_rows(summary: Summary) -> tuple[list[_Row], list[_Row], list[str]]:
    """Rows of findings, rows of macro AUCs, and notes on findings that have no row."""
    defined = [one for one in summary.findings if math.isfinite(one.auc)]
    most = sorted(defined, key=lambda one: -one.positives)[:MOST_ROWS]
    notes = []
    if len(defined) > MOST_ROWS:
        notes.append(f"The {MOST_ROWS} of {len(defined)} findings with the most positives; the macro AUC is of all.")
    if undefined := [one.finding for one in summary.findings if not math.isfinite(one.auc)]:
        names = [*(short_name(name, _TEXT) for name in undefined[:MOST_ROWS]), *["..."] * (len(undefined) > MOST_ROWS)]
        notes.append(f"No AUC, because only one class is present: {', '.join(names)}.")
    return [_row(one) for one in sorted(most, key=lambda one: -one.auc)], _means(summary.areas, len(defined)), notes


def _means(areas: AucResult, defined: int) -> list[_Row]:
    """The macro AUC, and that of the findings with an interval if only these have one; none of one finding only."""
    if defined == 1:
        return []
    means = [(f"Macro, mean of {defined}", areas.macro.value, areas.macro_interval)]
    if math.isnan(areas.macro_interval[0]) and math.isfinite(areas.macro_known_interval[0]):
        means.append(
            (f"Mean of {areas.with_interval} with variance", areas.macro_known.value, areas.macro_known_interval)
        )
    return [
        _Row(name=name, auc=auc, interval=interval, positives=0, known=0, is_imprecise=False)
        for name, auc, interval in means
    ]


def _row(one: FindingResult) -> _Row:
    return _Row(
        name=short_name(one.finding, _TEXT),
        auc=one.auc,
        interval=one.interval,
        positives=one.positives,
        known=one.positives + one.negatives,
        is_imprecise=one.few_positives,
    )


def _yardstick_auc(yardsticks: Yardsticks | None) -> float:
    """Macro AUC of age, sex and view alone; NaN if the model does not record it."""
    known = yardsticks is not None and yardsticks.columns and yardsticks.without
    return yardsticks.without[-1].macro_auc.value if known and yardsticks is not None else math.nan


def _draw_references(axes: Axes, yardsticks: Yardsticks | None) -> list[Line2D]:
    """The lines of chance and of age, sex and view alone, for the legend."""
    lines = [
        axes.axvline(0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="chance, and always \u201cno\u201d")
    ]
    auc = _yardstick_auc(yardsticks)
    if yardsticks is not None and math.isfinite(auc):
        words = f"{yardsticks.columns} alone, mean {auc:.3f} in the model's evaluation"
        lines.append(axes.axvline(auc, color=RED, linewidth=1.2, linestyle=(0, (1, 1.5)), label=words))
    return lines


def _draw_rows(axes: Axes, rows: Sequence[_Row]) -> list[Line2D]:
    """Marks and intervals of findings; what the legend explains of them."""
    for y, row in enumerate(rows):
        colour = LIGHT if row.is_imprecise else BLUE
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color=GREY, alpha=0.08, linewidth=0, zorder=0)
        if math.isfinite(row.interval[0]):
            axes.plot(row.interval, (y, y), color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([row.auc], [y], **_mark(colour, hollow=math.isnan(row.interval[0])), clip_on=False)
    few = f"faint: positive films of fewer than {FEW_POSITIVES} patients"
    explained = (
        (any(row.is_imprecise for row in rows), LIGHT, False, few),
        (any(math.isnan(row.interval[0]) for row in rows), BLUE, True, "hollow: no interval"),
    )
    return [
        Line2D([], [], **_mark(colour, hollow=hollow), label=words)
        for there, colour, hollow, words in explained
        if there
    ]


def _mark(colour: str, *, hollow: bool) -> dict[str, Any]:
    """The mark of a finding as options of a line."""
    return {
        "marker": "o",
        "markersize": 4.6,
        "linestyle": "none",
        "color": colour,
        "markerfacecolor": "white" if hollow else colour,
        "markeredgewidth": 1.2,
    }


def _draw_diamond(axes: Axes, mean: _Row, y: int) -> None:
    """A macro AUC: a diamond as wide as its interval, a small hollow one without interval."""
    low, high = mean.interval
    if math.isfinite(low):
        axes.fill([low, mean.auc, high, mean.auc], [y, y - 0.28, y, y + 0.28], color=INK, linewidth=0, clip_on=False)
    elif math.isfinite(mean.auc):
        axes.plot([mean.auc], [y], "D", color=INK, markerfacecolor="white", markersize=5, clip_on=False)


def _write_columns(axes: Axes, rows: Sequence[_Row], right: float) -> None:
    """Names left of the axes; AUCs and counts right of them, in ``right`` widths of the axes."""
    axes.set(ylim=(len(rows) - 0.5, -0.5), yticks=[])
    plain_axes(axes, "AUC", "")
    axes.spines["left"].set_visible(False)
    style: dict[str, Any] = {"color": INK, "transform": axes.get_yaxis_transform(), "parse_math": False}
    first, last = 1 + 0.05 * right, 1 + 0.96 * right
    axes.text(first, -0.62, "AUC\n(95 % interval)", fontsize=SMALL, va="bottom", **style)
    axes.text(last, -0.62, "positive /\nlabelled films", fontsize=SMALL, va="bottom", ha="right", **style)
    for y, row in enumerate(rows):
        own = {**style, "fontsize": _TEXT, "va": "center_baseline", "weight": "normal" if row.known else "bold"}
        axes.text(-0.02, y, row.name, ha="right", **own)
        axes.text(first, y, row.auc_text if math.isfinite(row.auc) else "undefined", **own)
        if row.known:
            axes.text(last, y, row.count_text, ha="right", **own)


def _limit_to_data(axes: Axes, rows: Sequence[_Row], yardstick: float) -> None:
    """An axis over all AUCs, intervals and lines, in tenths."""
    ends = [end for row in rows for end in (row.auc, *row.interval)]
    known = [0.5, *(end for end in (*ends, yardstick) if math.isfinite(end))]
    low = math.floor(10 * min(*known, 0.45)) / 10
    high = math.ceil(10 * max(*known, 0.75)) / 10
    ticks = [tenth / 10 for tenth in range(round(10 * low), round(10 * high) + 1)]
    ticks = [tick for tick in ticks if len(ticks) <= 7 or round(10 * tick) % 2 == round(10 * ticks[-1]) % 2]
    axes.set(xlim=(low, high), xticks=ticks, xticklabels=[f"{tick:.1f}" for tick in ticks])


def prevalence_plot(findings: Sequence[FindingData]) -> Figure:
    """The mean probability of each finding beside its fraction of positives, with 95 % intervals, the most frequent
    first; on a scale of log odds, because a finding may be rare."""
    found = [(short_name(data.finding, _TEXT), mean_calibration(data.truth, data.prob)) for data in findings]
    rows = sorted(((name, one) for name, one in found if one.films), key=lambda row: -row[1].share)
    top, bottom = 0.42, 0.62
    height = top + _OVERVIEW_LINE * max(len(rows), 1) + bottom
    left = 0.15 + max((text_width(name, _TEXT) for name, _ in rows), default=0.1)
    figure = Figure(figsize=(_WIDTH, height), dpi=DOTS)
    plot = _WIDTH - left - _RIGHT
    axes = figure.add_axes((left / _WIDTH, bottom / height, plot / _WIDTH, 1 - (top + bottom) / height))
    ends = [end for _, one in rows for end in (*one.prob_interval, *one.share_interval, one.prob) if 0 < end < 1]
    low, high = (float(log_odds(np.array(end))) for end in (min(ends, default=0.1), max(ends, default=0.5)))
    room = 0.04 * (high - low) + 0.05
    for y, (_, one) in enumerate(rows):
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color=GREY, alpha=0.08, linewidth=0, zorder=0)
        pairs = ((one.share, one.share_interval, RED, "o", -0.16), (one.prob, one.prob_interval, BLUE, "D", 0.16))
        for value, interval, colour, marker, offset in pairs:
            axes.plot(log_odds(np.array(interval)), [y + offset] * 2, color=colour, linewidth=1.3)
            axes.plot(log_odds(np.array([value])), [y + offset], marker, color=colour, markersize=3.6)
    axes.set(xlim=(low - room, high + room), ylim=(max(len(rows), 1) - 0.5, -0.5), yticks=[])
    ticks = probability_ticks(low - room, high + room)
    axes.set_xticks([at for at, _ in ticks], [words for _, words in ticks])
    plain_axes(axes, "probability and fraction of positives (log odds scale)", "")
    axes.spines["left"].set_visible(False)
    style: dict[str, Any] = {"color": INK, "transform": axes.get_yaxis_transform(), "parse_math": False}
    first, last = 1 + 0.05 * _RIGHT / plot, 1 + 0.96 * _RIGHT / plot
    axes.text(first, -0.62, "mean\nprobability", fontsize=SMALL, va="bottom", **style)
    axes.text(last, -0.62, "fraction of\npositives", fontsize=SMALL, va="bottom", ha="right", **style)
    style |= {"fontsize": _TEXT, "va": "center_baseline"}
    for y, (name, one) in enumerate(rows):
        axes.text(-0.02, y, name, ha="right", **style)
        axes.text(first, y, f"{one.prob:.3f}", **style)
        axes.text(
            last,
            y,
            f"{one.share:.3f} ({one.share_interval[0]:.2f}\N{EN DASH}{one.share_interval[1]:.2f})",
            ha="right",
            **style,
        )
    legend = [
        line(BLUE, "mean probability", "-", "D"),
        line(RED, "fraction of positives, with 95 % intervals", "-", "o"),
    ]
    figure.legend(
        handles=legend, loc="lower left", ncols=2, fontsize=SMALL, frameon=False, labelcolor=INK, borderpad=0.2
    )
    return figure


def has_gaps(grouping: SubgroupAnalysis) -> bool:
    """Whether any group differs from the rest by a known gap, so that there is something to plot."""
    return any(math.isfinite(one.gap.value) for group in grouping.groups for one in group.findings)


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
    names = [short_name(name, SMALL) for name in rows]
    left = max(1.24, 0.15 + max((text_width(name, SMALL) for name in names), default=0.0)) / 4.6
    axes = figure.add_axes((left, bottom, 0.98 - left, 1 - bottom - 0.3 / height))
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
    axes.set_yticklabels(names, parse_math=False)
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
