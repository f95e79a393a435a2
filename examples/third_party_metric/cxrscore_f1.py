"""A metric for cxrscore: the F1 score at the stored threshold of a finding."""

from collections.abc import Sequence

from cxrscore.contract import Array, Metric, hookimpl


def f1_at_threshold(truth: Array, score: Array, threshold: float) -> float:
    """2 TP / (2 TP + FP + FN), positive if score >= threshold; NaN if no film is or is predicted positive.

    van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7.
    """
    positive, predicted = truth > 0.5, score >= threshold
    total = int(positive.sum()) + int(predicted.sum())
    return 2 * int((positive & predicted).sum()) / total if total else float("nan")


f1 = Metric(name="f1", summary="F1 at the stored threshold", function=f1_at_threshold, needs_threshold=True)


@hookimpl
def cxrscore_metrics() -> Sequence[Metric]:
    return [f1]
