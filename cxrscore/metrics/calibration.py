"""Calibration of logits, fitted on validation films or out-of-fold predictions; it does not change their order."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.grouping import valid_mask

Doubles = NDArray[np.float64]

_STEPS = 100
_HALVINGS = 20
_SMALLEST = 0.05
"""Minimum slope after shrinking: below it the probabilities of a finding are practically its prevalence."""
_LARGEST = 50.0
"""Maximum slope; if the classes are separable, the likelihood has no maximum."""


def platt(truth: Array, logit: Array, weights: Array | None = None) -> tuple[float, float]:
    """Slope and intercept of the probability sigmoid(slope * logit + intercept), of one finding.

    Maximum likelihood with Platt's smoothed targets (n+ + 1)/(n+ + 2) and 1/(n- + 2), by Newton's method: Platt,
    Probabilistic Outputs for Support Vector Machines, 1999; Lin, Lin and Weng, Machine Learning 2007. (NaN, NaN)
    without films above and below 0.5. truth [n] 0, 1, between them or NaN; logit [n]. A soft label y counts as y
    positives and 1 - y negatives, its target lies between the two in proportion. weights [n]: a film of weight w counts
    as w films; None: all 1.

    The slope is in 0..50, so that the order of scores does not change: if the maximum-likelihood slope is not above 0,
    or all logits are equal, it is 1; if it is above 50, it is 50; in both cases only the intercept is fitted.
    """
    mass = np.ones(len(truth)) if weights is None else np.asarray(weights, np.float64)
    valid = valid_mask(truth, logit) & (mass > 0)
    mass, x, label = mass[valid], logit[valid].astype(np.float64), truth[valid].astype(np.float64)
    if not (label > 0.5).any() or not (label < 0.5).any():
        return float("nan"), float("nan")
    n_pos, n_neg = mass @ label, mass @ (1 - label)
    targets = label * (n_pos + 1) / (n_pos + 2) + (1 - label) / (n_neg + 2)
    likeliest = _slope(x, targets, mass) if np.ptp(x) > 0 and x.std() > 0 else 0.0
    slope = min(likeliest, _LARGEST) if likeliest > 0 else 1.0
    return slope, _intercept(slope * x, targets, mass)


def shrunken_platt(truth: Array, logit: Array, weights: Array | None = None) -> tuple[Doubles, Doubles]:
    """Slope and intercept of each finding, float64 [C] each, for the probability sigmoid(slope * logit + intercept).

    The slope of a finding with few positives is uncertain, so slopes are shrunk towards their common mean: an
    empirical Bayes estimate with the maximum-likelihood slopes, their standard errors, and the variance between
    findings of DerSimonian and Laird (Controlled Clinical Trials 7, 1986). The intercept then makes the mean
    probability equal to the share of positives.

    Parameters
    ----------
    truth, logit
        [N,C]; truth 0 to 1, or NaN where unknown. Findings whose labels are all equal get slope 1 and intercept 0, and
        those whose logits are all equal the intercept alone.
    weights
        [N], weight of each film; None: all equal.

    Notes
    -----
    Slopes are limited to 0.05 .. 50, so that the order of the logits never changes.
    """
    mass = np.ones(len(truth)) if weights is None else np.asarray(weights, np.float64)
    fits = [_line(truth[:, c], logit[:, c], mass) for c in range(truth.shape[1])]
    shrunk = _shrunken(np.array([fit.slope for fit in fits]), np.array([fit.error for fit in fits]))
    slopes = np.clip(shrunk, _SMALLEST, _LARGEST)
    return slopes, np.array([fit.intercept(slope) for fit, slope in zip(fits, slopes, strict=True)])


class _Line:
    """The known films of one finding, and the maximum-likelihood slope of its logits with its standard error; NaN and
    infinite where it has none."""

    def __init__(self, x: Doubles, targets: Doubles, mass: Doubles) -> None:
        self._x, self._targets, self._mass = x, targets, mass
        self.slope, self.error = math.nan, math.inf

    def intercept(self, slope: float) -> float:
        if not len(self._x) or np.ptp(self._targets) == 0:
            return 0.0
        return _intercept(slope * self._x, self._targets, self._mass)


def _line(truth: Array, logit: Array, mass: Doubles) -> _Line:
    valid = valid_mask(truth, logit) & (mass > 0)
    x, targets = logit[valid].astype(np.float64), truth[valid].astype(np.float64)
    line = _Line(x, targets, mass[valid])
    if not len(x) or np.ptp(targets) == 0 or not x.std() > 1e-9 * max(1.0, float(np.abs(x).max())):
        line.slope = 1.0
        return line
    spread = x.std()
    design = np.stack([(x - x.mean()) / spread, np.ones_like(x)], axis=1)
    mean = np.average(targets, weights=mass[valid])
    at = _newton(design, targets, np.array([0.0, np.log(mean / (1 - mean))]), mass[valid])
    p = _sigmoid(design @ at)
    information = (design * (mass[valid] * p * (1 - p))[:, None]).T @ design
    variance = np.linalg.pinv(information)[0, 0]
    if variance > 0 and abs(at[0] / spread) < _LARGEST:  # separable classes have no finite maximum
        line.slope, line.error = float(at[0] / spread), float(np.sqrt(variance) / spread)
    return line


def _shrunken(slopes: Doubles, errors: Doubles) -> Doubles:
    """The slopes, each drawn towards the common mean by the share of its variance that is error."""
    there = np.isfinite(errors)
    if not there.any():
        return np.where(np.isnan(slopes), 1.0, slopes)
    weight = 1 / errors[there] ** 2
    common = float(np.average(slopes[there], weights=weight))
    beyond = float(weight @ (slopes[there] - common) ** 2) - (int(there.sum()) - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    between = max(beyond / scale, 0.0) if scale > 0 else math.inf
    centre = float(np.average(slopes[there], weights=1 / (errors[there] ** 2 + between))) if scale > 0 else common
    found = np.full(len(slopes), centre)
    share = 1.0 if math.isinf(between) else between / (between + errors[there] ** 2)
    found[there] = centre + share * (slopes[there] - centre)
    return found


def _slope(x: Doubles, targets: Doubles, mass: Doubles) -> float:
    """Maximum-likelihood slope of targets [n] in 0..1 on x [n], which is not constant; films weighted by mass [n]."""
    spread = x.std()
    design = np.stack([(x - x.mean()) / spread, np.ones_like(x)], axis=1)
    mean = np.average(targets, weights=mass)
    return float(_newton(design, targets, np.array([0.0, np.log(mean / (1 - mean))]), mass)[0] / spread)


def _intercept(offset: Doubles, targets: Doubles, mass: Doubles | None = None) -> float:
    """The maximum-likelihood b of sigmoid(offset + b), whose mean probability is the mean target; by bisection."""
    mean = np.average(targets, weights=mass)
    low, high = np.log(mean / (1 - mean)) - offset.max(), np.log(mean / (1 - mean)) - offset.min()
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if np.average(_sigmoid(offset + middle), weights=mass) < mean:
            low = middle
        else:
            high = middle
    return float((low + high) / 2)


def _newton(design: Doubles, targets: Doubles, start: Doubles, mass: Doubles | None = None) -> Doubles:
    """Logistic regression of targets [n] in 0..1 on design [n,2], films weighted by mass [n].

    A step that overshoots is halved, and omitted if no halved step reduces the loss.
    """
    weights = np.ones(len(targets)) if mass is None else mass
    at, loss = start, _loss(design @ start, targets, weights)
    for _ in range(_STEPS):
        p = _sigmoid(design @ at)
        gradient = design.T @ (weights * (p - targets))
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        tried = (at - halving * step for halving in 0.5 ** np.arange(_HALVINGS))
        better = next(((to, found) for to in tried if (found := _loss(design @ to, targets, weights)) < loss), None)
        if better is None:
            break
        gain, (at, loss) = loss - better[1], better
        if gain < 1e-12 * max(loss, 1.0):
            break
    return at


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.exp(-np.logaddexp(0, -z))
    return found


def _loss(z: Doubles, targets: Doubles, mass: Doubles | float = 1.0) -> float:
    return float((mass * (np.logaddexp(0, z) - targets * z)).sum())


def temperature(truth: Array, logit: Array, weights: Array | None = None) -> float:
    """The temperature T > 0 for which sigmoid(logit / T) fits truth [N,C] best; logit [N,C]; weights [N] of
    the films, None: all equal.

    Maximum likelihood over all known labels, by golden-section search of log T: Guo et al., On Calibration of Modern
    Neural Networks, ICML 2017, section 4.2. NaN without known labels.
    """
    valid = valid_mask(truth, logit)
    z, y = logit[valid].astype(np.float64), truth[valid].astype(np.float64)
    films = np.ones(len(truth)) if weights is None else np.asarray(weights, np.float64)
    mass = np.broadcast_to(films.reshape(-1, *(1,) * (truth.ndim - 1)), truth.shape)[valid]
    if not mass.any():
        return float("nan")
    low, high = np.log(1 / _LARGEST), np.log(_LARGEST)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _loss(z / np.exp(left), y, mass) <= _loss(z / np.exp(right), y, mass):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
