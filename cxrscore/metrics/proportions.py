"""Metrics of decisions at a threshold: proportions of films with their intervals, and the paper's accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.confidence_intervals import Z
from cxrscore.metrics.grouping import valid_mask


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """hits of total films; nothing is rounded to 0 where there is no film to count."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """NaN of no films."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22, 1927.

        It never leaves 0..1 and has a width at 0 and at 1, too, where the normal interval has none.
        """
        if not self.total:
            return math.nan, math.nan
        n, p = self.total, self.value
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        return max(middle - half, 0.0), min(middle + half, 1.0)


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
        """Of the films called positive, those that are. It holds for films with this share of positives only."""
        return Proportion(hits=self.tp, total=self.tp + self.fp)

    @property
    def npv(self) -> Proportion:
        """Of the films called negative, those that are."""
        return Proportion(hits=self.tn, total=self.tn + self.fn)

    @property
    def missed(self) -> Proportion:
        """Of the positive films, those called negative: 1 - sensitivity."""
        return Proportion(hits=self.fn, total=self.tp + self.fn)

    @property
    def false_alarms(self) -> Proportion:
        """Of the negative films, those called positive: 1 - specificity."""
        return Proportion(hits=self.fp, total=self.fp + self.tn)


def decisions(truth: Array, prob: Array, threshold: float) -> Decisions:
    """Of truth [n] (0, 1, NaN unknown) and prob [n], where ``prob >= threshold`` means yes, as operating points do.

    A threshold of NaN decides nothing: all counts are 0, and so all shares undefined.
    """
    valid = valid_mask(truth, prob)
    if math.isnan(threshold):
        return Decisions(tp=0, fp=0, fn=0, tn=0)
    positive, called = truth[valid] > 0.5, prob[valid] >= threshold
    tp, yes, ones = int((positive & called).sum()), int(called.sum()), int(positive.sum())
    return Decisions(tp=tp, fp=yes - tp, fn=ones - tp, tn=len(called) - yes - ones + tp)


def label_accuracy(truth: Array, prob: Array, threshold: float = 0.5) -> float:
    """Share of known labels that are right when prob above threshold means yes: equation 1 of the paper.

    truth, prob of one shape, NaN left out; NaN where nothing is known.
    """
    valid = valid_mask(truth, prob)
    right = (prob[valid] > threshold) == (truth[valid] > 0.5)
    return float(right.mean()) if right.size else float("nan")


def negative_baseline(truth: Array) -> float:
    """The same figure of a program that always says no: the share of negatives among known labels."""
    return label_accuracy(truth, np.zeros_like(truth))


def counts(truth: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positives and negatives of each finding, int [C], of truth [N,C]."""
    return (truth > 0.5).sum(axis=0), (truth <= 0.5).sum(axis=0)
