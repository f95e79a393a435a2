"""Drift: the score distribution, compared with that of the validation films of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.images import Status
from cxrscore.models.calibration import moved_probabilities, recorded_shift
from cxrscore.reporting.provenance import get_nested, get_number, provenance_models, scoring_document
from cxrscore.reporting.ranking import known_values
from cxrscore.scorefile.data import SEEN, Scores

MIN_FILMS = 50
"""Minimum number of films: with fewer, the distance of distributions is mostly random."""
LARGE_DISTANCE = 0.2
"""Distance above which a finding is reported: the critical value at the 5 % level for two samples of 100 films, 1.36
sqrt(2 / 100)."""


@dataclass(frozen=True, kw_only=True)
class ScoreDrift:
    """Drift of one finding.

    then, now  21 quantiles of the validation films and of these films, lowest to highest
    distance   largest difference of the fractions of films below a validation quantile, 0..1 (Kolmogorov-Smirnov
               distance, at these 21 points)
    above      fraction of these films above the 95th validation percentile; 0.05 is expected without drift
    """

    finding: str
    then: NDArray[np.float64]
    now: NDArray[np.float64]
    distance: float
    above: float

    @property
    def large(self) -> bool:
        return self.distance >= LARGE_DISTANCE


@dataclass(frozen=True, kw_only=True)
class DriftResult:
    """All findings with validation quantiles in the model file; ``why``: why there are none, or ""."""

    findings: tuple[ScoreDrift, ...]
    films: int
    why: str


def score_drifts(scores: Scores) -> DriftResult:
    """Drift of the films that the model has not seen, or of all films if it has seen all."""
    quantiles, why = _validation_quantiles(scores.provenance)
    scored = scores.films.status == Status.OK
    unseen = scored & ~np.isin(scores.films.split, SEEN)
    rows = np.flatnonzero(unseen if unseen.any() else scored)
    if why:
        return DriftResult(findings=(), films=len(rows), why=why)
    if len(rows) < MIN_FILMS:
        why = f"{len(rows)} films are too few for a distribution; {MIN_FILMS} are needed."
        return DriftResult(findings=(), films=len(rows), why=why)
    shift = recorded_shift(scores.provenance)  # the quantiles are of probabilities for the training prevalence
    found = [
        score_drift(finding, moved_probabilities(then, shift.get(finding, 0.0)), now)
        for column, finding in enumerate(scores.findings)
        if (then := _quantiles(quantiles.get(finding))) is not None
        and len(now := known_values(scores.prob[rows, column]).astype(np.float64))
    ]
    return DriftResult(
        findings=tuple(found), films=len(rows), why="" if found else "The model file contains no quantiles."
    )


def _validation_quantiles(provenance: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The quantiles in the model file by finding, or why these scores cannot be compared with them."""
    document = scoring_document(provenance)
    if document is None and len(provenance_models(provenance)) > 1:
        return {}, "The scores are means over models; each model file contains only its own quantiles."
    if get_number(provenance, "tta", "copies") > 1:
        return (
            {},
            "The scores are means over augmented copies of each film (--tta); the quantiles in the model file are "
            "without augmentation.",
        )
    quantiles = get_nested(document, "validation", "score_quantiles")
    if not isinstance(quantiles, Mapping):
        return {}, "The model file does not contain the distribution of its validation scores."
    return quantiles, ""


def score_drift(finding: str, then: NDArray[np.float64], prob: NDArray[np.float64]) -> ScoreDrift:
    """Drift from quantiles of validation scores and the scores [n] of other films, n > 0."""
    levels = np.linspace(0, 1, len(then))
    ordered = np.sort(prob)
    below, upto = (np.searchsorted(ordered, then, side=side) / len(prob) for side in ("left", "right"))
    # A fraction between both levels is no difference: films may tie with a quantile, and quantiles with each other.
    away = np.maximum(np.maximum(below - _highest(then, levels), _lowest(then, levels) - upto), 0)
    return ScoreDrift(
        finding=finding,
        then=then,
        now=np.quantile(prob, levels),
        distance=float(away.max()),
        above=float(1 - upto[-2]),
    )


def _lowest(then: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The level of the first of equal quantiles."""
    return levels[np.searchsorted(then, then, side="left")]


def _highest(then: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The level of the last of equal quantiles."""
    return levels[np.searchsorted(then, then, side="right") - 1]


def _quantiles(values: object) -> NDArray[np.float64] | None:
    """float64 [21] from a value of a model file; None if the value is not a list of quantiles."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 21:
        return None
    found = np.array([get_number(value) for value in values], np.float64)
    return np.maximum.accumulate(found) if np.isfinite(found).all() else None
