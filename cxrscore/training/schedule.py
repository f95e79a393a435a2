"""How the learning rate goes from step to step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cxrscore.training.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Factors of the learning rate. ``steps`` are those of an epoch, ``warmup`` is in epochs, ``shape`` is constant or
    cosine."""

    steps: int
    epochs: int
    warmup: float = 0.0
    shape: str = "constant"

    @classmethod
    def of(cls, options: TrainOptions, steps: int) -> Schedule:
        return cls(steps=steps, epochs=options.epochs, warmup=options.warmup, shape=options.schedule)

    def factor(self, step: int) -> float:
        """Of a step, counted from 0 through all epochs, 0..1.

        It rises evenly through the warm-up, to 1 in its last step (Goyal et al., Accurate, Large Minibatch SGD, 2017).
        Then "cosine" falls as (1 + cos(pi t)) / 2 with t from 0 to 1 at the end of the last epoch: one period of
        Loshchilov and Hutter, SGDR, ICLR 2017, equation 5.
        """
        rising = self.warmup * self.steps
        if step + 1 < rising:
            return (step + 1) / rising
        if self.shape == "constant":
            return 1.0
        left = max(self.steps * self.epochs - rising, 1)
        return (1 + math.cos(math.pi * min(max(step - rising, 0) / left, 1))) / 2
