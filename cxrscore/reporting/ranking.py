"""The numbers by which a report ranks films: those of the file, without ties that rounding makes.

A probability is stored as float32, so an over-confident model gives many films exactly 1.0 (from a logit of 17) or the
same number just below it. Its logits still tell these films apart, and are in the file. So every metric of ranks (AUC,
ROC curve, average precision, their intervals, comparisons and subgroups) uses ``ranking_scores``. Metrics of
probabilities (Brier score, calibration, decisions at a threshold) use the probabilities as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.models.calibration import recorded_shift
from cxrscore.models.probabilities import ModelOutput, log_odds
from cxrscore.reporting.provenance import get_nested, get_number, get_text, provenance_models

Doubles = NDArray[np.float64]
LARGEST = 1e300
"""In place of infinity, the logit of 1: a metric may refuse numbers that are not finite."""
_ROWS = 1 << 16
"""Films whose numbers are computed at a time."""
_SLACK = 1e-3
"""Relative difference of numbers that are the same but for rounding to float32."""


class RankedScores(Protocol):
    """The part of Scores that decides the order of films."""

    @property
    def findings(self) -> tuple[str, ...]: ...
    @property
    def logit(self) -> Floats: ...
    @property
    def prob(self) -> Array: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...


def ranking_scores(scores: RankedScores) -> Doubles:
    """float64 [N,C]: ln(p / (1 - p)) of each probability before it was rounded to float32, NaN where there is none.

    It is computed from the logit, and kept within the numbers that round to the probability: so it orders films as the
    probabilities do, and films with equal probabilities as their logits do. Probabilities read as float64, such as
    those of a CSV table, are returned as they are.
    """
    if scores.prob.dtype == np.float64:
        return np.asarray(scores.prob, np.float64)
    plain = _plain_findings(scores)
    found = np.empty(scores.prob.shape)
    for rows in _blocks(scores):
        part = _part(scores, rows)
        low, high = _rounding_limits(part)
        exact = _exact_log_odds(part, calibrated=True)
        if plain.any():
            exact = np.where(plain, _exact_log_odds(part, calibrated=False), exact)
        middle = np.where(np.isnan(exact), _odds(part.prob.astype(np.float64)), exact)
        found[rows] = np.clip(middle, np.maximum(low, -LARGEST), np.minimum(high, LARGEST))
    return found


@dataclass(frozen=True, kw_only=True)
class _Part:
    """RankedScores of some films."""

    findings: tuple[str, ...]
    logit: Floats
    prob: Array
    provenance: Mapping[str, Any]


def _blocks(scores: RankedScores) -> Iterator[slice]:
    """The rows, some at a time: of all of them at once, the numbers in between would take ten times the memory of the
    result."""
    return (slice(start, start + _ROWS) for start in range(0, len(scores.prob), _ROWS))


def _part(scores: RankedScores, rows: slice) -> _Part:
    return _Part(
        findings=scores.findings, logit=scores.logit[rows], prob=scores.prob[rows], provenance=scores.provenance
    )


def _rounding_limits(scores: RankedScores) -> tuple[Doubles, Doubles]:
    """ln(p / (1 - p)) float64 [n,C] of the numbers between which all round to the probability."""
    low, high = (_odds((scores.prob.astype(np.float64) + _next(scores.prob, end)) / 2) for end in (0.0, 1.0))
    return low, high


def _next(prob: Array, end: float) -> Doubles:
    """The next float32 towards 0 or 1; ``end`` itself stays."""
    return np.nextafter(prob, np.float32(end)).astype(np.float64)


def _odds(p: Doubles) -> Doubles:
    """ln(p / (1 - p)); infinite for 0 and 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p), np.float64)


def _plain_findings(scores: RankedScores) -> NDArray[np.bool_]:
    """bool [C]: findings whose probabilities only match the logits without the calibration, as another program may
    write them: the calibrated numbers would all be at one end of what rounds to the probability, and tie."""
    odd = ~_all_fit(scores, calibrated=True)
    return odd & _all_fit(scores, calibrated=False) if odd.any() else odd


def _all_fit(scores: RankedScores, *, calibrated: bool) -> NDArray[np.bool_]:
    """_fits of all films."""
    found = np.ones(len(scores.findings), np.bool_)
    for rows in _blocks(scores):
        part = _part(scores, rows)
        found &= _fits(_exact_log_odds(part, calibrated=calibrated), *_rounding_limits(part))
    return found


def _fits(exact: Doubles, low: Doubles, high: Doubles) -> NDArray[np.bool_]:
    """bool [C]: whether the numbers of a finding are those that round to its probabilities, but for rounding."""
    slack = _SLACK * (1 + np.abs(exact))
    return np.asarray(~((exact < low - slack) | (exact > high + slack)).any(axis=0))


def _exact_log_odds(scores: RankedScores, *, calibrated: bool) -> Doubles:
    """ln(p / (1 - p)) float64 [N,C] from the logits of the file and the model's activation and calibration."""
    models = provenance_models(scores.provenance)
    if len(models) != 1 or get_number(scores.provenance, "tta", "copies") > 1:
        return scores.logit.astype(np.float64)  # of the mean probabilities, which the file has
    softmax = get_text(models[0], "document", "spec", "activation") == "softmax"
    calibration = _calibration(get_nested(models[0], "document", "calibration"), scores) if calibrated else None
    rows = np.isfinite(scores.logit).all(axis=1)
    found = np.full(scores.logit.shape, np.nan)
    output = ModelOutput(
        logits=scores.logit[rows], activation="softmax" if softmax else "sigmoid", calibration=calibration
    )
    found[rows] = log_odds(output)
    return found


def _calibration(calibration: Any, scores: RankedScores) -> Mapping[str, Any] | None:
    """Slopes and intercepts for the target prevalence; None unless there is a number of each for every finding."""
    if not isinstance(calibration, Mapping):
        return None
    moved = recorded_shift(scores.provenance)
    shift = np.array([moved.get(finding, 0.0) for finding in scores.findings])
    lines = [_numbers(calibration.get(name), len(scores.findings)) for name in ("slope", "intercept")]
    if None in lines:
        return None
    half = _numbers(calibration.get("half_at"), len(scores.findings))
    rescaled = {"half_at": half} if half and all(0 < value < 1 for value in half) else {}
    return {"slope": lines[0], "intercept": (np.array(lines[1]) + shift).tolist(), **rescaled}


def _numbers(values: Any, count: int) -> list[float] | None:
    numbers = [get_number(value) for value in values] if isinstance(values, list | tuple) else []
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def known_values(values: Array) -> Array:
    """The values [n] that are there: a film may have no score of a finding."""
    return values[~np.isnan(values)]
