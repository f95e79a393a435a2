"""The state of a run after an epoch, on disk: all that is needed to resume with identical results.

    model.run/best-000007.safetensors     the trained tensors after the best epoch
    model.run/checkpoint.safetensors      the trained tensors, the optimiser state and the history after the last epoch

Both are written atomically, the first before the second refers to it. The second holds the SHA-256 of the content of
both, which detects damage. Order and augmentation are drawn from the seed and the number of the epoch, so no random
state is saved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy

from cxrscore.contract import Array, TrainableModel
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io import atomic_write_bytes, make_folder
from cxrscore.io.strict_json import parse_json
from cxrscore.models.model_file import checksum

Row = dict[str, float]
"""An epoch: its number, rate, losses, macro AUC, accuracies and seconds; NaN where undefined."""

_KEY = "cxrscore-checkpoint"
_CHECKSUM = "cxrscore-sha256"
_STATE = "state:"
_OF_OTHER_CONTENT = (TypeError, AttributeError, OverflowError, RecursionError)
"""Exceptions that a malformed document may raise."""


@dataclass(kw_only=True)
class TrainingState:
    """The progress of a run.

    history     one row for each epoch
    best_epoch  from 1, 0 before the first
    best        the trained tensors at the best epoch, by backend-neutral name
    valid_auc   validation AUC of each finding at the best epoch; last_auc: after the last epoch
    """

    history: list[Row]
    best_epoch: int
    best: dict[str, Array]
    valid_auc: list[float]
    last_auc: list[float]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The training state, and the learner at its last epoch: its tensors and its optimiser."""

    training_state: TrainingState
    tensors: dict[str, Array]
    state: dict[str, Array]


def save_checkpoint(
    folder: Path, learner: TrainableModel, training_state: TrainingState, inputs: Mapping[str, Any]
) -> None:
    """Writes the state after the last epoch; WriteError if it cannot be written.

    inputs  JSON-ready, the inputs that must be equal in a run that resumes this one
    """
    make_folder(folder)
    best = _best_file(folder, training_state.best_epoch)
    if training_state.best_epoch == len(training_state.history):
        atomic_write_bytes(best, safetensors.numpy.save(training_state.best))
    state = {f"{_STATE}{name}": value for name, value in learner.state().items()}
    document = {
        "inputs": inputs,
        "history": [_no_nan(row) for row in training_state.history],
        "best_epoch": training_state.best_epoch,
        "best_sha256": checksum("", training_state.best),
        "valid_auc": [None if value != value else value for value in training_state.valid_auc],
        "last_auc": [None if value != value else value for value in training_state.last_auc],
    }
    text, tensors = json.dumps(document, allow_nan=False), {**learner.tensors(), **state}
    metadata = {_KEY: text, _CHECKSUM: checksum(text, tensors)}
    atomic_write_bytes(_file(folder), safetensors.numpy.save(tensors, metadata=metadata))
    for other in folder.glob("best-*.safetensors"):
        if other != best:
            other.unlink(missing_ok=True)


def load_checkpoint(folder: Path, inputs: Mapping[str, Any]) -> Checkpoint | None:
    """The last epoch of an earlier run with the same inputs, or None.

    InputError, naming the differences, if the checkpoint is of another run; FileFormatError if it is damaged.
    """
    path = _file(folder)
    if not path.is_file():
        return None
    try:
        document, found = _read_metadata(path)
        _check_same(path, document["inputs"], inputs)
        best = safetensors.numpy.load_file(_best_file(folder, document["best_epoch"]))
        _check_digest(_best_file(folder, document["best_epoch"]), document["best_sha256"], checksum("", best))
        training_state = TrainingState(
            history=[{name: _number(value) for name, value in row.items()} for row in document["history"]],
            best_epoch=int(document["best_epoch"]),
            best=best,
            valid_auc=[_number(value) for value in document["valid_auc"]],
            last_auc=[_number(value) for value in document["last_auc"]],
        )
    except (safetensors.SafetensorError, OSError, ValueError, LookupError, *_OF_OTHER_CONTENT) as error:
        raise FileFormatError(f"{path} cannot be read: {error}. Train without --resume to start over.") from error
    return Checkpoint(
        training_state=training_state,
        tensors={name: value for name, value in found.items() if not name.startswith(_STATE)},
        state={name.removeprefix(_STATE): value for name, value in found.items() if name.startswith(_STATE)},
    )


def remove_checkpoint(folder: Path) -> None:
    """Removes the checkpoints of an earlier run before a fresh start."""
    for path in [_file(folder), *folder.glob("best-*.safetensors")]:
        path.unlink(missing_ok=True)


def _read_metadata(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The metadata and the tensors of a checkpoint."""
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
    found = safetensors.numpy.load_file(path)
    _check_digest(path, metadata[_CHECKSUM], checksum(metadata[_KEY], found))
    document: dict[str, Any] = parse_json(metadata[_KEY])
    return document, found


def _check_digest(path: Path, wanted: str, found: str) -> None:
    if found != wanted:
        raise ValueError(f"{path.name} was changed after it was written, as its checksum shows")


def _check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    differ = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    if differ:
        words = "; ".join(f"{name}: {_brief(old.get(name))} -> {_brief(new.get(name))}" for name in differ[:5])
        raise InputError(f"{path} is of another run ({words}). Train without --resume to start over.")


def _brief(value: Any) -> Any:
    """A value for display; a digest is shortened to its first digits."""
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else value


def _no_nan(row: Row) -> dict[str, float | None]:
    return {name: None if value != value else value for name, value in row.items()}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _file(folder: Path) -> Path:
    return folder / "checkpoint.safetensors"


def _best_file(folder: Path, epoch: int) -> Path:
    return folder / f"best-{int(epoch):06d}.safetensors"
