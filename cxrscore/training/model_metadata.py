"""The metadata of a model file: how the model was trained."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cxrscore
from cxrscore import labels as lab
from cxrscore.contract import Floats, Model, ModelSpec
from cxrscore.io import sha256_bytes
from cxrscore.io.strict_json import unicode_text
from cxrscore.labels.public_sets import public_set_names
from cxrscore.metrics import counts
from cxrscore.models.imagenet import BaseWeights
from cxrscore.models.probabilities import probabilities
from cxrscore.synthetic.reference_logits import golden_record
from cxrscore.training.data import Data
from cxrscore.training.evaluation import HeldOut, evaluation
from cxrscore.training.final_evaluation import calibration_of, thresholds_of
from cxrscore.training.limitations import find_limitations
from cxrscore.training.loop import FitResult
from cxrscore.training.options import TrainOptions
from cxrscore.training.yardsticks import measure_yardsticks


@dataclass(frozen=True, kw_only=True)
class MemberNumber:
    """Which one, from 0, of how many networks that are trained together."""

    index: int
    count: int


def model_document(
    options: TrainOptions,
    spec: ModelSpec,
    data: Data,
    base: BaseWeights | None,
    model: Model,
    fitted: FitResult,
    *,
    held: HeldOut,
    evaluated: dict[str, Any],
    member: MemberNumber | None = None,
) -> dict[str, Any]:
    """The JSON document of the model file (schemas/model.schema.json). model holds the chosen tensors; held: the
    predictions that choose calibration and thresholds; evaluated: the document's "evaluation"; member: which one it is
    of an ensemble."""
    method = options.calibration_method
    calibration = calibration_of(held.truth, held.logits, method, held.on, held.weights)
    prob = probabilities(held.logits, spec.activation, calibration)
    solver = {} if fitted.probe is None else {"probe": fitted.probe.as_dict(spec.findings)}
    source = {"name": "none", "sha256": "", "licence": ""}
    if base is not None:
        source = {"name": base.name, "sha256": base.sha256, "licence": base.origin.licence}
    trained_on = sets_of_weights(options, base)
    other_base = {"feature_backend": fitted.outputs.framework} if options.feature_backend else {}
    return {
        "spec": spec.as_dict(),
        "preprocessing": data.preprocessing.as_dict(),
        "thresholds": thresholds_of(spec, held.truth, prob, options.threshold_rule, held.on, held.fitted),
        "calibration": calibration,
        "training": {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "cxrscore": cxrscore.__version__,
            "backend": options.backend,
            "versions": {"framework": model.framework, **other_base, "numpy": np.__version__},
            "seed": options.seed,
            **({} if member is None else {"member": {"number": member.index + 1, "count": member.count}}),
            "recipe": recipe_values(options),
            "weights": source,
            "history": [{**_no_nan(row), "epoch": int(row["epoch"])} for row in fitted.history],
            "best_epoch": fitted.best_epoch,
            "monitor": options.monitor if fitted.history else "",
            **solver,
            **films_and_labels(data),
            "has_leakage": bool(data.leaks) or (base is not None and base.origin.has_leakage),
            "leak_count": len(data.leaks),
        },
        "films": seen_films(data, base),
        "validation": {
            "loss": fitted.best["valid_loss"] if fitted.history else _log_loss(held.truth, prob),
            "macro_auc": evaluated["macro_auc"]["value"],
            "auc": {name: found["auc"]["value"] for name, found in evaluated["findings"].items()},
            "score_quantiles": score_quantiles(spec, prob),
        },
        "evaluation": evaluated,
        "golden": golden_record(model),
        "licence": source["licence"] or "yours",
        **({"trained_on": list(trained_on)} if trained_on else {}),
    }


def model_evaluation(
    findings: Sequence[str],
    data: Data,
    held: HeldOut,
    prob: Floats,
    options: TrainOptions,
    *,
    tested: dict[str, Any] | None,
    learning_curve: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The document's "evaluation" of a model or an ensemble: the figures of held-out predictions with probabilities
    [N,C], those of the test films, what they are compared with, and what limits their use."""
    rows = data.split.train if held.on == "folds" else data.split.valid
    evaluated = {
        **evaluation(findings, held, prob),
        "test": tested,
        "yardsticks": measure_yardsticks(data, held, rows, prob, options),
        "learning_curve": learning_curve,
    }
    positives, _ = counts(data.labels[list(data.split.test)])
    of_test = dict(zip(findings, positives.tolist(), strict=True)) if tested else {}
    unmatched = lab.match_warnings(data.labels_file.get("match"))
    return {**evaluated, "warnings": [*unmatched, *find_limitations(evaluated, of_test, data.patients)]}


def films_and_labels(data: Data) -> dict[str, Any]:
    """What a document says under "training" of the films and labels of the run."""
    split = {name: len(getattr(data.split, name)) for name in ("train", "valid", "test")}
    digest = sha256_bytes(lab.split_csv(data.split, data.paths).encode())
    return {
        "split": {**split, "rule": data.split.rule, "sha256": digest},
        "patients": len({p for p in data.patients if p is not None}),
        "films_without_patient": sum(p is None for p in data.patients),
        "labels": data.labels_file,
    }


def _log_loss(truth: Floats, prob: Floats) -> float:
    """Mean over findings of the log loss of known labels, probabilities [N,C] limited to float32's precision."""
    p = np.clip(prob.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(np.nanmean(np.nanmean(-(truth * np.log(p) + (1 - truth) * np.log1p(-p)), axis=0)))


def sets_of_weights(options: TrainOptions, base: BaseWeights | None) -> tuple[str, ...]:
    """The public data sets that the initial weights were trained on: those of their file, then those of the options."""
    return public_set_names((*(() if base is None else base.origin.trained_on), *options.trained_on))


def seen_films(data: Data, base: BaseWeights | None) -> dict[str, list[str]]:
    """Hashes of the films that a model was trained and validated on: its own, then those of its initial weights. A
    film that was ever used for training is not listed for validation."""
    seen = {} if base is None else base.origin.seen
    parts: dict[str, list[str]] = {}
    for name in ("train", "valid"):
        parts[name] = list(dict.fromkeys([*data.hashes(getattr(data.split, name)), *_of_part(seen, name)]))
    trained = set(parts["train"])
    return {"train": parts["train"], "valid": [film for film in parts["valid"] if film not in trained]}


def _of_part(seen: Mapping[str, str], name: str) -> list[str]:
    return [film for film, part in seen.items() if part == name]


def score_quantiles(spec: ModelSpec, prob: Floats) -> dict[str, list[float]]:
    """The lowest, the 5th, 10th ... 95th percentile and the highest of prob [N,C] by finding, 21 numbers each.

    A report compares the score distribution of other films with them (drift).
    Empty without films.
    """
    if not len(prob):
        return {}
    found = np.quantile(prob.astype(np.float64), np.linspace(0, 1, 21), axis=0)
    return {name: found[:, place].tolist() for place, name in enumerate(spec.findings)}


_OF_THE_RUN = (
    "films",
    "labels",
    "output",
    "resume",
    "overwrite",
    "recipe",
    "trained_on",
    "allow_leakage",
    "executor",
    "processes",
    "address",
    "mlflow",
)


def recipe_of(options: TrainOptions) -> dict[str, Any]:
    """The recipe without the folders of this machine."""
    values = {name: value for name, value in asdict(options).items() if name not in _OF_THE_RUN}
    split = options.split and unicode_text(options.split.name)
    weights = ",".join(unicode_text(Path(entry).name) for entry in options.weights_of_each)
    several = len(options.architectures) > 1
    shared = several and len(set(options.weights_of_each)) == 1
    return {
        **values,
        "findings": ",".join(options.findings) or None,
        "weights": weights.partition(",")[0] if shared else weights,
        "split": split,
        "size": None if several and not options.size else options.size,
    }


def recipe_values(options: TrainOptions) -> dict[str, int | float | str | None]:
    """The recipe as documents have it."""
    return {k: v if isinstance(v, int | float | str) else None for k, v in recipe_of(options).items()}


def _no_nan(values: dict[str, Any]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}
