"""The paper's accuracy, and what a program that always says no would get."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.masking import valid_mask


def label_accuracy(truth: Array, prob: Array, threshold: float = 0.5) -> float:
    """Share of known labels that are right when prob above threshold means yes: equation 1 of the paper.

    truth, prob of one shape, NaN left out; NaN where nothing is known.
    """
    kept = valid_mask(truth, prob)
    right = (prob[kept] > threshold) == (truth[kept] > 0.5)
    return float(right.mean()) if right.size else float("nan")


def negative_baseline(truth: Array) -> float:
    """The same figure of a program that always says no: the share of negatives among known labels."""
    return label_accuracy(truth, np.zeros_like(truth))


def counts(truth: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positives and negatives of each finding, int [C], of truth [N,C]."""
    return (truth > 0.5).sum(axis=0), (truth <= 0.5).sum(axis=0)
