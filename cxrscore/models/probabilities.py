"""Conversion of logits to probabilities, the same for every backend, and means of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Activation, Floats

LARGEST_LOGIT = 1e4
"""Limit of the logit of a mean probability of 1 or 0, as a softmax over a single finding gives."""


def probabilities(logits: Floats, activation: Activation, calibration: Mapping[str, Any] | None = None) -> Floats:
    """float32 [N,C] in 0..1 of logits [N,C], computed in float64 so that every backend's scores are rounded alike.

    calibration  as a model file has it: each finding's logit times its "slope" plus its "intercept" comes first; with
                 "half_at", probabilities are rescaled such that this one of each finding becomes 0.5
    """
    z = _calibrated(logits, calibration)
    if activation == "softmax":
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        prob = powers / powers.sum(axis=1, keepdims=True)
    else:
        half = np.exp(-np.abs(z))
        prob = np.where(z >= 0, 1 / (1 + half), half / (1 + half))
    found: Floats = _rescaled(prob, calibration).astype(np.float32)
    return found


@dataclass(frozen=True, kw_only=True)
class ModelOutput:
    """The logits float32 [N,C] of one model for one augmented copy of each film, with activation and calibration."""

    logits: Floats
    activation: Activation
    calibration: Mapping[str, Any] | None = None

    @property
    def prob(self) -> Floats:
        return probabilities(self.logits, self.activation, self.calibration)


def mean_probabilities(outputs: Sequence[ModelOutput]) -> Floats:
    """float32 [N,C]: the plain mean of the probabilities of all outputs, added up in float64.

    Probabilities and not logits are averaged: they are on one scale whatever model they come from, and the mean of
    forecasts is never worse by Brier score or log loss than the forecasts are on average (both are convex).
    """
    mean: Floats = np.stack([output.prob for output in outputs]).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def mean_logits(outputs: Sequence[ModelOutput]) -> Floats:
    """float32 [N,C]: ln(p / (1 - p)) of the mean probabilities, before these are rounded, so that it is finite and
    tells apart films whose probabilities round to the same number. Of a single output it is the calibrated logit."""
    logs = [_logs(output) for output in outputs]
    present, absent = (np.logaddexp.reduce(side, axis=0) for side in zip(*logs, strict=True))
    odds: Floats = np.clip(present - absent, -LARGEST_LOGIT, LARGEST_LOGIT).astype(np.float32)
    return odds


def log_odds(output: ModelOutput) -> NDArray[np.float64]:
    """float64 [N,C]: ln(p / (1 - p)) of the probabilities of one model, without rounding p to 0 or 1."""
    if output.activation == "sigmoid" and "half_at" not in (output.calibration or {}):
        return _calibrated(output.logits, output.calibration)
    present, absent = _logs(output)
    return np.asarray(np.clip(present - absent, -LARGEST_LOGIT, LARGEST_LOGIT), np.float64)


def _calibrated(logits: Floats, calibration: Mapping[str, Any] | None) -> NDArray[np.float64]:
    z = logits.astype(np.float64)
    return z * np.array(calibration["slope"]) + np.array(calibration["intercept"]) if calibration else z


def _rescaled(prob: NDArray[np.float64], calibration: Mapping[str, Any] | None) -> NDArray[np.float64]:
    """[N,C]: 0..half_at mapped linearly to 0..1/2, and half_at..1 to 1/2..1, as torchxrayvision does."""
    if not calibration or "half_at" not in calibration:
        return prob
    half = np.array(calibration["half_at"])
    found: NDArray[np.float64] = np.where(prob < half, prob / (2 * half), 1 - (1 - prob) / (2 * (1 - half)))
    return found


def _logs(output: ModelOutput) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ln p and ln(1 - p) of each probability, [N,C], computed without rounding p to 0 or 1."""
    present, absent = _plain_logs(output)
    if not output.calibration or "half_at" not in output.calibration:
        return present, absent
    half = np.array(output.calibration["half_at"])
    low, high = present - np.log(2 * half), absent - np.log(2 * (1 - half))
    is_low = present < np.log(half)
    # The side below 1/2, from which the other follows without loss.
    less = np.minimum(np.where(is_low, low, high), np.log(0.5))
    other = np.log1p(-np.exp(less))
    return np.where(is_low, low, other), np.where(is_low, other, high)


def _plain_logs(output: ModelOutput) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same before probabilities are rescaled."""
    z = _calibrated(output.logits, output.calibration)
    if output.activation == "sigmoid":
        return -np.logaddexp(0, -z), -np.logaddexp(0, z)
    own = np.eye(z.shape[1], dtype=bool)
    others = np.logaddexp.reduce(np.where(own, -np.inf, z[:, None, :]), axis=2)
    normalizer = np.logaddexp(z, others)
    return z - normalizer, others - normalizer
