"""AUCs of a report with their intervals; the method depends on the films."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.metrics import RESAMPLES, BootstrapAucs, Estimate, bootstrap_auc, delong, mean_estimate, micro_auc

Interval = tuple[float, float]

MAX_BOOTSTRAP_FILMS = 30_000
"""Maximum number of films for the bootstrap; with more films both methods agree, and the formula is faster."""

RARE_CLASS_REASON = "a class is missing in more than a tenth of the resamples"
SAME_REASON = "the resamples give the same value"


@dataclass(frozen=True, kw_only=True)
class BootstrapConfig:
    """Settings of the bootstrap of patients, used if patients have several films."""

    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class AucResult:
    """AUCs of A films and C findings.

    estimates    C, over films, or over patients if patients have several films
    intervals    C of 95 %; NaN, NaN if undefined, which ``why`` of the estimate explains
    macro        unweighted mean of the defined AUCs; without an interval if one of them has none
    macro_known  the same of the AUCs that have an interval
    micro        AUC of all labels pooled
    method       method of the intervals, as text
    """

    estimates: tuple[Estimate, ...]
    intervals: tuple[Interval, ...]
    macro: Estimate
    macro_interval: Interval
    macro_known: Estimate
    macro_known_interval: Interval
    micro: Estimate
    method: str

    @property
    def values(self) -> NDArray[np.float64]:
        """float64 [C]"""
        return np.array([one.value for one in self.estimates])

    @property
    def with_interval(self) -> int:
        """Number of findings that have an interval, which are those of macro_known."""
        return sum(not math.isnan(low) for low, _ in self.intervals)


def patient_groups(patient: Array) -> NDArray[np.intp]:
    """int [A]: a number per patient; each film of an unknown patient (below 0) counts as a separate patient."""
    own = np.where(patient < 0, -1 - np.arange(len(patient)), patient)
    _, place = np.unique(own, return_inverse=True)
    return place


def has_repeated_patients(groups: Array) -> bool:
    """Whether a patient has more than one film."""
    return len(np.unique(groups)) < len(groups)


def compute_aucs(truth: Floats, score: Array, groups: Array, drawing: BootstrapConfig) -> AucResult:
    """AUCs of truth and score [A,C], the result of ranking.ranking_scores; groups [A]: the result of patient_groups."""
    estimates = tuple(delong(truth[:, c], score[:, c], groups) for c in range(truth.shape[1]))
    drawn, intervals = None, tuple(one.interval for one in estimates)
    patients, method = len(np.unique(groups)), "DeLong"
    if has_repeated_patients(groups):
        method = f"DeLong's variances over the {patients:,} patients (Obuchowski 1997)"
    if has_repeated_patients(groups) and len(truth) <= MAX_BOOTSTRAP_FILMS and drawing.resamples:
        drawn = bootstrap_auc(truth, score, groups, resamples=drawing.resamples, seed=drawing.seed)
        pairs = [_with_bootstrap_interval(one, drawn.interval(c)) for c, one in enumerate(estimates)]
        estimates, intervals = tuple(one for one, _ in pairs), tuple(interval for _, interval in pairs)
        method = f"bootstrap of the {patients:,} patients, {drawing.resamples:,} resamples, seed {drawing.seed}"
    defined = [c for c, one in enumerate(estimates) if not math.isnan(one.value)]
    known = [c for c in defined if not math.isnan(intervals[c][0])]
    macro, macro_interval = _macro(estimates, drawn, defined)
    macro_known, macro_known_interval = _macro(estimates, drawn, known)
    return AucResult(
        estimates=estimates,
        intervals=intervals,
        macro=macro,
        macro_interval=macro_interval,
        macro_known=macro_known,
        macro_known_interval=macro_known_interval,
        micro=micro_auc(truth, score, groups),
        method=method,
    )


def _macro(
    estimates: Sequence[Estimate], drawn: BootstrapAucs | None, columns: Sequence[int]
) -> tuple[Estimate, Interval]:
    """The mean of the AUCs of some findings, with its interval by the bootstrap, if there is one, or by the formula."""
    mean = mean_estimate([estimates[c] for c in columns])
    return (mean, mean.interval) if drawn is None else _with_bootstrap_interval(mean, drawn.macro_interval(columns))


def _with_bootstrap_interval(found: Estimate, interval: Interval) -> tuple[Estimate, Interval]:
    """The estimate with its bootstrap interval; no interval if the formula has none."""
    if found.why:
        return found, found.interval
    if math.isnan(interval[0]):
        return dataclasses.replace(found, why=RARE_CLASS_REASON), interval
    if interval[0] == interval[1]:
        return dataclasses.replace(found, why=SAME_REASON), (math.nan, math.nan)
    return found, interval
