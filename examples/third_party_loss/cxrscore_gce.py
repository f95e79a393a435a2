"""A loss for cxrscore that tolerates wrong labels, such as those extracted from reports by a program."""

from collections.abc import Sequence
from typing import Any

from cxrscore.contract import Loss, hookimpl
from cxrscore.losses import softplus

Q = 0.7
"""As the authors recommend. Towards 0 the loss becomes binary cross-entropy, at 1 the absolute error."""


def generalised_cross_entropy(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
    """w (1 - p^q) / q, p the probability of the film's label.

    Zhang and Sabuncu, Generalized Cross Entropy Loss, NeurIPS 2018, equation 6, for each finding separately. The loss
    is at most w/q, so a film whose label contradicts a confident network has little influence.
    """
    unknown = xp.isnan(labels)
    zeros = xp.zeros_like(labels)
    y = xp.where(unknown, zeros, labels)
    positive = weights[0] * y * (1.0 - xp.exp(-Q * softplus(xp, -logits)))
    negative = weights[1] * (1.0 - y) * (1.0 - xp.exp(-Q * softplus(xp, logits)))
    return xp.sum(xp.where(unknown, zeros, positive + negative)) / (Q * labels.shape[0])


gce = Loss(name="gce", function=generalised_cross_entropy, summary="generalised cross-entropy: tolerates wrong labels")


@hookimpl
def cxrscore_losses() -> Sequence[Loss]:
    return [gce]
