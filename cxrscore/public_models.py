"""Public classifiers by name: the model file of a name, made once from the published weights and kept in the cache."""

from __future__ import annotations

import os
import secrets
from dataclasses import fields
from pathlib import Path
from typing import Any

import cxrscore
from cxrscore import import_checkpoint
from cxrscore.errors import FileFormatError, InputError
from cxrscore.import_checkpoint import ImportOptions, ImportResult
from cxrscore.io import make_folder, sha256_bytes
from cxrscore.io.atomic import atomic_replace
from cxrscore.io.entries import cache_folder
from cxrscore.models.model_file import load_model
from cxrscore.models.public_weights import FetchedWeights, PublicWeights, fetch_weights, public_weights
from cxrscore.progress import Log, Progress, no_log, no_progress
from cxrscore.remote import StrPath, local_path


def model_path(given: StrPath, say: Log = no_log, progress: Progress = no_progress, *, name: str = "model") -> Path:
    """The model file that an argument names: the one place where a name becomes a file.

    Parameters
    ----------
    given
        A path, or the name of a public classifier, whose weights are then downloaded and converted if they are not in
        the cache. Only a text can be a name, and a file of that name in the current folder comes first.
    say
        Called with size, licence and source before a download, and before a conversion.
    progress
        Called as progress(step, done, total) during a download.
    name
        Name of the argument, for errors.

    Raises
    ------
    InputError
        If the name is that of a backbone without findings, or as fetch_weights and import_model.
    """
    entry = public_weights(given)
    return local_path(given, name) if entry is None else _model_of(entry, say, progress)


def import_weights(file: StrPath, say: Log = no_log, progress: Progress = no_progress, **options: Any) -> ImportResult:
    """Import a checkpoint, or public weights by name, as a model file.

    Parameters
    ----------
    file
        A path, or the name of a public classifier.
    say, progress
        As in model_path.
    **options
        The other fields of ImportOptions. Of public weights, those with their default values are as known of the
        weights.

    Raises
    ------
    InputError
        As model_path.
    """
    entry = public_weights(file)
    if entry is None:
        return import_checkpoint.import_model(ImportOptions(file=local_path(file, "file"), **options))
    _require_findings(entry)
    return _imported(fetch_weights(entry, say, progress), **options)


def _require_findings(entry: PublicWeights) -> None:
    if not entry.outputs:
        raise InputError(
            f"{entry.name} is a backbone without findings, so it scores nothing. Train a head: "
            f"`cxrscore train --weights {entry.name}`"
        )


def _model_of(entry: PublicWeights, say: Log, progress: Progress) -> Path:
    _require_findings(entry)
    fetched = fetch_weights(entry, say, progress)
    target = _converted(fetched)
    if _is_model(target):
        return target
    make_folder(target.parent)
    say(f"converting {entry.name} to a model file, once")
    part = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part")
    try:
        _imported(fetched, output=part)
        _keep_first(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _converted(fetched: FetchedWeights) -> Path:
    """Where the model file of these weights is kept: one for each file, for each version of cxrscore and of what it
    knows of the weights. Its name is that of the weights, so scores files and reports show it."""
    key = sha256_bytes(f"{fetched.sha256} {cxrscore.__version__} {fetched.entry}".encode())[:16]
    return cache_folder() / "models" / key / f"{fetched.entry.name}.safetensors"


def _is_model(path: Path) -> bool:
    """Whether a whole model file is there: a damaged one is made anew, because it has no other source."""
    try:
        load_model(path)
    except InputError:
        return False
    return True


def _keep_first(part: Path, target: Path) -> None:
    """Gives a model file its name. If another process was faster, its file stays: runs on several machines that share
    the cache must all use the same bytes."""
    if not _is_model(target):
        try:
            os.link(part, target)
        except OSError:  # a damaged file is there, or the file system has no links
            if not _is_model(target):
                atomic_replace(part, target)


def _imported(fetched: FetchedWeights, **options: Any) -> ImportResult:
    entry = fetched.entry
    known: dict[str, Any] = {
        "findings": entry.outputs,
        "size": entry.size,
        "normalize": entry.normalize,
        "licence": entry.licence,
        "trained_on": entry.trained_on,
        "name": entry.name,
    }
    defaults = {field.name: field.default for field in fields(ImportOptions)}
    given = {name: value for name, value in options.items() if value != defaults[name]}
    result = import_checkpoint.import_model(ImportOptions(file=fetched.path, **{**known, **given}))
    if result.architecture != entry.architecture:
        result.output.unlink(missing_ok=True)
        raise FileFormatError(f"{fetched.path} holds {result.architecture}, expected {entry.architecture}: not used")
    return result
