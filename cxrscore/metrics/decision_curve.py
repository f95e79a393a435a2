"""Decision curves: the net benefit of acting on a probability, by the threshold from which one acts.

Vickers and Elkin, Decision curve analysis: a novel method for evaluating prediction models, Medical Decision Making 26,
2006. A threshold t says how many false positives one accepts for one true positive: (1 - t) / t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.grouping import class_mask

Doubles = NDArray[np.float64]

POINTS = 100
"""Maximum number of thresholds of a curve."""
MIN_FILMS = 5
"""Number of films that must be on each side of a threshold; beyond, single films decide."""


@dataclass(frozen=True, kw_only=True)
class DecisionCurve:
    """Net benefits by threshold, in true positives per film; acting on no film has a net benefit of 0.

    thresholds  float64 [n], ascending
    model       float64 [n], acting on films whose probability is at least the threshold
    treat_all   float64 [n], acting on all films
    """

    thresholds: Doubles
    model: Doubles
    treat_all: Doubles


def net_benefit(truth: Array, prob: Array, thresholds: Doubles) -> DecisionCurve:
    """The net benefit TP / n - FP / n * t / (1 - t) of n films at each threshold t.

    Parameters
    ----------
    truth : array [n]
        0, 1, soft between them, NaN unknown.
    prob : array [n]
        Calibrated probabilities, NaN left out.
    thresholds : float64 [t]
        Ascending, each above 0 and below 1.

    Returns
    -------
    DecisionCurve
        Net benefits NaN without films.
    """
    valid = class_mask(truth, prob)
    positive, values = truth[valid] > 0.5, prob[valid].astype(np.float64)
    ones, zeros = np.sort(values[positive]), np.sort(values[~positive])
    odds = thresholds / (1 - thresholds)
    films = np.float64(len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        true_positive = (len(ones) - np.searchsorted(ones, thresholds)) / films
        false_positive = (len(zeros) - np.searchsorted(zeros, thresholds)) / films
        treat_all = len(ones) / films - len(zeros) / films * odds
    return DecisionCurve(thresholds=thresholds, model=true_positive - false_positive * odds, treat_all=treat_all)


def supported_thresholds(truth: Array, prob: Array) -> Doubles:
    """Thresholds with MIN_FILMS labelled films or more on each side, float64 [POINTS] at equal steps of the log odds;
    empty if there are none."""
    values = np.sort(prob[class_mask(truth, prob)].astype(np.float64))
    if len(values) < 2 * MIN_FILMS:
        return np.zeros(0)
    low, high = np.clip([values[MIN_FILMS - 1], values[-MIN_FILMS]], 1e-6, 1 - 1e-6)
    if not low < high:
        return np.zeros(0)
    odds = np.geomspace(low / (1 - low), high / (1 - high), POINTS + 1)[1:]
    return np.asarray(np.minimum(odds / (1 + odds), high), np.float64)
