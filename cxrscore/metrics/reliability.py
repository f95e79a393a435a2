"""Metrics of calibration: Brier score, reliability curve and calibration error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.confidence_intervals import Z
from cxrscore.metrics.grouping import valid_mask
from cxrscore.metrics.proportions import Proportion

Doubles = NDArray[np.float64]

BINS = 15
"""Equal-width bins of the calibration error, as in Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""
POINTS = 10
"""Number of bins of a reliability curve. They have equal numbers of films, because most films of a rare finding would
be in the lowest bin of equal width."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Bins that contain films, by increasing probability.

    prob    float64 [b], mean probability of the bin's films
    share   float64 [b], fraction of these films that are positive: the mean of their labels, if some are soft
    films   int64 [b]
    """

    prob: Doubles
    share: Doubles
    films: NDArray[np.int64]


def brier(truth: Array, prob: Array) -> float:
    """Mean of (prob - truth)^2 of truth, 0..1, and prob [n]; NaN without known labels. 0 is best; a constant prediction
    of the prevalence p gives p (1 - p). Brier, Monthly Weather Review 78, 1950, for two classes."""
    valid = valid_mask(truth, prob)
    return float(np.mean((prob[valid].astype(np.float64) - truth[valid]) ** 2)) if valid.any() else float("nan")


def calibration_error(truth: Array, prob: Array, bins: int = BINS) -> float:
    """Mean over the films of |share of positives - mean probability| of the film's bin: the expected calibration
    error of Guo et al., equation 3, of truth and prob [n], for the probability of a finding. NaN without films."""
    curve = _binned(truth, prob, np.linspace(0, 1, bins + 1)[1:-1])
    if not len(curve.films):
        return float("nan")
    return float(np.average(np.abs(curve.share - curve.prob), weights=curve.films))


@dataclass(frozen=True, kw_only=True)
class MeanCalibration:
    """Calibration in the large: the mean probability and the fraction of positives of the same films, with 95 %
    intervals; NaN without films.

    prob   mean; its interval by the normal distribution, undefined for one film
    share  fraction of positive films, the mean of their labels if some are soft; its interval is Wilson's
    films  number of films
    """

    prob: float
    prob_interval: tuple[float, float]
    share: float
    share_interval: tuple[float, float]
    films: int


def mean_calibration(truth: Array, prob: Array) -> MeanCalibration:
    """Of truth, 0..1, and prob [n]; films without a label or a probability are left out."""
    valid = valid_mask(truth, prob)
    films = int(np.count_nonzero(valid))
    if not films:
        nothing = (math.nan, math.nan)
        return MeanCalibration(prob=math.nan, prob_interval=nothing, share=math.nan, share_interval=nothing, films=0)
    p, share = prob[valid].astype(np.float64), float(truth[valid].astype(np.float64).mean())
    half = Z * float(p.std(ddof=1)) / math.sqrt(films) if films > 1 else math.nan
    return MeanCalibration(
        prob=float(p.mean()),
        prob_interval=(float(p.mean()) - half, float(p.mean()) + half),
        share=share,
        share_interval=Proportion(hits=round(share * films), total=films).interval,
        films=films,
    )


def reliability(truth: Array, prob: Array, points: int = POINTS) -> Reliability:
    """The curve of truth [n] (0, 1, NaN unknown) and prob [n], in bins with equal numbers of films; films with the
    same probability are in the same bin, so there may be fewer bins."""
    valid = valid_mask(truth, prob)
    if not valid.any():
        return Reliability(prob=np.zeros(0), share=np.zeros(0), films=np.zeros(0, np.int64))
    edges = np.quantile(prob[valid].astype(np.float64), np.linspace(0, 1, points + 1)[1:-1])
    return _binned(truth, prob, np.unique(edges))


def _binned(truth: Array, prob: Array, edges: Doubles) -> Reliability:
    """Bins (-inf, e1], (e1, e2] ... (ek, inf); bins without films are omitted."""
    valid = valid_mask(truth, prob)
    p, label = prob[valid].astype(np.float64), truth[valid].astype(np.float64)
    place = np.searchsorted(edges, p, side="left")
    films = np.bincount(place, minlength=len(edges) + 1)
    there = films > 0
    total, hits = (np.bincount(place, weights=w, minlength=len(edges) + 1)[there] for w in (p, label))
    return Reliability(prob=total / films[there], share=hits / films[there], films=films[there])
