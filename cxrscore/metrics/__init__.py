"""Figures of merit, exact with ties and aware of unknown labels."""

from cxrscore.contract import Metric
from cxrscore.metrics.accuracy import counts, label_accuracy, negative_baseline
from cxrscore.metrics.calibration import platt, temperature
from cxrscore.metrics.operating import check_rule, operating_point
from cxrscore.metrics.precision import average_precision
from cxrscore.metrics.roc import RocCurve, auc, auc_per_finding, macro, roc

metrics = (
    Metric(name="auc", summary="area under the ROC curve, ties 1/2", function=auc),
    Metric(name="average_precision", summary="precision averaged over the positives", function=average_precision),
    Metric(
        name="label_accuracy", summary="share of right labels at 0.5, the paper's accuracy", function=label_accuracy
    ),
)

__all__ = [
    "RocCurve",
    "auc",
    "auc_per_finding",
    "average_precision",
    "check_rule",
    "counts",
    "label_accuracy",
    "macro",
    "metrics",
    "negative_baseline",
    "operating_point",
    "platt",
    "roc",
    "temperature",
]
