"""Which labels a metric counts, and which films belong together, such as those of one patient: their influence terms
are summed before they are squared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.errors import InputError


def valid_mask(truth: Array, score: Array) -> NDArray[np.bool_]:
    """Where neither the label nor the score is NaN; InputError where the two differ in shape."""
    if truth.shape != score.shape:
        raise InputError(f"truth of shape {list(truth.shape)} does not fit scores of shape {list(score.shape)}")
    return ~(np.isnan(truth) | np.isnan(score))


Places = NDArray[np.intp]


def group_codes(groups: Array | None, films: int) -> Places:
    """int [N]: the groups of N films, numbered from 0 without a gap; None: each film is a group of its own."""
    if groups is None:
        return np.arange(films)
    if groups.shape != (films,):
        raise InputError(f"groups of {len(groups)} films do not fit a figure over {films}")
    return groups.astype(np.intp, copy=False) if _is_group_codes(groups) else np.unique(groups, return_inverse=True)[1]


def _is_group_codes(groups: Array) -> bool:
    """Whether the groups are numbered already, which a count tells sooner than a sort."""
    if not len(groups) or groups.dtype.kind not in "iu" or groups.min() != 0 or groups.max() >= len(groups):
        return False
    return bool(np.bincount(groups).all())


def count_groups(place: Places, chosen: NDArray[np.bool_]) -> int:
    """Of how many groups the chosen films are."""
    return int(np.count_nonzero(np.bincount(place[chosen])))


def sum_by_group(moved: NDArray[np.float64], place: Places) -> NDArray[np.float64]:
    """float64 [G]: what the films of each group move together."""
    total: NDArray[np.float64] = np.bincount(place, weights=moved).astype(np.float64)
    return total
