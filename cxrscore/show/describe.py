"""What a scores file and a model file say about themselves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cxrscore.contract import Floats
from cxrscore.images import Status
from cxrscore.io.strict_json import get_nested, get_text, provenance_models, strict_json
from cxrscore.models.calibration import describe_calibration, describe_probabilities
from cxrscore.models.evaluation import Evaluation, read_evaluation
from cxrscore.models.model_file import EnsembleFile, ModelFile
from cxrscore.scorefile import SPLITS, Scores


def describe_model(model: ModelFile) -> dict[str, Any]:
    """The model's document without the hashes of its films, and what can be counted of the file; JSON-ready."""
    films = model.document.get("films", {})
    return {
        "file_type": "model",
        "file": model.path.name,
        "sha256": model.sha256,
        "tensors": len(model.tensors),
        "parameters": sum(int(array.size) for array in model.tensors.values()),
        "films": {name: len(hashes) for name, hashes in films.items()},
        "probabilities": describe_calibration(model.document.get("calibration")),
        **{key: value for key, value in model.document.items() if key != "films"},
    }


def model_evaluation(described: Mapping[str, Any]) -> Evaluation | None:
    """The figures of a described model or ensemble; None if its file has none."""
    return read_evaluation(described, described_findings(described))


def described_findings(described: Mapping[str, Any]) -> list[str]:
    """The findings of a described model or ensemble."""
    return list(described["findings"] if described["file_type"] == "ensemble" else described["spec"]["findings"])


def describe_ensemble(ensemble: EnsembleFile) -> dict[str, Any]:
    """The ensemble's document without the hashes of its films; JSON-ready. Its members are not read."""
    films, members = ensemble.document["films"], ensemble.document["members"]
    as_scored = {"models": [{"document": {}} for _ in members], "ensemble": {"document": ensemble.document}}
    return {
        "file_type": "ensemble",
        "file": ensemble.path.name,
        "sha256": ensemble.sha256,
        "probabilities": describe_probabilities(as_scored),
        "films": {name: len(hashes) for name, hashes in films.items()},
        **{key: value for key, value in ensemble.document.items() if key != "films"},
    }


def describe_effect(described: Mapping[str, Any], precision: str) -> str:
    """What "int8" or "bf16" does to the model's scores, as ``quantize`` measured it; "" where it has not."""
    effect = get_nested(described, "precision_effects", precision)
    ranges = get_nested(described, "quantization") if precision == "int8" else None
    if not effect and not ranges:
        return ""
    if not effect:  # a file of an earlier version
        old = get_nested(ranges, "comparison")
        names = {"macro_auc_before": "macro_auc", "macro_auc_after": "macro_auc_int8"}
        effect = {**(old or {}), **{new: get_nested(old, name) for new, name in names.items()}}
    words = (
        f"probabilities move by at most {_rounded(effect, 'max_difference')}, {_rounded(effect, 'mean_difference')} in "
        "the mean"
    )
    if ranges:
        words = f"ranges of {get_text(ranges, 'films')} films; {words}"
    if get_nested(effect, "macro_auc_before") is None:
        return words
    return (
        f"{words}; macro AUC of {get_text(effect, 'labelled_films')} films not trained on "
        f"{_rounded(effect, 'macro_auc_before')}, in {precision} {_rounded(effect, 'macro_auc_after')}"
    )


def describe_bound(described: Mapping[str, Any]) -> str:
    """The largest effect that ``score --precision auto`` accepts; "" without one."""
    bound = get_nested(described, "precision_bound")
    if not bound:
        return ""
    return (
        f"uses bf16 or int8 if probabilities move by at most {get_nested(bound, 'max_difference'):g} and the macro AUC "
        f"falls by at most {get_nested(bound, 'max_auc_loss'):g}"
    )


def _rounded(compared: Any, name: str) -> str:
    value = get_nested(compared, name)
    return f"{value:.4f}" if isinstance(value, int | float) else "undefined"


def describe_scores(scores: Scores, fingerprint: str, *, name: str) -> dict[str, Any]:
    """What was scored, by what, how it went, and what came out; JSON-ready.

    name  of the file
    """
    provenance = strict_json(dict(scores.provenance), f"{name}: its provenance")
    return {
        "file_type": "scores",
        "file": name,
        "complete": True,  # what is not complete is not opened
        "fingerprint": fingerprint,
        "created": get_nested(provenance, "created"),
        "cxrscore": get_nested(provenance, "cxrscore"),
        "models": [_model(one) for one in provenance_models(provenance)],
        "ensemble": get_nested(provenance, "ensemble", "file"),
        "tta": get_nested(provenance, "tta", "copies"),
        "has_leakage": any(
            get_nested(one, "document", "training", "has_leakage") is True for one in provenance_models(provenance)
        ),
        "probabilities": describe_probabilities(provenance),
        "films": _films(scores),
        "findings": _findings(scores),
        "heatmaps": len(scores.heat_maps.film),
        "thumbnails": len(scores.thumbnails.film),
        "provenance": provenance,
    }


def _model(one: Any) -> dict[str, Any]:
    return {
        "file": get_nested(one, "file"),
        "sha256": get_nested(one, "sha256"),
        "architecture": get_nested(one, "document", "spec", "architecture"),
        "size": get_nested(one, "document", "spec", "size"),
        "licence": get_nested(one, "document", "licence"),
    }


def _films(scores: Scores) -> dict[str, Any]:
    """How many there are, by status, by what the model had to do with them, and how many have a label."""
    codes, split, patient = scores.films.status, scores.films.split, scores.films.patient
    return {
        "total": len(codes),
        "scored": int(np.count_nonzero(codes == Status.OK)),
        "labelled": int(np.count_nonzero(np.isfinite(scores.truth).any(axis=1))),
        "patients": len(np.unique(patient[patient >= 0])),
        "status": {
            Status(code).name: int(count) for code, count in zip(*np.unique(codes, return_counts=True), strict=True)
        },
        "split": {
            SPLITS[code] or "not seen": int(count)
            for code, count in zip(*np.unique(split, return_counts=True), strict=True)
        },
    }


def _findings(scores: Scores) -> list[dict[str, Any]]:
    """Probabilities of the scored films, and labels; null where there is nothing to count."""
    rows = scores.films.status == Status.OK
    prob, truth = scores.prob[rows], scores.truth[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN, which is meant
        means, tops = np.nanmean(prob, axis=0), np.nanmax(prob, axis=0, initial=-np.inf)
    return [
        {
            "finding": finding,
            "mean_prob": _number(means[place]),
            "max_prob": _number(tops[place]),
            "threshold": _number(scores.thresholds[place]),
            "above_threshold": _above(prob[:, place], scores.thresholds[place]),
            "positives": int(np.count_nonzero(truth[:, place] > 0.5)),
            "negatives": int(np.count_nonzero(truth[:, place] < 0.5)),
        }
        for place, finding in enumerate(scores.findings)
    ]


def _above(prob: Floats, threshold: np.float32) -> int | None:
    return int(np.count_nonzero(prob >= threshold)) if np.isfinite(threshold) else None


def _number(value: np.float32) -> float | None:
    return float(str(value)) if np.isfinite(value) else None
