"""Evaluation of a finished model: its logits from the cached features, and the calibration and thresholds, which are
chosen on the validation films and never on the test films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxrscore.contract import Floats, Model, ModelSpec
from cxrscore.errors import CheckError, InputError
from cxrscore.metrics import operating_point, platt, temperature
from cxrscore.models.probabilities import probabilities
from cxrscore.synthetic.reference_logits import FILMS
from cxrscore.training.data import Data
from cxrscore.training.features import FeatureSource, feature_cache_folder


def check_calibration(method: str, spec: ModelSpec) -> None:
    """InputError for a method that does not fit the activation of the model."""
    if method != "none" and spec.activation != "sigmoid":
        raise InputError(
            f"calibration {method!r} needs activation sigmoid, not {spec.activation}: use --calibration none"
        )


def calibration_of(truth: Floats, logits: Floats, method: str) -> dict[str, Any] | None:
    """The model file's "calibration" of truth and logits [N,C]; None for "none".

    The logits of a finding without both classes are not calibrated.
    """
    if method == "none":
        return None
    count = truth.shape[1]
    if method == "temperature":
        found = temperature(truth, logits)
        lines = [(1.0 if np.isnan(found) else 1 / found, 0.0)] * count
    else:
        fitted = [platt(truth[:, c], logits[:, c]) for c in range(count)]
        lines = [(1.0, 0.0) if np.isnan(line[0]) else line for line in fitted]
    slope, intercept = ([line[part] for line in lines] for part in (0, 1))
    return {"method": method, "slope": slope, "intercept": intercept, "fitted_on": "valid"}


def thresholds_of(
    spec: ModelSpec, truth: Floats, logits: Floats, rule: str, calibration: dict[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """The model file's "thresholds": an operating point for each finding that has both classes."""
    probs = probabilities(logits, spec.activation, calibration)
    points = {name: operating_point(truth[:, c], probs[:, c], rule) for c, name in enumerate(spec.findings)}
    return {
        name: {"prob": point, "rule": rule, "chosen_on": "valid"} for name, point in points.items() if point == point
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
