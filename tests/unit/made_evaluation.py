"""The figures that a model file records of its own model, as a training run writes them, for other tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def made_evaluation(findings: Sequence[str], /, **changed: Any) -> dict[str, Any]:
    """Of a 5-fold cross-validation on 40 films; the last finding has too few positives."""
    own = {
        "on": "folds",
        "folds": 5,
        "films": 40,
        "patients": 38,
        "macro_auc": figure(0.65, 0.6, 0.7),
        "brier": figure(0.08, 0.07, 0.09),
        "brier_skill": 0.04,
        "calibration_error": 0.02,
        "spread": 0.12,
        "findings": {name: _finding(name == findings[-1]) for name in findings},
        "test": {"films": 10, "macro_auc": figure(0.62, 0.5, 0.74), "auc": {name: figure(0.62) for name in findings}},
        "yardsticks": {
            "model": {"label_accuracy": 0.91, "brier": 0.08},
            "always_no": {"label_accuracy": 0.9, "brier": 0.1},
            "prevalence": {"label_accuracy": 0.9, "brier": 0.083},
            "metadata": {
                "columns": ["age", "view"],
                "macro_auc": figure(0.61, 0.55, 0.67),
                "auc": {},
                "brier": 0.082,
                "difference": figure(0.04, -0.01, 0.09),
            },
        },
        "learning_curve": {
            "films": [10, 20, 40],
            "macro_auc": [0.55, 0.6, 0.65],
            "error": [0.02, 0.015, None],
            "law": {"asymptote": 0.8, "factor": 0.5, "exponent": 0.3},
            "predicted": [{"films": 80, "macro_auc": figure(0.69, 0.65, 0.73)}],
        },
        "warnings": ["10 test films are few."],
    }
    return {**own, **changed}


def made_probe(findings: Sequence[str]) -> dict[str, Any]:
    """One strength for all findings but the last, which has no coefficients."""
    return {
        "folds": 5,
        "per_finding": False,
        "strengths": {name: None if name == findings[-1] else 0.001 for name in findings},
        "tried": [0.0001, 0.001, 0.01],
        "log_loss": [0.31, 0.3, 0.33],
    }


def _finding(few: bool) -> dict[str, Any]:
    return {
        "positives": 4 if few else 12,
        "negatives": 36 if few else 28,
        "few_positives": few,
        "auc": figure(0.5 if few else 0.66, None if few else 0.6, None if few else 0.72),
        "average_precision": figure(0.2, 0.1, 0.3),
        "brier": figure(0.08, 0.07, 0.09),
        "brier_skill": 0.0 if few else 0.04,
        "spread": 0.0 if few else 0.12,
    }
