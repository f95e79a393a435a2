"""Training losses, written once for every backend as functions of an array namespace.

``xp`` is numpy, torch or keras.ops. Only functions that the three share are used, so the backend's automatic
differentiation flows through. All losses are summed over findings and averaged over the films of the batch;
an unknown label (NaN) adds nothing, to the value or to the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrscore.contract import Floats, Loss


def softplus(xp: Any, x: Any) -> Any:
    """log(1 + exp(x)) without overflow, with derivative 1/2 at 0 in every framework (|x| has derivative 0 there)."""
    return 0.5 * (x + xp.abs(x)) + xp.log1p(xp.exp(-xp.abs(x)))


def _known(xp: Any, labels: Any) -> tuple[Any, Any]:
    """Labels with 0 for NaN, and a mask of ones where they are known."""
    unknown = xp.isnan(labels)
    zeros = xp.zeros_like(labels)
    return xp.where(unknown, zeros, labels), xp.where(unknown, zeros, zeros + 1.0)


def _per_film(xp: Any, terms: Any) -> Any:
    return xp.sum(terms) / terms.shape[0]


def weighted_bce(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
    """Class-weighted binary cross-entropy: -w_p y log p - w_n (1-y) log(1-p), p = sigmoid(logit).

    Equation 7 of the paper with its second branch corrected to log(1 - P); weights [2,C]: w_p, w_n.
    """
    y, known = _known(xp, labels)
    terms = weights[0] * y * softplus(xp, -logits) + weights[1] * (1.0 - y) * softplus(xp, logits)
    return _per_film(xp, terms * known)


def bce(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
    """Plain binary cross-entropy; the weights are not used."""
    y, known = _known(xp, labels)
    terms = y * softplus(xp, -logits) + (1.0 - y) * softplus(xp, logits)
    return _per_film(xp, terms * known)


def class_weights(labels: Floats) -> Floats:
    """float32 [2,C]: the crossed frequencies w_p = share of negatives, w_n = share of positives of each finding.

    With them positives and negatives of a finding weigh the same in sum. A finding with one class only, or with
    no known label, gets 1, 1, so that its loss does not vanish.
    """
    with np.errstate(invalid="ignore"):
        positive = np.nansum(labels, axis=0) / np.sum(~np.isnan(labels), axis=0)
    one_sided = ~((positive > 0) & (positive < 1))
    weights = np.where(one_sided, 1.0, np.stack([1.0 - positive, positive]))
    return weights.astype(np.float32)


losses = (
    Loss(
        name="weighted-bce", function=weighted_bce, summary="binary cross-entropy, rare class weighted up (the paper's)"
    ),
    Loss(name="bce", function=bce, summary="plain binary cross-entropy"),
)
