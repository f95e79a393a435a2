"""The metrics of an experiment on one split: accuracies, AUCs by three methods, and their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.metrics import (
    Estimate,
    auc_binormal,
    auc_trapezoid,
    balanced_accuracy_estimate,
    counts,
    delong,
    difference,
    label_accuracy_estimate,
    mean_estimate,
)
from cxrscore.paper.scoring import ScoredExperiment
from cxrscore.training.data import Data

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding on one split. area: Mann-Whitney AUC with DeLong's interval; also by two other methods.

    threshold  of the model, by Youden's rule on the validation films, NaN if they have only one class
    at_half, at_threshold  sensitivity and specificity where probabilities above 0.5, and of the threshold or more,
                           count as positive; NaN if undefined
    """

    finding: str
    positives: int
    negatives: int
    area: Estimate
    trapezoid: float
    binormal: float
    threshold: float
    at_half: tuple[float, float]
    at_threshold: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """An experiment on one split. negative_baseline: label accuracy of a constant negative prediction."""

    films: int
    accuracy: Estimate
    negative_baseline: Estimate
    balanced: Estimate
    macro: Estimate
    findings: tuple[Finding, ...]

    @property
    def above_negative_baseline(self) -> Estimate:
        """Label accuracy minus that of a constant negative prediction on the same films."""
        return difference(self.accuracy, self.negative_baseline)

    @property
    def defined(self) -> int:
        """Number of findings in the mean ``macro``."""
        return sum(not math.isnan(one.area.value) for one in self.findings)


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """An experiment and its metrics by split."""

    scored: ScoredExperiment
    splits: dict[str, SplitResult]


def experiment_result(scored: ScoredExperiment, data: Data) -> ExperimentResult:
    """The metrics of a scored experiment."""
    rows = {name: list(part) for name, part in data.split.parts()}
    return ExperimentResult(
        scored=scored, splits={name: _part(scored, data.labels[rows[name]], rows[name]) for name in PARTS}
    )


def _part(scored: ScoredExperiment, truth: Floats, rows: list[int]) -> SplitResult:
    prob = scored.prob[rows]
    findings = tuple(_finding(scored, truth, rows, column) for column in range(truth.shape[1]))
    balanced = [balanced_accuracy_estimate(truth[:, c], prob[:, c]) for c in range(truth.shape[1])]
    return SplitResult(
        films=len(rows),
        accuracy=label_accuracy_estimate(truth, prob),
        negative_baseline=label_accuracy_estimate(truth, np.zeros_like(prob)),
        balanced=mean_estimate(balanced),
        macro=mean_estimate([one.area for one in findings]),
        findings=findings,
    )


def _finding(scored: ScoredExperiment, truth: Floats, rows: list[int], column: int) -> Finding:
    labels, score, prob = truth[:, column], scored.score[rows, column], scored.prob[rows, column]
    name = scored.trained.model.spec.findings[column]
    positives, negatives = counts(labels)
    threshold = float(scored.trained.model.document["thresholds"].get(name, {}).get("prob", math.nan))
    return Finding(
        finding=name,
        positives=int(positives),
        negatives=int(negatives),
        area=delong(labels, score),
        trapezoid=auc_trapezoid(labels, score),
        binormal=auc_binormal(labels, score),
        threshold=threshold,
        at_half=_rates(labels, prob > 0.5),
        at_threshold=(math.nan, math.nan) if math.isnan(threshold) else _rates(labels, prob >= threshold),
    )


def _rates(labels: Floats, called: NDArray[np.bool_]) -> tuple[float, float]:
    """Sensitivity and specificity of these calls."""
    return _fraction(called[labels > 0.5]), _fraction(~called[labels < 0.5])


def _fraction(right: NDArray[np.bool_]) -> float:
    return float(right.mean()) if len(right) else math.nan
