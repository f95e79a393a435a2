"""Metrics of decisions at a threshold: proportions of films with their intervals, and the paper's accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.confidence_intervals import Z
from cxrscore.metrics.grouping import class_mask


def wilson(p: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a proportion p of n films: Wilson, Probable Inference, the Law of Succession, and
    Statistical Inference, JASA 22, 1927.

    It is always inside 0..1, and has a positive width at 0 and 1, unlike the normal interval.
    """
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """A proportion: hits of total films; undefined, not 0, without films."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The proportion; NaN without films."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, see ``wilson``; NaN, NaN without films."""
        return wilson(self.value, self.total) if self.total else (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Films of one finding by label and decision: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def sensitivity(self) -> Proportion:
        return Proportion(hits=self.tp, total=self.tp + self.fn)

    @property
    def specificity(self) -> Proportion:
        return Proportion(hits=self.tn, total=self.tn + self.fp)

    @property
    def ppv(self) -> Proportion:
        """Positive predictive value. It applies only to films with this prevalence."""
        return Proportion(hits=self.tp, total=self.tp + self.fp)

    @property
    def npv(self) -> Proportion:
        """Negative predictive value."""
        return Proportion(hits=self.tn, total=self.tn + self.fn)

    @property
    def missed(self) -> Proportion:
        """False negative rate: 1 - sensitivity."""
        return Proportion(hits=self.fn, total=self.tp + self.fn)

    @property
    def false_alarms(self) -> Proportion:
        """False positive rate: 1 - specificity."""
        return Proportion(hits=self.fp, total=self.fp + self.tn)


def decisions(truth: Array, prob: Array, threshold: float) -> Decisions:
    """Counts for truth [n] (0, 1, NaN unknown) and prob [n], where ``prob >= threshold`` is positive.

    With a threshold of NaN all counts are 0, and all proportions undefined.
    """
    valid = class_mask(truth, prob)
    if math.isnan(threshold):
        return Decisions(tp=0, fp=0, fn=0, tn=0)
    positive, called = truth[valid] > 0.5, prob[valid] >= threshold
    tp, yes, ones = int((positive & called).sum()), int(called.sum()), int(positive.sum())
    return Decisions(tp=tp, fp=yes - tp, fn=ones - tp, tn=len(called) - yes - ones + tp)


def label_accuracy(truth: Array, prob: Array, threshold: float = 0.5) -> float:
    """Fraction of known labels that are correct if prob above threshold is positive: equation 1 of the paper.

    truth, prob of the same shape, NaN excluded; NaN without known labels.
    """
    valid = class_mask(truth, prob)
    right = (prob[valid] > threshold) == (truth[valid] > 0.5)
    return float(right.mean()) if right.size else float("nan")


def negative_baseline(truth: Array) -> float:
    """The label accuracy of a constant negative prediction: the fraction of negatives among known labels."""
    return label_accuracy(truth, np.zeros_like(truth))


def counts(truth: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positives and negatives of each finding, int [C], of truth [N,C]; a soft label of 0.5 is neither."""
    return (truth > 0.5).sum(axis=0), (truth < 0.5).sum(axis=0)
