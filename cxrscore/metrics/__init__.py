"""Figures of merit, exact with ties and aware of unknown labels."""

from cxrscore.contract import Metric
from cxrscore.metrics.accuracy import counts, label_accuracy, negative_baseline
from cxrscore.metrics.calibration import platt, temperature
from cxrscore.metrics.delong import delong
from cxrscore.metrics.estimates import (
    Estimate,
    balanced_accuracy_estimate,
    difference,
    label_accuracy_estimate,
    mean_of,
    verdict,
)
from cxrscore.metrics.operating import check_rule, operating_point
from cxrscore.metrics.precision import average_precision
from cxrscore.metrics.roc import RocCurve, auc, auc_binormal, auc_per_finding, auc_trapezoid, macro, roc

metrics = (
    Metric(name="auc", summary="area under the ROC curve, ties 1/2", function=auc),
    Metric(name="average_precision", summary="precision averaged over the positives", function=average_precision),
    Metric(
        name="label_accuracy", summary="share of right labels at 0.5, the paper's accuracy", function=label_accuracy
    ),
)

__all__ = [
    "Estimate",
    "RocCurve",
    "auc",
    "auc_binormal",
    "auc_per_finding",
    "auc_trapezoid",
    "average_precision",
    "balanced_accuracy_estimate",
    "check_rule",
    "counts",
    "delong",
    "difference",
    "label_accuracy",
    "label_accuracy_estimate",
    "macro",
    "mean_of",
    "metrics",
    "negative_baseline",
    "operating_point",
    "platt",
    "roc",
    "temperature",
    "verdict",
]
