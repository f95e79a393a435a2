"""Training losses, written once for every backend as functions of an array namespace.

``xp`` is numpy, torch or keras.ops. Only functions that the three share are used, so the backend's automatic
differentiation flows through. All losses are summed over findings and averaged over the films of the batch;
an unknown label (NaN) adds nothing, to the value or to the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrscore.contract import Floats, Loss

FOCUS = 2.0
"""Gamma of the focal loss, as Lin et al. recommend."""
FOCUS_NEGATIVE, FOCUS_POSITIVE, MARGIN = 4.0, 1.0, 0.05
"""Gamma of negatives and positives and the probability margin of the asymmetric loss, as Ridnik et al. recommend."""


def softplus(xp: Any, x: Any) -> Any:
    """log(1 + exp(x)) without overflow, with derivative 1/2 at 0 in every framework (|x| has derivative 0 there)."""
    return 0.5 * (x + xp.abs(x)) + xp.log1p(xp.exp(-xp.abs(x)))


def _mask_unknown(xp: Any, labels: Any) -> tuple[Any, Any]:
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
    y, known = _mask_unknown(xp, labels)
    terms = weights[0] * y * softplus(xp, -logits) + weights[1] * (1.0 - y) * softplus(xp, logits)
    return _per_film(xp, terms * known)


def bce(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
    """Plain binary cross-entropy; the weights are not used."""
    y, known = _mask_unknown(xp, labels)
    terms = y * softplus(xp, -logits) + (1.0 - y) * softplus(xp, logits)
    return _per_film(xp, terms * known)


def focal(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
    """-w_p y (1-p)^2 log p - w_n (1-y) p^2 log(1-p): films that are already classified correctly count little.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, equation 5, its alpha being the class weights
    [2,C]. Powers are taken of exp(-softplus), so a saturated logit gives no 0 * infinity.
    """
    y, known = _mask_unknown(xp, labels)
    positive = xp.exp(-FOCUS * softplus(xp, logits)) * softplus(xp, -logits)
    negative = xp.exp(-FOCUS * softplus(xp, -logits)) * softplus(xp, logits)
    return _per_film(xp, (weights[0] * y * positive + weights[1] * (1.0 - y) * negative) * known)


def asymmetric(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
    """-y (1-p) log p - (1-y) q^4 log(1-q), q = max(p - 0.05, 0): easy negatives count nothing.

    Ridnik et al., Asymmetric Loss for Multi-Label Classification, ICCV 2021, equations 4 to 7. The class weights are
    not used: the asymmetry replaces them.
    """
    y, known = _mask_unknown(xp, labels)
    positive = xp.exp(-FOCUS_POSITIVE * softplus(xp, logits)) * softplus(xp, -logits)
    shifted = xp.exp(-softplus(xp, -logits)) - MARGIN
    q = 0.5 * (shifted + xp.abs(shifted))  # max(., 0), with the same derivative in every framework
    negative = -q * q * q * q * xp.log1p(-q)
    return _per_film(xp, (y * positive + (1.0 - y) * negative) * known)


def softmax_cross_entropy(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
    """-sum_c y_c log softmax(logits)_c over the findings whose label is known; the weights are not used.

    The categorical loss, which treats findings as mutually exclusive. A film without a finding adds nothing.
    """
    y, known = _mask_unknown(xp, labels)
    return _per_film(xp, y * known * (_norm(xp, logits, known) - logits))


def paper_equation_7(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
    """-sum_c v_c log softmax(logits)_c with v = f_p where the label is 1 and f_n where it is 0: equation 7 as printed.

    Both branches of the printed equation hold -log P(Y = 1 | X), and its weights are the frequencies f_p of positives
    and f_n of negatives: those of class_weights, [2,C], exchanged. The softmax is that of the paper's output layer,
    taken among the findings whose label is known. Negatives increase the probability of a finding, and most labels
    are negative: correct outputs have a higher loss than wrong ones, so case L07 of the conformance kit fails. Use
    it only to reproduce the paper.
    """
    y, known = _mask_unknown(xp, labels)
    literal = weights[1] * y + weights[0] * (1.0 - y)
    return _per_film(xp, literal * known * (_norm(xp, logits, known) - logits))


def _norm(xp: Any, logits: Any, known: Any) -> Any:
    """log sum exp of the logits [N,C] whose label is known, [N,1], without overflow."""
    far = xp.zeros_like(logits) - 1e9
    among = xp.where(known > 0.5, logits, far)
    top = xp.amax(among, axis=1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(among - top), axis=1, keepdims=True))


def class_weights(labels: Floats) -> Floats:
    """float32 [2,C]: the crossed frequencies w_p = share of negatives, w_n = share of positives of each finding.

    With these weights, positives and negatives of a finding have the same total weight. A finding with only one class,
    or without known labels, gets 1, 1, so that its loss does not vanish.
    """
    with np.errstate(invalid="ignore"):
        positive = np.nansum(labels, axis=0) / np.sum(~np.isnan(labels), axis=0)
    one_sided = ~((positive > 0) & (positive < 1))
    weights = np.where(one_sided, 1.0, np.stack([1.0 - positive, positive]))
    return weights.astype(np.float32)


losses = (
    Loss(name="weighted-bce", function=weighted_bce, summary="binary cross-entropy with class weights (the paper's)"),
    Loss(name="bce", function=bce, summary="binary cross-entropy"),
    Loss(name="focal", function=focal, summary="focal loss with class weights: easy examples count less"),
    Loss(name="asymmetric", function=asymmetric, summary="asymmetric loss: easy negatives count nothing"),
    Loss(
        name="softmax-cross-entropy",
        function=softmax_cross_entropy,
        summary="softmax cross-entropy: findings are mutually exclusive",
    ),
    Loss(
        name="paper-equation-7",
        function=paper_equation_7,
        summary="the paper's loss as printed, which rewards wrong answers: only to reproduce the paper",
    ),
)
