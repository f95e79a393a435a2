"""Which labels a figure of merit is about."""

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
