"""Access to the provenance of a scores file, in which any key may be missing or of another type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxrscore.images import OtherFiles

MOST_PLOTTED = 16
"""Maximum number of models whose training the page shows."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of the training history; NaN for missing values.

    loss is the mean over the epoch's films, as the recipe's loss defines it; monitored is the measure that
    ``Training.monitor`` names.
    """

    number: int
    train_loss: float
    valid_loss: float
    monitored: float


@dataclass(frozen=True, kw_only=True)
class Training:
    """The training of a model, as recorded in its file.

    monitor     name of the metric that selects the best epoch, "" if unknown
    best_epoch  number of the selected epoch, None if unknown or if there is none
    has_leakage  True if films or patients were in more than one split
    model       name of the model's file, "" if unknown
    last        True if the last epoch was selected, not the best
    """

    epochs: tuple[Epoch, ...]
    monitor: str
    best_epoch: int | None
    has_leakage: bool
    model: str = ""
    last: bool = False

    @property
    def chosen_words(self) -> str:
        """The selected epoch and the reason: "the best by validation macro AUC was epoch 7"; "" if unknown."""
        if self.best_epoch is None:
            return ""
        by = f" by {self.monitor_words}" if self.monitor else ""
        return (
            f"the last epoch, {self.best_epoch}, was used" if self.last else f"the best{by} was epoch {self.best_epoch}"
        )

    @property
    def monitor_words(self) -> str:
        """The monitored measure as text: "validation macro AUC"."""
        spelt = {"valid": "validation", "train": "training", "auc": "AUC"}
        return " ".join(spelt.get(word, word) for word in self.monitor.split("_"))


def get_nested(tree: Any, *keys: str) -> Any:
    """The value below these nested keys; None if there is none."""
    for key in keys:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def get_text(tree: Any, *keys: str) -> str:
    """The value below these keys as text: "" if there is none, lists joined by spaces."""
    value = get_nested(tree, *keys)
    if value is None or isinstance(value, Mapping):
        return ""
    return " ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)


def get_number(tree: Any, *keys: str) -> float:
    """The number below these keys; NaN if there is none, or if it is too large for a float."""
    value = get_nested(tree, *keys)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def get_texts(tree: Any, *keys: str) -> tuple[str, ...]:
    """The list of words below these keys; empty if there is none."""
    value = get_nested(tree, *keys)
    return tuple(str(part) for part in value) if isinstance(value, list | tuple) else ()


def join_words(*words: str) -> str:
    """The words that are not empty, separated by commas."""
    return ", ".join(filter(None, words))


def after(before: str, words: str, behind: str = "") -> str:
    """Text with a prefix and a suffix; "" if the text is empty."""
    return f"{before}{words}{behind}" if words else ""


def format_pairs(tree: Any, leave_out: str = "") -> str:
    """A mapping as "key value, key value"."""
    if not isinstance(tree, Mapping):
        return ""
    return ", ".join(f"{key} {value}" for key, value in tree.items() if key != leave_out and value is not None)


def provenance_models(provenance: Mapping[str, Any]) -> tuple[Any, ...]:
    """The record of each model; more than one if scores are means over models."""
    found = get_nested(provenance, "models")
    return tuple(found) if isinstance(found, list | tuple) else ()


def scoring_document(provenance: Mapping[str, Any]) -> Any:
    """The document that says what the scores are: that of the only model, or of the ensemble file; None for other
    means over models."""
    if (ensemble := get_nested(provenance, "ensemble", "document")) is not None:
        return ensemble
    models = provenance_models(provenance)
    return get_nested(models[0], "document") if len(models) == 1 else None


def describe_mean(provenance: Mapping[str, Any]) -> str:
    """Description of averaging; "" for scores of one model without TTA."""
    many, copies = len(provenance_models(provenance)), get_number(provenance, "tta", "copies")
    over = [f"{many} models"] * (many > 1) + [f"{copies:.0f} augmented copies of each film"] * (copies > 1)
    calibrated = ", with the calibration of the ensemble" * bool(get_nested(provenance, "ensemble"))
    return f"mean over {' and '.join(over)}{calibrated}" if over else ""


def other_files(provenance: Mapping[str, Any]) -> OtherFiles:
    """The files of the folder that are no films, by kind; none in files of earlier versions, which have no kinds."""
    return OtherFiles.from_record(get_nested(provenance, "films", "other_files_by_kind"))


def describe_other_files(provenance: Mapping[str, Any]) -> str:
    """The number of files that are no films, and which they are as far as it is recorded; "" if it is not recorded."""
    return other_files(provenance).sentence() or get_text(provenance, "films", "other_files")


def has_leakage(provenance: Mapping[str, Any]) -> bool:
    """Whether films or patients were in more than one split of any model."""
    return any(one.has_leakage for one in read_trainings(provenance))


def read_trainings(provenance: Mapping[str, Any]) -> tuple[Training, ...]:
    """The training metadata of each model."""
    return tuple(read_training(one) for one in provenance_models(provenance))


def read_own_training(model: Any) -> Any:
    """The training metadata of a model; None for an imported model, whose values are all empty or 0."""
    training = get_nested(model, "document", "training")
    return None if get_nested(training, "imported") is not None else training


def knows_training_films(provenance: Mapping[str, Any]) -> bool:
    """Whether the training films are known: there is a model, and cxrscore trained every model."""
    found = provenance_models(provenance)
    return bool(found) and all(math.isfinite(get_number(read_own_training(one), "split", "train")) for one in found)


def films_not_held_out(provenance: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The records of films of public data sets that the models were trained on."""
    found = get_nested(provenance, "not_held_out")
    return tuple(one for one in found if isinstance(one, Mapping)) if isinstance(found, list | tuple) else ()


def threshold_source(provenance: Mapping[str, Any]) -> str:
    """The films on which the thresholds were chosen: "valid", "folds", "imported", or "" if unknown."""
    ensemble = get_nested(provenance, "ensemble")
    used = provenance_models(provenance) if ensemble is None else (ensemble,)
    points = [get_nested(one, "document", "thresholds") for one in used]
    found = {get_text(point, "chosen_on") for one in points if isinstance(one, Mapping) for point in one.values()}
    return found.pop() if len(found) == 1 and found <= {"valid", "folds", "imported"} else ""


def read_training(model: Any) -> Training:
    """Training of a model from its metadata."""
    training = get_nested(model, "document", "training")
    monitor = get_text(training, "monitor")
    best = get_number(training, "best_epoch")
    history = get_nested(training, "history")
    return Training(
        epochs=tuple(_epoch(line, monitor) for line in history if math.isfinite(get_number(line, "epoch")))
        if isinstance(history, list | tuple)
        else (),
        monitor=monitor,
        best_epoch=int(best) if math.isfinite(best) and best >= 1 else None,
        has_leakage=get_nested(training, "has_leakage") is True,
        model=get_text(model, "file"),
        last=get_text(training, "recipe", "checkpoint_policy") == "last",
    )


def _epoch(line: Any, monitor: str) -> Epoch:
    return Epoch(
        number=int(get_number(line, "epoch")),
        train_loss=get_number(line, "train_loss"),
        valid_loss=get_number(line, "valid_loss"),
        monitored=get_number(line, monitor),
    )
