"""Merge the partial scores files of a run, or finished scores files of different films: ``cxrscore merge``."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxrscore.errors import InputError
from cxrscore.io import file_lock
from cxrscore.io.atomic import atomic_replace, cannot_write, make_folder
from cxrscore.io.outputs import OutputKind, check_output
from cxrscore.io.regular import is_hdf5
from cxrscore.io.strict_json import unicode_text
from cxrscore.labels.public_sets import merged_not_held_out
from cxrscore.option_values import check_word
from cxrscore.progress import Progress, no_progress
from cxrscore.remote import (
    PathOrUrl,
    RemotePath,
    as_local_path,
    check_writable,
    convert_paths,
    download,
    locations,
    remote_exists,
    rewrite_path_in_errors,
    upload,
)
from cxrscore.scorefile import read_file_provenance
from cxrscore.scorefile.join import (
    KEEPS,
    FinishedFile,
    Join,
    Keep,
    joined_blocks,
    joined_header,
    plan_join,
    read_finished,
)
from cxrscore.scorefile.manifest import fingerprint_of
from cxrscore.scorefile.merge import check_no_duplicates, check_parts_match, merged_blocks, merged_header
from cxrscore.scorefile.partial_file import PartialScoresFile, read_part
from cxrscore.scorefile.partition import describe_partition
from cxrscore.scorefile.virtual import part_files, read_virtual, write_virtual
from cxrscore.scorefile.writing import RowBlock, write_scores

SCORES = OutputKind(name="a scores file of cxrscore", recognises=is_hdf5)


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """Options of ``merge_scores``, named as those of ``cxrscore merge``.

    Parameters
    ----------
    partial_files
        Scores files of all partitions of a run, in any order; local paths or URLs. Files at URLs are downloaded.
    output
        Path or URL of the scores file.
    virtual
        The output refers to the partial files and contains no rows.
    overwrite
        Replace an output of another run. One of the same run is always replaced.
    keep
        For finished scores files: what becomes of a film that is in several of them. "error", or "last": the row of
        the file that was finished last stays.
    command
        Command line, for the provenance.
    """

    partial_files: tuple[PathOrUrl, ...]
    output: PathOrUrl
    virtual: bool = False
    overwrite: bool = False
    keep: Keep = "error"
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_word(self.keep, "keep", KEEPS)
        object.__setattr__(self, "partial_files", locations(self.partial_files, "partial_files"))
        convert_paths(self, anywhere=["output"])


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """Result of a merge. ``run`` is the fingerprint of the complete run, ``failed`` the number of its films without
    scores, ``dropped`` the number of rows of finished files that a later file has, too."""

    output: PathOrUrl
    merged_files: int
    films: int
    failed: int
    run: str
    virtual: bool
    seconds: float
    dropped: int = 0


def merge_scores(options: MergeOptions, progress: Progress = no_progress) -> MergeResult:
    """Merge the partial scores files of a run, or finished scores files of different films, into one scores file.

    The result equals the file of a single process, except for its provenance. Finished files must be of the same models
    and options; if several have numbers of patients, the result has none.

    Parameters
    ----------
    options
        The partial files, the output, and their settings.
    progress
        Called as progress(step, done, total).

    Returns
    -------
    MergeResult
        The output, and the numbers of merged files and films.

    Raises
    ------
    InputError
        Unless the partial files belong to one run, each partition exactly once, or the finished files are of the same
        models and options and, with keep "error", have no film in common.
    FileFormatError
        If a partial file is damaged.
    WriteError
        If the output cannot be written; an earlier output is then unchanged.
    """
    output = options.output
    if options.virtual and any(isinstance(where, RemotePath) for where in (*options.partial_files, output)):
        raise InputError("a virtual file needs partial files on the local disk; merge remote ones without --virtual")
    with ExitStack() as copies:
        parts = tuple(copies.enter_context(as_local_path(part)) for part in options.partial_files)
        if not isinstance(output, RemotePath):
            return _merged(parts, output, options, progress)
        folder = Path(copies.enter_context(tempfile.TemporaryDirectory(prefix="cxrscore-")))
        return _uploaded(parts, output, folder / "merged.h5", options, progress)


def _uploaded(
    parts: Sequence[Path], target: RemotePath, copy: Path, options: MergeOptions, progress: Progress
) -> MergeResult:
    """Merge into a local copy, and upload it. An existing output is checked like a file on disk."""
    check_writable(target)
    with rewrite_path_in_errors(copy, target):
        if remote_exists(target):
            download(target, copy)
        result = _merged(parts, copy, options, progress)
        progress("uploading", 0, 1)
        upload(copy, target)
        progress("uploading", 1, 1)
    return replace(result, output=target)


def _merged(paths: Sequence[Path], output: Path, options: MergeOptions, progress: Progress) -> MergeResult:
    started = time.monotonic()
    check_output(output, SCORES, inputs=paths, overwrite=options.overwrite)
    if _are_finished(paths):
        return _joined(paths, output, options, progress)
    if options.keep != "error":
        raise InputError("keep is for finished scores files: partial files of one run have no film in common")
    parts = _read(paths, progress)
    _check_same_run(output, parts[0].run, overwrite=options.overwrite)
    make_folder(output.parent)
    with file_lock(output.with_name(f"{output.name}.lock")), _replacing(output) as place:
        _write(place, output, options, parts, paths, progress)
    return MergeResult(
        output=output,
        merged_files=len(parts),
        films=sum(len(part.rows) for part in parts),
        failed=sum(part.failed for part in parts),
        run=parts[0].run,
        virtual=options.virtual,
        seconds=time.monotonic() - started,
    )


def _are_finished(paths: Sequence[Path]) -> bool:
    """Whether these are finished scores files; InputError for a file of another kind among them."""
    finished = [_is_finished(path) for path in paths]
    if True not in finished:
        return False  # what cannot be read is refused as a partial file, with better advice
    if None in finished:
        read_file_provenance(paths[finished.index(None)])  # raises why
    if False not in finished:
        return True
    whole, part = paths[finished.index(True)], paths[finished.index(False)]
    raise InputError(
        f"{whole} is a complete scores file, not a partial one like {part}. Merge the partial files of a run first, "
        "without complete ones."
    )


def _is_finished(path: Path) -> bool | None:
    """Whether it is a finished scores file, not a partial one; None if it cannot be read."""
    try:
        return "partition" not in read_file_provenance(path).inputs
    except InputError:
        return None


def _joined(paths: Sequence[Path], output: Path, options: MergeOptions, progress: Progress) -> MergeResult:
    started = time.monotonic()
    if options.virtual:
        raise InputError("a virtual file refers to partial files; join finished scores files without --virtual")
    check_no_duplicates(paths)
    files: list[FinishedFile] = []
    for done, path in enumerate(paths):
        progress("looking at files", done, len(paths))
        files.append(read_finished(path))
    join = plan_join(files, options.keep)
    run = fingerprint_of(join.inputs)
    _check_same_run(output, run, overwrite=options.overwrite)
    names = {copy: where.name for copy, where in zip(paths, options.partial_files, strict=True)}
    frame = joined_header(join, joined_provenance(join, options.command, names))
    total = len(join.row)

    def counted() -> Iterator[RowBlock]:
        for block in joined_blocks(join):
            yield block
            if rows := block.places.get("films/path"):
                progress("merging", rows.stop, total)

    make_folder(output.parent)
    with file_lock(output.with_name(f"{output.name}.lock")), _replacing(output) as place:
        write_scores(place, frame, counted())
    return MergeResult(
        output=output,
        merged_files=len(files),
        films=total,
        failed=sum(map(join.failed, range(len(files)))),
        run=run,
        virtual=False,
        seconds=time.monotonic() - started,
        dropped=join.dropped,
    )


def _read(paths: Sequence[Path], progress: Progress) -> list[PartialScoresFile]:
    """The partial files, in the order of their films."""
    check_no_duplicates(paths)
    parts: list[PartialScoresFile] = []
    for done, path in enumerate(paths):
        progress("looking at parts", done, len(paths))
        parts.append(_with_shared_documents(read_part(path), parts[0] if parts else None))
    progress("looking at parts", len(paths), len(paths))
    return check_parts_match(parts)


def _with_shared_documents(part: PartialScoresFile, first: PartialScoresFile | None) -> PartialScoresFile:
    """The part, sharing the first part's copy of the model provenance if both are equal: it is the longest text in a
    part, and there may be thousands of parts."""
    if first is None or part.provenance.get("models") != first.provenance.get("models"):
        return part
    return replace(part, provenance={**part.provenance, "models": first.provenance.get("models", [])})


def _check_same_run(output: Path, run: str, *, overwrite: bool) -> None:
    """InputError if the output belongs to another run and must not be replaced."""
    if overwrite or not output.exists():
        return
    there = read_virtual(output) or read_file_provenance(output)
    if there.fingerprint != run:
        raise InputError(f"{output} is of another run. Use --overwrite to replace it, or choose another -o.")


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Yield a path next to the output that becomes the output when the block ends without an error. The holder of the
    lock may reuse this path, so the next merge removes the remains of a killed one."""
    place = output.with_name(f".{output.name}.merging")
    try:
        place.unlink(missing_ok=True)  # a link of another program is not followed
        yield place
        atomic_replace(place, output)
    except OSError as error:
        raise cannot_write(output, error) from error
    finally:
        place.unlink(missing_ok=True)


def _write(
    place: Path,
    output: Path,
    options: MergeOptions,
    parts: Sequence[PartialScoresFile],
    paths: Sequence[Path],
    progress: Progress,
) -> None:
    names = {copy: where.name for copy, where in zip(paths, options.partial_files, strict=True)}
    frame = merged_header(parts, merged_provenance(parts, options.command, names))
    total = frame.lengths["film"]

    def counted() -> Iterator[Any]:
        for block in merged_blocks(parts):
            yield block
            if rows := block.places.get("films/path"):
                progress("merging", rows.stop, total)

    if options.virtual:
        write_virtual(place, frame, parts, part_files(output, parts), counted())
    else:
        write_scores(place, frame, counted())


def merged_provenance(
    parts: Sequence[PartialScoresFile], command: Sequence[str], names: Mapping[Path, str] | None = None
) -> dict[str, Any]:
    """Provenance: common values once; differing values as sums, and for each part.

    The models, TTA and settings are the same by the run's fingerprint. A part's own fields are as the schema says.

    names  of the parts, if their paths are those of copies
    """
    private = parts[0].inputs.get("anonymize_paths") is True
    return {
        **_merged_documents([part.provenance for part in parts], private, command),
        "partial_files": [
            _part_provenance(part, private, (names or {}).get(part.path, part.path.name)) for part in parts
        ],
        "warnings": _warnings(parts),
    }


def joined_provenance(join: Join, command: Sequence[str], names: Mapping[Path, str]) -> dict[str, Any]:
    """Provenance of joined files; ``names`` as for merged_provenance."""
    documents = [file.provenance for file in join.files]
    private, failed = join.files[0].private, [join.failed(number) for number in range(len(join.files))]
    own = _merged_documents(documents, private, command)
    counts = {"total": len(join.row), "scored": len(join.row) - sum(failed), "failed": sum(failed)}
    texts = dict.fromkeys(text for one in documents for text in one.get("warnings", ()))
    notes = ["Patients are unknown: their numbers in the joined files do not tell which of them are the same."]
    files = [
        _file_provenance(file.provenance, private, names[file.path], file.fingerprint, len(file.paths), bad)
        for file, bad in zip(join.files, failed, strict=True)
    ]
    return {
        **own,
        "films": {**own["films"], **counts},
        "partial_files": files,
        "warnings": [*texts, *notes[: int(join.hides_patients)]],
    }


def _merged_documents(documents: Sequence[Any], private: bool, command: Sequence[str]) -> dict[str, Any]:
    """Provenance of merged files but for what is said of each of them."""
    seconds = [one.get("seconds") or 0.0 for one in documents]
    films = sum(span * (one.get("films_per_second") or 0.0) for one, span in zip(documents, seconds, strict=True))
    public = merged_not_held_out(documents)
    return {
        **documents[0],
        **({"not_held_out": public} if public else {}),
        "created": max(one.get("created", "") for one in documents),
        "merged": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [] if private else list(map(unicode_text, command)),
        "seconds": round(sum(seconds), 3),
        "films_per_second": round(films / max(sum(seconds), 1e-9), 3),
        "machine": None,
        "backend": _backend(documents),
        "films": _films(documents),
        "labels": _labels(documents),
        "partition": None,
    }


def _backend(documents: Sequence[Any]) -> dict[str, Any]:
    """The value of the first part, with the largest difference from the reference logits in any part."""
    met = [one.get("backend", {}).get("golden_difference") for one in documents]
    return {
        **documents[0].get("backend", {}),
        "golden_difference": max((d for d in met if d is not None), default=None),
    }


def _films(documents: Sequence[Any]) -> dict[str, Any]:
    """Sums; the other files are those of the complete folder in each part, so those of one part are used: the one that
    found most."""
    films = [one.get("films", {}) for one in documents]
    sums = {key: sum(one.get(key, 0) for one in films) for key in ("total", "scored", "failed")}
    folders = dict.fromkeys(one.get("folder", "") for one in films)
    most = max(films, key=lambda one: one.get("other_files", 0))
    by_kind = {key: most[key] for key in ("other_files_by_kind",) if key in most}
    return {"folder": ", ".join(folders), **sums, "other_files": most.get("other_files", 0), **by_kind}


def _labels(documents: Sequence[Any]) -> dict[str, Any] | None:
    labels = [one.get("labels") or {} for one in documents]
    return {**labels[0], "labelled_films": sum(one.get("labelled_films", 0) for one in labels)} if labels[0] else None


def _part_provenance(part: PartialScoresFile, private: bool, name: str) -> dict[str, Any]:
    own = _file_provenance(part.provenance, private, name, part.fingerprint, len(part.rows), part.failed)
    return {**own, "partition": str(part.partition)}


def _file_provenance(
    own: Mapping[str, Any], private: bool, name: str, fingerprint: str, films: int, failed: int
) -> dict[str, Any]:
    keys = ("created", "seconds", "films_per_second", "machine", "command")
    return {
        "file": "" if private else unicode_text(name),
        "fingerprint": fingerprint,
        "films": films,
        "failed": failed,
        **{key: own[key] for key in keys if key in own},
    }


def _warnings(parts: Sequence[PartialScoresFile]) -> list[str]:
    """The warnings of all parts, each once, without those that apply to a part only."""
    own = {describe_partition(part.partition, part.rows, part.inputs["films"]) for part in parts}
    texts = dict.fromkeys(text for part in parts for text in part.provenance.get("warnings", ()))
    return [text for text in texts if text not in own]
