"""The evaluation of a finished model: its logits, computed from the features that training cached, and the calibration
and thresholds, which are chosen on the validation films and never on the test films."""

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
    """InputError for a method that the model's activation has no use for."""
    if method != "none" and spec.activation != "sigmoid":
        raise InputError(f"calibration {method!r} is for activation sigmoid, not {spec.activation}")


def calibration_of(truth: Floats, logits: Floats, method: str) -> dict[str, Any] | None:
    """The model file's "calibration" of truth and logits [N,C]; None for "none".

    A finding without both classes keeps its logits as they are.
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
"""How far a logit may be from that of the whole model, times the largest of them where that is more than 1."""


def final_logits(model: Model, outputs: FeatureSource, data: Data, rows: Sequence[int]) -> Floats:
    """Logits float32 [n,C] of these films as they are.

    model    as others will load it, in float32
    outputs  those of this very model, which know by the digest of its frozen layers whether what is kept is theirs

    CheckError where the whole model, run on the first few of the films, gives other logits.
    """
    if not rows:
        return np.empty((0, len(model.spec.findings)), np.float32)
    logits = outputs.logits(np.array(rows, np.intp))
    if outputs.frozen:
        _check_against_full_model(model, data, rows[:FILMS], logits[:FILMS])
    return logits


def _check_against_full_model(model: Model, data: Data, rows: Sequence[int], found: Floats) -> None:
    # As many films as the golden probe has, so that the network is compiled once for both.
    wanted = model.predict(data.store.batch([*rows, *[rows[0]] * (FILMS - len(rows))]))[: len(rows)]
    apart, allowed = float(np.abs(found - wanted).max()), TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not apart <= allowed:
        raise CheckError(
            f"the trained part of the model gives logits that differ by {apart:.2g} from those of the whole model, "
            f"where {allowed:.2g} is allowed: what is kept of the frozen layers in {feature_cache_folder()} is not "
            f"what they "
            "make of the films. Remove that folder and train again."
        )
