"""How a network is computed in 8-bit integers, so that the probabilities move little.

Four means, measured on the films of the calibration: the layers that cost most are not rounded, ranges that clip more
or fewer films, float32 instead of bfloat16 for what is not rounded, and a shift of each finding's logit, which costs no
time. Nothing here reads labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrscore.contract import Floats, Model, Precision, Ranges
from cxrscore.models.model_file import ModelFile
from cxrscore.models.probabilities import probabilities
from cxrscore.progress import Progress

KEPT_SHARE = {"bf16": 0.2, "fp32": 0.067}
"""Largest share of the multiply-adds that is not rounded, by the precision that computes them instead. Where a
processor has dot products of bytes, bf16 takes about twice and fp32 four times their time."""
_STEPS = (0.25, 0.5, 1.0)
"""Parts of that share that are tried, after 0."""
_COSTLY = 8
"""Largest number of layers that are found to cost most."""
_REACHES = (0.5, 0.8)
"""Of the highest and lowest value of all films, what a range reaches at least: see range_of."""
_FILMS = 12
"""Number of films on which the error of a layer is measured."""
_MARGIN = 0.8
"""Of the bound on the films of the calibration: on other films, the largest difference is larger."""


@dataclass(frozen=True, kw_only=True)
class Int8Choice:
    """What was chosen, as it is stored in the ``quantization`` of a model document.

    ranges          of the layers in 8-bit integers
    kept_layers     those that could be rounded and are not, the one with the largest error first
    precision       of all that is not rounded; None: the fastest that the device has
    logit_shift     [C], added to the logits
    max_difference  largest difference of a probability on the films of the calibration
    """

    ranges: Ranges
    kept_layers: tuple[str, ...]
    precision: Precision | None
    logit_shift: tuple[float, ...]
    max_difference: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ranges": dict(self.ranges),
            "kept_layers": list(self.kept_layers),
            "precision": self.precision,
            "logit_shift": list(self.logit_shift),
            "max_difference": float(f"{self.max_difference:.3g}"),
        }


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The calibration: n films, and how a model is built and run.

    file      the model file
    extremes  float32 [n,2], lowest and highest input on each film, by layer that can be rounded
    native    whether the device computes bf16 natively, so that it is the precision of what is not rounded
    build     (ranges, precision) -> model in int8, without a logit shift
    exact     float32 [n,C]: logits of the films in fp32
    score     (model, m) -> logits of the first m films [m,C]
    """

    file: ModelFile
    extremes: Mapping[str, Floats]
    native: bool
    build: Callable[[Ranges, Precision | None], Model]
    exact: Floats
    score: Callable[[Model, int], Floats]

    def moved(self, logits: Floats, shift: Sequence[float]) -> Floats:
        """|difference from fp32| of each probability [n,C]."""
        exact = _probabilities(self.file, self.exact)
        moved: Floats = np.abs(exact - _probabilities(self.file, logits + np.array(shift)))
        return moved


def choose_int8(trial: Trial, bound: float, progress: Progress) -> Int8Choice:
    """Choose the fastest way that keeps the bound, or else the one that is nearest to fp32.

    The bound is kept if the largest difference of a probability is within 0.8 of it. Tried are, first with the fastest
    precision for what is not rounded and then with float32: all layers rounded, and more and more of those that cost
    most kept. Where the fastest precision keeps the bound itself, though not 0.8 of it, float32 is not tried.

    Parameters
    ----------
    trial
        The films, and how they are scored.
    bound
        Largest accepted difference of a probability.
    progress
        Called as progress(step, done, total).

    Returns
    -------
    Int8Choice
        With the shift of the logits.
    """
    rests: dict[Precision | None, float] = {None: KEPT_SHARE["bf16" if trial.native else "fp32"]}
    if trial.native:
        rests["fp32"] = KEPT_SHARE["fp32"]
    counts = trial.file.spec.graph.multiply_adds(trial.file.spec.size)
    costly: list[str] | None = None
    best: list[Int8Choice] = []
    for rest, share in rests.items():
        own: list[Int8Choice] = []
        for step in (0.0, *_STEPS):
            if step and costly is None:
                costly = costliest_layers(trial, progress)
            kept = kept_layers(costly or (), {layer: counts[layer] for layer in trial.extremes}, step * share)
            if step and kept == own[-1].kept_layers:
                continue
            for reach in _REACHES:
                own.append(_measured(trial, kept, reach, rest))
                progress("choosing", len(own), len(_REACHES) * (1 + len(_STEPS)))
                if own[-1].max_difference <= _MARGIN * bound:
                    return own[-1]
        best.append(min(own, key=_difference))
        if best[-1].max_difference <= bound:
            return best[-1]
    return min(best, key=_difference)


def _difference(choice: Int8Choice) -> float:
    return choice.max_difference


def range_of(extremes: Floats, reach: float) -> tuple[float, float]:
    """The range of a layer: from the mean of the films' lowest values to that of their highest, and at least this part
    of the extremes of all films.

    Rare extremes are clipped, so that all other values are resolved better. But a film whose values are several times
    those of the others would be computed wrongly if they were clipped to the mean.

    Parameters
    ----------
    extremes
        float32 [n,2], lowest and highest value of each film.
    reach
        0 to 1.

    Returns
    -------
    tuple of float
        Lowest and highest value, with six digits.
    """
    (mean_low, mean_high), low, high = extremes.mean(axis=0), extremes[:, 0].min(), extremes[:, 1].max()
    return float(f"{min(mean_low, reach * low):.6g}"), float(f"{max(mean_high, reach * high):.6g}")


def costliest_layers(trial: Trial, progress: Progress) -> list[str]:
    """Return the layers whose rounding moves the logits most, the worst first.

    The error of a group of layers is measured with only these rounded, and all else in float32. Errors of groups add up
    nearly, so the group with the largest is halved again and again until single layers remain at the top.

    Parameters
    ----------
    trial
        The films, of which the first 12 are scored.
    progress
        Called as progress(step, done, total).

    Returns
    -------
    list of str
        At most 8 names.
    """
    found: list[str] = []
    groups = [(math.inf, list(trial.extremes))]
    while groups and len(found) < _COSTLY:
        groups.sort(key=lambda group: group[0])
        _, worst = groups.pop()
        if len(worst) == 1:
            found += worst
            progress("ranking layers", len(found), min(_COSTLY, len(trial.extremes)))
        else:
            halves = worst[: len(worst) // 2], worst[len(worst) // 2 :]
            groups += [(_error(trial, half), half) for half in halves]
    return found


def kept_layers(costly: Sequence[str], counts: Mapping[str, int], share: float) -> tuple[str, ...]:
    """Those of the costly layers, in this order, that fit into this share of all multiply-adds, the ``counts``."""
    left, kept = share * sum(counts.values()), []
    for layer in costly:
        if counts[layer] <= left:
            left -= counts[layer]
            kept.append(layer)
    return tuple(kept)


def _error(trial: Trial, layers: Sequence[str]) -> float:
    """Mean square of what rounding these layers changes of the logits, without its mean, which a shift takes away."""
    ranges = {layer: range_of(trial.extremes[layer], _REACHES[0]) for layer in layers}
    exact = trial.exact[:_FILMS]
    changes = trial.score(trial.build(ranges, "fp32"), len(exact)) - exact
    return float(changes.var(axis=0, dtype=np.float64).mean())


def _measured(trial: Trial, kept: tuple[str, ...], reach: float, precision: Precision | None) -> Int8Choice:
    ranges = {layer: range_of(own, reach) for layer, own in trial.extremes.items() if layer not in kept}
    logits = trial.score(trial.build(ranges, precision), len(trial.exact))
    shift = tuple(float(f"{value:.6g}") for value in (trial.exact - logits).mean(axis=0, dtype=np.float64))
    largest = float(trial.moved(logits, shift).max())
    return Int8Choice(ranges=ranges, kept_layers=kept, precision=precision, logit_shift=shift, max_difference=largest)


def _probabilities(file: ModelFile, logits: Floats) -> Floats:
    found: Floats = probabilities(logits.astype(np.float32), file.spec.activation, file.document["calibration"]).astype(
        np.float64
    )
    return found
