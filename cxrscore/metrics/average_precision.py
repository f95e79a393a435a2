"""Average precision, from scikit-learn, which is only imported when it is asked for: it takes a second."""

from __future__ import annotations

from cxrscore.contract import Array
from cxrscore.metrics.masking import valid_mask


def average_precision(truth: Array, score: Array) -> float:
    """Precision averaged over the positives, from the highest score down: 0..1, its chance level is their share.

    truth [n] 0, 1 or NaN unknown; score [n] on any scale, NaN left out. NaN where there is no positive.
    """
    from sklearn.metrics import average_precision_score

    kept = valid_mask(truth, score)
    positive = truth[kept] > 0.5
    return float(average_precision_score(positive, score[kept])) if positive.any() else float("nan")
