"""The plots of a report: functions from data to matplotlib Figures, without pyplot and its global state.

Each kind of plot is one function on axes. The page shows single plots, so that they wrap on a narrow screen; files for
a paper contain them in one grid.
"""

from __future__ import annotations

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
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.metrics import Proportion, reliability, roc
from cxrscore.reporting.heatmaps import HeatmapPanel, Pixels
from cxrscore.reporting.provenance import Training

Format = Literal["png", "svg"]
Doubles = NDArray[np.float64]

DOTS = 200
"""Dots per inch of raster plots: two dots per pixel at the displayed width of about 2 inches."""
BINS = 20
"""Number of histogram bins over probabilities 0..1."""
CURVE_GRID = 2000
"""Grid steps per axis to which a drawn ROC curve is exact: a tenth of a dot."""

# Blue and vermillion of Okabe and Ito's palette, distinguishable by all readers.
BLUE, RED, GREY, INK = "#0072b2", "#d55e00", "#8a929c", "#30363d"
SMALL = 7.5
_TICKS, _TICK_WORDS = (0, 0.5, 1), ("0", "0.5", "1")


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


def roc_plot(data: FindingData) -> Figure:
    """The ROC curve of one finding."""
    return _single(_draw_roc, data)


def roc_grid(findings: Sequence[FindingData], words: Sequence[str] | None = None) -> Figure:
    """The ROC curves of all findings with their AUC, or with these texts, as in figures 4 to 6 of the paper."""
    if words is None:
        return _grid(_draw_roc, findings, [f"{data.finding}: {_auc_text(data.auc)}" for data in findings])
    return _grid(_draw_roc, findings, [f"{data.finding}\n{text}" for data, text in zip(findings, words, strict=True)])


def distribution_plot(data: FindingData) -> Figure:
    """The distribution of the probabilities of one finding."""
    return _single(_draw_distribution, data)


def distribution_grid(findings: Sequence[FindingData]) -> Figure:
    """The distributions of the probabilities of all findings."""
    return _grid(_draw_distribution, findings, [data.finding for data in findings])


def reliability_plot(data: FindingData) -> Figure:
    """The reliability curve of one finding: fraction of positive films by predicted probability."""
    return _single(_draw_reliability, data)


def reliability_grid(findings: Sequence[FindingData]) -> Figure:
    """The reliability curves of all findings."""
    return _grid(_draw_reliability, findings, [data.finding for data in findings])


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
    with matplotlib.rc_context({"svg.hashsalt": "cxrscore"}):
        figure.savefig(file, format=kind, metadata=metadata)
    return file.getvalue()


def _single(draw: Callable[[Axes, FindingData], None], data: FindingData) -> Figure:
    figure = Figure(figsize=(2.1, 1.95), dpi=DOTS)
    draw(figure.add_axes((0.215, 0.2, 0.735, 0.76)), data)
    return figure


def _wide(draw: Callable[[Axes, Training], None], training: Training) -> Figure:
    figure = Figure(figsize=(4.6, 2.9), dpi=DOTS)
    draw(figure.add_axes((0.12, 0.15, 0.85, 0.81)), training)
    return figure


def _grid(draw: Callable[[Axes, FindingData], None], findings: Sequence[FindingData], titles: Sequence[str]) -> Figure:
    columns = min(len(findings), 4)
    rows = -(-len(findings) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.25 * rows), dpi=DOTS, layout="constrained")
    places = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes, data, title in zip(places, findings, titles, strict=False):
        draw(axes, data)
        axes.set_title(title, fontsize=8.5, color=INK, parse_math=False)
    for axes in places[len(findings) :]:
        axes.set_axis_off()
    return figure


def _auc_text(auc: float) -> str:
    return f"AUC {auc:.3f}" if math.isfinite(auc) else "AUC undefined"


def _draw_roc(axes: Axes, data: FindingData) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    if math.isfinite(data.auc):
        curve = roc(data.truth, data.prob if data.ranked is None else data.ranked)
        fpr, tpr = thin_curve(curve.fpr, curve.tpr)
        axes.fill_between(fpr, tpr, color=BLUE, alpha=0.1, linewidth=0)
        axes.plot(fpr, tpr, color=BLUE, linewidth=1.5, solid_joinstyle="miter")
    if math.isfinite(data.sensitivity) and math.isfinite(data.specificity):
        axes.plot(1 - data.specificity, data.sensitivity, "o", color=RED, markersize=4, clip_on=False)
    axes.set(
        xlim=(-0.01, 1), ylim=(0, 1.02), xticks=_TICKS, xticklabels=_TICK_WORDS, yticks=_TICKS, yticklabels=_TICK_WORDS
    )
    plain_axes(axes, "1 − specificity", "sensitivity")


def thin_curve(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """A rising curve [n] without invisible points: of consecutive points in the same cell of a grid of CURVE_GRID steps
    per axis only the first remains, and the last point of the curve. A million films give at most 2 * CURVE_GRID
    points, and a curve of few films keeps all its corners."""
    spots = np.rint(np.column_stack([x, y]) * CURVE_GRID)
    selected = np.r_[True, (spots[1:] != spots[:-1]).any(axis=1)]
    selected[-1] = True
    return x[selected], y[selected]


def _draw_distribution(axes: Axes, data: FindingData) -> None:
    for prob, colour, filled in _groups(data):
        number, edges = np.histogram(prob, bins=BINS, range=(0, 1))
        bars = axes.stairs(number / len(prob), edges, fill=filled, color=colour)
        bars.set(alpha=0.45, linewidth=0) if filled else bars.set(linewidth=1.4)
    if math.isfinite(data.threshold):
        axes.axvline(data.threshold, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), xticks=_TICKS, xticklabels=_TICK_WORDS)
    axes.locator_params(axis="y", nbins=3)
    plain_axes(axes, "probability", "fraction of films")


def _draw_reliability(axes: Axes, data: FindingData) -> None:
    curve = reliability(data.truth, data.prob)
    top = _round_up(max([*curve.prob, *curve.share, 0.05]))
    axes.plot([0, top], [0, top], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    for prob, share, films in zip(curve.prob, curve.share, curve.films, strict=True):
        low, high = Proportion(hits=round(share * films), total=int(films)).interval
        axes.plot([prob, prob], [low, min(high, top)], color=BLUE, linewidth=0.9, alpha=0.55)
    axes.plot(curve.prob, curve.share, color=BLUE, linewidth=1.2, marker="o", markersize=2.8, clip_on=False)
    ticks = (0, top / 2, top)
    words = [f"{tick:.3g}" for tick in ticks]
    axes.set(xlim=(0, top), ylim=(0, top), xticks=ticks, xticklabels=words, yticks=ticks, yticklabels=words)
    plain_axes(axes, "probability", "fraction of positives")


def _round_up(value: float) -> float:
    """The upper limit of both axes: for a rare finding, the largest value of its points."""
    return next(end for end in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if end >= min(value, 1.0))


def _groups(data: FindingData) -> list[tuple[Array, str, bool]]:
    """Probabilities with colour and fill: negatives and positives, or all films if no label is known."""
    there = ~np.isnan(data.prob)
    negatives, positives = data.prob[there & (data.truth < 0.5)], data.prob[there & (data.truth > 0.5)]
    if not len(negatives) and not len(positives):
        return [(data.all_prob, BLUE, True)] if len(data.all_prob) else []
    return [group for group in ((negatives, GREY, True), (positives, RED, False)) if len(group[0])]


def _draw_loss(axes: Axes, training: Training) -> None:
    epochs = [epoch.number for epoch in training.epochs]
    for name, colour in (("train", BLUE), ("valid", RED)):
        losses = [getattr(epoch, f"{name}_loss") for epoch in training.epochs]
        axes.plot(epochs, losses, color=colour, linewidth=1.4, marker=_marker(epochs), markersize=3, label=name)
    axes.margins(y=0.08)
    axes.set_ylim(bottom=0)
    _mark_best(axes, training)
    plain_axes(axes, "epoch", "loss")
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK)


def _draw_monitor(axes: Axes, training: Training) -> None:
    epochs = [epoch.number for epoch in training.epochs]
    values = [epoch.monitored for epoch in training.epochs]
    axes.plot(epochs, values, color=BLUE, linewidth=1.4, marker=_marker(epochs), markersize=3)
    _mark_best(axes, training)
    plain_axes(axes, "epoch", training.monitor_words)


def _marker(epochs: list[int]) -> str:
    """Markers if there are few epochs: a line of one epoch is invisible."""
    return "o" if len(epochs) <= 15 else ""


def _mark_best(axes: Axes, training: Training) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if training.best_epoch is not None:
        label = f"selected epoch, {training.best_epoch}"
        axes.axvline(training.best_epoch, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label=label)


def plain_axes(axes: Axes, x: str, y: str) -> None:
    """Small text, thin lines and no frame, to emphasise the data."""
    axes.set_xlabel(x, fontsize=SMALL, color=INK, labelpad=2, parse_math=False)
    axes.set_ylabel(y, fontsize=SMALL, color=INK, labelpad=2, parse_math=False)
    axes.tick_params(labelsize=SMALL, colors=INK, length=2.5, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.6)
