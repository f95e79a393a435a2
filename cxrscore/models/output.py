"""Logits to probabilities, once for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cxrscore.contract import Activation, Floats


def probabilities(logits: Floats, activation: Activation, calibration: Mapping[str, Any] | None = None) -> Floats:
    """float32 [N,C] in 0..1 of logits [N,C], computed in float64 so that every backend's scores are rounded alike.

    calibration  as a model file has it: each finding's logit times its "slope" plus its "intercept" comes first
    """
    z = logits.astype(np.float64)
    if calibration:
        z = z * np.array(calibration["slope"]) + np.array(calibration["intercept"])
    if activation == "softmax":
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        prob: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    else:
        half = np.exp(-np.abs(z))
        prob = np.where(z >= 0, 1 / (1 + half), half / (1 + half)).astype(np.float32)
    return prob
