"""The plots of a report: functions from data to matplotlib Figures, without pyplot and its global state.

A plot of all findings is one figure with a panel for each (small_multiples).
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxrscore.contract import Array, Floats
from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.metrics import (
    Proportion,
    Reliability,
    average_precision,
    net_benefit,
    precision_recall,
    reliability,
    roc,
    supported_thresholds,
)
from cxrscore.metrics.grouping import class_mask
from cxrscore.metrics.reliability import POINTS
from cxrscore.reporting.heatmaps import HeatmapPanel, Pixels
from cxrscore.reporting.plot_elements import (
    BLUE,
    DOTS,
    GREY,
    INK,
    RED,
    SMALL,
    Doubles,
    ignored_missing_glyphs,
    plain_axes,
    thin_curve,
)
from cxrscore.reporting.provenance import Training
from cxrscore.reporting.small_multiples import Panel, Panels, line, log_odds, probability_ticks, small_multiples

__all__ = ["BLUE", "DOTS", "GREY", "INK", "RED", "SMALL", "plain_axes"]

Format = Literal["png", "svg"]

BINS = 20
"""Number of histogram bins over the common range of probabilities."""
TAIL = 0.005
"""Fraction of the films at each end of the common range of probabilities that are drawn at its limit."""
FILMS_PER_BIN = 20
"""Minimum number of films in a bin of a reliability curve: with fewer, the intervals are as wide as the axis."""
EDGE = 0.01
"""Fraction of the films at each end of a reliability curve that are drawn at the side of the panel."""
MOST_MARKS = 150
"""Maximum number of films of a class in a rug; more are drawn as quantiles."""
LOWEST_BENEFIT = -0.25
"""Net benefit, as a fraction of the prevalence, at which decision curves are cut."""

_SHARES = ((0.0, "0"), (0.5, "0.5"), (1.0, "1"))
_UNIT = (-0.02, 1.02)


@dataclass(frozen=True, kw_only=True)
class FindingData:
    """The data for the plots of one finding.

    truth, prob            float32 [A] of the assessed films; NaN if unknown
    ranked                 float64 [A], the numbers by which these films are ranked (ranking.ranking_scores); None: prob
    all_prob               float32 of all scored films, drawn if no label is known
    auc                    NaN if undefined
    threshold              threshold of the model, NaN if undefined
    sensitivity, specificity  at this threshold, NaN if undefined
    """

    finding: str
    truth: Floats
    prob: Array
    all_prob: Array
    auc: float
    threshold: float
    sensitivity: float
    specificity: float
    ranked: Array | None = None

    @property
    def ranks(self) -> Array:
        """The numbers by which the films are ranked."""
        return self.prob if self.ranked is None else self.ranked


def roc_grid(findings: Sequence[FindingData], words: Sequence[str] | None = None) -> Figure:
    """The ROC curves of all findings with their AUC, or with these texts, as in figures 4 to 6 of the paper."""
    texts = [_auc_text(data.auc) for data in findings] if words is None else words
    legend = [line(BLUE, "ROC curve"), line(GREY, "chance", "--")]
    if any(math.isfinite(data.sensitivity) for data in findings):
        legend.append(line(RED, "threshold", "none", "o"))
    shape = Panels(
        x="1 − specificity", y="sensitivity", x_ticks=_SHARES, y_ticks=_SHARES, x_limits=_UNIT, y_limits=_UNIT,
        legend=legend,
    )  # fmt: skip
    return small_multiples(findings, _titles(findings, texts), _draw_roc, shape)


def precision_recall_grid(findings: Sequence[FindingData], words: Sequence[str] | None = None) -> Figure:
    """The precision-recall curves of all findings with their average precision, or with these texts."""
    if words is None:
        words = [f"AP {average_precision(data.truth, data.ranks):.3f}" for data in findings]
    shape = Panels(
        x="recall (sensitivity)", y="precision (positive predictive value)",
        x_ticks=_SHARES, y_ticks=_SHARES, x_limits=_UNIT, y_limits=_UNIT,
        legend=[line(BLUE, "precision-recall curve"), line(GREY, "prevalence", "--")],
    )  # fmt: skip
    return small_multiples(findings, _titles(findings, words), _draw_precision_recall, shape)


def distribution_grid(findings: Sequence[FindingData], words: Sequence[str] | None = None) -> Figure:
    """The distributions of the probabilities of all findings on one scale of log odds: positive films above the line,
    negative films below it, each as fractions of its class; without labels all films above it."""
    low, high = _common_range(findings)
    edges = np.linspace(low, high, BINS + 1)
    bars = [_histograms(data, edges) for data in findings]
    above = max((float(part.max()) for up, down, _ in bars for part in (up, down)), default=1.0)
    labelled = any(down.any() for _, down, _ in bars)
    top = round(above, 2 if above < 0.2 else 1)
    legend = []
    if labelled:
        legend += [line(RED, "labelled positive", "none", "s"), line(BLUE, "labelled negative", "none", "s")]
    if any(is_all for *_, is_all in bars):
        legend.append(line(GREY, "all scored films, no labels", "none", "s"))
    if any(math.isfinite(data.threshold) for data in findings):
        legend.append(line(INK, "threshold", "--"))
    shape = Panels(
        x="probability (log odds scale)", y="fraction of films of the class" if labelled else "fraction of films",
        x_ticks=probability_ticks(low, high), x_limits=(low, high),
        y_ticks=[(-top, f"{top:g}")] * labelled + [(0, "0"), (top, f"{top:g}")],
        y_limits=(-1.05 * above if labelled else 0, 1.05 * above), legend=legend,
    )  # fmt: skip
    draw = functools.partial(_draw_distribution, edges=edges)
    return small_multiples(list(zip(findings, bars, strict=True)), _titles(findings, words), draw, shape)


def reliability_grid(findings: Sequence[FindingData], words: Sequence[str] | None = None) -> Figure:
    """The reliability curves of all findings: fraction of positive films by predicted probability, each on axes that
    end where its films do."""
    shape = Panels(
        x="probability", y="fraction of positives",
        legend=[line(BLUE, "bin of films, with 95 % interval", "-", "o"), line(GREY, "calibrated", "--"),
                line(RED, "positive film", "none", "|"), line(BLUE, "negative film", "none", "|")],
    )  # fmt: skip
    return small_multiples(findings, _titles(findings, words), _draw_reliability, shape)


def decision_grid(findings: Sequence[FindingData], words: Sequence[str] | None = None) -> Figure:
    """The decision curves of all findings, as fractions of the prevalence, over thresholds that the films support."""
    supported = [supported_thresholds(data.truth, data.prob) for data in findings]
    ends = [float(log_odds(one[[place]])[0]) for one in supported if len(one) for place in (0, -1)]
    low, high = (min(ends), max(ends)) if ends else (-2.0, 2.0)
    shape = Panels(
        x="threshold probability (log odds scale)", y="net benefit / prevalence",
        x_ticks=probability_ticks(low, high), x_limits=(low, high),
        y_ticks=_SHARES, y_limits=(LOWEST_BENEFIT, 1.02),
        legend=[line(BLUE, "the model"), line(RED, "treat all", "--"), line(GREY, "treat none")],
    )  # fmt: skip
    return small_multiples(list(zip(findings, supported, strict=True)), _titles(findings, words), _draw_decision, shape)


def _titles(findings: Sequence[FindingData], words: Sequence[str] | None) -> list[str]:
    """The name of each finding and its texts."""
    texts = [""] * len(findings) if words is None else words
    names = [escape_control_characters(data.finding) for data in findings]  # a line break would end the name
    return [f"{name}\n{text}" if text else name for name, text in zip(names, texts, strict=True)]


def _auc_text(auc: float) -> str:
    return f"AUC {auc:.3f}" if math.isfinite(auc) else "AUC undefined"


def _draw_roc(panel: Panel, data: FindingData) -> None:
    panel.dashes([0, 1], [0, 1], GREY)
    if math.isfinite(data.auc):
        curve = roc(data.truth, data.ranks)
        panel.plot(*thin_curve(curve.fpr, curve.tpr), color=BLUE, linewidth=1.4, solid_joinstyle="miter")
    if math.isfinite(data.sensitivity) and math.isfinite(data.specificity):
        at = [1 - data.specificity], [data.sensitivity]
        panel.plot(*at, color=RED, marker="o", markersize=4, linestyle="none", clip=False)


def _draw_precision_recall(panel: Panel, data: FindingData) -> None:
    valid = class_mask(data.truth, data.ranks)
    prevalence = float((data.truth[valid] > 0.5).mean()) if valid.any() else math.nan
    panel.dashes([0, 1], [prevalence, prevalence], GREY)
    curve = precision_recall(data.truth, data.ranks)
    rises = np.diff(curve.recall, prepend=0) > 0  # the steps whose area is the average precision
    if rises.any():
        recall, precision = curve.recall[rises], curve.precision[rises]
        recall, precision = thin_curve(np.r_[0, recall], np.r_[precision[0], precision])
        panel.plot(recall, precision, drawstyle="steps-pre", color=BLUE, linewidth=1.4)


def _common_range(findings: Sequence[FindingData]) -> tuple[float, float]:
    """The log odds between which nearly all films of these findings are."""
    ends = [
        end for data in findings if len(data.all_prob) for end in np.quantile(log_odds(data.all_prob), (TAIL, 1 - TAIL))
    ]
    low, high = (float(min(ends)), float(max(ends))) if ends else (-2.0, 2.0)
    return (low, high) if high - low > 0.1 else (low - 0.5, high + 0.5)


def _histograms(data: FindingData, edges: Doubles) -> tuple[Doubles, Doubles, bool]:
    """Fractions of the positive and of the negative films in each bin; or of all films, and that they are all."""
    known = class_mask(data.truth, data.prob)
    classes = [data.prob[known & (data.truth > 0.5)], data.prob[known & (data.truth < 0.5)]]
    is_all = not any(map(len, classes))
    parts = [data.all_prob, classes[1]] if is_all else classes
    positive, negative = (
        np.histogram(np.clip(log_odds(part), edges[0], edges[-1]), edges)[0] / max(len(part), 1) for part in parts
    )
    return positive, negative, is_all


def _draw_distribution(panel: Panel, item: tuple[FindingData, tuple[Doubles, Doubles, bool]], edges: Doubles) -> None:
    data, (up, down, is_all) = item
    panel.bars(up, edges, GREY if is_all else RED)
    if not is_all:
        panel.bars(-down, edges, BLUE)
        panel.plot(panel.x_limits, [0, 0], color=GREY, linewidth=0.6)
    if math.isfinite(data.threshold):
        at = float(log_odds(np.array(data.threshold)))
        panel.dashes([at, at], panel.y_limits, INK)


def reliability_bins(data: FindingData) -> Reliability:
    """The reliability curve of a finding in bins of FILMS_PER_BIN films or more."""
    known = int(np.count_nonzero(~np.isnan(data.prob) & ~np.isnan(data.truth)))
    return reliability(data.truth, data.prob, points=max(1, min(POINTS, known // FILMS_PER_BIN)))


def _draw_reliability(panel: Panel, data: FindingData) -> None:
    curve = reliability_bins(data)
    intervals = [
        Proportion(hits=round(share * films), total=int(films)).interval
        for share, films in zip(curve.share, curve.films, strict=True)
    ]
    valid = ~np.isnan(data.prob) & ~np.isnan(data.truth)
    low, high = _range_of(data.prob[valid], curve.prob)
    top = _round_up(max([*(end for _, end in intervals), *curve.prob, 0.05]))
    panel.set_limits((low, high), (0, top))
    panel.dashes([0, 1], [0, 1], GREY)
    panel.strokes(curve.prob, intervals, color=BLUE, linewidth=1, alpha=0.6)
    panel.plot(curve.prob, curve.share, color=BLUE, linewidth=1.2, marker="o", markersize=3, clip=False)
    for wanted, colour, ends in ((data.truth > 0.5, RED, (0.96 * top, top)), (data.truth < 0.5, BLUE, (0, 0.04 * top))):
        marks = np.clip(_quantile_marks(data.prob[valid & wanted]), low, high)
        panel.strokes(marks, [ends] * len(marks), color=colour, linewidth=0.6, clip=False)
    panel.ticks([(low, f"{low:.2g}"), (high, f"{high:.2g}")], [(0, "0"), (top, f"{top:.2g}")])


def _range_of(prob: Array, points: Array) -> tuple[float, float]:
    """The range of nearly all probabilities and of these points, a little wider."""
    if not len(prob):
        return 0.0, 1.0
    low, high = np.quantile(prob.astype(np.float64), (EDGE, 1 - EDGE))
    low, high = min(float(low), float(points.min())), max(float(high), float(points.max()))
    room = max(0.04 * (high - low), 0.005)
    return max(0.0, low - room), min(1.0, high + room)


def _round_up(value: float) -> float:
    """The upper limit of an axis of fractions."""
    return next(end for end in (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0) if end >= min(value, 1.0))


def _quantile_marks(prob: Array) -> Array:
    """The probabilities, or as many quantiles of them as a rug can show."""
    return prob if len(prob) <= MOST_MARKS else np.quantile(prob, np.linspace(0, 1, MOST_MARKS))


def _draw_decision(panel: Panel, item: tuple[FindingData, Doubles]) -> None:
    data, thresholds = item
    panel.plot(panel.x_limits, [0, 0], color=GREY, linewidth=1.2)
    known = class_mask(data.truth, data.prob)
    prevalence = float((data.truth[known] > 0.5).mean()) if known.any() else 0.0
    if len(thresholds) and prevalence:
        curve, at = net_benefit(data.truth, data.prob, thresholds), log_odds(thresholds)
        panel.dashes(at, curve.treat_all / prevalence, RED)
        panel.plot(at, curve.model / prevalence, color=BLUE, linewidth=1.4)


def loss_plot(training: Training) -> Figure:
    """Training and validation loss by epoch, as in figure 3 of the paper, with a mark at the selected epoch."""
    return _wide(_draw_loss, training)


def monitor_plot(training: Training) -> Figure:
    """The monitored measure by epoch."""
    return _wide(_draw_monitor, training)


def loss_grid(training: Training) -> Figure:
    """Losses and, if it is not a loss, the monitored measure, side by side."""
    draws = (_draw_loss, _draw_monitor) if monitors_more(training) else (_draw_loss,)
    figure = Figure(figsize=(4.6 * len(draws), 2.9), dpi=DOTS, layout="constrained")
    for draw, axes in zip(draws, np.ravel(figure.subplots(1, len(draws))), strict=True):
        draw(axes, training)
    return figure


def losses_of_runs(runs: Sequence[tuple[str, Training]]) -> Figure:
    """The losses of several runs, each with its title, two in a row, as figure 3 of the paper."""
    columns = min(len(runs), 2)
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(3.9 * columns, 2.6 * rows), dpi=DOTS, layout="constrained")
    places = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes, (title, training) in zip(places, runs, strict=False):
        _draw_loss(axes, training)
        axes.set_title(title, fontsize=8.5, color=INK, parse_math=False)
    for axes in places[len(runs) :]:
        axes.set_axis_off()
    return figure


def monitors_more(training: Training) -> bool:
    """Whether the monitored metric is recorded and is not one of the two losses."""
    monitored = any(math.isfinite(epoch.monitored) for epoch in training.epochs)
    return monitored and training.monitor not in ("train_loss", "valid_loss")


def panel_figure(panel: HeatmapPanel) -> Figure:
    """A film beside the same film with its heat map."""
    weak = f"very weak: {panel.strength_text} of the strongest" if panel.very_weak else ""
    notes = [panel.choice.kind, *filter(None, (panel.times, weak, panel.note))]
    title = "\n".join((f"{panel.finding} {panel.prob:.3f}", *notes))
    return picture_row((panel.film, panel.overlay), ("film", title))


def picture_row(pictures: Sequence[Pixels], titles: Sequence[str]) -> Figure:
    """Square pictures [S,S,3] in one row, each below its title of one or more lines."""
    lines = max(2, *(title.count("\n") + 1 for title in titles))
    figure = Figure(figsize=(2.0 * len(titles), 2.05 + 0.15 * lines), dpi=DOTS, layout="constrained")
    for axes, title, picture in zip(np.ravel(figure.subplots(1, len(titles))), titles, pictures, strict=True):
        axes.imshow(picture)
        axes.set_axis_off()
        axes.set_title(title, fontsize=SMALL, color=INK, parse_math=False)
    return figure


PNG_MARK, SVG_MARK = b"Software\0cxrscore", b"<dc:title>cxrscore</dc:title>"
"""Markers that identify a figure of cxrscore."""


def encode(figure: Figure, kind: Format) -> bytes:
    """The figure as the bytes of a file; equal figures give equal bytes."""
    file = io.BytesIO()
    metadata = {"Date": None, "Creator": "cxrscore"} if kind == "svg" else {"Software": "cxrscore"}
    with matplotlib.rc_context({"svg.hashsalt": "cxrscore"}), ignored_missing_glyphs():
        figure.savefig(file, format=kind, metadata=metadata)
    return file.getvalue()


def _wide(draw: Callable[[Axes, Training], None], training: Training) -> Figure:
    figure = Figure(figsize=(4.6, 2.9), dpi=DOTS)
    draw(figure.add_axes((0.12, 0.15, 0.85, 0.81)), training)
    return figure


def _draw_loss(axes: Axes, training: Training) -> None:
    epochs = [epoch.number for epoch in training.epochs]
    drawn = []
    for name, colour in (("train", BLUE), ("valid", RED)):
        losses = [getattr(epoch, f"{name}_loss") for epoch in training.epochs]
        axes.plot(
            epochs, losses, color=colour, linewidth=1.4, marker=_marker(epochs), markersize=3, label=_LOSSES[name]
        )
        drawn.append(losses)
    _zoom(axes, drawn)
    _mark_best(axes, training)
    plain_axes(axes, "epoch", "loss")
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK)


_LOSSES = {"train": "training", "valid": "validation"}


def _draw_monitor(axes: Axes, training: Training) -> None:
    epochs = [epoch.number for epoch in training.epochs]
    values = [epoch.monitored for epoch in training.epochs]
    axes.plot(epochs, values, color=BLUE, linewidth=1.4, marker=_marker(epochs), markersize=3)
    _zoom(axes, [values])
    _mark_best(axes, training)
    plain_axes(axes, "epoch", training.monitor_words)


def _zoom(axes: Axes, lines: Sequence[Sequence[float]]) -> None:
    """Limits of the y axis from the values; without those of the first epoch if they would leave the others less than
    a quarter of it, and then a line says what is outside."""
    values = np.array(lines, np.float64).reshape(len(lines), -1)
    later = values[:, 1:][np.isfinite(values[:, 1:])]
    every = values[np.isfinite(values)]
    if not len(every):
        return
    is_cut = len(later) > 1 and 0 < np.ptp(later) < 0.25 * np.ptp(every)
    low, high = (float(end(later if is_cut else every)) for end in (np.min, np.max))
    room = 0.08 * (high - low) or 0.05
    axes.set_ylim(low - room, high + room)
    beyond = [one for one in values[:, 0] if math.isfinite(one) and not low - room <= one <= high + room]
    if beyond:
        words = f"first epoch, outside: {', '.join(f'{one:.3g}' for one in beyond)}"
        axes.text(0.02, 1.0, words, fontsize=SMALL, color=INK, transform=axes.transAxes, va="bottom")


def _marker(epochs: list[int]) -> str:
    """Markers if there are few epochs: a line of one epoch is invisible."""
    return "o" if len(epochs) <= 15 else ""


def _mark_best(axes: Axes, training: Training) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if training.best_epoch is not None:
        label = f"selected epoch, {training.best_epoch}"
        axes.axvline(training.best_epoch, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label=label)
