"""Data that the core and a plugin exchange. Public in contract.py, which explains the letters of the shapes."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float32]
Tensors: TypeAlias = Mapping[str, Array]

BatchNorm = Literal["frozen", "batch"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs and labels of one training step.

    Parameters
    ----------
    inputs
        float32 [N,S,S] films, 0 black to 1 white; or [N,K] features for a head; or [N,h,w,K] activations for a tail.
    labels
        float32 [N,C]: 0, 1, a number between them for a soft label, or NaN where unknown.
    rate
        Factor of the learning rate in this step, from the core's schedule.
    of
        Distributed training: films of the batch in all processes together. Else None.
    """

    inputs: Floats
    labels: Floats
    rate: float = 1.0
    of: int | None = None


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Settings of Adam for an epoch. The learning rate of a step is learning_rate times ``Batch.rate``.

    Parameters
    ----------
    learning_rate
        Of the head, 0 or more.
    layer_decay
        0..1: factor of the rate for each block further from the head (networks.tensors.depth_of); 1: one rate for
        all.
    weight_decay
        Before each step, kernels shrink by this factor times their rate (decoupled; Loshchilov and Hutter, ICLR 2019).
        Biases, gammas and betas do not.
    clip_norm
        Gradients of all tensors together are scaled down to this Euclidean norm; infinite: never.
    batch_norm
        "frozen": training uses the stored statistics. "batch": layers whose gamma is trainable use those of the batch,
        and the stored ones move towards them by a hundredth per step.
    """

    learning_rate: float
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    clip_norm: float = float("inf")
    batch_norm: BatchNorm = "frozen"


@dataclass(frozen=True, kw_only=True)
class CamParts:
    """Inputs of a heat map, and the logits of the same forward pass.

    Parameters
    ----------
    logits
        float32 [N,C].
    activations
        float32 [N,h,w,K] of the layer.
    gradients
        float32 [N,F,h,w,K], d logit of finding f / d activations. [N,F,1,1,K] if it is the same at every position, as
        for a "gap" head (weight / (h w)). N may be 1 if it is the same for all films.
    cam_layer
        Name of the layer.
    """

    logits: Floats
    activations: Floats
    gradients: Floats
    cam_layer: str


LossFunction: TypeAlias = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A training loss, written once for all backends.

    Parameters
    ----------
    name
        One word.
    summary
        One line.
    function
        function(xp, logits, labels, weights) -> scalar. xp is numpy, torch or keras.ops, and the arrays belong to it:
        logits [N,C], labels [N,C] of 0 to 1 with NaN = unknown, weights [2,C] of positives (row 0) and negatives
        (row 1). It uses only functions that the three share (cxrscore.testing.SHARED). Unknown labels add nothing to
        value or gradient.
    weights
        float32 [2,C], bound by training with ``weighted``; a plugin leaves it None.
    """

    name: str
    function: LossFunction
    summary: str = ""
    weights: Floats | None = field(default=None, compare=False)

    def weighted(self, weights: Floats) -> Loss:
        """Return this loss with class weights float32 [2,C], as training passes it to ``fit_epoch``."""
        return dataclasses.replace(self, weights=weights)


def finite_rows(values: Array) -> NDArray[np.bool_]:
    """bool [N]: whether all values of a row of [N,...] are finite."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """Numbered items that worker processes of an executor compute.

    A worker stores each item itself, completely or not at all. Only numbers and short texts are passed between
    processes, and computing an item twice does no harm.

    Parameters
    ----------
    items
        Numbers of the items that are not done.
    opener
        "module:function". A worker calls it once with ``arguments`` as keywords; it loads the models and returns
        compute(item) -> a short text about what was stored, such as its SHA-256.
    arguments
        JSON-ready, the same on every machine.
    device
        "auto", "cpu", "cuda", "cuda:1": device that the executor must give the workers.
    is_done
        function(item) -> bool: whether the item is stored. The executor calls it for items of dead workers.
    """

    items: tuple[int, ...] = ()
    opener: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    is_done: Callable[[int], bool] = field(default=lambda item: False, compare=False)

    def open(self) -> Callable[[int], str]:
        """Call the opener, and return compute."""
        module, _, function = self.opener.partition(":")
        compute: Callable[[int], str] = getattr(importlib.import_module(module), function)(**self.arguments)
        return compute
