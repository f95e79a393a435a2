"""The figures of a finished model for its file: of held-out predictions, with intervals over patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Activation, Floats, Metric
from cxrscore.metrics import (
    Estimate,
    average_precision,
    calibration_error,
    cross_validated_auc,
    delong,
    estimate_metric,
    mean_estimate,
)
from cxrscore.metrics.confidence_intervals import mean_value_estimate
from cxrscore.models.probabilities import probabilities
from cxrscore.training.final_evaluation import calibration_lines

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Predictions of films that the tensors were not fitted on.

    truth, logits  float32 [N,C]; truth NaN where unknown
    patients       [N], the same number for films of one patient
    on             "folds" or "valid"
    folds          [N], the fold of each film; None for validation films
    fitted         [C], whether a finding has coefficients
    weights        [N], of the films in the loss; None: all equal
    """

    truth: Floats
    logits: Floats
    patients: NDArray[np.intp]
    on: str
    fitted: NDArray[np.bool_]
    folds: NDArray[np.intp] | None = None
    weights: Doubles | None = None

    def probabilities(self, activation: Activation, method: str) -> Floats:
        """float32 [N,C], each fold with the calibration of the other folds, so that no film is calibrated with its own
        label; validation films with their own calibration."""
        prob = np.empty_like(self.logits)
        for own, others in self.turns():
            prob[own] = probabilities(self.logits[own], activation, self.calibration(self.logits, others, method))
        return prob

    def calibration(self, logits: Floats, films: NDArray[np.bool_], method: str) -> dict[str, Any] | None:
        """The calibration of logits [N,C] of these films by the labels of some of them, bool [N]; None for "none"."""
        if method == "none":
            return None
        weights = None if self.weights is None else self.weights[films]
        slope, intercept = calibration_lines(self.truth[films], logits[films], method, weights)
        return {"slope": slope, "intercept": intercept}

    def auc(self, c: int) -> Estimate:
        """The AUC of a finding: of out-of-fold predictions the mean over the folds."""
        if self.folds is None:
            return delong(self.truth[:, c], self.logits[:, c], self.patients)
        return cross_validated_auc(self.truth[:, c], self.logits[:, c], self.folds, self.patients)

    def turns(self) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """The films of each fold, and those of the other folds; all films twice without folds."""
        if self.folds is None:
            everything = np.ones(len(self.truth), np.bool_)
            return [(everything, everything)]
        return [(self.folds == fold, self.folds != fold) for fold in range(int(self.folds.max()) + 1)]


def patient_numbers(patients: Sequence[str | None]) -> NDArray[np.intp]:
    """int [N]: the same number for films of one patient; films of unknown patients each have their own."""
    names = [f"film {row}" if patient is None else f"patient {patient}" for row, patient in enumerate(patients)]
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.intp)


def evaluation(findings: Sequence[str], held: HeldOut, prob: Floats) -> dict[str, Any]:
    """The model file's "evaluation" of held-out predictions and their probabilities [N,C].

    AUCs have the intervals of DeLong, or of LeDell where they are means over folds, Brier scores those of a mean, and
    average precisions those of a bootstrap; all over patients."""
    aucs = [held.auc(c) for c in range(len(findings))]
    briers = [brier_estimate(held.truth[:, c], prob[:, c], held.patients) for c in range(len(findings))]
    constant = baseline_probabilities(held)
    baselines = [brier_estimate(held.truth[:, c], constant[:, c], held.patients) for c in range(len(findings))]
    metric = Metric(name="average_precision", summary="", function=average_precision)
    none = np.full(len(findings), np.nan)
    precisions = estimate_metric(metric, held.truth, held.logits, thresholds=none, groups=held.patients).estimates
    used = np.flatnonzero(held.fitted)
    return {
        "on": held.on,
        "folds": 0 if held.folds is None else int(held.folds.max()) + 1,
        "films": len(held.truth),
        "patients": len(np.unique(held.patients)),
        "macro_auc": figure(mean_estimate([aucs[c] for c in used])),
        "brier": figure(mean_estimate([briers[c] for c in used])),
        "brier_skill": _skill([briers[c] for c in used], [baselines[c] for c in used]),
        "calibration_error": number(float(np.mean([calibration_error(held.truth[:, c], prob[:, c]) for c in used]))),
        "spread": number(float(np.mean([spread(prob[:, c]) for c in used]))),
        "findings": {
            name: {
                "positives": int(np.nansum(held.truth[:, c] > 0.5)),
                "negatives": int((held.truth[:, c] < 0.5).sum()),
                "few_positives": not bool(held.fitted[c]),
                "auc": figure(aucs[c]),
                "average_precision": _limits(precisions[c].value, precisions[c].interval),
                "brier": figure(briers[c]),
                "brier_skill": _skill([briers[c]], [baselines[c]]),
                "spread": number(spread(prob[:, c])),
            }
            for c, name in enumerate(findings)
        },
    }


def test_evaluation(
    findings: Sequence[str], truth: Floats, logits: Floats, patients: NDArray[np.intp], fitted: NDArray[np.bool_]
) -> dict[str, Any]:
    """The figures of the test films, which are evaluated once; the mean is over the ``fitted`` [C] findings."""
    aucs = [delong(truth[:, c], logits[:, c], patients) for c in range(len(findings))]
    return {
        "films": len(truth),
        "macro_auc": figure(mean_estimate([aucs[c] for c in np.flatnonzero(fitted)])),
        "auc": {name: figure(one) for name, one in zip(findings, aucs, strict=True)},
    }


def spread(prob: Floats) -> float:
    """The 95th minus the 5th percentile of probabilities [N]."""
    low, high = np.percentile(prob.astype(np.float64), [5, 95])
    return float(high - low)


def figure(estimate: Estimate) -> dict[str, float | None]:
    """A figure with its 95 % interval, JSON-ready; null where undefined."""
    return _limits(estimate.value, estimate.interval)


def _limits(value: float, interval: tuple[float, float]) -> dict[str, float | None]:
    return {"value": number(value), "low": number(interval[0]), "high": number(interval[1])}


def number(value: float) -> float | None:
    """A number for JSON: null instead of NaN."""
    return float(value) if math.isfinite(value) else None


def brier_estimate(truth: Floats, prob: Floats | Doubles, patients: NDArray[np.intp] | None = None) -> Estimate:
    """The Brier score of a finding, truth and prob [N], with an interval over patients [N]."""
    return replace(mean_value_estimate((prob.astype(np.float64) - truth) ** 2, patients), least=0.0)


def baseline_probabilities(held: HeldOut) -> Doubles:
    """float64 [N,C]: the prevalence of each finding, that of the other folds for the films of a fold; NaN if no label
    is known."""
    found = np.full(held.truth.shape, np.nan)
    for own, others in held.turns():
        known = ~np.isnan(held.truth[others])
        share = np.nansum(held.truth[others], axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
        found[own] = np.where(known.any(axis=0), share, np.nan)
    return found


def _skill(briers: Sequence[Estimate], baselines: Sequence[Estimate]) -> float | None:
    """1 - Brier score / Brier score of the prevalence, both means over findings: above 0 is better than the
    prevalence."""
    return number(1 - mean_estimate(briers).value / (mean_estimate(baselines).value or math.nan))
