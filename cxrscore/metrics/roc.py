"""Metrics of a ranking: the ROC curve, the area under it by ranks, trapezoids and a model, and average precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.grouping import class_mask

Doubles = NDArray[np.float64]
BLOCK = 1 << 20
"""Values that are looked up at once: the pooled findings of a million films would take gigabytes."""


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """Points from (0, 0) to (1, 1), one per distinct score: fpr, tpr float64 [n]; thresholds descending, first inf."""

    fpr: Doubles
    tpr: Doubles
    thresholds: Doubles


def _valid_truth_and_score(truth: Array, score: Array) -> tuple[NDArray[np.bool_], Doubles]:
    """Whether each known film is positive, and its score."""
    valid = class_mask(truth, score)
    return truth[valid] > 0.5, score[valid].astype(np.float64)


def roc(truth: Array, score: Array) -> RocCurve:
    """The curve of truth [n] (0, 1, NaN unknown) and score [n] (any scale, NaN left out).

    A rate is NaN without films of its class.
    """
    positive, values = _valid_truth_and_score(truth, score)
    hits, alarms = _counts_above(positive, values)
    with np.errstate(invalid="ignore"):
        tpr, fpr = hits / np.float64(positive.sum()), alarms / np.float64((~positive).sum())
    return RocCurve(fpr=np.r_[0.0, fpr], tpr=np.r_[0.0, tpr], thresholds=np.r_[np.inf, np.unique(values)[::-1]])


@dataclass(frozen=True, kw_only=True)
class PrecisionRecallCurve:
    """One point per distinct score: recall rising to 1, precision float64 [n]; thresholds descending. The area below
    the steps, with each precision from the last recall to its own, is the average precision."""

    recall: Doubles
    precision: Doubles
    thresholds: Doubles


def precision_recall(truth: Array, score: Array) -> PrecisionRecallCurve:
    """The curve of truth [n] (0, 1, NaN unknown) and score [n] (any scale, NaN left out); recall is NaN without
    positive films."""
    positive, values = _valid_truth_and_score(truth, score)
    hits, alarms = _counts_above(positive, values)
    with np.errstate(invalid="ignore"):
        recall = hits / np.float64(positive.sum())
    return PrecisionRecallCurve(
        recall=recall, precision=hits / np.maximum(hits + alarms, 1), thresholds=np.unique(values)[::-1]
    )


def _counts_above(positive: NDArray[np.bool_], values: Doubles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positive and negative films with at least each distinct score, from the highest score to the lowest."""
    order = np.argsort(-values, kind="stable")
    values, positive = values[order], positive[order]
    last = np.flatnonzero(np.r_[values[1:] != values[:-1], True]) if len(values) else np.zeros(0, int)
    return np.cumsum(positive)[last], np.cumsum(~positive)[last]


def auc(truth: Array, score: Array) -> float:
    """Probability that a positive film scores above a negative one, ties 1/2; NaN with one class only.

    Mann-Whitney U / (n+ n-) (Hanley and McNeil, Radiology 1982).
    """
    positive, values = _valid_truth_and_score(truth, score)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if not n_pos or not n_neg:
        return float("nan")
    return float(number_below(values[positive], values[~positive]).sum() / (n_pos * n_neg))


def number_below(values: Array, others: Array) -> Doubles:
    """float64 [n]: how many of the others are below each value, ties 1/2."""
    ordered, below = np.sort(others), np.empty(len(values))
    for start in range(0, len(values), BLOCK):
        own = values[start : start + BLOCK]
        below[start : start + BLOCK] = np.searchsorted(ordered, own, "left")
        below[start : start + BLOCK] += np.searchsorted(ordered, own, "right")
    below /= 2
    return below


def auc_trapezoid(truth: Array, score: Array) -> float:
    """The area under the curve of ``roc`` by the trapezoidal rule; NaN with one class only.

    Tied films give one slanted segment, so the result equals auc().
    """
    curve = roc(truth, score)
    return float(np.sum(np.diff(curve.fpr) * (curve.tpr[1:] + curve.tpr[:-1]) / 2)) if len(curve.fpr) > 1 else math.nan


def auc_binormal(truth: Array, score: Array) -> float:
    """Binormal AUC, Phi((m1 - m0) / sqrt(s1^2 + s0^2)): the area if the scores of each class are normal.

    m, s: mean and standard deviation (n - 1) of positives (1) and negatives (0). It depends on the scale of the scores,
    while the other two methods only use their order. NaN with fewer than two films of a class, or if all scores of each
    class are equal. Green and Swets, Signal Detection Theory and Psychophysics, 1966.
    """
    positive, values = _valid_truth_and_score(truth, score)
    ones, zeros = values[positive], values[~positive]
    if len(ones) < 2 or len(zeros) < 2:
        return math.nan
    spread = math.sqrt(ones.var(ddof=1) + zeros.var(ddof=1))
    if not spread > 0:
        return math.nan
    return 0.5 * math.erfc(-(ones.mean() - zeros.mean()) / spread / math.sqrt(2))


def auc_per_finding(truth: Array, score: Array) -> Doubles:
    """float64 [C] of truth and score [N,C]."""
    return np.array([auc(truth[:, c], score[:, c]) for c in range(truth.shape[1])])


def macro(values: Array) -> float:
    """Mean of the values that are defined; NaN if none is."""
    defined = np.asarray(values)[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def average_precision(truth: Array, score: Array) -> float:
    """Average precision, 0..1; a random score gives the prevalence.

    truth [n] 0, 1 or NaN unknown; score [n] on any scale, NaN excluded. NaN without positives.
    """
    positive, values = _valid_truth_and_score(truth, score)
    if not positive.any():
        return math.nan
    hits, alarms = _counts_above(positive, values)
    return float(np.sum(np.diff(hits, prepend=0) * hits / (hits + alarms)) / positive.sum())
