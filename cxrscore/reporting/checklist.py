"""Items of the reporting guidelines CLAIM 2024 and TRIPOD+AI, filled from provenance.

Items that only authors can answer (title, aims, ethics, funding ...) are omitted. Information that a file does not
contain is "not recorded".

CLAIM 2024: Tejani et al., Radiology: Artificial Intelligence 6, 2024. TRIPOD+AI: Collins et al., BMJ 385, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cxrscore.labels import describe_rules
from cxrscore.models.evaluation import read_probe, used_recipe
from cxrscore.reporting.load_scores import has_hashed_paths
from cxrscore.reporting.provenance import (
    after,
    describe_mean,
    format_pairs,
    get_nested,
    get_number,
    get_text,
    has_leakage,
    join_words,
    provenance_models,
    read_own_training,
    read_training,
    threshold_source,
)
from cxrscore.reporting.summary import Summary
from cxrscore.scorefile.data import Scores

NOT_RECORDED = "not recorded"


@dataclass(frozen=True, kw_only=True)
class ChecklistItem:
    """An item, its number in both guidelines, and the answer; ``known`` is False if the run does not answer it."""

    topic: str
    claim: str
    tripod: str
    answer: str

    @property
    def known(self) -> bool:
        return self.answer != NOT_RECORDED


@dataclass(frozen=True, kw_only=True)
class OptionalSections:
    """Which optional sections the report has; ``metrics`` are the names of plugin metrics."""

    subgroups: bool
    metrics: tuple[str, ...] = ()


def checklist(scores: Scores, summary: Summary, shown: OptionalSections) -> tuple[ChecklistItem, ...]:
    """The items in the order of a paper: data, reference standard, partitions, model, training, evaluation, results."""
    provenance = scores.provenance
    return tuple(
        ChecklistItem(topic=topic, claim=claim, tripod=tripod, answer=answer or NOT_RECORDED)
        for topic, claim, tripod, answer in (
            *_data(scores, summary),
            *_model(provenance),
            *_evaluation(scores, summary, shown),
        )
    )


Row = tuple[str, str, str, str]


def _data(scores: Scores, summary: Summary) -> list[Row]:
    provenance = scores.provenance
    labels = get_text(provenance, "labels", "file")
    layout = get_text(provenance, "labels", "dataset")
    return [
        ("Data sources", "Data", "5a", _folder(provenance)),
        ("Eligibility criteria", "Data", "6b", ""),
        (
            "Preprocessing",
            "Data",
            "7",
            _each(provenance, lambda model: format_pairs(get_nested(model, "document", "preprocessing"))),
        ),
        ("De-identification", "Data", "", _names(scores)),
        ("Missing data", "Data", "11", _missing(scores, summary)),
        (
            "Source of the reference standard",
            "Reference standard",
            "8a",
            join_words(labels, layout, describe_rules(get_nested(provenance, "labels"))),
        ),
        ("Quality of the reference standard", "Reference standard", "8b", ""),
        ("Partitions", "Data partitions", "12a", _each(provenance, lambda model: _split(_parts(model)))),
        ("Level at which partitions are disjoint", "Data partitions", "12a", _disjoint(provenance)),
        ("Sample size and rationale", "Data partitions", "10", ""),
    ]


def _model(provenance: Mapping[str, Any]) -> list[Row]:
    framework = get_text(provenance, "backend", "framework")
    rows = (
        (
            "Model",
            "Model",
            "12c",
            lambda model: format_pairs(get_nested(model, "document", "spec"), leave_out="findings"),
        ),
        (
            "Software",
            "Model",
            "",
            lambda model: join_words(format_pairs(get_nested(read_own_training(model), "versions")), framework),
        ),
        ("Initial parameters", "Model", "12c", _start),
        ("Training", "Training", "12c", lambda model: format_pairs(used_recipe(read_own_training(model)))),
        ("Selection of the final model", "Training", "12c", _selection),
        (
            "Class imbalance",
            "Training",
            "13",
            _imbalance,
        ),
    )
    model_rows = [(topic, claim, tripod, _each(provenance, words)) for topic, claim, tripod, words in rows]
    return [*model_rows, ("Ensembling", "Training", "12c", describe_mean(provenance))]


def _selection(model: Any) -> str:
    probe = read_probe(get_nested(model, "document"))
    return read_training(model).chosen_words if probe is None else probe.sentence


def _imbalance(model: Any) -> str:
    training = read_own_training(model)
    if get_nested(training, "probe") is not None:
        return "log loss, in which all films count alike"
    return after("loss ", get_text(training, "recipe", "loss"))


def _start(model: Any) -> str:
    weights = get_nested(read_own_training(model), "weights")
    return join_words(get_text(weights, "name"), get_text(weights, "licence"))


def _evaluation(scores: Scores, summary: Summary, shown: OptionalSections) -> list[Row]:
    provenance, labelled = scores.provenance, summary.assessed.basis != "none"
    thresholds = any(math.isfinite(result.threshold) for result in summary.findings)
    explainer = join_words(
        get_text(provenance, "explainer", "name"), after("layer ", get_text(provenance, "explainer", "cam_layer"))
    )
    return [
        ("Metrics of performance", "Evaluation", "12e", _metrics(shown) if labelled else ""),
        ("Thresholds", "Evaluation", "15", _points(provenance) if thresholds else ""),
        ("Measures of uncertainty", "Evaluation", "12e", _uncertainty(summary, shown) if labelled else ""),
        ("Explainability", "Evaluation", "", explainer if len(scores.heat_maps.film) else ""),
        ("Subgroups, fairness", "Evaluation", "14, 23a", "see Subgroups" if shown.subgroups else ""),
        ("Test data", "Testing", "16", _tested(summary)),
        ("Films included and excluded", "Results", "20a", _flow(summary)),
        ("Estimates of performance", "Results", "23a", _estimates(provenance, labelled)),
        ("Failure analysis", "Results", "", _failures(summary)),
        (
            "Availability of the model",
            "Other information",
            "22",
            _each(provenance, lambda model: after("SHA-256 ", get_text(model, "sha256"))),
        ),
        (
            "Licence of the weights",
            "Other information",
            "",
            _each(provenance, lambda model: get_text(model, "document", "licence")),
        ),
    ]


def _points(provenance: Mapping[str, Any]) -> str:
    where = {
        "valid": "on validation films",
        "folds": "on out-of-fold predictions of the training films",
        "imported": "by the source of the model, on films that are not recorded",
    }
    return f"thresholds chosen {where.get(threshold_source(provenance), 'on films that are not recorded')}"


def _estimates(provenance: Mapping[str, Any], labelled: bool) -> str:
    """Where the figures are: of these films, and of cross-validation or validation."""
    own = any(isinstance(get_nested(one, "document", "evaluation"), Mapping) for one in provenance_models(provenance))
    shown = ["ROC curves", "Findings"] * labelled + ["Training"] * own
    return f"see {', '.join(shown[:-1])}{' and ' * (len(shown) > 1)}{shown[-1]}" if shown else ""


def _names(scores: Scores) -> str:
    films = "films are identified by hash" if has_hashed_paths(scores) else "film paths may still contain names"
    return f"patients are identified by number; {films}"


def _folder(provenance: Mapping[str, Any]) -> str:
    folder, found = get_text(provenance, "films", "folder"), get_number(provenance, "films", "total")
    return f"folder {folder}, {found:,.0f} films" if folder and math.isfinite(found) else ""


def _missing(scores: Scores, summary: Summary) -> str:
    if summary.assessed.basis == "none":
        return ""
    truth = scores.truth[summary.assessed.rows]
    unknown = float((truth != truth).mean())
    return (
        f"unknown labels ({unknown:.1%} of those of the evaluated films) are excluded; films without score are listed"
    )


def _split(split: Any) -> str:
    parts = [(name, get_number(split, name)) for name in ("train", "valid", "test")]
    return ", ".join(f"{name} {count:,.0f}" for name, count in parts if math.isfinite(count))


def _parts(model: Any) -> Any:
    return get_nested(read_own_training(model), "split")


def _disjoint(provenance: Mapping[str, Any]) -> str:
    if has_leakage(provenance):
        return "LEAKED: the partitions are not disjoint"
    return _each(provenance, lambda model: get_text(_parts(model), "rule"))


def _each(provenance: Mapping[str, Any], words: Callable[[Any], str]) -> str:
    """The text of each model; only one text if all are equal."""
    found = [words(model) for model in provenance_models(provenance)]
    if len(set(found)) < 2:
        return found[0] if found else ""
    return "; ".join(f"model {place}: {one or NOT_RECORDED}" for place, one in enumerate(found, start=1))


def _metrics(shown: OptionalSections) -> str:
    return ", ".join(["AUC, average precision, Brier score", *shown.metrics])


def _uncertainty(summary: Summary, shown: OptionalSections) -> str:
    more = f"; of {', '.join(shown.metrics)}: see Metrics of plugins" if shown.metrics else ""
    return f"95 % intervals of AUCs by {summary.areas.method}; of proportions by Wilson{more}"


def _tested(summary: Summary) -> str:
    if summary.assessed.public:
        return f"films of {', '.join(summary.assessed.public)}, on which the model was trained: not a test"
    words = {
        "held-out": "films that were in neither training nor validation; whether external is not recorded",
        "unknown": "whether the model was trained on them is not recorded",
        "training": "only films of training and validation: not a test",
        "none": "",
    }
    return words[summary.assessed.basis]


def _flow(summary: Summary) -> str:
    assessed = f"{len(summary.assessed.rows):,} evaluated" if summary.assessed.basis != "none" else "none evaluated"
    return (
        f"{summary.found:,} found, {summary.failed:,} not scored, {summary.assessed.left_out:,} excluded as seen in "
        f"training or validation, {assessed}"
    )


def _failures(summary: Summary) -> str:
    return "see Heat maps for the worst errors, and Failed films" if summary.found else ""
