"""Measurements of this run for the table of contradictions in the paper, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cxrscore.contract import Floats
from cxrscore.losses import class_weights, paper_equation_7, weighted_bce
from cxrscore.metrics import negative_baseline
from cxrscore.paper import reported
from cxrscore.paper.claims import Results
from cxrscore.paper.experiments import CORRECTED, IMAGENET, LITERAL, Experiment, network_label
from cxrscore.paper.heatmaps import FilmHeatmaps
from cxrscore.paper.options import PaperOptions
from cxrscore.paper.results import ExperimentResult, SplitResult
from cxrscore.training import TrainOptions
from cxrscore.training.data import Data


def measure(
    options: PaperOptions,
    data: Data,
    experiments: Sequence[Experiment],
    results: Results,
    shown: Sequence[FilmHeatmaps],
) -> dict[str, str]:
    """Texts for all placeholders of contradictions.toml; films_folder: number of films before the split."""
    chosen = {(c.series, c.first, c.augmented): results[c.name] for c in experiments}
    best, literal = chosen[(CORRECTED, True, True)], chosen[(LITERAL, True, True)]
    return {
        **_films(data, best.scored.trained.options),
        **_initial_losses(data),
        **_outputs(best, literal, data),
        **_training(experiments, results),
        **_auc_facts(best.splits["test"]),
        **_thresholds(best.splits["test"]),
        **_normalisation(chosen),
        **_augmentation(best.scored.trained.options, options),
        **_maps(shown),
        "device": f"{best.scored.built.device}, {best.scored.built.framework}",
    }


def _films(data: Data, options: TrainOptions) -> dict[str, str]:
    sizes = {name: len(rows) for name, rows in data.split.parts()}
    batch = options.batch_size
    patients = {name: len({data.patients[row] or row for row in rows}) for name, rows in data.split.parts()}
    test = data.labels[list(data.split.test)]
    return {
        **{f"films_{name}": str(size) for name, size in sizes.items()},
        **{f"left_{name}": str(sizes[name] % batch) for name in ("train", "valid")},
        "left_valid_share": f"{100 * (sizes['valid'] % batch) / sizes['valid']:.0f}",
        "patients": str(sum(patients.values())),
        "leaks": str(len(data.leaks)),
        "seed": str(options.seed),
        "negative_baseline": _three(negative_baseline(test)),
        "negative_baseline_nih": _three(1 - sum(reported.NIH_POSITIVES.values()) / 14 / reported.NIH_FILMS),
    }


def _initial_losses(data: Data) -> dict[str, str]:
    """The loss of constant predictions (p = 1/2; with softmax 1/C) for each reading of equation 7."""
    ours = data.labels[list(data.split.train)]
    found = {f"{name}_ours": value for name, value in readings(ours).items()}
    found |= {f"{name}_nih": value for name, value in readings(_nih_labels()).items()}
    return {f"loss_{name}": _three(value) for name, value in found.items()}


def readings(labels: Floats) -> dict[str, float]:
    """The first loss under each reading: crossed weights, literal weights (with sigmoid, summed over findings), crossed
    ones averaged over findings, or with every P = 1/C, and as printed, with softmax and -log P in both branches."""
    weights, flat = class_weights(labels).astype(np.float64), np.zeros(labels.shape)
    crossed = float(weighted_bce(np, flat, labels, weights))
    even = flat - math.log(max(labels.shape[1] - 1, 1))
    return {
        "crossed": crossed,
        "literal": float(weighted_bce(np, flat, labels, weights[::-1])),
        "softmax": float(weighted_bce(np, even, labels, weights)),
        "mean": crossed / labels.shape[1],
        "printed": float(paper_equation_7(np, flat, labels, weights)),
    }


def _nih_labels() -> Floats:
    """Labels with the prevalences of the complete NIH table, for a tenth of its films."""
    films = reported.NIH_FILMS // 10
    labels = np.zeros((films, len(reported.NIH_POSITIVES)), np.float32)
    for column, positives in enumerate(reported.NIH_POSITIVES.values()):
        labels[: round(positives / 10), column] = 1
    return labels


def _outputs(best: ExperimentResult, literal: ExperimentResult, data: Data) -> dict[str, str]:
    rows = list(data.split.test)
    sums = {name: one.scored.prob[rows].sum(axis=1) for name, one in (("sigmoid", best), ("softmax", literal))}
    train = data.labels[list(data.split.train)]
    prob = literal.scored.prob[list(data.split.train)]
    return {
        "sum_sigmoid": f"{sums['sigmoid'].min():.2f} to {sums['sigmoid'].max():.2f}",
        "sum_softmax": f"{sums['softmax'].min():.3f} to {sums['softmax'].max():.3f}",
        "softmax_above_half": str(int((literal.scored.prob[rows] > 0.5).sum())),
        "softmax_labels": str(literal.scored.prob[rows].size),
        "literal_train_auc": _three(literal.splits["train"].macro.value),
        "paper_train_auc": _three(best.splits["train"].macro.value),
        "literal_positive": _three(float(prob[train > 0.5].mean())),
        "literal_negative": _three(float(prob[train < 0.5].mean())),
    }


def _training(experiments: Sequence[Experiment], results: Results) -> dict[str, str]:
    ours = [results[experiment.name].scored for experiment in experiments if experiment.series == CORRECTED]
    printed = [results[experiment.name].scored for experiment in experiments if experiment.series == LITERAL]
    histories = [one.trained.history for one in ours]
    heads = {one.experiment.network: one.trained.model.tensors for one in ours}
    return {
        "epochs": ", ".join(f"{one.experiment.words} {len(one.trained.history)}" for one in ours),
        "epochs_literal": ", ".join(f"{one.experiment.words} {len(one.trained.history)}" for one in printed),
        "losses": "; ".join(
            f"{one.experiment.words}: training {_span(rows, 'train_loss')}, validation {_span(rows, 'valid_loss')}"
            for one, rows in zip(ours, histories, strict=True)
        ),
        "best_epochs": ", ".join(
            f"{one.experiment.words} {one.trained.best_epoch} of {len(one.trained.history)}" for one in ours
        ),
        "trainable": "; ".join(
            f"{network_label(network)} {_parameters(tensors)}" for network, tensors in heads.items()
        ),
    }


def _span(rows: Sequence[dict[str, Any]], name: str) -> str:
    """First and last value, and the largest if it is neither."""
    values = [row[name] for row in rows if row[name] is not None]
    largest = "" if max(values) in (values[0], values[-1]) else f", {max(values):.2f} at most"
    return f"{values[0]:.2f} to {values[-1]:.2f}{largest}"


def _parameters(tensors: Any) -> str:
    head = sum(tensor.size for name, tensor in tensors.items() if name.startswith("head/"))
    return f"{head:,} of {sum(tensor.size for tensor in tensors.values()):,}"


def _auc_facts(test: SplitResult) -> dict[str, str]:
    there = [one for one in test.findings if not math.isnan(one.area.value)]
    spans = [one.area.interval for one in there if not one.area.why]
    modelled = [abs(one.binormal - one.area.value) for one in there if not math.isnan(one.binormal)]
    return {
        "findings": str(len(there)),
        "below_half": str(sum(one.area.value < 0.5 for one in there)),
        "surely_below_half": str(sum(high < 0.5 for _, high in spans)),
        "surely_above_half": str(sum(low > 0.5 for low, _ in spans)),
        "median_width": _three(float(np.median([high - low for low, high in spans])) if spans else math.nan),
        "trapezoid_difference": f"{max((abs(one.trapezoid - one.area.value) for one in there), default=0.0):.1g}",
        "binormal_difference": _three(max(modelled, default=math.nan)),
        "hanley_40": f"{hanley_mcneil(2, 38):.2f}",
        "hanley_100": f"{hanley_mcneil(5, 95):.2f}",
    }


def hanley_mcneil(positives: int, negatives: int, area: float = 0.5) -> float:
    """Standard error of an AUC: Hanley and McNeil, Radiology 143, 1982, equation 1."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    above = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return math.sqrt(above / (positives * negatives))


def _thresholds(test: SplitResult) -> dict[str, str]:
    return {
        f"{rate}_{place}": _three(_mean([getattr(one, f"at_{place}")[index] for one in test.findings]))
        for index, rate in enumerate(("sensitivity", "specificity"))
        for place in ("half", "threshold")
    }


def _mean(values: Sequence[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return float(np.mean(there)) if there else math.nan


def _normalisation(chosen: dict[tuple[str, bool, bool], ExperimentResult]) -> dict[str, str]:
    texts = {}
    for word, first in (("first", True), ("second", False)):
        for name, series in (("unit", CORRECTED), ("imagenet", IMAGENET)):
            test = chosen[(series, first, True)].splits["test"]
            texts[f"{word}_{name}"] = f"{_three(test.macro.value)} and {_three(test.accuracy.value)}"
        texts[f"{word}_network"] = network_label(chosen[(CORRECTED, first, True)].scored.experiment.network)
    return texts


def _augmentation(recipe: TrainOptions, options: PaperOptions) -> dict[str, str]:
    return {
        "limits": f"rotation {recipe.rotation:g} degrees, shift {recipe.shift:g} of the side, zoom {recipe.zoom:g}, "
        f"shear {recipe.shear:g}, flip {'on' if recipe.flip else 'off'}",
        "augmentations": str(options.augmentations),
    }


def _maps(shown: Sequence[FilmHeatmaps]) -> dict[str, str]:
    one = shown[0]
    maps = np.concatenate([film.maps.ravel() for film in shown])
    return {
        "cam_layer": one.cam_layer,
        "negative_share": f"{100 * float((maps < 0).mean()):.0f}",
        "by_auc": ", ".join(one.by_auc),
        "by_prob": ", ".join(one.by_prob),
    }


def _three(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"
