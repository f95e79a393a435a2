"""What is chosen on the validation films once training is over, and never on the test films."""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrscore.contract import Floats, ModelSpec
from cxrscore.errors import InputError
from cxrscore.metrics import operating_point, platt, temperature
from cxrscore.models.probabilities import probabilities


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
