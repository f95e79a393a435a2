"""Standardization of features to mean 0 and standard deviation 1 on the training films, which speeds up training.

The features of a frozen backbone differ in scale by a factor of a hundred between channels and are not centred, so
gradient descent mostly learns the large ones (LeCun, Bottou, Orr, Müller, Efficient BackProp, 1998, section 4.3).
The model file does not contain the standardizer: after training it is folded into the dense layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats, Tensors

_LEAST = 0.01
"""Fraction of the mean standard deviation that limits the scaling of a channel from below: it may be constant."""


@dataclass(frozen=True, kw_only=True)
class Standardizer:
    """Mean and standard deviation of the features of the training films, float64 [K]."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, batches: Iterable[Floats], least: float = _LEAST) -> Standardizer:
        """Fits features [n,K] that come in batches, of at least one film; scale 1 if no channel varies.

        least  fraction of the mean standard deviation that limits the scaling of a channel from below
        """
        count = 0
        mean = spread = np.zeros(())
        for batch in batches:  # Chan, Golub, LeVeque 1979: combines the mean and variance of batches
            part, size = batch.astype(np.float64), len(batch)
            apart = part.mean(axis=0) - mean
            spread = spread + ((part - part.mean(axis=0)) ** 2).sum(axis=0) + apart**2 * count * size / (count + size)
            mean, count = mean + apart * size / (count + size), count + size
        deviation = np.sqrt(spread / count)
        lowest = least * deviation.mean() or 1.0
        return cls(mean=mean, deviation=np.maximum(deviation, lowest))

    def transform(self, embeddings: Floats) -> Floats:
        """Standardized features float32 [n,K] of features [n,K]."""
        return np.asarray((embeddings - self.mean) / self.deviation, np.float32)

    def fold_into_head(self, head: Tensors) -> dict[str, Array]:
        """Converts a dense layer for standardized features to one for raw features with the same logits.

        (x - m) / s W + b = x (W / s) + (b - m / s W)
        """
        others: Mapping[str, Array] = {name: value for name, value in head.items() if not name.startswith("head/")}
        kernel = head["head/kernel"] / self.deviation[:, None]
        bias = head["head/bias"] - self.mean @ kernel
        return {**others, "head/kernel": kernel.astype(np.float32), "head/bias": bias.astype(np.float32)}
