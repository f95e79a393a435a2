"""A linear probe: logistic regression on the features of a frozen backbone, solved to its optimum.

For each finding, scikit-learn minimises the log loss plus |w|^2 / (2 C), where w are the coefficients of the
standardized features and C is the strength, as scikit-learn defines it: the smaller, the more w is shrunk. The problem
is convex, so the result depends on the films and their labels only, and not on a seed or a number of epochs.

Strengths are chosen by cross-validation over patients. The out-of-fold predictions, of each film by a probe that was
fitted without its patient, give the model's own figures, its calibration and its thresholds.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.training.standardizer import Standardizer

Doubles = NDArray[np.float64]
Folds = NDArray[np.intp]

STRENGTHS = tuple(float(f"{10**power:.3g}") for power in np.arange(-5, -0.9, 0.5))
"""Strengths that are tried first: two a decade. If the best one is the first or the last, more are tried beyond it."""
_MOST = 1e3
_LEAST = 1e-8
_ROUNDING = 1e-4
"""Log losses that differ by less tie, and the smaller strength is taken: backends differ in the last digits of a
feature, and must not differ in the strength."""
_SMALL = 2000
"""Films up to which linear algebra has one thread: on a busy machine of two cores, two threads took six times the CPU
time for 354 films."""
_LEAST_DEVIATION = 1e-4
"""Fraction of the mean standard deviation that limits the scaling of a channel. A third of densenet121's channels vary
by less than a hundredth of the mean; they are computed as exactly as the others, and carry information."""
_MOST_STEPS = 2000
"""Of a fit: hardly shrunk coefficients of nearly constant features converge slowly, and cross-validate badly."""
_TOLERANCE, _HELD_OUT_TOLERANCE = 1e-8, 1e-6
"""Largest gradient of the mean loss, of the final fit and within cross-validation, where it moves a logit by less than
1e-4."""


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Cross-validated strengths of C findings, and the out-of-fold predictions of N films.

    margins    float64 [N,C]: coefficients times standardized features, without the intercept; 0 for findings that are
               not fitted
    strengths  float64 [C]: the strength of each finding; NaN for findings that are not fitted
    per_finding  whether each finding has a strength of its own; else all have the same
    tried      float64 [S]: the strengths that were tried, ascending
    log_loss   float64 [S,C]: the mean log loss of the held-out films, without calibration
    """

    margins: Doubles
    strengths: Doubles
    per_finding: bool
    tried: Doubles
    log_loss: Doubles


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A fitted probe for raw features: logits are features @ kernel + bias; float64 [K,C] and [C].

    bias includes that of the standardization, and ``intercept`` [C] is the part that margins leave out.
    """

    kernel: Doubles
    bias: Doubles
    intercept: Doubles


def cross_validate(
    features: Floats, labels: Floats, folds: Folds, *, fitted: NDArray[np.bool_], weights: Doubles | None = None
) -> CrossValidation:
    """Chooses strengths by cross-validation.

    Parameters
    ----------
    features
        float32 [N,K].
    labels
        float32 [N,C]: 0 to 1, NaN where unknown.
    folds
        [N]: the fold of each film.
    fitted
        [C]: findings to fit; the others have margin 0.
    weights
        [N]: weight of each film in the loss; None: all equal.

    Notes
    -----
    Two rules compete: one strength for all findings, by their mean log loss, or one for each, by the mean of its own
    log loss and that of all: the own loss of a rare finding alone is mostly noise. The log loss of a rule is that of
    each fold with the strengths that the other folds choose, so that the freer rule has no advantage. The out-of-fold
    predictions are also those of strengths chosen by the other folds.
    """
    mass = np.ones(len(labels)) if weights is None else weights
    with threads_for(len(labels)):
        return _cross_validated(features, labels, folds, fitted, mass)


def _cross_validated(
    features: Floats, labels: Floats, folds: Folds, fitted: NDArray[np.bool_], mass: Doubles
) -> CrossValidation:
    tried = np.array(STRENGTHS)
    margins, losses = _held_out(features, labels, folds, fitted, tried, mass)
    while (more := _beyond(tried, _total(losses), fitted)) is not None:
        new_margins, new_losses = _held_out(features, labels, folds, fitted, more, mass)
        order = np.argsort(np.concatenate([tried, more]))
        tried = np.concatenate([tried, more])[order]
        margins = np.concatenate([margins, new_margins])[order]
        losses = np.concatenate([losses, new_losses])[order]
    chosen = {rule: _choices(losses, rule) for rule in (False, True)}
    per_finding = _rule_loss(losses, chosen[True]) < _rule_loss(losses, chosen[False]) - _ROUNDING
    selected = chosen[per_finding]
    finding = np.arange(labels.shape[1])
    out_of_fold = margins[selected[folds], np.arange(len(folds))[:, None], finding]
    final = _best(_total(losses), per_finding)
    return CrossValidation(
        margins=np.where(fitted, out_of_fold, 0.0),
        strengths=np.where(fitted, tried[final], np.nan),
        per_finding=per_finding,
        tried=tried,
        log_loss=_total(losses),
    )


def fit_probe(
    features: Floats, labels: Floats, strengths: Doubles, *, prevalence: Doubles, weights: Doubles | None = None
) -> Probe:
    """The probe of all films with given strengths [C]. A finding of strength NaN gets no coefficients, and the logit of
    its prevalence as bias. Other parameters as for cross_validate."""
    mass = np.ones(len(labels)) if weights is None else weights
    scale = Standardizer.fit([features], _LEAST_DEVIATION)
    basis = _Basis((features - scale.mean) / scale.deviation)
    kernel = np.zeros((features.shape[1], labels.shape[1]))
    intercept = np.log(prevalence / (1 - prevalence))
    with threads_for(len(labels)):
        for c in np.flatnonzero(~np.isnan(strengths)):
            known = ~np.isnan(labels[:, c])
            solved = _solve(basis.values[known], labels[known, c], mass[known], strengths[[c]], _TOLERANCE)
            if solved is not None:
                kernel[:, c] = basis.coefficients(solved[0][0])
                intercept[c] = solved[1][0]
    raw = kernel / scale.deviation[:, None]
    return Probe(kernel=raw, bias=intercept - scale.mean @ raw, intercept=intercept)


def threads_for(films: int) -> AbstractContextManager[object]:
    """Within this context, linear algebra for so many films uses as many threads as are worth it."""
    import sklearn.linear_model  # noqa: F401  # the limit is for the libraries that are loaded
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1) if films <= _SMALL else nullcontext()


class _Basis:
    """Standardized features [N,K] of fewer films than features, rotated into the space of their N rows: the optimum
    lies there, and its coefficients have the same length, so the smaller problem has the same solution."""

    def __init__(self, standardized: Doubles) -> None:
        films, width = standardized.shape
        self._back: Doubles | None = None
        self.values = standardized
        if films < width and standardized.any():  # nothing can be rotated if no feature varies
            value, vector = np.linalg.eigh(standardized @ standardized.T)
            there = value > 1e-10 * max(value[-1], 1e-300)
            spread = np.sqrt(value[there])
            self.values = vector[:, there] * spread
            self._back = standardized.T @ (vector[:, there] / spread)

    def coefficients(self, rotated: Doubles) -> Doubles:
        """float64 [K]: coefficients of the standardized features."""
        return rotated if self._back is None else self._back @ rotated

    def rotate(self, standardized: Doubles) -> Doubles:
        """Other films in the same space."""
        return standardized if self._back is None else standardized @ self._back


def _held_out(
    features: Floats, labels: Floats, folds: Folds, fitted: NDArray[np.bool_], strengths: Doubles, mass: Doubles
) -> tuple[Doubles, Doubles]:
    """Margins [S,N,C] of each film by the probe of the other folds, and the summed log loss [S,F,C] of each fold, as a
    share of all known films."""
    count = int(folds.max()) + 1
    margins = np.zeros((len(strengths), *labels.shape))
    losses = np.zeros((len(strengths), count, labels.shape[1]))
    known_mass = (mass[:, None] * ~np.isnan(labels)).sum(axis=0)
    for fold in range(count):
        own, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        found, loss = probe_path(features, labels, others, own, fitted=fitted, strengths=strengths, mass=mass)
        margins[:, own] = found
        losses[:, fold] = loss / np.maximum(known_mass, 1e-300)
    return margins, losses


def probe_path(
    features: Floats,
    labels: Floats,
    rows: Folds,
    held_out: Folds,
    *,
    fitted: NDArray[np.bool_],
    strengths: Doubles,
    mass: Doubles,
) -> tuple[Doubles, Doubles]:
    """The probes of some films [N] for ascending strengths [S], on other films.

    Parameters
    ----------
    features, labels, fitted
        As for cross_validate, of all films.
    rows, held_out
        The films that the probes are fitted on, and the films that they are applied to, [H].
    mass
        float64 [N]: weight of each film.

    Returns
    -------
    tuple
        Margins [S,H,C] and log losses [S,C], summed over the held-out films; 0 for a finding that is not fitted or has
        one class only among the rows.
    """
    margins = np.zeros((len(strengths), len(held_out), labels.shape[1]))
    losses = np.zeros((len(strengths), labels.shape[1]))
    scale = Standardizer.fit([features[rows]], _LEAST_DEVIATION)
    basis = _Basis((features[rows] - scale.mean) / scale.deviation)
    rotated = basis.rotate((features[held_out] - scale.mean) / scale.deviation)
    for c in np.flatnonzero(fitted):
        known = ~np.isnan(labels[rows, c])
        solved = _solve(basis.values[known], labels[rows, c][known], mass[rows][known], strengths, _HELD_OUT_TOLERANCE)
        if solved is None:
            continue
        margins[:, :, c] = solved[0] @ rotated.T
        z, y = margins[:, :, c] + solved[1][:, None], labels[held_out, c]
        each = np.where(np.isnan(y), 0.0, np.logaddexp(0, z) - np.nan_to_num(y) * z)
        losses[:, c] = each @ mass[held_out]
    return margins, losses


def _solve(
    values: Doubles, targets: Floats, mass: Doubles, strengths: Doubles, tolerance: float
) -> tuple[Doubles, Doubles] | None:
    """Coefficients [S,R] and intercepts [S] of one finding for ascending strengths; None with one class only.

    A soft label y counts as a positive film of weight y and a negative film of weight 1 - y: the same loss.
    """
    from sklearn.linear_model import LogisticRegression

    soft = (targets > 0) & (targets < 1)
    y = targets.astype(np.float64)
    design, classes, weight = values, y > 0.5, mass
    if soft.any():
        design = np.concatenate([values, values[soft]])
        classes = np.concatenate([np.where(soft, True, y > 0.5), np.zeros(int(soft.sum()), bool)])
        weight = np.concatenate([np.where(soft, mass * y, mass), (mass * (1 - y))[soft]])
    there = weight > 0
    design, classes, weight = design[there], classes[there], weight[there]
    if not classes.any() or classes.all():
        return None
    model = LogisticRegression(solver="lbfgs", tol=tolerance, max_iter=_MOST_STEPS, warm_start=True)
    rows, intercepts = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last line search may gain nothing, since it is at the optimum already
        for strength in strengths:
            model.set_params(C=float(strength)).fit(design, classes, sample_weight=weight)
            rows.append(model.coef_[0].copy())
            intercepts.append(float(model.intercept_[0]))
    return np.array(rows), np.array(intercepts)


def _total(losses: Doubles) -> Doubles:
    """Mean log loss [S,C] over all folds of losses [S,F,C]."""
    total: Doubles = losses.sum(axis=1)
    return total


def _best(losses: Doubles, per_finding: bool) -> Folds:
    """The strength of each finding, as an index [C], by losses [S,C]."""
    common = np.repeat(losses.mean(axis=1, keepdims=True), losses.shape[1], axis=1)
    values = (losses + common) / 2 if per_finding else common
    return np.asarray(np.argmax(values <= values.min(axis=0) + _ROUNDING, axis=0))


def _choices(losses: Doubles, per_finding: bool) -> Folds:
    """By fold, the strengths that the other folds choose, [F,C]."""
    total = losses.sum(axis=1)
    return np.stack([_best(total - losses[:, fold], per_finding) for fold in range(losses.shape[1])])


def _rule_loss(losses: Doubles, chosen: Folds) -> float:
    """Mean log loss over findings, each fold with its chosen strengths [F,C]."""
    finding = np.arange(losses.shape[2])
    own = [losses[chosen[fold], fold, finding] for fold in range(len(chosen))]
    return float(np.mean(np.sum(own, axis=0)))


def _beyond(tried: Doubles, losses: Doubles, fitted: NDArray[np.bool_]) -> Doubles | None:
    """Further strengths, if the best one of all findings together is at an end of those tried."""
    if not fitted.any():
        return None
    best = int(_best(losses[:, fitted], False)[0])
    step = np.sqrt(10.0)
    if best == 0 and tried[0] > _LEAST:
        return np.array([tried[0] / step**2, tried[0] / step])
    if best == len(tried) - 1 and tried[-1] < _MOST:
        return np.array([tried[-1] * step, tried[-1] * step**2])
    return None
