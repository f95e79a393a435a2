"""Calibration of logits, fitted on validation films, which does not change their order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.grouping import valid_mask

_STEPS = 100
_HALVINGS = 20
_LARGEST = 50.0
"""Maximum slope; if the classes are separable, the likelihood has no maximum."""


def platt(truth: Array, logit: Array) -> tuple[float, float]:
    """Slope and intercept of the probability sigmoid(slope * logit + intercept), of one finding.

    Maximum likelihood with Platt's smoothed targets (n+ + 1)/(n+ + 2) and 1/(n- + 2), by Newton's method: Platt,
    Probabilistic Outputs for Support Vector Machines, 1999; Lin, Lin and Weng, Machine Learning 2007. (NaN, NaN)
    without films above and below 0.5. truth [n] 0, 1, between them or NaN; logit [n]. A soft label y counts as y
    positives and 1 - y negatives, its target lies between the two in proportion.

    The slope is in 0..50, so that the order of scores does not change: if the maximum-likelihood slope is not above 0,
    or all logits are equal, it is 1; if it is above 50, it is 50; in both cases only the intercept is fitted.
    """
    valid = valid_mask(truth, logit)
    x, label = logit[valid].astype(np.float64), truth[valid].astype(np.float64)
    if not (label > 0.5).any() or not (label < 0.5).any():
        return float("nan"), float("nan")
    n_pos, n_neg = label.sum(), (1 - label).sum()
    targets = label * (n_pos + 1) / (n_pos + 2) + (1 - label) / (n_neg + 2)
    likeliest = _slope(x, targets) if np.ptp(x) > 0 and x.std() > 0 else 0.0
    slope = min(likeliest, _LARGEST) if likeliest > 0 else 1.0
    return slope, _intercept(slope * x, targets)


def _slope(x: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Maximum-likelihood slope and intercept of targets [n] in 0..1 on x [n], which is not constant."""
    spread = x.std()
    design = np.stack([(x - x.mean()) / spread, np.ones_like(x)], axis=1)
    mean = targets.mean()
    return float(_newton(design, targets, np.array([0.0, np.log(mean / (1 - mean))]))[0] / spread)


def _intercept(offset: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """The maximum-likelihood b of sigmoid(offset + b), whose mean probability is the mean target; by bisection."""
    mean = targets.mean()
    low, high = np.log(mean / (1 - mean)) - offset.max(), np.log(mean / (1 - mean)) - offset.min()
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _sigmoid(offset + middle).mean() < mean:
            low = middle
        else:
            high = middle
    return float((low + high) / 2)


def _newton(
    design: NDArray[np.float64], targets: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logistic regression of targets [n] in 0..1 on design [n,2]. A step that overshoots is halved, and omitted if no
    halved step reduces the loss."""
    at, loss = start, _loss(design @ start, targets)
    for _ in range(_STEPS):
        p = _sigmoid(design @ at)
        gradient = design.T @ (p - targets)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        tried = (at - halving * step for halving in 0.5 ** np.arange(_HALVINGS))
        better = next(((to, found) for to in tried if (found := _loss(design @ to, targets)) < loss), None)
        if better is None:
            break
        gain, (at, loss) = loss - better[1], better
        if gain < 1e-12 * max(loss, 1.0):
            break
    return at


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.exp(-np.logaddexp(0, -z))
    return found


def _loss(z: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0, z) - targets * z).sum())


def temperature(truth: Array, logit: Array) -> float:
    """The temperature T > 0 for which sigmoid(logit / T) fits truth [N,C] best; logit [N,C].

    Maximum likelihood over all known labels, by golden-section search of log T: Guo et al., On Calibration of Modern
    Neural Networks, ICML 2017, section 4.2. NaN without known labels.
    """
    valid = valid_mask(truth, logit)
    z, y = logit[valid].astype(np.float64), truth[valid].astype(np.float64)
    if not len(z):
        return float("nan")
    low, high = np.log(1 / _LARGEST), np.log(_LARGEST)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _loss(z / np.exp(left), y) <= _loss(z / np.exp(right), y):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
