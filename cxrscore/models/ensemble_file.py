"""An ensemble file: the names and digests of model files beside it, and the calibration of the mean of their scores.

It is a safetensors file without tensors, so that it can be named wherever a model file is named to score films. The
metadata holds one JSON document and its checksum, under the keys of a model file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrscore.errors import FileFormatError, InputError
from cxrscore.io import atomic_write_bytes, sha256_bytes, sha256_file
from cxrscore.io.outputs import OutputKind
from cxrscore.io.strict_json import check_document
from cxrscore.models.model_file import (
    ENSEMBLE_FORMAT,
    KEY,
    EnsembleFile,
    ModelFile,
    check_calibration_lengths,
    check_format,
    check_unchanged,
    check_with_films,
    load_model,
    model_bytes,
    model_output,
    parse_document,
    read_bytes,
    read_metadata,
)
from cxrscore.remote import StrPath, local_path

VERSION = 1
MOST_MEMBERS = 100
"""Most members of an ensemble, as its schema says."""
_MOST_BYTES = 128 << 20
"""Bytes; safetensors reads no longer header."""
_HEAD = 100
"""Characters at the beginning of a document, where its format stands."""
_OF_A_MODEL = ("calibration", "thresholds", "evaluation", "training.split", "training.labels")
"""Fields that have the form of those of a model file."""


def save_ensemble(path: Path, document: Mapping[str, Any]) -> str:
    """Writes an ensemble file atomically, after its members; returns the SHA-256 of its bytes, hex.

    document  without "format" and "version"; FileFormatError if it does not follow schemas/ensemble.schema.json
    """
    whole = {"format": ENSEMBLE_FORMAT, "version": VERSION, **document}
    _check(path, whole)
    data = model_bytes(json.dumps(whole, allow_nan=False), {})
    atomic_write_bytes(path, data)
    return sha256_bytes(data)


def member_record(path: Path, architecture: str) -> dict[str, str]:
    """A model file that was written as the document of its ensemble names it."""
    return {"file": path.name, "sha256": sha256_file(path), "architecture": architecture}


def ensemble_output() -> OutputKind:
    """What ``cxrscore train`` writes: model files and ensemble files."""
    model = model_output("train")

    def recognises(path: Path) -> bool:
        return is_ensemble(path) or model.recognises(path)

    return OutputKind(name=model.name, recognises=recognises)


def is_ensemble(path: Path) -> bool:
    """Whether the file claims to be an ensemble file; False if it cannot be read."""
    try:
        return f'"{ENSEMBLE_FORMAT}"' in read_metadata(path).get(KEY, "")[:_HEAD]
    except InputError:
        return False


def load_scorers(path: StrPath) -> tuple[ModelFile, ...]:
    """The model files that score as one: the named file, or the members of an ensemble file, which have their
    ensemble in ``member_of``.

    Errors as load_model; InputError also if a member is missing or is another file than the one that was trained.
    """
    path = local_path(path, "path")
    if not is_ensemble(path):
        return (load_model(path),)
    ensemble = load_ensemble(path)
    return tuple(replace(load_member(ensemble, member), member_of=ensemble) for member in ensemble.document["members"])


def with_members(path: Path) -> list[Path]:
    """A named file, and the members beside it if it is an ensemble file: all that is read to score with it."""
    if not is_ensemble(path):
        return [path]
    return [path, *(path.parent / member["file"] for member in load_ensemble(path).document["members"])]


def load_ensemble(path: Path) -> EnsembleFile:
    """The ensemble file alone, without its members. Errors as load_model."""
    data = read_bytes(path, _MOST_BYTES)
    metadata = read_metadata(path)
    text = metadata.get(KEY, "")
    document = parse_document(path, text)
    check_format(path, document, ENSEMBLE_FORMAT, VERSION)
    _check(path, document)
    check_unchanged(path, metadata, {})
    return EnsembleFile(path=path, document=document, sha256=sha256_bytes(data))


def load_member(ensemble: EnsembleFile, named: Mapping[str, str]) -> ModelFile:
    """A member, which lies beside its ensemble file; InputError unless it is the file that was trained with it."""
    path, expected = ensemble.path.parent / named["file"], named["sha256"]
    if not path.is_file():
        raise InputError(
            f"there is no model at {path}, which {ensemble.path} names as a member (SHA-256 {expected}). Copy it into "
            f"the folder of {ensemble.path.name}, or train again."
        )
    member = load_model(path)
    if member.sha256 != expected:
        raise InputError(
            f"{path} is not the member of {ensemble.path}: its SHA-256 is {member.sha256}, expected {expected}. Copy "
            "the files of one training run into the folder, or train again."
        )
    findings = tuple(ensemble.document["findings"])
    if member.spec.findings != findings:
        raise FileFormatError(f"{path} has other findings than {ensemble.path}, of which it is a member")
    return member


def _check(path: Path, document: Mapping[str, Any]) -> None:
    """FileFormatError unless the document follows its schema, and that of models where they agree."""
    check_with_films(path, document, "ensemble")
    for field in _OF_A_MODEL:
        keys = field.split(".")
        value: Any = document
        for key in keys:
            value = value[key]
        check_document(value, "model", f"{path}: {field}", *keys)
    quantiles = {"loss": None, "macro_auc": None, "auc": {}, **document["validation"]}
    check_document(quantiles, "model", f"{path}: validation", "validation")
    _check_values(path, document)


def _check_values(path: Path, document: Mapping[str, Any]) -> None:
    """What no schema says: different members, and one value a finding."""
    names = [member["file"].casefold() for member in document["members"]]  # a disk may ignore case
    if len(set(names)) < len(names) or path.name.casefold() in names:
        raise FileFormatError(f"{path}: members: expected different files, none of them this one")
    check_calibration_lengths(path, document["calibration"], len(document["findings"]))
