"""Evaluation of a finished model: its logits from the cached features, and the calibration and thresholds, which are
chosen on out-of-fold predictions or validation films and never on the test films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats, Model, ModelSpec
from cxrscore.errors import CheckError, InputError
from cxrscore.metrics import operating_point, platt, shrunken_platt, temperature
from cxrscore.synthetic.reference_logits import FILMS
from cxrscore.training.data import Data
from cxrscore.training.features import FeatureSource, feature_cache_folder

Doubles = NDArray[np.float64]


def check_calibration(method: str, spec: ModelSpec) -> None:
    """InputError for a method that does not fit the activation of the model."""
    if method != "none" and spec.activation != "sigmoid":
        raise InputError(
            f"calibration {method!r} needs activation sigmoid, not {spec.activation}: use --calibration none"
        )


def calibration_of(
    truth: Floats, logits: Floats, method: str, fitted_on: str, weights: Doubles | None = None
) -> dict[str, Any] | None:
    """The model file's "calibration" of truth and logits [N,C], which are those of the splits or folds ``fitted_on``;
    None for "none". weights [N]: of the films.

    The logits of a finding without both classes are not calibrated.
    """
    if method == "none":
        return None
    slopes, intercepts = calibration_lines(truth, logits, method, weights)
    mass = np.ones(len(truth)) if weights is None else weights
    known = (mass[:, None] * ~np.isnan(truth)).sum(axis=0)
    positive = (mass[:, None] * np.nan_to_num(truth)).sum(axis=0)
    prevalence = positive / np.maximum(known, 1e-300)
    return {
        "method": method,
        "slope": slopes.tolist(),
        "intercept": intercepts.tolist(),
        "fitted_on": fitted_on,
        "prevalence": prevalence.tolist(),
    }


def calibration_lines(
    truth: Floats, logits: Floats, method: str, weights: Doubles | None = None
) -> tuple[Doubles, Doubles]:
    """Slope and intercept of each finding, float64 [C] each."""
    count = truth.shape[1]
    if method == "shrunken-platt":
        return shrunken_platt(truth, logits, weights)
    if method == "temperature":
        found = temperature(truth, logits, weights)
        return np.full(count, 1.0 if np.isnan(found) else 1 / found), np.zeros(count)
    lines = [platt(truth[:, c], logits[:, c], weights) for c in range(count)]
    fitted = np.array([(1.0, 0.0) if np.isnan(line[0]) else line for line in lines])
    return fitted[:, 0], fitted[:, 1]


def thresholds_of(
    spec: ModelSpec, truth: Floats, probs: Floats, rule: str, chosen_on: str, fitted: NDArray[np.bool_] | None = None
) -> dict[str, dict[str, Any]]:
    """The model file's "thresholds": a threshold for each finding that has both classes and, where ``fitted``
    [C] says so, coefficients; probs [N,C] are those of the splits or folds ``chosen_on``."""
    points = {
        name: operating_point(truth[:, c], probs[:, c], rule)
        for c, name in enumerate(spec.findings)
        if fitted is None or fitted[c]
    }
    return {
        name: {"prob": point, "rule": rule, "chosen_on": chosen_on} for name, point in points.items() if point == point
    }


TOLERANCE = 1e-4
"""Allowed difference to a logit of the complete model, relative to the largest logit if that is above 1."""


def final_logits(model: Model, outputs: FeatureSource, data: Data, rows: Sequence[int]) -> Floats:
    """Logits float32 [n,C] of these films without augmentation.

    model    the model as users load it, in float32
    outputs  the feature source of this model; the digest of the frozen layers identifies its cached features

    CheckError if the complete model gives other logits for the first few films.
    """
    if not rows:
        return np.empty((0, len(model.spec.findings)), np.float32)
    logits = outputs.logits(np.array(rows, np.intp))
    if outputs.frozen:
        _check_against_full_model(model, data, rows[:FILMS], logits[:FILMS])
    return logits


def _check_against_full_model(model: Model, data: Data, rows: Sequence[int], found: Floats) -> None:
    # The batch size of the golden probe, so that the network is compiled once for both.
    wanted = model.predict(data.store.batch([*rows, *[rows[0]] * (FILMS - len(rows))]))[: len(rows)]
    apart, allowed = float(np.abs(found - wanted).max()), TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not apart <= allowed:
        raise CheckError(
            f"the logits from the cached features differ by {apart:.2g} from those of the complete model, "
            f"expected at most {allowed:.2g}: the features in {feature_cache_folder()} do not belong to this model. "
            "Remove that folder and train again."
        )
