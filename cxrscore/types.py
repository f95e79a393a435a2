"""What passes between the core and a backend: arrays, batches, settings of a step, heat-map parts, losses. Public in
contract.py, which says what the letters of the shapes mean."""

from __future__ import annotations

import dataclasses
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

    inputs  float32 [N,S,S], grey, 0 black..1 white; or float32 [N,K] embeddings for a head; or float32 [N,h,w,K]
            activations for a tail
    labels  float32 [N,C], 0 or 1, NaN where unknown
    rate    factor of the learning rate in this step, as the core's schedule wants it
    of      where several processes share the batch (SupportsDistributed): how many films all of them have of it; else
    None
    """

    inputs: Floats
    labels: Floats
    rate: float = 1.0
    of: int | None = None


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Settings of Adam for an epoch. A step's rate is learning_rate times the batch's own ``rate``.

    learning_rate  of the head, 0 or more
    layer_decay    0..1, factor of the rate for each block further from the head (models.architectures.depth_of);
                   1: all alike
    weight_decay   kernels shrink by this share, times their rate, before each step (decoupled: Loshchilov and Hutter,
                   ICLR 2019); biases, gammas and betas do not
    clip_norm      gradients of all tensors together are scaled down to this Euclidean norm; infinite: never
    batch_norm     "frozen": batch normalisation runs on its stored statistics in training, too. "batch": layers whose
                   gamma may learn run on those of the batch and move the stored ones towards them, a hundredth a step
    """

    learning_rate: float
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    clip_norm: float = float("inf")
    batch_norm: BatchNorm = "frozen"


@dataclass(frozen=True, kw_only=True)
class CamParts:
    """What every heat map is computed from, with the scores of the same forward pass.

    logits       float32 [N,C]
    activations  float32 [N,h,w,K] at the CAM layer
    gradients    float32 [N,F,h,w,K], d logit of finding f / d activations; [N,F,1,1,K] where it is the same at every
                 place of the map, as for a "gap" head (weight / (h w)). N may be 1 where it is the same for all.
    cam_layer    name of the layer whose output the activations are
    """

    logits: Floats
    activations: Floats
    gradients: Floats
    cam_layer: str


LossFunction: TypeAlias = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A training loss, written once for all backends.

    function(xp, logits, labels, weights) -> scalar, where xp is an array namespace (numpy, torch, keras.ops)
    and the arrays are of that namespace: logits [N,C], labels [N,C] with NaN = unknown, weights [2,C] the
    weights of positives (row 0) and negatives (row 1). It must use only functions that the three namespaces
    share (cxrscore.testing.SHARED lists them), so that every backend's automatic differentiation flows through
    it; and it must add nothing, to value or gradient, where a label is unknown.
    """

    name: str
    function: LossFunction
    summary: str = ""
    weights: Floats | None = field(default=None, compare=False)

    def weighted(self, weights: Floats) -> Loss:
        """The same loss with class weights float32 [2,C] bound to it, as training passes it to fit_epoch."""
        return dataclasses.replace(self, weights=weights)


def finite_rows(values: Array) -> NDArray[np.bool_]:
    """bool [N]: whether all values of a row of [N,...] are finite."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
