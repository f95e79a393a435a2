"""Figures 1 to 8 of the paper from this run: plots, and their data as CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cxrscore.contract import Floats
from cxrscore.images import Augmentation
from cxrscore.io.csv_text import escape_formula
from cxrscore.metrics import Estimate, roc
from cxrscore.paper import reported
from cxrscore.paper.heatmaps import FilmHeatmaps
from cxrscore.paper.results import ExperimentResult, Finding
from cxrscore.paper.scoring import ScoredExperiment
from cxrscore.reporting import figures as draw
from cxrscore.reporting.heatmaps import LARGEST_SIDE, Pixels, overlay, peak_value, shrink
from cxrscore.reporting.provenance import Training, read_training
from cxrscore.training.data import Data

Cells = Sequence[ExperimentResult]


@dataclass(frozen=True, kw_only=True)
class AugmentedExample:
    """A training film and an augmented copy of it from training, uint8 [S,S]."""

    path: str
    film: Pixels
    augmented: Pixels
    drawn: dict[str, Any]


def augmented_example(film: Floats, augmented: Floats, path: str, augmentation: Augmentation) -> AugmentedExample:
    """Figures 1 and 2 of a film and its augmented copy, float32 [S,S] in 0..1."""
    return AugmentedExample(path=path, film=_grey(film), augmented=_grey(augmented), drawn=augmentation.as_dict())


def film_figure(grey: Pixels, title: str) -> Figure:
    """A film with its title."""
    figure = Figure(figsize=(3.4, 3.6), dpi=draw.DOTS, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8.5)
    return figure


def losses(experiments: Cells) -> Figure:
    """Figure 3: training and validation loss by epoch of each experiment."""
    return draw.losses_of_runs([(one.scored.experiment.words, _training(one.scored)) for one in experiments])


def _training(scored: ScoredExperiment) -> Training:
    """History without a mark at the best epoch, because the last epoch is used."""
    training = read_training({"model": {"document": scored.trained.model.document}})
    return Training(epochs=training.epochs, monitor=training.monitor, best_epoch=None, has_leakage=training.has_leakage)


def curves(result: ExperimentResult, data: Data) -> Figure:
    """Figures 4 to 6: the ROC curve of every finding on the test films, with its AUC and interval."""
    rows = list(data.split.test)
    findings = result.splits["test"].findings
    score, truth = result.scored.score[rows], data.labels[rows]
    drawn = [_curve(one, truth[:, c], score[:, c].astype(np.float64)) for c, one in enumerate(findings)]
    return draw.roc_grid(drawn, [auc_text(one.area) for one in findings])


def _curve(one: Finding, truth: Floats, score: Any) -> draw.FindingData:
    """Plot data; the marked point is at the validation threshold."""
    return draw.FindingData(
        finding=one.finding,
        truth=truth,
        prob=score,
        all_prob=score,
        auc=one.area.value,
        threshold=math.nan,
        sensitivity=one.at_threshold[0],
        specificity=one.at_threshold[1],
    )


def auc_text(area: Estimate) -> str:
    """ "0.71 (0.55 to 0.87)"; only the value if there is no interval, "undefined" if there is no value."""
    if math.isnan(area.value):
        return "undefined"
    low, high = area.interval
    return f"{area.value:.3f}" if math.isnan(low) else f"{area.value:.3f} ({low:.2f}–{high:.2f})"


@dataclass(frozen=True, kw_only=True)
class HeatmapOverlay:
    """One map over its film: pixels uint8 [S,S,3]; note: why no map is drawn, or ""."""

    finding: str
    prob: float
    truth: float
    pixels: Pixels
    note: str


@dataclass(frozen=True, kw_only=True)
class FilmPanel:
    """A film (uint8 [S,S,3]) with its maps; scale: the map value at the top of their common colour scale."""

    film: Pixels
    maps: tuple[HeatmapOverlay, ...]
    scale: float


def film_panel(shown: FilmHeatmaps) -> FilmPanel:
    """Figures 7 and 8: a film and its maps on one scale, in the order of the selection rule."""
    grey = shrink(_grey(shown.film), LARGEST_SIDE)
    scale = max(peak_value(one) for one in shown.maps)
    maps = zip(shown.findings, shown.prob, shown.truth, shown.maps, strict=True)
    return FilmPanel(
        film=np.repeat(grey[..., None], 3, axis=2),
        maps=tuple(_draw_overlay(grey, *one, scale) for one in maps),
        scale=scale,
    )


def heatmap_figure(shown: FilmHeatmaps) -> Figure:
    """The film and its maps in one row."""
    panel = film_panel(shown)
    titles = ["\n".join(filter(None, (f"{one.finding} {one.prob:.3f}", one.note))) for one in panel.maps]
    return draw.picture_row([panel.film, *(one.pixels for one in panel.maps)], ["film", *titles])


def _draw_overlay(grey: Pixels, finding: str, prob: float, truth: float, raw: Floats, scale: float) -> HeatmapOverlay:
    empty = peak_value(raw) == 0
    return HeatmapOverlay(
        finding=finding,
        prob=prob,
        truth=truth,
        pixels=np.repeat(grey[..., None], 3, axis=2) if empty else overlay(grey, raw, scale),
        note="no positive evidence" if empty else "",
    )


def _grey(film: Floats) -> Pixels:
    return np.asarray(np.rint(255 * film), dtype=np.uint8)


# --- data files of the figures


def losses_csv(experiments: Cells) -> bytes:
    """The history of each experiment, one row per epoch."""
    names = list(experiments[0].scored.trained.history[0])
    rows = [
        [one.scored.experiment.name, *(row.get(name) for name in names)]
        for one in experiments
        for row in one.scored.trained.history
    ]
    return table_csv(["experiment", *names], rows)


def aucs_csv(result: ExperimentResult) -> bytes:
    """One row per finding: the AUC by three methods, its interval, and rates at 0.5 and at the validation threshold."""
    place = (result.scored.experiment.first, result.scored.experiment.augmented)
    head = "finding positives negatives paper auc low high no_interval trapezoid binormal threshold"
    head += " sensitivity_at_half specificity_at_half sensitivity_at_threshold specificity_at_threshold"
    rows = [
        [
            *(one.finding, one.positives, one.negatives, reported.reported_auc(place, one.finding)),
            *(one.area.value, *one.area.interval, one.area.why, one.trapezoid, one.binormal),
            *(one.threshold, *one.at_half, *one.at_threshold),
        ]
        for one in result.splits["test"].findings
    ]
    return table_csv(head.split(), rows)


def curves_csv(result: ExperimentResult, data: Data) -> bytes:
    """The points of every curve; thresholds are log-odds."""
    test = list(data.split.test)
    rows: list[list[Any]] = []
    for c, one in enumerate(result.splits["test"].findings):
        curve = roc(data.labels[test, c], result.scored.score[test, c])
        points = zip(curve.thresholds, curve.fpr, curve.tpr, strict=True)
        rows += [[one.finding, *map(float, point)] for point in points]
    return table_csv(["finding", "threshold", "false_positive_rate", "true_positive_rate"], rows)


def example_json(augmented: AugmentedExample, series: str) -> bytes:
    """Path of the film, and the augmentation limits."""
    return json_bytes({"film": augmented.path, "recipe": series, "augmentation": augmented.drawn})


def maps_json(shown: FilmHeatmaps) -> bytes:
    """The raw signed maps with their findings."""
    return json_bytes(
        {
            "film": shown.path,
            "cam_layer": shown.cam_layer,
            "findings": list(shown.findings),
            "probability": list(shown.prob),
            "label": [None if math.isnan(value) else int(value > 0.5) for value in shown.truth],
            "by_highest_auc": list(shown.by_auc),
            "by_highest_probability": list(shown.by_prob),
            "maps": [[[float(value) for value in row] for row in one] for one in shown.maps],
        }
    )


def json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def table_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV file: numbers with six digits, empty if undefined; names cannot act as spreadsheet formulas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_experiment(name) for name in head])
    writer.writerows([_experiment(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _experiment(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return escape_formula(value) if isinstance(value, str) else value
