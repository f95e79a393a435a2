"""Which films an epoch sees, in which order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats

Places = NDArray[np.intp]


def epoch_order(labels: Floats, sampling: str, *, seed: int, epoch: int) -> Places:
    """Places of N films in the order of an epoch, intp [N], drawn from seed and epoch; labels float32 [N,C].

    "natural"   every film once
    "balanced"  as often as film_weights says, N in all: a film whose share is 1.7 comes once or twice
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(labels))
    if sampling == "natural":
        return order
    weights = film_weights(labels)[order]
    ends = np.cumsum(weights * (len(weights) / weights.sum()))
    # Systematic sampling: points at even distances along the shares, so no film comes more or less often by luck.
    drawn = np.searchsorted(ends, rng.random() + np.arange(len(ends)), side="right")
    return rng.permutation(order[np.minimum(drawn, len(ends) - 1)])


def film_weights(labels: Floats) -> NDArray[np.float64]:
    """How much more often a film is drawn than one of the commonest kind, float64 [N] of labels [N,C].

    A kind is a finding, or none; a film is of the kinds of its positive findings, and what is unknown counts as not
    there. A kind f times as rare as the commonest one weighs sqrt(f), a film as much as its rarest kind: the
    repeat factors of Gupta, Dollar and Girshick (LVIS, CVPR 2019, section 4.2) with the commonest kind's share as
    their threshold.
    """
    positive = labels == 1
    kinds = np.column_stack([positive, ~positive.any(axis=1)])
    films = kinds.sum(axis=0)
    weights = np.sqrt(films.max() / np.maximum(films, 1))
    return np.asarray(np.where(kinds, weights, 0).max(axis=1))
