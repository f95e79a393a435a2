"""Metrics with confidence intervals: a value and its influence terms, one for each film or patient.

For a metric that is a mean, or a mean of ranks, the influence of each film is known in closed form. The sum of the
squared influence terms is the variance. For means and differences of metrics on the same films, the terms are averaged
or subtracted film by film, so that correlations are taken into account.

If patients have several films, the terms of each patient are added first, and the size of a class is its number of
patients: Obuchowski, Nonparametric Analysis of Clustered ROC Curve Data, Biometrics 53, 1997. A class of one patient
has no variance estimate, because its terms add up to 0; then the metric has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.errors import InputError
from cxrscore.metrics.grouping import Places, class_mask, count_groups, group_codes, sum_by_group

Z = 1.959963984540054
"""The 0.975 quantile of the normal distribution, for intervals of 95 %."""
THRESHOLD = 0.5
SMALLEST = 1e-12
"""Influence terms that are not larger are 0 but for rounding: a film moves a metric of a billion films by 1e-9."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric over N films.

    value      NaN if undefined
    influence  float64 [N], influence of each film, or [G] of each patient; the sum of squares is the variance
    why        why there is no interval, "" if there is one
    least      the smallest possible value; the largest is 1
    """

    value: float
    influence: NDArray[np.float64]
    why: str = ""
    least: float = 0.0

    @property
    def error(self) -> float:
        """Standard error; NaN if there is no interval."""
        return math.nan if self.why else float(np.sqrt(np.sum(self.influence**2)))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval; NaN, NaN if undefined.

        That of a share or an AUC is symmetric on the scale of the log odds, and as much wider as Student's t is for
        the few films that decide its variance: the plain interval of an AUC of 0.92 from 10 positive films contains
        the true value in 84 of 100 samples. That of a difference is by the normal distribution, as its p-value is.
        """
        if math.isnan(self.error) or (self.least == 0 and self.error == 0):
            return math.nan, math.nan
        if not 0 == self.least < self.value < 1:
            return max(self.value - Z * self.error, self.least), min(self.value + Z * self.error, 1.0)
        middle = math.log(self.value) - math.log1p(-self.value)
        half = _t_quantile(self.degrees_of_freedom) * self.error / (self.value * (1 - self.value))
        return _share_of(middle - half), _share_of(middle + half)

    @property
    def degrees_of_freedom(self) -> float:
        """Of the variance, 1 or more: Satterthwaite's, from the fourth powers of the influence terms, which few
        positive films have nearly all of. Terms are relative to the mean of their class, which takes 3 away."""
        squares = (self.influence / np.abs(self.influence).max()) ** 2
        return max(1.0, 3 * float(squares.sum() ** 2 / (squares**2).sum()) - 3)


def _t_quantile(degrees: float) -> float:
    """The 0.975 quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))


def _share_of(log_odds: float) -> float:
    """The share with these log odds."""
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def undefined_estimate(place: Places, why: str) -> Estimate:
    """An undefined metric."""
    return Estimate(value=math.nan, influence=sum_by_group(np.zeros(len(place)), place), why=why)


def mean_estimate(figures: Sequence[Estimate]) -> Estimate:
    """The unweighted mean of the defined estimates, all on the same films.

    If one of them has no interval, the mean has none: the variance that is missing there would make it too narrow.
    """
    there = [figure for figure in figures if not math.isnan(figure.value)]
    if not there:
        places = len(figures[0].influence) if figures else 0
        return undefined_estimate(np.arange(places), "none of the figures is defined")
    without = [figure.why for figure in there if figure.why]
    why = f"{len(without)} of {len(there)} findings have none: {without[0]}" if without else ""
    if len(without) == len(there):
        why = without[0]
    value = float(np.mean([figure.value for figure in there]))
    influence = np.mean([figure.influence for figure in there], axis=0)
    least = min(figure.least for figure in there)
    if not why and (value or least == 0):  # a difference of 0 between equal scores is known exactly
        why = no_variance_reason(influence)
    return Estimate(value=value, influence=influence, why=why, least=least)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """one - other, both on the same films in the same order; for two AUCs of one finding, the paired test of DeLong."""
    if one.influence.shape != other.influence.shape:
        raise InputError(f"{len(one.influence)} films cannot be paired with {len(other.influence)}")
    moved, value = one.influence - other.influence, one.value - other.value
    # Two scores with equal ranks do not differ in any sample; other differences of no variance are no knowledge.
    why = one.why or other.why or (no_variance_reason(moved) if value else "")
    return Estimate(value=value, influence=moved, why=why, least=-1.0)


def verdict(found: Estimate) -> str:
    """ "better" or "worse" if the interval of a difference excludes 0, else "no difference shown"."""
    low, high = found.interval
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no difference shown"


def mean_value_estimate(values: Array, groups: Array | None = None) -> Estimate:
    """The mean of values [N], NaN where unknown, such as squared errors; its interval is over films, or groups [N]."""
    place, known = group_codes(groups, len(values)), ~np.isnan(values)
    patients = count_groups(place, known)
    if not patients:
        return undefined_estimate(place, "no label is known")
    mean = float(values[known].mean())
    moved = influence_terms(known, values, mean, place)
    influence = sum_by_group(moved, place)
    why = _single("film", known, place) or no_variance_reason(influence)
    return Estimate(value=mean, influence=influence, why=why, least=-1.0)


def label_accuracy_estimate(truth: Array, prob: Array, groups: Array | None = None) -> Estimate:
    """Equation 1 of the paper (metrics.proportions.label_accuracy) of truth and prob [N,C], its interval over films, or
    over groups [N], one number for films of one patient.

    Labels of one film are correlated, so films are the sampling units: a linearised ratio of correct to known labels
    (Cochran, Sampling Techniques, 3rd edition, section 6.3).
    """
    valid, place = class_mask(truth, prob), group_codes(groups, len(truth))
    right = ((prob > THRESHOLD) == (truth > 0.5)) & valid
    counted = valid.sum(axis=1)
    patients = count_groups(place, counted > 0)
    if not patients:
        return undefined_estimate(place, "no label is known")
    value = float(right.sum() / counted.sum())
    moved = (right.sum(axis=1) - value * counted) / counted.sum()
    influence = sum_by_group(moved * small_sample_correction(patients), place)
    why = _single("film", counted > 0, place) or no_variance_reason(influence)
    return Estimate(value=value, influence=influence, why=why)


def balanced_accuracy_estimate(truth: Array, prob: Array, threshold: float = THRESHOLD) -> Estimate:
    """(sensitivity + specificity) / 2 of one finding, truth and prob [N], where prob above the threshold means yes.

    A constant prediction gives 0.5. Undefined with one class only.
    """
    valid = class_mask(truth, prob)
    positive, negative = valid & (truth > 0.5), valid & (truth < 0.5)
    if not positive.any() or not negative.any():
        return undefined_estimate(group_codes(None, len(truth)), missing_class_reason(positive, negative))
    right = (prob > threshold) == (truth > 0.5)
    sensitivity, specificity = float(right[positive].mean()), float(right[negative].mean())
    place = group_codes(None, len(truth))
    moved = (
        influence_terms(positive, right, sensitivity, place) + influence_terms(negative, right, specificity, place)
    ) / 2
    why = too_few_reason(positive, negative, place) or no_variance_reason(moved)
    return Estimate(value=(sensitivity + specificity) / 2, influence=moved, why=why)


def influence_terms(chosen: NDArray[np.bool_], values: Array, mean: float, place: Places) -> NDArray[np.float64]:
    """float64 [N]: influence of each selected film on the mean of the selected values; 0 for all others.

    place  patient of each film; few patients give less information on the variance than their number of films
    """
    moved = np.zeros(len(values))
    own = (values[chosen] - mean) / int(chosen.sum())
    moved[chosen] = own * small_sample_correction(count_groups(place, chosen))
    return moved


def small_sample_correction(patients: int) -> float:
    """Small-sample correction of a standard error for a mean over so many patients; 1 for one patient."""
    return math.sqrt(patients / max(patients - 1, 1))


def no_variance_reason(influence: NDArray[np.float64]) -> str:
    """Why there is no interval if no film differs from the others in its influence, as if all scores are equal: the
    variance is then 0 for any number of films. "" if there is a variance."""
    varies = np.abs(influence).max(initial=0.0) > SMALLEST
    return "" if varies else "all films agree, which leaves the formula no variance"


def missing_class_reason(positive: NDArray[np.bool_], negative: NDArray[np.bool_]) -> str:
    """Why a metric that needs both classes is undefined."""
    return f"{int(positive.sum())} positive and {int(negative.sum())} negative films"


def too_few_reason(positive: NDArray[np.bool_], negative: NDArray[np.bool_], place: Places) -> str:
    """Why there is no interval if a class has only one patient, "" if both have two or more."""
    return _single("positive film", positive, place) or _single("negative film", negative, place)


def _single(what: str, chosen: NDArray[np.bool_], place: Places) -> str:
    if count_groups(place, chosen) >= 2:
        return ""
    return f"one {what} only" if chosen.sum() < 2 else f"{what}s of one patient only"
