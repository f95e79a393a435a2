"""Adam as the contract defines it: the steps of Keras, layer-wise learning rates, weight decay of kernels, clipping."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from cxrscore.contract import Array, ModelSpec, Optimiser, Tensors
from cxrscore.networks.tensors import ADAM_BETAS, ADAM_EPSILON, check_adam_state, depth_of, tensor_shapes
from cxrscore_torch.nets import from_neutral, to_neutral, to_numpy


class Adam:
    """The optimiser of these trainable tensors, by neutral name."""

    def __init__(self, spec: ModelSpec, learning: Mapping[str, Tensor]) -> None:
        self._learning = learning
        self._shapes = {name: tensor_shapes(spec)[name] for name in learning}
        # Fused: one pass over each tensor instead of several, and on a GPU a few kernels instead of hundreds.
        self._adam = torch.optim.AdamW(_groups(spec, learning), betas=ADAM_BETAS, fused=True)
        for tensor in learning.values():
            moments = {"exp_avg": torch.zeros_like(tensor), "exp_avg_sq": torch.zeros_like(tensor)}
            self._adam.state[tensor] = {"step": torch.zeros((), device=tensor.device), **moments}
        self._steps = 0  # also counted here, because reading it from the device would synchronise

    def zero_grad(self) -> None:
        self._adam.zero_grad()

    def step(self, optimiser: Optimiser, share: float) -> None:
        """One step with these settings; ``share`` is the learning-rate factor."""
        if math.isfinite(optimiser.clip_norm):
            self._clip(optimiser.clip_norm)
        self._set_pace(optimiser, share)
        self._adam.step()
        self._steps += 1

    def _clip(self, limit: float) -> None:
        """Clips the global norm of all gradients; torch's clip_grad_norm_ gives a slightly smaller norm."""
        gradients = [tensor.grad for tensor in self._learning.values() if tensor.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients]))
        for each in gradients:
            each.mul_(torch.clamp(limit / norm, max=1.0))

    def _set_pace(self, optimiser: Optimiser, share: float) -> None:
        """Learning rate, decay and epsilon of the next step.

        Keras adds epsilon to the root of the second moment before its bias correction, torch after it, which differs
        for small gradients. Dividing epsilon by the correction gives the step of Keras.
        """
        correction = 1 - ADAM_BETAS[1] ** (self._steps + 1)
        for group in self._adam.param_groups:
            group["lr"] = optimiser.learning_rate * share * optimiser.layer_decay ** group["depth"]
            group["weight_decay"] = optimiser.weight_decay if group["kernel"] else 0.0
            group["eps"] = ADAM_EPSILON / math.sqrt(correction)

    def state(self) -> dict[str, Array]:
        """See contract.Trainable.state."""
        found = {name: self._adam.state[tensor] for name, tensor in self._learning.items()}
        first = {f"adam/m/{name}": to_numpy(to_neutral(slot["exp_avg"], name)) for name, slot in found.items()}
        second = {f"adam/v/{name}": to_numpy(to_neutral(slot["exp_avg_sq"], name)) for name, slot in found.items()}
        return {"adam/step": np.array(self._steps, np.int64), **first, **second}

    def restore(self, state: Tensors) -> None:
        """See contract.Trainable.restore."""
        values = check_adam_state(self._shapes, state)
        self._steps = int(values["adam/step"])
        for name, tensor in self._learning.items():
            slot = self._adam.state[tensor]
            slot["step"].fill_(float(self._steps))
            slot["exp_avg"].copy_(from_neutral(torch.from_numpy(values[f"adam/m/{name}"]), name))
            slot["exp_avg_sq"].copy_(from_neutral(torch.from_numpy(values[f"adam/v/{name}"]), name))


def _groups(spec: ModelSpec, learning: Mapping[str, Tensor]) -> list[dict[str, object]]:
    """Groups tensors with the same learning rate and weight decay: by depth, and whether they are kernels."""
    kinds = {name: (depth_of(spec, name), name.endswith("/kernel")) for name in learning}
    return [
        {"params": [learning[name] for name in kinds if kinds[name] == kind], "depth": kind[0], "kernel": kind[1]}
        for kind in sorted(set(kinds.values()))
    ]
