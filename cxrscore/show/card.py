"""Model cards: the metadata of a model file in the order of CLAIM, and the items that are not recorded.

CLAIM 2024: Tejani et al., Checklist for Artificial Intelligence in Medical Imaging, Radiology: AI 6(4), 2024. The
sections "Intended use" and "Limits" apply to every model of cxrscore; all others are from the file.
"""

from __future__ import annotations

import math
from typing import Any

from cxrscore.io.strict_json import get_nested, get_text, get_texts, software_versions
from cxrscore.labels import describe_columns, describe_rules, match_counts
from cxrscore.models.evaluation import Evaluation, format_count, read_probe, used_recipe
from cxrscore.models.model_file import EnsembleFile, ModelFile
from cxrscore.show.describe import (
    describe_effect,
    describe_ensemble,
    describe_model,
    described_findings,
    model_evaluation,
)
from cxrscore.show.markdown import UNKNOWN, bullet_list, escape_markdown, markdown_table

INTENDED_USE = """\
For research on chest radiographs: to score films, to compare models, to study how they fail. Its users are people who
know what an ROC curve is. Not a medical device: it was not validated for any clinical use, and must not be used to
diagnose, to treat, to triage, or to decide anything about a living patient. (Of every model of cxrscore.)"""

LIMITS = """\
* A score says how much a film looks like those that were labelled so in training; it is no probability of disease
  unless the model was calibrated on films like yours. A calibration on the training films holds for films of the same
  prevalence and kind.
* Figures found on one collection of films do not hold on another. Measure on labelled films of your own.
* Lateral films, films of children and of other parts of the body are not told apart from what the model was made for.
* Heat maps show where the model looked, not whether it was right to.

(Of every model of cxrscore.)"""

NOT_RECORDED_NOTE = """\
* Which films and patients were taken and which were not, from which sites, machines and years
* Age, sex and other demographics of the patients
* Who labelled the films, how, and how well readers agreed
* How many films the study needed, and why
* Figures on films of other sites
* Figures by subgroup
* What the model gets wrong, and why"""
"""CLAIM items for which a model file has no field."""

NOT_EVALUATED_NOTE = """\
* Figures on films that neither trained nor chose the model
* Intervals or other uncertainty of the figures"""
"""More of them for a model file without an evaluation."""


def model_card(model: ModelFile | EnsembleFile) -> str:
    """The card as Markdown, with a final newline. The members of an ensemble are not read."""
    found = describe_model(model) if isinstance(model, ModelFile) else describe_ensemble(model)
    evaluation = model_evaluation(found)
    figures = ("Figures on the validation films", _figures(found))
    missing = f"{NOT_RECORDED_NOTE}\n{NOT_EVALUATED_NOTE}"
    if evaluation is not None:
        figures, missing = ("Figures", _evaluation(found, evaluation)), NOT_RECORDED_NOTE
    sections = (
        ("Intended use", INTENDED_USE),
        ("Model", _model(found)),
        ("Data", _data(found)),
        ("Partitions", _partitions(found)),
        ("Preprocessing", _preprocessing(found)),
        ("Training", _training(found)),
        figures,
        ("Limits", LIMITS),
        ("Licence", escape_markdown(get_text(found, "licence")) or UNKNOWN),
        ("What CLAIM asks and this file does not say", missing),
    )
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections)
    return f"# Model card: {escape_markdown(found['file'])}\n\n{_warning(found)}{body}\n"


def _warning(found: Any) -> str:
    if get_nested(found, "training", "has_leakage") is not True:
        return ""
    return (
        "**LEAKED.** The same patients or films were in more than one split when this model was trained. "
        "Its measured performance is too high.\n\n"
    )


def is_ensemble_document(found: Any) -> bool:
    """Whether a described file is an ensemble file."""
    return bool(found["file_type"] == "ensemble")


def created(found: Any) -> str:
    """When the file was made, by which version: "2026-01-02T03:04:05+00:00 by cxrscore 0.1.0"."""
    return _join_nonempty(
        " by cxrscore ", get_text(found, "training", "created"), get_text(found, "training", "cxrscore")
    )


def model_input(found: Any) -> str:
    """What a network takes; "" for an ensemble, whose members may differ."""
    if is_ensemble_document(found):
        return ""
    size = get_text(found, "spec", "size")
    return f"one film, grey, {size} x {size} pixels; {get_text(found, 'spec', 'normalize')}"


def model_output(found: Any) -> str:
    """What comes out: "14 probabilities by sigmoid"."""
    count = len(described_findings(found))
    if is_ensemble_document(found):
        return f"{count} probabilities, each the mean over {len(found['members'])} networks"
    activation = get_text(found, "spec", "activation")
    more = ": the findings exclude each other" if activation == "softmax" else ""
    return f"{count} probabilities by {activation}{more}"


def _model(found: Any) -> str:
    file = (("Created", created(found)), ("SHA-256 of the file", found["sha256"]))
    if is_ensemble_document(found):
        members = [
            (f"Network {place}", f"{member['architecture']}, {member['file']}, SHA-256 {member['sha256']}")
            for place, member in enumerate(found["members"], start=1)
        ]
        return bullet_list(("Output", model_output(found)), *members, *file)
    return bullet_list(
        ("Network", get_text(found, "spec", "architecture")),
        ("Input", model_input(found)),
        ("Output", model_output(found)),
        ("Head", get_text(found, "spec", "head")),
        ("Parameters", f"{found['parameters']:,}"),
        *file,
        ("int8", describe_effect(found, "int8") or "not measured"),
        ("bf16", describe_effect(found, "bf16") or "not measured"),
    )


def _data(found: Any) -> str:
    patients = get_nested(found, "training", "patients")
    table, sets = get_text(found, "training", "labels", "file"), get_texts(found, "trained_on")
    return bullet_list(
        ("Label table", table),
        ("Its layout", get_text(found, "training", "labels", "dataset")),
        ("Its SHA-256", get_text(found, "training", "labels", "sha256")),
        ("Read with", describe_rules(get_nested(found, "training", "labels"))),
        ("Its columns", describe_columns(get_nested(found, "training", "labels"))),
        ("Matched", match_counts(get_nested(found, "training", "labels", "match"))),
        ("Patients", str(patients) if patients else ""),
        ("Findings", ", ".join(described_findings(found))),
        *((("Public data sets that it was trained on", ", ".join(sets)),) if sets else ()),
        ("Reference standard", f"the labels of {table}; how they were made is not recorded" if table else ""),
    )


def is_imported(found: Any) -> bool:
    """Whether the model was imported: then values of a training run are empty or 0."""
    return get_nested(found, "training", "imported") is not None


def _partitions(found: Any) -> str:
    if is_imported(found):
        return UNKNOWN
    split = get_nested(found, "training", "split")
    leaks = get_text(found, "training", "leak_count")
    rows = [(name, get_text(split, name) or UNKNOWN) for name in ("train", "valid", "test")]
    return (
        markdown_table(("split", "films"), rows)
        + "\n\n"
        + bullet_list(
            ("Rule", get_text(split, "rule")),
            ("Split by patient", split_by_patient(found)),
            *((("Films in more than one split", leaks),) if leaks not in ("", "0") else ()),
            ("SHA-256 of split.csv", get_text(split, "sha256")),
        )
    )


def split_by_patient(found: Any) -> str:
    if get_nested(found, "training", "has_leakage") is True:
        return "no: see the warning above"
    if not get_nested(found, "training", "patients"):
        return "no: no patient is known, the split is by film"
    unknown = get_text(found, "training", "films_without_patient")
    return "yes, checked in training" + (f"; {unknown} films without a patient" if unknown not in ("", "0") else "")


def _preprocessing(found: Any) -> str:
    if is_ensemble_document(found):
        return "Each network has its own; the cards of the member files have it."
    size = get_text(found, "preprocessing", "size")
    return bullet_list(
        ("Size", f"{size} x {size} pixels" if size else ""),
        ("Films that are not square", get_text(found, "preprocessing", "fit")),
        ("Interpolation", get_text(found, "preprocessing", "resize")),
    )


def _training(found: Any) -> str:
    training = found["training"]
    if is_imported(found):
        return "Another program trained this model; its training is not recorded.\n\n" + bullet_list(
            ("Imported from", get_text(training, "weights", "name")),
            ("SHA-256 of this file", get_text(training, "weights", "sha256")),
            ("Licence of this file", get_text(training, "weights", "licence")),
            ("File type", get_text(training, "imported", "checkpoint_type")),
            ("Outputs in this file", get_text(training, "imported", "n_outputs")),
        )
    recipe = [(name, "" if value is None else str(value)) for name, value in used_recipe(training).items()]
    run = (
        ("Seed", get_text(training, "seed")),
        ("Backend", _join_nonempty(", ", get_text(training, "backend"), *software_versions(training))),
    )
    options = markdown_table(("option", "value"), recipe)
    if is_ensemble_document(found):
        return f"What each network started from is in the card of its file.\n\n{bullet_list(*run)}\n\n{options}"
    probe = read_probe(found)
    fitted = [("Solved", "" if probe is None else probe.sentence)]
    if probe is None:
        fitted = [
            ("Epochs", str(len(training["history"]))),
            (
                "Epoch of these tensors",
                _join_nonempty(", by ", get_text(training, "best_epoch"), get_text(training, "monitor")),
            ),
        ]
    return (
        bullet_list(
            ("Started from", get_text(training, "weights", "name")),
            ("Licence of this file", get_text(training, "weights", "licence")),
            ("What was trained", get_text(found, "spec", "trainable")),
            *fitted,
            *run,
        )
        + f"\n\n{options}"
    )


def _figures(found: Any) -> str:
    validation = found["validation"]
    if is_imported(found):
        points = [(finding, *_point(found, finding)) for finding in described_findings(found)]
        return f"{UNKNOWN}\n\n" + markdown_table(("finding", "threshold", "rule"), points)
    rows = [
        (finding, _figure(get_nested(validation, "auc", finding)), *_point(found, finding))
        for finding in described_findings(found)
    ]
    return (
        "The epoch, the thresholds and the calibration were chosen on these films, so the figures flatter the "
        "model.\n\n"
        + bullet_list(
            ("Films", get_text(found, "training", "split", "valid")),
            ("Macro AUC", _figure(get_nested(validation, "macro_auc"))),
            ("Loss", _figure(get_nested(validation, "loss"))),
            ("Uncertainty", UNKNOWN),
            ("Calibration", found["probabilities"]),
        )
        + "\n\n"
        + markdown_table(("finding", "AUC", "threshold", "rule"), rows)
    )


def _evaluation(found: Any, evaluation: Evaluation) -> str:
    curve = evaluation.curve
    parts = [
        evaluation.caution,
        bullet_list(
            ("Films", evaluation.where),
            (f"{evaluation.short.capitalize()} macro AUC, with 95 % interval", evaluation.macro_auc.text),
            ("Brier score", evaluation.brier.precise),
            ("Brier skill against the prevalence", _known(evaluation.brier_skill)),
            ("Calibration error", _known(evaluation.calibration_error)),
            ("Spread of the probabilities, 95th minus 5th percentile", _known(evaluation.spread)),
            ("Calibration", found["probabilities"]),
            ("Macro AUC of the test films, evaluated once", _tested(evaluation)),
        ),
        _without_films(evaluation),
        "" if curve is None else f"Learning curve: {escape_markdown(curve.sentence)}",
        _by_finding(found, evaluation),
        ""
        if not evaluation.warnings
        else "Warnings:\n\n" + "\n".join(f"* {escape_markdown(text)}" for text in evaluation.warnings),
    ]
    return "\n\n".join(filter(None, parts))


def _tested(evaluation: Evaluation) -> str:
    if evaluation.has_test:
        return f"{evaluation.test_auc.text}, {format_count(evaluation.test_films)} films"
    return (
        "no test films: the cross-validated figure is the model's figure"
        if evaluation.on == "folds"
        else "no test films"
    )


def _without_films(evaluation: Evaluation) -> str:
    """The model beside what predicts without looking at the films; "" if it is not recorded."""
    sticks = evaluation.yardsticks
    if sticks is None:
        return ""
    rows = [
        (one.name, one.macro_auc.text, _known(one.brier), _known(one.label_accuracy))
        for one in (sticks.model, *sticks.without)
    ]
    table = markdown_table(("predictions of the same films", "macro AUC", "Brier", "label accuracy"), rows)
    return f"{table}\n\n{escape_markdown(sticks.sentence)}".rstrip()


def _by_finding(found: Any, evaluation: Evaluation) -> str:
    head = (
        "finding",
        "positives",
        "AUC",
        "average precision",
        "Brier",
        "Brier skill",
        "test AUC",
        "threshold",
        "note",
    )
    rows = [
        (
            one.finding,
            format_count(one.positives),
            one.auc.text,
            one.average_precision.text,
            one.brier.precise,
            _known(one.brier_skill),
            _known(one.test_auc.value) if evaluation.has_test else "",
            _join_nonempty(" by ", *_point(found, one.finding)),
            one.mark,
        )
        for one in evaluation.findings
    ]
    return markdown_table(head, rows)


def _known(value: float) -> str:
    return f"{round(value, 3) + 0:.3f}" if math.isfinite(value) else "undefined"


def _point(found: Any, finding: str) -> tuple[str, str]:
    """The threshold of a finding and how it was chosen; empty where it has none."""
    point = get_nested(found, "thresholds", finding)
    return (_figure(get_nested(point, "prob")), get_text(point, "rule")) if point else ("", "")


def _figure(value: Any) -> str:
    """A number; "undefined" where the file says null, as of a finding with one class only."""
    return f"{value:.3f}" if isinstance(value, int | float) else "undefined" if value is None else UNKNOWN


def _join_nonempty(between: str, *parts: str) -> str:
    return between.join(part for part in parts if part)
