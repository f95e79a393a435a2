"""AUCs of a report with their intervals, by the method that the films call for."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.metrics import RESAMPLES, Estimate, bootstrap_auc, delong, mean_estimate, micro_auc

Interval = tuple[float, float]

MAX_BOOTSTRAP_FILMS = 30_000
"""Films up to which patients are drawn anew; with more, drawing and formula agree and only the formula is quick."""

RARE_CLASS_REASON = "a class is missing in more than a tenth of the resamples"


@dataclass(frozen=True, kw_only=True)
class BootstrapConfig:
    """How patients are drawn anew where they repeat."""

    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class AucResult:
    """AUCs of A films and C findings.

    estimates  C, over the films, or over the patients where they repeat
    intervals  C of 95 %; NaN, NaN where there is none, which the estimate's ``why`` explains
    macro      plain mean of the AUCs that are defined; micro: all labels thrown together
    method     how the intervals were found, in words
    """

    estimates: tuple[Estimate, ...]
    intervals: tuple[Interval, ...]
    macro: Estimate
    macro_interval: Interval
    micro: Estimate
    method: str

    @property
    def values(self) -> NDArray[np.float64]:
        """float64 [C]"""
        return np.array([one.value for one in self.estimates])


def patient_groups(patient: Array) -> NDArray[np.intp]:
    """int [A]: a number per patient; a film of an unknown patient (below 0) is a patient of its own."""
    own = np.where(patient < 0, -1 - np.arange(len(patient)), patient)
    _, place = np.unique(own, return_inverse=True)
    return place


def has_repeated_patients(groups: Array) -> bool:
    """Whether a patient has more than one film."""
    return len(np.unique(groups)) < len(groups)


def compute_aucs(truth: Floats, prob: Floats, groups: Array, drawing: BootstrapConfig) -> AucResult:
    """Of truth and prob [A,C]; groups [A] as patient_groups gives them."""
    estimates = tuple(delong(truth[:, c], prob[:, c], groups) for c in range(truth.shape[1]))
    macro = mean_estimate(estimates)
    intervals, macro_interval = tuple(one.interval for one in estimates), macro.interval
    patients, method = len(np.unique(groups)), "DeLong"
    if has_repeated_patients(groups):
        method = f"DeLong's variances over the {patients:,} patients (Obuchowski 1997)"
    if has_repeated_patients(groups) and len(truth) <= MAX_BOOTSTRAP_FILMS and drawing.resamples:
        drawn = bootstrap_auc(truth, prob, groups, resamples=drawing.resamples, seed=drawing.seed)
        pairs = [_with_bootstrap_interval(one, drawn.interval(c)) for c, one in enumerate(estimates)]
        estimates, intervals = tuple(one for one, _ in pairs), tuple(interval for _, interval in pairs)
        macro, macro_interval = _with_bootstrap_interval(macro, drawn.macro_interval)
        method = f"bootstrap of the {patients:,} patients, {drawing.resamples:,} resamples, seed {drawing.seed}"
    return AucResult(
        estimates=estimates,
        intervals=intervals,
        macro=macro,
        macro_interval=macro_interval,
        micro=micro_auc(truth, prob, groups),
        method=method,
    )


def _with_bootstrap_interval(found: Estimate, interval: Interval) -> tuple[Estimate, Interval]:
    """The figure with its interval by draws: none where the formula has none, as draws know no more than the films."""
    if found.why:
        return found, found.interval
    return (dataclasses.replace(found, why=RARE_CLASS_REASON) if math.isnan(interval[0]) else found), interval
