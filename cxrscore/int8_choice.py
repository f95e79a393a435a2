"""How a network is computed in 8-bit integers, so that the probabilities move little.

Two means, measured on the films of the calibration: a shift of each finding's logit, which costs no time, and float32
instead of bfloat16 for what is not rounded, which costs some. Nothing here reads labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrscore.contract import Floats, Model, Precision, Ranges
from cxrscore.models.model_file import ModelFile
from cxrscore.models.probabilities import probabilities

_MARGIN = 0.8
"""Of the bound on the films of the calibration: on other films, the largest difference is larger."""


@dataclass(frozen=True, kw_only=True)
class Int8Choice:
    """What was chosen, as it is stored in the ``quantization`` of a model document.

    ranges          of the layers in 8-bit integers
    precision       of all else; None: the fastest that the device has
    logit_shift     [C], added to the logits
    max_difference  largest difference of a probability on the films of the calibration
    """

    ranges: Ranges
    precision: Precision | None
    logit_shift: tuple[float, ...]
    max_difference: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without the ranges."""
        return {
            "precision": self.precision,
            "logit_shift": list(self.logit_shift),
            "max_difference": float(f"{self.max_difference:.3g}"),
        }


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The calibration: films, and how a model is built and run.

    file     the model file
    build    (ranges, precision) -> model in int8, without a logit shift
    exact    float32 [n,C]: logits of the films in fp32
    score    model -> logits of the films [n,C]
    """

    file: ModelFile
    build: Callable[[Ranges, Precision | None], Model]
    exact: Floats
    score: Callable[[Model], Floats]

    def moved(self, logits: Floats, shift: Sequence[float]) -> Floats:
        """|difference from fp32| of each probability [n,C]."""
        exact = _probabilities(self.file, self.exact)
        moved: Floats = np.abs(exact - _probabilities(self.file, logits + np.array(shift)))
        return moved


def choose_int8(trial: Trial, ranges: Ranges, bound: float) -> Int8Choice:
    """Choose the precision of what is not rounded: the fastest if it keeps the bound, else what is nearer to fp32.

    The bound is kept if the largest difference of a probability is within 0.8 of it.

    Parameters
    ----------
    trial
        The films, and how they are scored.
    ranges
        Of all layers that can be rounded.
    bound
        Largest accepted difference of a probability.

    Returns
    -------
    Int8Choice
        With the shift of the logits.
    """
    fast = _measured(trial, ranges, None)
    if fast.max_difference <= _MARGIN * bound:
        return fast
    return min(fast, _measured(trial, ranges, "fp32"), key=lambda choice: choice.max_difference)


def _measured(trial: Trial, ranges: Ranges, precision: Precision | None) -> Int8Choice:
    logits = trial.score(trial.build(ranges, precision))
    shift = tuple(float(f"{value:.6g}") for value in (trial.exact - logits).mean(axis=0, dtype=np.float64))
    largest = float(trial.moved(logits, shift).max())
    return Int8Choice(ranges=ranges, precision=precision, logit_shift=shift, max_difference=largest)


def _probabilities(file: ModelFile, logits: Floats) -> Floats:
    found: Floats = probabilities(logits.astype(np.float32), file.spec.activation, file.document["calibration"]).astype(
        np.float64
    )
    return found
