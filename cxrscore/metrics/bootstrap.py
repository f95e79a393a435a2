"""Bootstrap intervals over patients: films of one patient are correlated, so intervals over films are too narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.errors import InputError
from cxrscore.metrics.grouping import Places, class_mask

Doubles = NDArray[np.float64]

RESAMPLES = 1000
MIN_DEFINED_FRACTION = 0.9
"""Fraction of resamples in which an AUC must be defined for an interval: a resample may lack a rare class."""


@dataclass(frozen=True, kw_only=True)
class BootstrapAucs:
    """AUCs of resamples: float64 [B,C], NaN where a resample lacks a class of a finding."""

    values: Doubles

    def interval(self, column: int) -> tuple[float, float]:
        """The 2.5th and 97.5th percentile of a finding; NaN if more than a tenth of the resamples have no AUC."""
        return percentile_interval(self.values[:, column])

    def macro_interval(self, columns: Sequence[int] | None = None) -> tuple[float, float]:
        """The percentiles of the mean AUC over these findings, or all with an AUC; each resample averages those that
        have an AUC in it."""
        some_auc = ~np.isnan(self.values).all(axis=0)
        there = self.values[:, some_auc if columns is None else list(columns)]
        if not there.shape[1]:
            return float("nan"), float("nan")
        means = np.full(len(there), np.nan)
        some = ~np.isnan(there).all(axis=1)
        means[some] = np.nanmean(there[some], axis=1)
        return percentile_interval(means)


def bootstrap_auc(
    truth: Array, score: Array, groups: Array, *, resamples: int = RESAMPLES, seed: int = 0
) -> BootstrapAucs:
    """AUCs of truth and score [N,C] in bootstrap resamples of the patients.

    groups  int [N], the same number for films of one patient
    seed    equal seeds give equal resamples

    A drawn patient contributes all its films, as often as it was drawn (Field and Welsh, Bootstrapping Clustered Data,
    JRSS B 69, 2007). A finding is sorted once; a resample is then a weight for each film, and its AUC a cumulative sum.
    """
    if truth.ndim != 2 or len(groups) != len(truth):
        raise InputError(f"groups of {len(groups)} films do not fit truth of shape {list(truth.shape)}")
    _, place = np.unique(groups, return_inverse=True)
    patients = int(place.max()) + 1 if len(place) else 0
    findings = [_SortedScores(truth[:, c], score[:, c], place) for c in range(truth.shape[1])]
    areas = np.full((resamples, truth.shape[1]), np.nan)
    for draw, times in enumerate(patient_resample_counts(patients, resamples, seed)):
        drawn = times.astype(np.float64)
        areas[draw] = [finding.auc(drawn) for finding in findings]
    return BootstrapAucs(values=areas)


def patient_resample_counts(patients: int, resamples: int, seed: int) -> Iterator[Places]:
    """Yields for each resample how often each patient is drawn: int [patients].

    Parameters
    ----------
    patients : number of patients; with 0 there is no resample
    resamples : number of resamples
    seed : the same seed gives the same resamples
    """
    random = np.random.default_rng(seed)
    for _ in range(resamples if patients else 0):
        yield np.bincount(random.integers(0, patients, patients), minlength=patients)


class _SortedScores:
    """The known films of a finding, by rising score."""

    def __init__(self, truth: Array, score: Array, place: NDArray[np.intp]) -> None:
        valid = np.flatnonzero(class_mask(truth, score))
        valid = valid[np.argsort(score[valid], kind="stable")]
        values = score[valid]
        self._place, self._positive = place[valid], np.flatnonzero(truth[valid] > 0.5)
        # For each positive film: the number of values below it, and at or below it; the difference is its ties.
        self._below = np.searchsorted(values, values[self._positive], side="left")
        self._upto = np.searchsorted(values, values[self._positive], side="right")

    def auc(self, drawn: Doubles) -> float:
        """The AUC with each film weighted by the draws of its patient; NaN if a class is not drawn."""
        weight = drawn[self._place]
        ones = weight[self._positive]
        weight[self._positive] = 0
        negatives = np.concatenate([[0.0], np.cumsum(weight)])
        pairs = ones.sum() * negatives[-1]
        if not pairs:
            return float("nan")
        beaten = negatives[self._below] + negatives[self._upto]
        return float(ones @ beaten / 2 / pairs)


def percentile_interval(values: Doubles) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the values of resamples [B]; NaN, NaN if more than a tenth are NaN."""
    there = values[~np.isnan(values)]
    if not len(there) or len(there) < MIN_DEFINED_FRACTION * len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(there, [2.5, 97.5])
    return float(low), float(high)
