"""Correction for multiple testing over findings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrscore.metrics.confidence_intervals import Estimate

LEVEL = 0.05


def p_value(found: Estimate) -> float:
    """Two-sided p-value of a difference of 0, by the normal distribution; NaN if there is no interval.

    1 if the scores are identical. NaN also for a difference without variance.
    """
    if math.isnan(found.value) or math.isnan(found.error):
        return math.nan
    if not found.error:
        return 1.0 if found.value == 0 else math.nan
    return math.erfc(abs(found.value) / found.error / math.sqrt(2))


def holm(values: Sequence[float]) -> NDArray[np.float64]:
    """p-values corrected for multiple testing (family-wise error rate): Holm, A Simple Sequentially Rejective Multiple

    Test Procedure, Scand. J. Statistics 6, 1979. NaN remains NaN and is not counted as a test.
    """
    p = np.array(values, np.float64)
    adjusted = np.full(len(p), np.nan)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    enlarged = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(enlarged), 1) if len(order) else enlarged
    return adjusted


def corrected_verdict(found: Estimate, adjusted: float) -> str:
    """ "better" or "worse" if the corrected p-value is below LEVEL and the interval of the difference excludes 0, else
    "no difference shown"."""
    low, high = found.interval
    if adjusted < LEVEL and low > 0:
        return "better"
    return "worse" if adjusted < LEVEL and high < 0 else "no difference shown"
