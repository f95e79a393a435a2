"""A described file as lines for a terminal. Every text of the file goes through ``visible``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.io.strict_json import get_nested, get_text, get_texts, software_versions
from cxrscore.labels import describe_columns, describe_rules, match_counts
from cxrscore.models.evaluation import Evaluation, Yardsticks, format_count, read_evaluation, read_probe, used_recipe
from cxrscore.show.describe import describe_bound, describe_effect, model_evaluation

_LONGEST = 60
"""Characters of a text that are shown, so that one long name does not push all columns away."""
_MOST = 10
"""Lines of a list that are shown."""
_LEAKED = "films or patients were in more than one split when the model was trained"

Line = tuple[str, str]


def as_text(described: Mapping[str, Any]) -> str:
    """What describe_file gave, for people."""
    kinds = {"scores": _of_scores, "model": _of_model, "ensemble": _of_ensemble}
    return "\n\n".join(kinds[described["file_type"]](described))


def _of_scores(found: Mapping[str, Any]) -> Iterator[str]:
    provenance, films = found["provenance"], found["films"]
    command = get_texts(provenance, "command")
    yield _facts(
        ("scores file", f"{found['file']}, complete"),
        (
            "made",
            _join_nonempty(
                " ", get_text(found, "created"), "by cxrscore " + (get_text(found, "cxrscore") or "unknown")
            ),
        ),
        *(line for model in _some(found["models"]) for line in _model(model)),
        ("ensemble", found["ensemble"] or ""),
        ("score", _mean(len(found["models"]), found["tta"])),
        ("backend", _backend(provenance)),
        ("films folder", get_text(provenance, "films", "folder")),
        ("labels", _labels(provenance, films)),
        ("columns", describe_columns(get_nested(provenance, "labels"))),
        ("command", _join_nonempty(" ", "cxrscore" if command else "", *command)),
        ("fingerprint", found["fingerprint"]),
        ("LEAKED", _LEAKED if found["has_leakage"] is True else ""),
        *(("warning", text) for text in _some(get_texts(provenance, "warnings"))),
    )
    yield _printable(found["probabilities"], longest=1000)
    yield f"films: {films['total']} found, {films['scored']} scored\n" + _table(
        *((name, str(count)) for name, count in films["status"].items()),
    )
    yield "seen by the model: " + ", ".join(f"{count} {name}" for name, count in films["split"].items())
    yield "findings\n" + _table(
        ("", "mean", "largest", "threshold", "above", "positive", "negative"), *map(_finding, found["findings"])
    )
    yield f"heat maps: {found['heatmaps']}, thumbnails: {found['thumbnails']}"


def _model(model: Any) -> Iterator[Line]:
    if isinstance(model, str):
        yield "", model
        return
    yield "model", _join_nonempty(", ", get_text(model, "file"), get_text(model, "architecture"), _pixels(model))
    yield "its SHA-256", get_text(model, "sha256")
    yield "its licence", get_text(model, "licence")


def _mean(count: int, copies: Any) -> str:
    """What a score is a mean over; "" where it is none."""
    over = [f"{count} models"] * (count > 1)
    over += [f"{copies} augmented copies of each film"] * (isinstance(copies, int) and copies > 1)
    return f"mean over {' and '.join(over)}" if over else ""


def _backend(provenance: Any) -> str:
    parts = [get_text(provenance, "backend", key) for key in ("name", "framework", "device", "precision")]
    return _join_nonempty(", ", *parts)


def _labels(provenance: Any, films: Mapping[str, Any]) -> str:
    labels = get_nested(provenance, "labels")
    table = _join_nonempty(", layout ", get_text(labels, "file"), get_text(labels, "dataset"))
    table = _join_nonempty(", ", table, describe_rules(labels), match_counts(get_nested(labels, "match")))
    return f"{table or 'none'}; {films['labelled']} films with a label, {films['patients']} patients"


def _finding(one: Mapping[str, Any]) -> tuple[str, ...]:
    above = one["above_threshold"]
    return (
        one["finding"],
        *(_decimal(one[key]) for key in ("mean_prob", "max_prob", "threshold")),
        "-" if above is None else str(above),
        str(one["positives"]),
        str(one["negatives"]),
    )


def _of_model(found: Mapping[str, Any]) -> Iterator[str]:
    spec, training = found["spec"], found["training"]
    yield _facts(
        ("model file", found["file"]),
        ("SHA-256", found["sha256"]),
        (
            "network",
            f"{spec['architecture']}, {spec['size']} x {spec['size']} pixels, {len(spec['findings'])} findings",
        ),
        ("tensors", f"{found['tensors']} with {found['parameters']:,} numbers"),
        ("input", f"{spec['normalize']}; films not square: {get_text(found, 'preprocessing', 'fit')}"),
        ("head", f"{spec['head']}, {spec['activation']}; trained: {spec['trainable']}"),
        ("int8", describe_effect(found, "int8")),
        ("bf16", describe_effect(found, "bf16")),
        ("auto", describe_bound(found)),
        ("licence", get_text(found, "licence")),
        ("trained on", ", ".join(get_texts(found, "trained_on"))),
    )
    yield "training\n" + _facts(*_training(training), indent="  ")
    if training["recipe"]:
        yield "recipe\n" + _facts(
            *((key, "-" if value is None else str(value)) for key, value in used_recipe(training).items()), indent="  "
        )
    evaluation = model_evaluation(found)
    if evaluation is None:
        yield _validation(found)
    else:
        yield from _evaluation(found, evaluation)


def _of_ensemble(found: Mapping[str, Any]) -> Iterator[str]:
    yield _facts(
        ("ensemble file", found["file"]),
        ("SHA-256", found["sha256"]),
        *(("member", line) for line in _some([f"{one['file']}, {one['architecture']}" for one in found["members"]])),
        ("score", f"mean over {len(found['members'])} models, calibrated"),
        ("findings", str(len(found["findings"]))),
        ("licence", found["licence"]),
    )
    yield "training\n" + _facts(*_run(found["training"]), indent="  ")
    if (evaluation := read_evaluation(found, found["findings"])) is not None:
        yield from _evaluation(found, evaluation)


def _training(training: Mapping[str, Any]) -> Iterator[Line]:
    made = f"{training['created']} by cxrscore {training['cxrscore']}"
    if get_nested(training, "imported") is not None:
        yield "imported", made
        yield (
            "from",
            _join_nonempty(
                ", a file of ", get_text(training, "weights", "name"), get_text(training, "imported", "checkpoint_type")
            ),
        )
        yield "SHA-256 of it", get_text(training, "weights", "sha256")
        yield "trained", "by another program (imported)"
        return
    yield from _run(training)
    yield "started from", get_text(training, "weights", "name")
    probe = read_probe({"training": training})
    if probe is None:
        yield "epoch", f"{training['best_epoch']} of {len(training['history'])}, by {training['monitor']}"
    else:
        yield "solved", probe.sentence


def _patients(training: Mapping[str, Any]) -> str:
    unknown = get_text(training, "films_without_patient")
    without = f"{unknown} films without one" if unknown not in ("", "0") else ""
    return _join_nonempty(", ", get_text(training, "patients"), without)


def _run(training: Mapping[str, Any]) -> Iterator[Line]:
    """What a model and an ensemble say of their run."""
    labels, split = training["labels"], training["split"]
    yield "made", f"{training['created']} by cxrscore {training['cxrscore']}"
    yield "backend", _join_nonempty(", ", training["backend"], *software_versions(training))
    table, matched = f"{labels['file']}, layout {labels['dataset']}", match_counts(labels.get("match"))
    yield "labels", _join_nonempty(", ", table, describe_rules(labels), matched)
    yield "columns", describe_columns(labels)
    yield "split", f"{split['train']} train, {split['valid']} valid, {split['test']} test films; {split['rule']}"
    yield "patients", _patients(training)
    yield "seed", get_text(training, "seed")
    yield "LEAKED", _LEAKED if training["has_leakage"] is True else ""


def _validation(found: Mapping[str, Any]) -> str:
    validation, thresholds = found["validation"], found["thresholds"]
    rows = [
        (finding, _decimal(get_nested(validation, "auc", finding)), _decimal(get_nested(thresholds, finding, "prob")),
         get_text(thresholds, finding, "rule"))
        for finding in found["spec"]["findings"]
    ]  # fmt: skip
    head = f"validation: macro AUC {_decimal(validation['macro_auc'])}, loss {_decimal(validation['loss'])}"
    return f"{head}\n{found['probabilities']}\n" + _table(("", "AUC", "threshold", "rule"), *rows)


def _evaluation(found: Mapping[str, Any], evaluation: Evaluation) -> Iterator[str]:
    """The model's own figures: of all findings, then by finding."""
    sticks, curve = evaluation.yardsticks, evaluation.curve
    yield "figures\n" + _facts(
        ("films", evaluation.where),
        (f"{evaluation.short} macro AUC", evaluation.macro_auc.text),
        ("test macro AUC", _test(evaluation)),
        *_without_films(sticks),
        ("learning curve", "" if curve is None else curve.sentence),
        ("calibration", found["probabilities"]),
        *(("warning", text) for text in _some(list(evaluation.warnings))),
        indent="  ",
        longest=1000,
    )
    rows = [
        (one.finding, one.auc.text, _decimal(one.average_precision.value), _decimal(one.brier.value),
         _decimal(get_nested(found, "thresholds", one.finding, "prob")),
         get_text(found, "thresholds", one.finding, "rule") or one.mark)
        for one in evaluation.findings
    ]  # fmt: skip
    yield "findings\n" + _table(("", "AUC", "precision", "Brier", "threshold", "rule"), *rows)


def _test(evaluation: Evaluation) -> str:
    if evaluation.has_test:
        return f"{evaluation.test_auc.text}, {format_count(evaluation.test_films)} films"
    return "no test films: the cross-validated figure is the model's" if evaluation.on == "folds" else "no test films"


def _without_films(sticks: Yardsticks | None) -> Iterator[Line]:
    """What predicts without looking at the films."""
    if sticks is None:
        return
    for one in (sticks.model, *sticks.without):
        yield (
            one.name.lower(),
            f"macro AUC {_decimal(one.macro_auc.value)}, Brier {_decimal(one.brier)}, label accuracy "
            f"{_decimal(one.label_accuracy)}",
        )
    yield "difference", sticks.sentence


def _pixels(model: Mapping[str, Any]) -> str:
    size = get_text(model, "size")
    return f"{size} x {size} pixels" if size else ""


def _some(entries: list[Any]) -> list[Any]:
    more = len(entries) - _MOST
    return entries if more <= 0 else [*entries[:_MOST], f"and {more} more; --json has all"]


def _decimal(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) and value == value else "-"


def _join_nonempty(between: str, *parts: str) -> str:
    return between.join(part for part in parts if part)


def _facts(*lines: Line, indent: str = "", longest: int = 200) -> str:
    """Name and value, a line each; without those that have none."""
    shown = [(_printable(name), _printable(value, longest)) for name, value in lines if value]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{indent}{name:<{width}}  {value}" for name, value in shown)


def _table(*rows: Sequence[str]) -> str:
    """Rows below each other, the first column to the left and the others to the right."""
    shown = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = (
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in shown
    )
    return "\n".join(f"  {line}".rstrip() for line in lines)


def _printable(text: str, longest: int = _LONGEST) -> str:
    escaped = escape_control_characters(text)
    return escaped if len(escaped) <= longest else escaped[: longest - 1] + "…"
