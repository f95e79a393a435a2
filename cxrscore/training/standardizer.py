"""Embeddings of mean 0 and standard deviation 1, as the training films have them: what a head learns fastest from.

The embeddings of a frozen base differ a hundredfold in size from one channel to the next, and none of them is centred;
gradient descent then mostly learns the large ones (LeCun, Bottou, Orr, Müller, Efficient BackProp, 1998, section 4.3).
The model file knows nothing of this: once learned, the change of scale is folded into the dense layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats, Tensors

_LEAST = 0.01
"""Share of the mean standard deviation below which a channel is not stretched further: it may be constant."""


@dataclass(frozen=True, kw_only=True)
class Standardizer:
    """Mean and standard deviation of the embeddings of the training films, float64 [K]."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, batches: Iterable[Floats]) -> Standardizer:
        """Of embeddings [n,K] that come in batches, of one film at least; 1 where none of them varies."""
        count = 0
        mean = spread = np.zeros(())
        for batch in batches:  # Chan, Golub, LeVeque 1979: means and squares of parts make those of the whole
            part, size = batch.astype(np.float64), len(batch)
            apart = part.mean(axis=0) - mean
            spread = spread + ((part - part.mean(axis=0)) ** 2).sum(axis=0) + apart**2 * count * size / (count + size)
            mean, count = mean + apart * size / (count + size), count + size
        deviation = np.sqrt(spread / count)
        least = _LEAST * deviation.mean() or 1.0
        return cls(mean=mean, deviation=np.maximum(deviation, least))

    def transform(self, embeddings: Floats) -> Floats:
        """float32 [n,K] of embeddings [n,K]."""
        return np.asarray((embeddings - self.mean) / self.deviation, np.float32)

    def fold_into_head(self, head: Tensors) -> dict[str, Array]:
        """The dense layer for embeddings as they are, of one for standardised ones: its logits are the same.

        (x - m) / s W + b = x (W / s) + (b - m / s W)
        """
        others: Mapping[str, Array] = {name: value for name, value in head.items() if not name.startswith("head/")}
        kernel = head["head/kernel"] / self.deviation[:, None]
        bias = head["head/bias"] - self.mean @ kernel
        return {**others, "head/kernel": kernel.astype(np.float32), "head/bias": bias.astype(np.float32)}
