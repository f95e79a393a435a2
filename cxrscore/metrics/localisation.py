"""How well a heat map finds what a reader has boxed. A map is a square over the film, a mask its boxes together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array

LEVEL = 0.5
"""Of the map's largest value, from which on a place belongs to the region that is compared with the boxes."""


def pointing_game(values: Array, mask: NDArray[np.bool_]) -> float:
    """1 where the largest value of a map [S,S] lies in the mask [S,S], else 0; of several largest ones, the share that
    lies in it. NaN where the map has no positive value: it points nowhere.

    Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, with no margin around the boxes. A point
    drawn at random hits with the mask's share of the area.
    """
    peak = values.max()
    return float(mask[values == peak].mean()) if peak > 0 else float("nan")


def energy_inside(values: Array, mask: NDArray[np.bool_]) -> float:
    """Share of the map's positive part [S,S] that lies in the mask; NaN where there is none. An even map has the
    mask's share of the area. Wang et al., Score-CAM, CVPR workshops 2020, section 4.3."""
    positive = np.maximum(values, 0).astype(np.float64)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else float("nan")


def iou(values: Array, mask: NDArray[np.bool_], level: float = LEVEL) -> float:
    """Intersection over union of the mask and the region where the map [S,S] is at least ``level`` of its largest
    value; NaN where that is not positive."""
    peak = values.max()
    if not peak > 0:
        return float("nan")
    region = values >= level * peak
    return float((region & mask).sum() / (region | mask).sum())
