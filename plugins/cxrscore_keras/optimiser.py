"""Adam as the contract defines it: the steps of Keras, layer-wise learning rates, weight decay of kernels, clipping."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import ops

from cxrscore.contract import ModelSpec, Optimiser
from cxrscore.networks.tensors import ADAM_BETAS, ADAM_EPSILON, depth_of


class Adam(keras.optimizers.Adam):
    """The optimiser of the tensors of these neutral names, in this order. Settings other than the learning rate are
    part of the traced step: after ``set`` the model must be compiled."""

    def __init__(self, spec: ModelSpec, names: Sequence[str]) -> None:
        super().__init__(beta_1=ADAM_BETAS[0], beta_2=ADAM_BETAS[1], epsilon=ADAM_EPSILON)
        self._depths = tuple(depth_of(spec, name) for name in names)
        self._kernels = tuple(name.endswith("/kernel") for name in names)
        self._layer_decay, self._kernel_decay = 1.0, 0.0

    def set(self, optimiser: Optimiser) -> None:
        self._layer_decay, self._kernel_decay = optimiser.layer_decay, optimiser.weight_decay
        self.global_clipnorm = optimiser.clip_norm if math.isfinite(optimiser.clip_norm) else None

    def update_step(
        self, gradient: keras.KerasTensor, variable: keras.Variable, learning_rate: keras.KerasTensor
    ) -> None:
        place = self._get_variable_index(variable)
        rate = learning_rate * self._layer_decay ** self._depths[place]
        if self._kernel_decay and self._kernels[place]:
            self.assign_sub(variable, ops.multiply(variable, rate * self._kernel_decay))
        super().update_step(gradient, variable, rate)
