"""What predictions reach that look at no pixel: always "no", the prevalence, and age, sex and view alone.

They show how much of a model's figures it owes to the films. Always "no" is right for most labels, because findings are
rare. The prevalence has the best Brier score that a constant can have. Age, sex and view tell sick patients from
others: who lies in bed gets an AP film. A network sees them in the pixels, and may have learnt little else.

The probe of age, sex and view is made as that of the features: with the same folds, the same choice of its strength and
the same calibration. Its AUCs are of the same films, so that the difference is paired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore import labels as lab
from cxrscore.contract import Array, Floats
from cxrscore.metrics import difference, label_accuracy, mean_estimate, negative_baseline
from cxrscore.training.data import Data
from cxrscore.training.evaluation import (
    HeldOut,
    baseline_probabilities,
    brier_estimate,
    figure,
    number,
    patient_numbers,
)
from cxrscore.training.linear_probe import cross_validate, fit_probe
from cxrscore.training.options import TrainOptions
from cxrscore.training.probe import prevalence

MIN_FILMS = 10
"""Films that a view needs for a column of its own; rarer ones share one, since nothing can be learnt of a few films."""
CALIBRATION = "shrunken-platt"
"""Of the probabilities of age, sex and view, as is the default of the model."""


def measure_yardsticks(
    data: Data, held: HeldOut, rows: Sequence[int], prob: Floats, options: TrainOptions
) -> dict[str, Any]:
    """The model file's "yardsticks": figures over the findings that have coefficients.

    Parameters
    ----------
    data
        The films of the run, of which ``rows`` [N] are held out.
    held, prob
        Predictions and probabilities [N,C] of the model for these.
    options
        Of the run: its folds and its seed.
    """
    used = np.flatnonzero(held.fitted)
    truth, constant = held.truth[:, used], baseline_probabilities(held)[:, used]
    return {
        "model": _figures(truth, prob[:, used]),
        "always_no": {
            "label_accuracy": number(negative_baseline(truth)),
            "brier": _brier(truth, np.zeros_like(constant)),
        },
        "prevalence": _figures(truth, constant),
        "metadata": _metadata(data, held, np.array(rows, np.intp), options),
    }


def design_matrix(columns: Mapping[str, Sequence[str]]) -> tuple[Floats, tuple[str, ...]]:
    """What is known of N films as numbers.

    Parameters
    ----------
    columns
        Those of age, sex and view that are known, N cells each; "" where unknown.

    Returns
    -------
    tuple
        float32 [N,K], and the columns that vary among the films. Age in standard deviations and its square, 0 and 1
        (their means) where it is unknown; one column of 0 and 1 for each sex, for each view of MIN_FILMS films or more,
        for all rarer views together, and for "unknown" of each.
    """
    parts: list[NDArray[np.float64]] = []
    names: list[str] = []
    for name in lab.DEMOGRAPHICS:
        found = [part for part in _numbers(name, columns.get(name, ())) if np.ptp(part) > 0]
        parts += found
        names += [name] * bool(found)
    return np.stack(parts, axis=1).astype(np.float32) if parts else np.empty((0, 0), np.float32), tuple(names)


def _numbers(name: str, cells: Sequence[str]) -> list[NDArray[np.float64]]:
    """The columns [N] of the design matrix for one column of text; none without cells."""
    if not cells:
        return []
    if name == "age":
        return _age(np.array([lab.years(cell) for cell in cells]))
    counts = Counter(cells)
    least = MIN_FILMS if name == "view" else 0
    codes = np.array([cell if not cell or counts[cell] >= least else "rare" for cell in cells])
    return [(codes == code).astype(np.float64) for code in np.unique(codes)]


def _age(age: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    known = ~np.isnan(age)
    if not known.any():
        return []
    deviation = age[known].std() or 1.0
    scaled = (age - age[known].mean()) / deviation
    return [np.where(known, scaled, 0.0), np.where(known, scaled**2, 1.0), (~known).astype(np.float64)]


def _metadata(data: Data, held: HeldOut, rows: NDArray[np.intp], options: TrainOptions) -> dict[str, Any] | None:
    """The figures of age, sex and view alone; None if the films have none of them, or all the same."""
    train = np.array(data.split.train, np.intp)
    place = rows if held.folds is not None else np.concatenate([train, rows])
    design, names = design_matrix({name: tuple(cells[row] for row in place) for name, cells in data.columns.items()})
    if not names:
        return None
    logits = _cross_validated(design, held) if held.folds is not None else _of_training(design, data, held, options)
    if logits is None:
        return None
    other = replace(held, logits=logits)
    prob = other.probabilities("sigmoid", CALIBRATION)
    used = np.flatnonzero(held.fitted)
    own, theirs = [other.auc(int(c)) for c in used], [held.auc(int(c)) for c in used]
    return {
        "columns": list(names),
        "macro_auc": figure(mean_estimate(own)),
        "auc": {data.findings[c]: figure(auc) for c, auc in zip(used, own, strict=True)},
        "brier": _brier(held.truth[:, used], prob[:, used]),
        "difference": figure(mean_estimate([difference(a, b) for a, b in zip(theirs, own, strict=True)])),
    }


def _cross_validated(design: Floats, held: HeldOut) -> Floats:
    """Logits [N,C] of each film by the probe of the other folds."""
    assert held.folds is not None
    found = cross_validate(design, held.truth, held.folds, fitted=held.fitted, weights=held.weights)
    share = prevalence(held.truth, held.weights)
    return (found.margins + np.log(share / (1 - share))).astype(np.float32)


def _of_training(design: Floats, data: Data, held: HeldOut, options: TrainOptions) -> Floats | None:
    """Logits [N,C] of held-out films by the probe of the training films, which come first in the design matrix;
    None if these are of one patient."""
    train = np.array(data.split.train, np.intp)
    patients = [data.patients[row] for row in train]
    folds = min(options.folds, len(np.unique(patient_numbers(patients))))
    if folds < 2:
        return None
    labels, weights = data.labels[train], data.weights_of(train)
    known, others = design[: len(train)], design[len(train) :]
    fold_of = lab.folds_by_patient(patients, labels, folds, seed=options.seed)
    strengths = cross_validate(known, labels, fold_of, fitted=held.fitted, weights=weights).strengths
    probe = fit_probe(known, labels, strengths, prevalence=prevalence(labels, weights), weights=weights)
    return (others @ probe.kernel + probe.bias).astype(np.float32)


def _figures(truth: Floats, prob: Array) -> dict[str, float | None]:
    return {"label_accuracy": number(label_accuracy(truth, prob)), "brier": _brier(truth, prob)}


def _brier(truth: Floats, prob: Array) -> float | None:
    """Mean Brier score of findings [N,C]."""
    return number(mean_estimate([brier_estimate(truth[:, c], prob[:, c]) for c in range(truth.shape[1])]).value)
