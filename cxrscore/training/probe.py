"""The default way of training: a linear probe on the features of the frozen backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore import labels as lab
from cxrscore.contract import Array, Floats, Model, SupportsFeatureTraining
from cxrscore.errors import InputError
from cxrscore.progress import Log
from cxrscore.training.data import Data
from cxrscore.training.features import FeatureSource, batches_of
from cxrscore.training.learning_curve import check_patients
from cxrscore.training.linear_probe import CrossValidation, Folds, Probe, cross_validate, fit_probe
from cxrscore.training.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class ProbeFit:
    """A solved linear probe, and what cross-validation says of it.

    rows      the films that it was fitted on, as rows of the data, N
    features  float32 [N,K]
    folds     [N], the fold of each film
    fitted    [C], whether a finding has coefficients; the others have too few positive or negative films
    logits    float32 [N,C], out-of-fold predictions on the scale of the logits of ``probe``
    """

    rows: NDArray[np.intp]
    features: Floats
    folds: Folds
    fitted: NDArray[np.bool_]
    validation: CrossValidation
    probe: Probe
    logits: Floats

    @property
    def head(self) -> dict[str, Array]:
        """The tensors of the dense layer."""
        return {
            "head/kernel": self.probe.kernel.astype(np.float32),
            "head/bias": self.probe.bias.astype(np.float32),
        }

    def as_dict(self, findings: Sequence[str]) -> dict[str, Any]:
        """JSON-ready record for the model file."""
        strengths = [None if np.isnan(value) else float(value) for value in self.validation.strengths]
        return {
            "folds": int(self.folds.max()) + 1,
            "per_finding": bool(self.validation.per_finding),
            "strengths": dict(zip(findings, strengths, strict=True)),
            "tried": self.validation.tried.tolist(),
            "log_loss": self.validation.log_loss[:, self.fitted].mean(axis=1).tolist(),
        }


def can_probe(model: Model) -> bool:
    """Whether the backend gives features and a dense head."""
    return isinstance(model, SupportsFeatureTraining) and "head/kernel" in model.head.tensors()


def solve_probe(source: FeatureSource, data: Data, options: TrainOptions, say: Log) -> ProbeFit:
    """The probe of the training films, with features from a source whose trainable part is the head.

    InputError if no finding has enough positive films, or there are fewer patients than folds.
    """
    rows = np.array(data.split.train, np.intp)
    labels = data.labels[rows]
    weights = data.weights_of(rows)
    counted = without_weightless(labels, weights)
    fitted = enough_films(counted, options.min_positives)
    if not fitted.any():
        positives = (counted > 0.5).sum(axis=0)
        most = f"{data.findings[int(positives.argmax())]} has the most positives, {positives.max()}"
        raise InputError(
            f"no finding has {options.min_positives} positive and {options.min_positives} negative training films"
            f"{_above(weights)}; {most}. Label more films, or lower --min-positives."
        )
    folds = training_folds([data.patients[row] for row in rows], labels, options)
    if options.learning_curve:
        check_patients([data.patients[row] for row in rows], folds)
    features = np.concatenate(list(source.of(batches_of(rows), None)))
    validation = cross_validate(features, labels, folds, fitted=fitted, weights=weights)
    probe = fit_probe(features, labels, validation.strengths, prevalence=prevalence(labels, weights), weights=weights)
    _say_probe(data, counted, fitted, validation, options, say)
    logits = (validation.margins + probe.intercept).astype(np.float32)
    return ProbeFit(
        rows=rows, features=features, folds=folds, fitted=fitted, validation=validation, probe=probe, logits=logits
    )


def training_folds(patients: Sequence[str | None], labels: Floats, options: TrainOptions) -> Folds:
    """The fold of each film; InputError that names the option if there are fewer patients than folds."""
    try:
        return lab.folds_by_patient(patients, labels, options.folds, seed=options.seed)
    except InputError as error:
        raise InputError(f"{error}. Lower --folds, or label more films.") from None


def without_weightless(labels: Floats, weights: NDArray[np.float64] | None) -> Floats:
    """Labels [N,C] with NaN for films of weight 0, of which nothing is learnt; weights [N] or None."""
    return labels if weights is None else np.where(weights[:, None] > 0, labels, np.float32(np.nan))


def _above(weights: NDArray[np.float64] | None) -> str:
    return "" if weights is None else " of a weight above 0"


def enough_films(labels: Floats, least: int) -> NDArray[np.bool_]:
    """bool [C]: whether a finding has this many positive and negative films among labels [N,C]."""
    positive, negative = (labels > 0.5).sum(axis=0), (labels < 0.5).sum(axis=0)
    return np.asarray(np.minimum(positive, negative) >= least)


def prevalence(labels: Floats, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """float64 [C], strictly between 0 and 1: weighted share of positives among known labels [N,C], with half a film
    added to a class that has none."""
    mass = np.ones(len(labels)) if weights is None else weights
    known = (mass[:, None] * ~np.isnan(labels)).sum(axis=0)
    positive = (mass[:, None] * np.nan_to_num(labels)).sum(axis=0)
    share: NDArray[np.float64] = np.clip(positive, 0.5, np.maximum(known - 0.5, 0.5)) / np.maximum(known, 1)
    return share


def _say_probe(
    data: Data, labels: Floats, fitted: NDArray[np.bool_], found: CrossValidation, options: TrainOptions, say: Log
) -> None:
    strengths = found.strengths[fitted]
    chosen = f"{strengths[0]:.3g} for all findings"
    if found.per_finding:
        chosen = f"{strengths.min():.3g} to {strengths.max():.3g}, one for each finding"
    by = lab.grouping([data.patients[row] for row in data.split.train])
    say(f"linear probe of {len(labels)} films, {options.folds}-fold cross-validation {by}: strength C {chosen}")
    for c in np.flatnonzero(~fitted):
        positives = int(np.nansum(labels[:, c] > 0.5))
        say(
            f"too few films of {data.findings[c]}: {positives} positive of {int((~np.isnan(labels[:, c])).sum())}, "
            f"expected {options.min_positives} of each class; its probability is its prevalence on every film"
        )
