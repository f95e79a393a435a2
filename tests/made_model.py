"""The document of a model file, whole, for tests that are about something else."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cxrscore.contract import ModelSpec
from cxrscore.networks import reference as numpy_reference
from cxrscore.synthetic.phantoms import golden_films


def document(spec: ModelSpec, **changed: Any) -> dict[str, Any]:
    """As `cxrscore train` writes it; ``changed`` replaces top-level keys."""
    own = {
        "spec": spec.as_dict(),
        "preprocessing": {"size": spec.size, "fit": "stretch", "resize": "area"},
        "thresholds": {},
        "calibration": None,
        "training": {
            "created": "2026-01-02T03:04:05+00:00",
            "cxrscore": "0.1.0",
            "backend": "torch",
            "versions": {"framework": "torch 2.13.0"},
            "seed": 0,
            "recipe": {"epochs": 1},
            "weights": {"name": "none", "sha256": "", "licence": ""},
            "history": [
                {
                    "epoch": 1,
                    "learning_rate": 0.001,
                    "train_loss": 0.7,
                    "seconds": 0.1,
                    **dict.fromkeys(("valid_loss", "valid_macro_auc", "train_label_accuracy", "valid_label_accuracy")),
                },
            ],
            "best_epoch": 1,
            "monitor": "valid_macro_auc",
            "split": {"train": 1, "valid": 1, "test": 0, "rule": "drawn", "sha256": "0" * 64},
            "patients": 2,
            "labels": {"file": "labels.csv", "dataset": "plain", "sha256": "0" * 64},
            "has_leakage": False,
            "leak_count": 0,
        },
        "films": {"train": ["a" * 16], "valid": ["b" * 16]},
        "validation": {"loss": None, "macro_auc": None, "auc": dict.fromkeys(spec.findings)},
        "golden": {"films": 1, "logits": [[0.0] * len(spec.findings)], "error": None, "tolerance": 1e-4},
        "licence": "yours",
    }
    return {**own, **changed}


def golden(spec: ModelSpec, tensors: Mapping[str, Any], films: int = 1) -> dict[str, Any]:
    """The golden probe of these tensors, which every backend passes."""
    logits = numpy_reference.logits(spec, dict(tensors), golden_films(spec.size, films))
    return {"films": films, "logits": np.asarray(logits).tolist(), "error": 1e-6, "tolerance": 1e-4}
