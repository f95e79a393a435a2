"""How many more labels? The macro AUC of the linear probe with fewer films, and a power law through it.

Of each training part of the cross-validation, an eighth, a quarter, a half and all of its patients train a probe, which
the same held-out films evaluate. A subset contains the smaller ones. It is drawn REPEATS times, with findings balanced.

The law is macro AUC = asymptote - factor * films ** -exponent: the error of most learners falls as a power of the
number of examples (Cortes, Jackel, Solla, Vapnik, Denker, NIPS 6, 1993; Figueroa, Zeng-Treitler, Kandula, Ngo, BMC
Medical Informatics and Decision Making 12:8, 2012). Four points cannot prove it, and it knows nothing of films from
elsewhere: its predictions say whether more labels are worth the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore import labels as lab
from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.metrics import auc
from cxrscore.training.evaluation import number
from cxrscore.training.linear_probe import STRENGTHS, Doubles, Folds, probe_path, threads_for

SHARES = (1, 2, 4, 8)
"""Eighths of the training patients."""
REPEATS = 5
"""Draws of the subsets. Those of an eighth differ most; with five, their contribution to the error is below that of
the folds."""
CURVE_STRENGTHS = STRENGTHS[::2]
"""Strengths that are tried for each size: one a decade, because AUC hardly depends on them."""
RESAMPLES = 1000
"""Of the bootstrap over folds and repeats."""
SMALLEST_EXPONENT = 0.02
"""Smaller ones make the same curve over any range of films: a straight line in the logarithm of their number."""
LARGEST_EXPONENT = 2.0
RISES = 0.95
"""Share of the resamples in which all films must be better than an eighth of them; else the curve has no law."""
FACTORS = (2, 4)
"""Multiples of the present films for which the law predicts."""
_GRID, _ROUNDS = 40, 8
"""Exponents of a round of the search, and rounds."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """macro AUC = asymptote - factor * films ** -exponent; asymptote <= 1, factor >= 0, 0 < exponent <= 2."""

    asymptote: float
    factor: float
    exponent: float

    def at(self, films: float) -> float:
        """The macro AUC of so many training films."""
        return float(self.asymptote - self.factor * films**-self.exponent)


def check_patients(patients: Sequence[str | None], folds: Folds) -> None:
    """InputError if the training part of a fold has fewer patients than eighths."""
    for fold in range(int(folds.max()) + 1):
        own = [patient for patient, other in zip(patients, folds, strict=True) if other != fold]
        known = len({name for name in own if name is not None}) + own.count(None)
        if known < SHARES[-1]:
            raise InputError(
                f"a learning curve needs {SHARES[-1]} patients in the training part of each fold, and there are "
                f"{known}: leave --learning-curve out, or label more films"
            )


def measure_learning_curve(
    features: Floats,
    labels: Floats,
    folds: Folds,
    *,
    fitted: NDArray[np.bool_],
    patients: Sequence[str | None],
    weights: Doubles | None = None,
    seed: int,
) -> dict[str, Any]:
    """The model file's "learning_curve" of N films.

    Parameters
    ----------
    features, labels, folds, fitted, weights
        As for linear_probe.cross_validate.
    patients
        [N], None where unknown.
    seed
        Of the subsets and of the bootstrap.

    Notes
    -----
    One strength for all findings is chosen for each size, by the mean log loss of the held-out films over folds and
    repeats. A finding with one class only in a subset has AUC 0.5. A finding with one class only among the held-out
    films of a fold does not count there, for any size.

    Errors are those of the mean over folds, whose films differ. The interval of a prediction is the range of the middle
    95 % of the laws of RESAMPLES resamples of folds and, within each, of repeats.
    """
    with threads_for(len(labels)):
        films, areas = _areas(features, labels, folds, fitted, patients, weights, seed)
    errors = areas.mean(axis=1).std(axis=0, ddof=1) / np.sqrt(len(areas))
    law, predicted = _law_and_predictions(films, areas, errors, len(labels), seed)
    return {
        "films": [round(count) for count in films],
        "macro_auc": [number(area) for area in areas.mean(axis=(0, 1))],
        "error": [number(error) for error in errors],
        "law": law and {"asymptote": law.asymptote, "factor": law.factor, "exponent": law.exponent},
        "predicted": predicted,
    }


def fit_law(films: Doubles, areas: Doubles, errors: Doubles) -> Law:
    """The law of least squares, weighted by 1 / errors squared, through areas [S] of films [S]. A curve that does not
    rise gives factor 0. If an error is 0, all points have the same weight.

    For each exponent, the best law is a line. The best exponent is searched on a grid, and again between the neighbours
    of the best one.
    """
    weight = 1 / errors**2 if (errors > 0).all() else np.ones(len(films))
    low, high = SMALLEST_EXPONENT, LARGEST_EXPONENT
    for _ in range(_ROUNDS):
        exponents = np.geomspace(low, high, _GRID)
        loss, asymptote, factor = _lines(films, areas, weight, exponents)
        best = int(np.argmin(loss))
        low, high = exponents[max(best - 1, 0)], exponents[min(best + 1, _GRID - 1)]
    return Law(asymptote=float(asymptote[best]), factor=float(factor[best]), exponent=float(exponents[best]))


def _lines(films: Doubles, areas: Doubles, weight: Doubles, exponents: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Weighted squared error, asymptote and factor of the best law with each of these exponents, float64 [E] each: a
    line in films ** -exponent, or the best one on a limit where that line is beyond it."""
    x, share = films ** -exponents[:, None], weight / weight.sum()
    mean_x, mean_y = x @ share, float(areas @ share)
    away = x - mean_x[:, None]
    factor = np.maximum(-(away * (areas - mean_y)) @ share / (away**2 @ share), 0.0)
    asymptote = mean_y + factor * mean_x
    beyond = asymptote > 1
    asymptote = np.where(beyond, 1.0, asymptote)
    factor = np.where(beyond, (x * (1 - areas)) @ share / (x**2 @ share), factor)
    error = (areas - asymptote[:, None] + factor[:, None] * x) ** 2 @ share
    return error, asymptote, factor


def _areas(
    features: Floats,
    labels: Floats,
    folds: Folds,
    fitted: NDArray[np.bool_],
    patients: Sequence[str | None],
    weights: Doubles | None,
    seed: int,
) -> tuple[Doubles, Doubles]:
    """Mean number of training films of each size, [S], and macro AUCs [F,R,S]."""
    count = int(folds.max()) + 1
    mass = np.ones(len(labels)) if weights is None else weights
    strengths = np.array(CURVE_STRENGTHS)
    areas = np.full((len(strengths), count, REPEATS, len(SHARES)), np.nan)
    losses = np.zeros((len(strengths), len(SHARES)))
    films = np.zeros(len(SHARES))
    for fold in range(count):
        held_out, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        for repeat in range(REPEATS):
            eighths = lab.folds_by_patient(
                [patients[row] for row in others.tolist()], labels[others], SHARES[-1], seed=_seed(seed, fold, repeat)
            )
            for size, share in enumerate(SHARES):
                rows = others[eighths < share]
                films[size] += len(rows) / (count * REPEATS)
                if share == SHARES[-1] and repeat:  # all films: the same in each repeat
                    areas[:, fold, repeat, size] = areas[:, fold, 0, size]
                    continue
                margins, loss = probe_path(
                    features, labels, rows, held_out, fitted=fitted, strengths=strengths, mass=mass
                )
                areas[:, fold, repeat, size] = [_macro_auc(labels[held_out], one, fitted) for one in margins]
                losses[:, size] += loss.sum(axis=1)
    best = losses.argmin(axis=0)
    return films, areas[best, :, :, np.arange(len(SHARES))].transpose(1, 2, 0)


def _seed(seed: int, fold: int, repeat: int) -> int:
    """Another seed for each draw."""
    return int(np.random.SeedSequence([seed, fold, repeat]).generate_state(1)[0])


def _macro_auc(truth: Floats, margins: Doubles, fitted: NDArray[np.bool_]) -> float:
    """Mean AUC of the fitted findings with both classes; margins that are all equal have AUC 0.5."""
    found = np.array([auc(truth[:, c], margins[:, c]) for c in np.flatnonzero(fitted)])
    return float(np.mean(found[~np.isnan(found)])) if (~np.isnan(found)).any() else float("nan")


def _law_and_predictions(
    films: Doubles, areas: Doubles, errors: Doubles, present: int, seed: int
) -> tuple[Law | None, list[dict[str, Any]]]:
    """The law of macro AUCs [F,R,S] and what it predicts; None and nothing if the curve does not rise."""
    drawn = _resampled(areas, np.random.default_rng(seed))
    if not np.mean(drawn[:, -1] > drawn[:, 0]) >= RISES:
        return None, []
    law = fit_law(films, areas.mean(axis=(0, 1)), errors)
    if not law.factor:
        return None, []
    others = [fit_law(films, points, errors) for points in drawn]
    predicted = []
    for factor in FACTORS:
        low, high = np.percentile([other.at(factor * present) for other in others], [2.5, 97.5])
        value = law.at(factor * present)
        limits = {"low": min(float(low), value), "high": max(float(high), value)}
        predicted.append({"films": factor * present, "macro_auc": {"value": value, **limits}})
    return law, predicted


def _resampled(areas: Doubles, rng: np.random.Generator) -> Doubles:
    """Mean macro AUCs [RESAMPLES,S] of resampled folds and repeats."""
    count, repeats, _ = areas.shape
    fold = rng.integers(count, size=(RESAMPLES, count, 1))
    repeat = rng.integers(repeats, size=(RESAMPLES, count, repeats))
    drawn: Doubles = areas[fold, repeat].mean(axis=(1, 2))
    return drawn
