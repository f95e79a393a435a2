"""Whether probabilities mean what they say: Brier's score, the reliability curve and the calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.grouping import valid_mask

Doubles = NDArray[np.float64]

BINS = 15
"""Equal bins of the calibration error, as in Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""
POINTS = 10
"""Of a reliability curve: bins of equally many films, as most films of a rare finding share the lowest equal bin."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Bins that hold films, by rising probability.

    prob    float64 [b], mean probability of the bin's films
    share   float64 [b], share of them that are positive
    films   int64 [b]
    """

    prob: Doubles
    share: Doubles
    films: NDArray[np.int64]


def brier(truth: Array, prob: Array) -> float:
    """Mean of (prob - truth)^2 of truth and prob [n]; NaN where nothing is known. 0 is best; a forecast of the share
    of positives p for every film gets p (1 - p). Brier, Monthly Weather Review 78, 1950, for two classes."""
    valid = valid_mask(truth, prob)
    return float(np.mean((prob[valid].astype(np.float64) - truth[valid]) ** 2)) if valid.any() else float("nan")


def calibration_error(truth: Array, prob: Array, bins: int = BINS) -> float:
    """Mean over the films of |share of positives - mean probability| of the film's bin: the expected calibration
    error of Guo et al., equation 3, of truth and prob [n], for the probability of a finding. NaN without films."""
    curve = _binned(truth, prob, np.linspace(0, 1, bins + 1)[1:-1])
    if not len(curve.films):
        return float("nan")
    return float(np.average(np.abs(curve.share - curve.prob), weights=curve.films))


def reliability(truth: Array, prob: Array, points: int = POINTS) -> Reliability:
    """The curve of truth [n] (0, 1, NaN unknown) and prob [n], in bins of equally many films; films of one
    probability share a bin, so that there may be fewer."""
    valid = valid_mask(truth, prob)
    if not valid.any():
        return Reliability(prob=np.zeros(0), share=np.zeros(0), films=np.zeros(0, np.int64))
    edges = np.quantile(prob[valid].astype(np.float64), np.linspace(0, 1, points + 1)[1:-1])
    return _binned(truth, prob, np.unique(edges))


def _binned(truth: Array, prob: Array, edges: Doubles) -> Reliability:
    """Bins (-inf, e1], (e1, e2] ... (ek, inf); those without films are left out."""
    valid = valid_mask(truth, prob)
    p, positive = prob[valid].astype(np.float64), truth[valid] > 0.5
    place = np.searchsorted(edges, p, side="left")
    films = np.bincount(place, minlength=len(edges) + 1)
    there = films > 0
    total, hits = (np.bincount(place, weights=w, minlength=len(edges) + 1)[there] for w in (p, positive))
    return Reliability(prob=total / films[there], share=hits / films[there], films=films[there])
