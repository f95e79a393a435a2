"""Masks of known labels, the classes of soft labels, and groups of films, such as those of one patient, whose influence
terms are summed before they are squared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.errors import InputError


def valid_mask(truth: Array, score: Array) -> NDArray[np.bool_]:
    """Mask of values with neither label nor score NaN; InputError if the shapes differ."""
    if truth.shape != score.shape:
        raise InputError(f"truth of shape {list(truth.shape)} does not fit scores of shape {list(score.shape)}")
    return ~(np.isnan(truth) | np.isnan(score))


def class_mask(truth: Array, score: Array) -> NDArray[np.bool_]:
    """``valid_mask`` without labels of exactly 0.5, for measures that need two classes: a soft label above 0.5 counts
    as positive, and one below as negative."""
    known: NDArray[np.bool_] = valid_mask(truth, score) & (truth != 0.5)
    return known


def hard_truth(truth: Array) -> Floats:
    """The classes of labels, float32 of the same shape: 1 above 0.5, 0 below, NaN at 0.5 and where unknown.

    Examples
    --------
    >>> hard_truth(np.array([0, 0.3, 0.5, 0.51, 1, np.nan])).tolist()
    [0.0, 0.0, nan, 1.0, 1.0, nan]
    """
    classes = np.where(np.isnan(truth) | (truth == 0.5), np.nan, truth > 0.5)
    return classes.astype(np.float32)


def count_soft(truth: Array) -> int:
    """Number of labels between 0 and 1."""
    return int(np.count_nonzero((truth > 0) & (truth < 1)))


Places = NDArray[np.intp]


def group_codes(groups: Array | None, films: int) -> Places:
    """int [N]: the groups of N films, numbered from 0 without gaps; None: each film is a separate group."""
    if groups is None:
        return np.arange(films)
    if groups.shape != (films,):
        raise InputError(f"groups of {len(groups)} films do not fit a figure over {films}")
    return groups.astype(np.intp, copy=False) if _is_group_codes(groups) else np.unique(groups, return_inverse=True)[1]


def _is_group_codes(groups: Array) -> bool:
    """Whether the groups are already numbered from 0 without gaps; counting is faster than sorting."""
    if not len(groups) or groups.dtype.kind not in "iu" or groups.min() != 0 or groups.max() >= len(groups):
        return False
    return bool(np.bincount(groups).all())


def count_groups(place: Places, chosen: NDArray[np.bool_]) -> int:
    """Number of groups of the selected films."""
    return int(np.count_nonzero(np.bincount(place[chosen])))


def sum_by_group(moved: NDArray[np.float64], place: Places) -> NDArray[np.float64]:
    """float64 [G]: sum of the influence terms of each group."""
    total: NDArray[np.float64] = np.bincount(place, weights=moved).astype(np.float64)
    return total
