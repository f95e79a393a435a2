"""Agreement of two readers: percent agreement, and Cohen's kappa with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.errors import InputError
from cxrscore.metrics.confidence_intervals import Z
from cxrscore.metrics.grouping import group_codes, sum_by_group

_ROUNDING = 1e-9
"""A standard error that is 0 but for rounding is below."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of two readers on the same films.

    films     number of films
    equal     number of films with the same answer
    expected  proportion of equal answers that is expected by chance, from the answers of each reader; NaN without films
    kappa     Cohen's kappa; NaN if undefined: without films, and if both give one and the same answer only
    error     its standard error; NaN likewise
    """

    films: int
    equal: int
    expected: float
    kappa: float
    error: float

    @property
    def observed(self) -> float:
        """Proportion of films with the same answer; NaN without films."""
        return self.equal / self.films if self.films else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of kappa, by the normal distribution, within -1..1; NaN, NaN if kappa is undefined. An error of
        0, as of films on which all answers are equal or one reader gives one answer only, gives no interval either: it
        is no proof of agreement, or of none."""
        if not self.error > _ROUNDING:
            return math.nan, math.nan
        return max(self.kappa - Z * self.error, -1.0), min(self.kappa + Z * self.error, 1.0)


def cohen_kappa(first: Array, second: Array, groups: Array | None = None) -> Agreement:
    """Cohen's kappa of two readers.

    Parameters
    ----------
    first, second
        int [N]: the answer of each reader, as any numbers; equal numbers are equal answers.
    groups
        [N]: the patient of each film, whose films are not independent; None: each film is independent.

    Returns
    -------
    Agreement

    Notes
    -----
    Without groups the standard error is the large-sample one of Fleiss, Cohen and Everitt, Large Sample Standard Errors
    of Kappa and Weighted Kappa, Psychol. Bull. 72, 1969. It is the sum of the squared influence of each film; with
    groups, the influence of the films of a patient is added before it is squared.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(f"answers of shape {list(first.shape)} do not fit answers of shape {list(second.shape)}")
    count = len(first)
    if not count:
        return Agreement(films=0, equal=0, expected=math.nan, kappa=math.nan, error=math.nan)
    categories, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    one, other = codes[:count], codes[count:]
    of_one, of_other = (np.bincount(each, minlength=len(categories)) / count for each in (one, other))
    equal = one == other
    observed, expected = float(equal.mean()), float(of_one @ of_other)
    if len(categories) == 1:
        return Agreement(films=count, equal=count, expected=1.0, kappa=math.nan, error=math.nan)
    kappa = (observed - expected) / (1 - expected)
    by_chance = of_other[one] + of_one[other] - 2 * expected
    influence: NDArray[np.float64] = ((equal - observed) - (1 - kappa) * by_chance) / (1 - expected) / count
    total = sum_by_group(influence, group_codes(groups, count))
    return Agreement(
        films=count,
        equal=int(equal.sum()),
        expected=expected,
        kappa=kappa,
        error=float(np.sqrt((total**2).sum())),
    )
