"""Figures of merit, exact with ties and aware of unknown labels."""

from cxrscore.contract import Metric
from cxrscore.metrics.accuracy import counts, label_accuracy, negative_baseline
from cxrscore.metrics.roc import RocCurve, auc, auc_per_finding, macro, roc

metrics = (
    Metric(name="auc", summary="area under the ROC curve, ties 1/2", function=auc),
    Metric(name="label-accuracy", summary="share of right labels at 0.5", function=label_accuracy),
)

__all__ = [
    "RocCurve",
    "auc",
    "auc_per_finding",
    "counts",
    "label_accuracy",
    "macro",
    "metrics",
    "negative_baseline",
    "roc",
]
