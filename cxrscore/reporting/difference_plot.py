"""The comparison as one figure: AUCs of other files less those of the first, the macro AUC first."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.metrics.multiple_testing import LEVEL
from cxrscore.reporting.compare import Comparison, Difference, PairedComparison
from cxrscore.reporting.drawn import Drawn, csv_uri, drawn
from cxrscore.reporting.plot_elements import BLUE, DOTS, GREY, INK, RED, SMALL, plain_axes, short_name, text_width

MOST_FILES = 5
"""Other files that are drawn finding by finding; of more only the macro AUCs are."""
MOST_ROWS = 40
"""Findings that are drawn; a page is as high as about 40 rows."""
LARGEST = 0.5
"""Intervals are drawn up to this size; an arrow marks those that are cut."""
_COLOURS = (BLUE, RED, "#009e73", "#a8518a", "#6b5b00")
_MARKERS = ("o", "s", "D", "^", "v")
_WIDTH, _RIGHT = 5.0, 1.4
"""Inches: of the figure and of its column of numbers."""
_LINES, _GAP, _TEXT = (0.155, 0.14, 0.125, 0.11, 0.11), 0.08, 8
"""Inches: height of a mark by the number of files, and space between findings; points: of texts. 14 findings of five
files fit a page."""

_CSV_HEAD = (
    *("file", "compared_with", "finding", "positives", "negatives", "auc", "auc_compared_with", "difference"),
    *("difference_low", "difference_high", "p_holm", "verdict", "note"),
)


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """A difference at a height of the axes; ``colour`` and ``marker`` are those of its file."""

    y: float
    one: Difference
    colour: str
    marker: str


def comparison_variables(comparison: Comparison | None) -> dict[str, Any]:
    """Template variables of the section.

    Parameters
    ----------
    comparison : Comparison or None
        The comparison of the report, if several files are given.

    Returns
    -------
    dict
        ``comparison``; ``compared``: for each other file the comparison with it and the findings in which it is
        better or worse; ``differences``: the figure and ``difference_csv``: the table, None without another file.
    """
    others = () if comparison is None else comparison.others
    return {
        "comparison": comparison,
        "compared": [{"against": one, **_said(one)} for one in others],
        "differences": comparison_figure(comparison) if comparison is not None and others else None,
        "difference_csv": csv_uri(_csv_rows(comparison)) if comparison is not None and others else None,
        "level": LEVEL,
        "most_compared": MOST_FILES,
    }


def _said(against: PairedComparison) -> dict[str, list[str]]:
    return {word: [one.finding for one in against.findings if one.verdict == word] for word in ("better", "worse")}


def comparison_figure(comparison: Comparison) -> Drawn:
    """The plot of differences, with its numbers as alternative text."""
    words = (
        f"{other.name}: macro AUC {other.macro.found.value:+.3f}, {other.macro.verdict}"
        + "".join(f"; {word} in {', '.join(names)}" for word, names in _said(other).items() if names)
        for other in comparison.others
    )
    alt = f"AUC less that of {comparison.first}, with 95 % intervals. {'. '.join(words)}."
    return drawn("comparison", difference_plot(comparison), escape_control_characters(alt))


def difference_plot(comparison: Comparison) -> Figure:
    """AUCs of other files less those of the first.

    Parameters
    ----------
    comparison : Comparison
        With at least one other file.

    Returns
    -------
    Figure
        Rows from top to bottom: the macro AUC, then findings by their mean difference, the largest first. Each other
        file has one mark a row, with its interval; it is filled if the difference is significant after the correction
        (Holm), else hollow. For one other file the numbers stand right of the axes. Above MOST_FILES other files, one
        row with the macro AUC for each.
    """
    many = len(comparison.others) > MOST_FILES
    rows, notes = _macro_rows(comparison) if many else _finding_rows(comparison)
    marks, ticks = _place(rows, comparison.others)
    has_numbers = many or len(comparison.others) == 1
    notes = [line for note in notes for line in textwrap.wrap(note, 78)]
    handles = [*([] if many else _files(comparison)), *_explained(marks)]
    deep = max((mark.y for mark in marks), default=0) + (_line(rows) + _GAP) / 2
    top, bottom = 0.5 + 0.16 * len(handles), 0.47 + 0.15 * len(notes)
    height = top + deep + bottom
    left = 0.15 + max(text_width(name, _TEXT, bold=place == 0) for place, (name, _) in enumerate(rows))
    right = _RIGHT if has_numbers else 0.15
    figure = Figure(figsize=(_WIDTH, height), dpi=DOTS)
    axes = figure.add_axes((left / _WIDTH, bottom / height, 1 - (left + right) / _WIDTH, deep / height))
    axes.set(ylim=(deep, 0), yticks=[])
    _draw(axes, marks, ticks)
    _write_names(axes, [name for name, _ in rows], ticks)
    if has_numbers:
        _write_numbers(axes, marks)
    legend = figure.legend(
        handles=handles, loc="upper left", fontsize=SMALL, frameon=False, labelcolor=INK, borderpad=0.2,
        handlelength=2.2, labelspacing=0.3,
    )  # fmt: skip
    for words in legend.get_texts():
        words.set_parse_math(False)
    for place, line in enumerate(reversed(notes)):
        figure.text(0.012, (0.05 + 0.15 * place) / height, line, fontsize=SMALL, color=INK, parse_math=False)
    return figure


Row = tuple[str, Sequence[Difference | None]]
"""The name of a row, and the difference of each other file; None where it has none."""


def _macro_rows(comparison: Comparison) -> tuple[list[Row], list[str]]:
    """One row for each other file, the best first; what is not drawn."""
    others = sorted(comparison.others, key=lambda other: -_or_lowest(other.macro.found.value))
    rows: list[Row] = [(short_name(other.name, _TEXT), (other.macro,)) for other in others[:MOST_ROWS]]
    cut = f"The {MOST_ROWS} best of {len(others)} files. " if len(others) > MOST_ROWS else ""
    return rows, [f"{cut}Macro AUCs of {len(others)} files; the tables have the findings."]


def _finding_rows(comparison: Comparison) -> tuple[list[Row], list[str]]:
    """The macro AUC, then findings by their mean difference; what is not drawn."""
    found: dict[str, list[Difference | None]] = {}
    for other in comparison.others:
        for one in other.findings:
            there = one if math.isfinite(one.found.value) else None
            found.setdefault(one.finding, []).append(there)
    defined = {name: [one for one in values if one is not None] for name, values in found.items()}
    known = [name for name in found if defined[name]]
    most = sorted(known, key=lambda name: -max(one.positives for one in defined[name]))[:MOST_ROWS]
    order = sorted(most, key=lambda name: -math.fsum(one.found.value for one in defined[name]) / len(defined[name]))
    notes = []
    if len(known) > MOST_ROWS:
        notes.append(f"The {MOST_ROWS} of {len(known)} findings with the most positives.")
    if undefined := [name for name in found if not defined[name]]:
        names = [*(short_name(name, _TEXT) for name in undefined[:MOST_ROWS]), *["..."] * (len(undefined) > MOST_ROWS)]
        notes.append(f"No AUC, because only one class is present: {', '.join(names)}.")
    macros = [other.macro if math.isfinite(other.macro.found.value) else None for other in comparison.others]
    return [("Macro AUC", macros), *((short_name(name, _TEXT), found[name]) for name in order)], notes


def _place(rows: Sequence[Row], others: Sequence[PairedComparison]) -> tuple[list[_Mark], list[float]]:
    """The marks with their heights in inches from the top, and the height of the middle of each row."""
    marks, ticks, top = [], [], _GAP / 2
    line = _line(rows)
    for _, differences in rows:
        for place, one in enumerate(differences):
            style = place % len(_COLOURS) if len(differences) == len(others) else 0
            y = top + (place + 0.5) * line
            if one is not None:
                marks.append(_Mark(y=y, one=one, colour=_COLOURS[style], marker=_MARKERS[style]))
        ticks.append(top + len(differences) * line / 2)
        top += len(differences) * line + _GAP
    return marks, ticks


def _line(rows: Sequence[Row]) -> float:
    """Height of a mark, inches."""
    return _LINES[len(rows[0][1]) - 1]


def _draw(axes: Axes, marks: Sequence[_Mark], ticks: Sequence[float]) -> None:
    """The marks with their intervals, the line at 0, and which side of it is better."""
    low, high = _limits(marks)
    axes.set(xlim=(low, high))
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    between = [(upper + lower) / 2 for upper, lower in itertools.pairwise(ticks)]
    for place, y in enumerate(between):
        axes.axhline(y, color=INK if place == 0 else GREY, linewidth=0.8 if place == 0 else 0.3, alpha=0.7)
    for mark in marks:
        ends = mark.one.found.interval
        if math.isfinite(ends[0]):
            seen = (max(ends[0], low), min(ends[1], high))
            axes.plot(seen, (mark.y, mark.y), color=mark.colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
            for end, seen_end, arrow in zip(ends, seen, "<>", strict=True):
                if end != seen_end:
                    axes.plot([seen_end], [mark.y], arrow, color=mark.colour, markersize=4, clip_on=False)
        axes.plot([mark.one.found.value], [mark.y], **_style(mark.colour, mark.marker, hollow=not is_shown(mark.one)))
    plain_axes(axes, "difference of AUC", "")
    axes.spines["left"].set_visible(False)
    middle = (0 - low) / (high - low)
    style: dict[str, Any] = {"fontsize": SMALL, "color": INK, "transform": axes.transAxes, "va": "bottom"}
    axes.text(middle - 0.015, 1, "\N{LEFTWARDS ARROW} first file\nis better", ha="right", **style)
    axes.text(middle + 0.015, 1, "other file \N{RIGHTWARDS ARROW}\nis better", ha="left", **style)


def is_shown(one: Difference) -> bool:
    """Whether the corrected test shows a difference."""
    return one.verdict in ("better", "worse")


def _style(colour: str, marker: str, *, hollow: bool) -> dict[str, Any]:
    """A mark as options of a line."""
    return {
        "marker": marker,
        "markersize": 4.8,
        "linestyle": "none",
        "color": colour,
        "markerfacecolor": "white" if hollow else colour,
        "markeredgewidth": 1.2,
        "zorder": 3,
    }


def _files(comparison: Comparison) -> list[Line2D]:
    """The legend of the other files."""
    return [
        Line2D(
            [],
            [],
            **{**_style(colour, marker, hollow=False), "linestyle": "-"},
            label=short_name(other.name, SMALL, 3.5),
        )
        for other, colour, marker in zip(comparison.others, _COLOURS, _MARKERS, strict=False)
    ]


def _explained(marks: Sequence[_Mark]) -> list[Line2D]:
    """The legend of filled and hollow marks, those that are there."""
    shown = {is_shown(mark.one) for mark in marks}
    words = {True: f"filled: p < {LEVEL} after Holm's correction", False: "hollow: no difference shown, or no interval"}
    return [
        Line2D([], [], **_style(INK, "o", hollow=not kind), label=text) for kind, text in words.items() if kind in shown
    ]


def _write_names(axes: Axes, names: Sequence[str], ticks: Sequence[float]) -> None:
    style: dict[str, Any] = {"color": INK, "transform": axes.get_yaxis_transform(), "fontsize": _TEXT}
    for name, y in zip(names, ticks, strict=True):
        weight = "bold" if name == "Macro AUC" else "normal"
        axes.text(-0.02, y, name, ha="right", va="center", weight=weight, parse_math=False, **style)


def _write_numbers(axes: Axes, marks: Sequence[_Mark]) -> None:
    style: dict[str, Any] = {"color": INK, "transform": axes.get_yaxis_transform(), "fontsize": _TEXT}
    axes.text(1.03, -0.03, "difference\n(95 % interval)", va="bottom", **{**style, "fontsize": SMALL})
    for mark in marks:
        axes.text(1.03, mark.y, difference_text(mark.one), va="center", **style)


def difference_text(one: Difference) -> str:
    """As "+0.023 (−0.01 to +0.06)"."""
    low, high = one.found.interval
    text = f"{one.found.value:+.3f}" + (f" ({low:+.2f} to {high:+.2f})" if math.isfinite(low) else "")
    return text.replace("-", "\N{MINUS SIGN}")


def _limits(marks: Sequence[_Mark]) -> tuple[float, float]:
    """The limits of the axis: all values, intervals up to LARGEST, and room for the words on both sides of 0."""
    values = [mark.one.found.value for mark in marks]
    ends = [end for mark in marks for end in mark.one.found.interval if math.isfinite(end)]
    low = min(0.0, *values, max(min(ends, default=0.0), -LARGEST))
    high = max(0.0, *values, min(max(ends, default=0.0), LARGEST))
    span = max(high - low, 0.02)
    return min(low - 0.04 * span, -0.35 * span), max(high + 0.04 * span, 0.35 * span)


def _or_lowest(value: float) -> float:
    return value if math.isfinite(value) else -2.0


def _csv_rows(comparison: Comparison) -> list[tuple[object, ...]]:
    """The tables of all other files as one, the macro AUC in the first row of each."""
    return [
        _CSV_HEAD,
        *(
            (
                *(other.name, comparison.first, one.finding),
                *((None, None) if one is other.macro else (one.positives, one.negatives)),
                *(one.other, one.first, one.found.value, *one.found.interval, one.p, one.verdict, one.found.why),
            )
            for other in comparison.others
            for one in (other.macro, *other.findings)
        ),
    ]
