"""Performance metrics, exact with ties; unknown labels are excluded.

Metrics that need two classes count a soft label, between 0 and 1, as positive above 0.5 and as negative below, and
exclude 0.5. Brier score, calibration, reliability curve and calibration error use the number itself.
"""

from cxrscore.contract import Metric
from cxrscore.metrics.agreement import Agreement, cohen_kappa
from cxrscore.metrics.bootstrap import RESAMPLES, BootstrapAucs, bootstrap_auc
from cxrscore.metrics.calibration import platt, shrunken_platt, temperature
from cxrscore.metrics.confidence_intervals import (
    Estimate,
    balanced_accuracy_estimate,
    difference,
    label_accuracy_estimate,
    mean_estimate,
    verdict,
)
from cxrscore.metrics.decision_curve import DecisionCurve, net_benefit, supported_thresholds
from cxrscore.metrics.delong import cross_validated_auc, delong, micro_auc
from cxrscore.metrics.grouping import count_soft, hard_truth
from cxrscore.metrics.localisation import energy_inside, iou, pointing_game
from cxrscore.metrics.multiple_testing import corrected_verdict, holm, p_value
from cxrscore.metrics.plugin_metrics import MetricEstimate, MetricEstimates, call_metric, estimate_metric
from cxrscore.metrics.proportions import Decisions, Proportion, counts, decisions, label_accuracy, negative_baseline
from cxrscore.metrics.reliability import (
    MeanCalibration,
    Reliability,
    brier,
    calibration_error,
    mean_calibration,
    reliability,
)
from cxrscore.metrics.roc import (
    PrecisionRecallCurve,
    RocCurve,
    auc,
    auc_binormal,
    auc_per_finding,
    auc_trapezoid,
    average_precision,
    macro,
    precision_recall,
    roc,
)
from cxrscore.metrics.thresholds import check_rule, operating_point

metrics = (
    Metric(name="auc", summary="area under the ROC curve, ties 1/2", function=auc),
    Metric(name="average_precision", summary="precision averaged over the positives", function=average_precision),
    Metric(
        name="label_accuracy", summary="share of right labels at 0.5, the paper's accuracy", function=label_accuracy
    ),
)

__all__ = [
    "RESAMPLES",
    "Agreement",
    "BootstrapAucs",
    "DecisionCurve",
    "Decisions",
    "Estimate",
    "MeanCalibration",
    "MetricEstimate",
    "MetricEstimates",
    "PrecisionRecallCurve",
    "Proportion",
    "Reliability",
    "RocCurve",
    "auc",
    "auc_binormal",
    "auc_per_finding",
    "auc_trapezoid",
    "average_precision",
    "balanced_accuracy_estimate",
    "bootstrap_auc",
    "brier",
    "calibration_error",
    "call_metric",
    "check_rule",
    "cohen_kappa",
    "corrected_verdict",
    "count_soft",
    "counts",
    "cross_validated_auc",
    "decisions",
    "delong",
    "difference",
    "energy_inside",
    "estimate_metric",
    "hard_truth",
    "holm",
    "iou",
    "label_accuracy",
    "label_accuracy_estimate",
    "macro",
    "mean_calibration",
    "mean_estimate",
    "metrics",
    "micro_auc",
    "negative_baseline",
    "net_benefit",
    "operating_point",
    "p_value",
    "platt",
    "pointing_game",
    "precision_recall",
    "reliability",
    "roc",
    "shrunken_platt",
    "supported_thresholds",
    "temperature",
    "verdict",
]
