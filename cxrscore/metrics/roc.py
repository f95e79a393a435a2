"""Receiver operating characteristic: the curve, and the area under it by ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.known import known

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """Points from (0, 0) to (1, 1), one a distinct score: fpr, tpr float64 [n]; thresholds descending, first inf."""

    fpr: Doubles
    tpr: Doubles
    thresholds: Doubles


def _known(truth: Array, score: Array) -> tuple[NDArray[np.bool_], Doubles]:
    """Whether each known film is positive, and its score."""
    kept = known(truth, score)
    return truth[kept] > 0.5, score[kept].astype(np.float64)


def roc(truth: Array, score: Array) -> RocCurve:
    """The curve of truth [n] (0, 1, NaN unknown) and score [n] (any scale, NaN left out).

    A rate is NaN where there are no films of its class.
    """
    positive, values = _known(truth, score)
    order = np.argsort(-values, kind="stable")
    values, positive = values[order], positive[order]
    last = np.flatnonzero(np.r_[values[1:] != values[:-1], True]) if len(values) else np.zeros(0, int)
    hits, alarms = np.cumsum(positive)[last], np.cumsum(~positive)[last]
    with np.errstate(invalid="ignore"):
        tpr, fpr = hits / np.float64(positive.sum()), alarms / np.float64((~positive).sum())
    return RocCurve(fpr=np.r_[0.0, fpr], tpr=np.r_[0.0, tpr], thresholds=np.r_[np.inf, values[last]])


def auc(truth: Array, score: Array) -> float:
    """Chance that a positive film scores above a negative one, ties 1/2; NaN with one class only.

    Mann-Whitney U / (n+ n-), U from midranks (Hanley and McNeil, Radiology 1982).
    """
    positive, values = _known(truth, score)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if not n_pos or not n_neg:
        return float("nan")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    midranks = np.cumsum(counts) - (counts - 1) / 2
    u = midranks[inverse][positive].sum() - n_pos * (n_pos + 1) / 2
    return float(u / (n_pos * n_neg))


def auc_per_finding(truth: Array, score: Array) -> Doubles:
    """float64 [C] of truth and score [N,C]."""
    return np.array([auc(truth[:, c], score[:, c]) for c in range(truth.shape[1])])


def macro(values: Array) -> float:
    """Mean of the values that are defined; NaN if none is."""
    defined = np.asarray(values)[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
