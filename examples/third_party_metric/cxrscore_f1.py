"""A metric for cxrscore that asks for the stored threshold: F1 of the decisions at the operating point of a finding."""

from collections.abc import Sequence

from cxrscore.contract import Array, Metric, hookimpl


def f1_at_threshold(truth: Array, score: Array, threshold: float) -> float:
    """2 TP / (2 TP + FP + FN), where score >= threshold means positive; NaN where nothing is or is called positive.

    van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7. `report` calls this with the films whose label
    and score are known, and again with films of resampled patients for the interval.
    """
    positive, called = truth > 0.5, score >= threshold
    counted = int(positive.sum()) + int(called.sum())
    return 2 * int((positive & called).sum()) / counted if counted else float("nan")


f1 = Metric(name="f1", summary="F1 at the stored threshold", function=f1_at_threshold, needs_threshold=True)


@hookimpl
def cxrscore_metrics() -> Sequence[Metric]:
    return [f1]
