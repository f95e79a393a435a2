"""Remote scores files: scored into a local file, then uploaded in one step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cxrscore.errors import InputError, WriteError
from cxrscore.io import atomic_write_bytes, file_lock, make_folder, sha256_bytes
from cxrscore.io.entries import cache_folder
from cxrscore.progress import Progress
from cxrscore.remote import (
    RemotePath,
    check_writable,
    download,
    location_text,
    remote_exists,
    rewrite_path_in_errors,
    upload,
)
from cxrscore.scoring.options import ScoreOptions, ScoreResult

OUTPUT = "scores.h5"
"""Name of the local file: constant, because the name in a URL is never used as a path."""

Score = Callable[[ScoreOptions, Progress], ScoreResult]


def score_to_remote(options: ScoreOptions, target: RemotePath, score: Score, progress: Progress) -> ScoreResult:
    """Scores with ``score`` into a local folder, and uploads the file as ``target``.

    An existing target is treated like an existing local file: refused, or returned as the finished result. After an
    interruption or a failed upload, rerun the same command on the same machine with the same --temp-dir to resume.
    """
    check_writable(target)
    folder = upload_folder(options, target)
    with file_lock(folder.with_suffix(".lock")):
        try:
            result = _scored(options, target, folder, score, progress)
            shutil.rmtree(folder)
        finally:
            with suppress(OSError):  # an unfinished run stays
                folder.rmdir()
    return replace(result, output=target)


def upload_folder(options: ScoreOptions, target: RemotePath) -> Path:
    """The local folder for this target, created with access for its owner only. WriteError if that fails."""
    folder = (options.temp_dir or cache_folder() / "uploads") / sha256_bytes(str(target).encode())[:16]
    make_folder(folder)
    return folder


def _scored(options: ScoreOptions, target: RemotePath, folder: Path, score: Score, progress: Progress) -> ScoreResult:
    agreed = folder / "replaces"  # marks consent to replace the target; a file, so it survives an interruption
    if options.overwrite:
        atomic_write_bytes(agreed, _run_of(options))
    elif agreed.exists() and agreed.read_bytes() != _run_of(options):
        agreed.unlink()  # the consent was for another run
    local = folder / OUTPUT
    if not agreed.exists() and (there := _finished_at_target(options, target, folder, score, progress)):
        return there
    with rewrite_path_in_errors(local, target):
        result = _score_locally(replace(options, output=local), score, progress)
    if not agreed.exists() and (there := _finished_at_target(options, target, folder, score, progress)):
        return there  # another machine was faster
    try:
        progress("uploading", 0, 1)
        upload(local, target)
        progress("uploading", 1, 1)
    except WriteError as error:
        raise WriteError(f"{error} The scores are saved locally: rerun the same command to upload them.") from None
    return result


def _run_of(options: ScoreOptions) -> bytes:
    """Digest of the names in a command, which identifies it in a rerun. File contents are compared later."""
    names = (
        "tta",
        "seed",
        "precision",
        "batch_size",
        "heatmaps",
        "explainer",
        "cam_layer",
        "any_modality",
        "anonymize_paths",
        "partition",
    )
    named = [location_text(options.films), [str(path.absolute()) for path in options.models]]
    return sha256_bytes(
        repr([*named, *(getattr(options, name) for name in names), str(options.partition)]).encode()
    ).encode()


def _finished_at_target(
    options: ScoreOptions, target: RemotePath, folder: Path, score: Score, progress: Progress
) -> ScoreResult | None:
    """The result of a run whose target exists already, or None; InputError if the target is of another run."""
    if not remote_exists(target):
        return None
    copy = folder / "found-at-target.h5"
    try:
        download(target, copy)
        with rewrite_path_in_errors(copy, target):
            result = score(replace(options, output=copy, overwrite=False), progress)
        if result.labels_joined:
            upload(copy, target)
        return result
    finally:
        copy.unlink(missing_ok=True)


def _score_locally(options: ScoreOptions, score: Score, progress: Progress) -> ScoreResult:
    if options.file.exists():  # finished, but not uploaded
        try:
            return score(replace(options, overwrite=False), progress)
        except InputError:  # of another run
            if not options.overwrite:
                raise
    return score(options, progress)
