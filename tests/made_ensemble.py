"""The document of an ensemble file, whole, for tests that are about something else."""

from made_models import FINDINGS

from cxrscore.models.ensemble_file import member_record

NUMBER = {"value": 0.7, "low": 0.6, "high": 0.8}
FINDING = {
    "positives": 3,
    "negatives": 5,
    "few_positives": False,
    "auc": NUMBER,
    "average_precision": NUMBER,
    "brier": NUMBER,
    "brier_skill": 0.1,
    "spread": 0.2,
}
EVALUATION = {
    "on": "folds",
    "folds": 5,
    "films": 8,
    "patients": 8,
    "macro_auc": NUMBER,
    "brier": NUMBER,
    "brier_skill": 0.1,
    "calibration_error": 0.1,
    "spread": 0.2,
    "findings": dict.fromkeys(FINDINGS, FINDING),
    "test": None,
}
TRAINING = {
    "created": "2026-01-02T03:04:05+00:00",
    "cxrscore": "0.1.0",
    "backend": "torch",
    "seed": 0,
    "recipe": {},
    "split": {"train": 8, "valid": 0, "test": 0, "rule": "drawn", "sha256": "0" * 64},
    "labels": {"file": "labels.csv", "dataset": "plain", "sha256": "0" * 64},
    "patients": 8,
    "has_leakage": False,
    "leak_count": 0,
}
LINE = {"method": "platt", "slope": [2.0, 0.5], "intercept": [0.5, -1.0], "fitted_on": "folds"}


def made_document(*members, **changed):
    """As `cxrscore train` writes it; ``changed`` replaces top-level keys."""
    return {
        "members": [member_record(path, "tinycnn") for path in members],
        "findings": list(FINDINGS),
        "calibration": LINE,
        "thresholds": {FINDINGS[0]: {"prob": 0.25, "rule": "youden", "chosen_on": "folds"}},
        "evaluation": EVALUATION,
        "validation": {"score_quantiles": {}},
        "training": TRAINING,
        "films": {"train": ["a" * 16], "valid": []},
        "licence": "yours",
        **changed,
    }
