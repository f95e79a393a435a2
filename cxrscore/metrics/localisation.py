"""Metrics of heat maps against bounding boxes. A map is a square over the film, a mask the union of its boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array

LEVEL = 0.5
"""Fraction of the largest map value above which a pixel belongs to the compared region."""


def pointing_game(values: Array, mask: NDArray[np.bool_]) -> float:
    """Pointing game: 1 if the largest value of a map [S,S] is inside the mask [S,S], else 0; the fraction inside
    for ties. NaN if the map has no positive value.

    Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, without a margin around the boxes. A
    random point hits with a probability equal to the area fraction of the mask.
    """
    peak = values.max()
    return float(mask[values == peak].mean()) if peak > 0 else float("nan")


def energy_inside(values: Array, mask: NDArray[np.bool_]) -> float:
    """Fraction of the positive values of a map [S,S] inside the mask; NaN if there are none. A constant map gives the
    area fraction of the mask. Wang et al., Score-CAM, CVPR workshops 2020, section 4.3."""
    positive = np.maximum(values, 0).astype(np.float64)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else float("nan")


def iou(values: Array, mask: NDArray[np.bool_], level: float = LEVEL) -> float:
    """Intersection over union of the mask and the region where the map [S,S] is at least ``level`` times its largest
    value; NaN if that is not positive."""
    peak = values.max()
    if not peak > 0:
        return float("nan")
    region = values >= level * peak
    return float((region & mask).sum() / (region | mask).sum())
