"""A run on disk: OUT.parts/ during the run, OUT at the end. Any process that can reach the folder may write shards.

out.h5.parts/manifest.jsonl    the definition of the run, which never changes
out.h5.parts/s00000000.h5 ...  its shards; a shard is done if its file exists with the fingerprint of the run
out.h5                         all shards, merged; then the folder is removed

Each file is written atomically, so a run may be interrupted at any time and resumed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.errors import FileFormatError, InputError, OtherRunError, WriteError
from cxrscore.io import atomic_write_bytes, file_lock, make_folder, sha256_file
from cxrscore.io.atomic import atomic_replace, cannot_write, sync
from cxrscore.scorefile.checks import check_fit, check_ranges
from cxrscore.scorefile.columns import encode_texts
from cxrscore.scorefile.data import Thumbnails
from cxrscore.scorefile.layout import LAYOUT, PATHS, SHARD_LAYOUT
from cxrscore.scorefile.manifest import Manifest, differences, precision_hint, read_head, read_paths, write_manifest
from cxrscore.scorefile.merge import CompletedShard, merge_shards
from cxrscore.scorefile.reading import FileProvenance, read_file_provenance
from cxrscore.scorefile.shards import Shard, read_shard, read_shard_header, read_values, shard_bytes

_OWN = re.compile(
    r"manifest\.jsonl|s\d{8}\.h5|merged-[0-9a-f]{8}\.h5|\.(manifest\.jsonl|s\d{8}\.h5)\.[0-9a-f]{8}\.part"
)
"""Names in the folder of a run."""
_PARTS = ".parts"
_DISCARDED = ".parts.done"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that open_run has opened: score the missing shards in any order, then merge."""

    output: Path
    manifest: Manifest

    @property
    def shards(self) -> tuple[range, ...]:
        """The rows of each shard."""
        return self.manifest.shards

    @property
    def complete(self) -> bool:
        """Whether the output of exactly this run exists."""
        return not _manifest_file(self.output).exists() and self.manifest.matches(_inputs_of(self.output))

    @property
    def pending(self) -> tuple[int, ...]:
        """The missing shards."""
        return tuple(shard for shard in range(len(self.shards)) if not self.done(shard))

    def done(self, shard: int) -> bool:
        """Whether this shard is done."""
        return self._read_header(shard) is not None or self.complete

    def write(self, shard: int, content: Shard) -> None:
        """Stores a shard atomically. InputError if it does not fit the run, WriteError if it cannot be written.

        Two workers may write the same shard: the content is the same.
        """
        rows = self.shards[shard]
        data = shard_bytes(content, self.manifest.fingerprint, rows, len(self.manifest.findings))
        try:
            with _explain_resume(self.output):
                atomic_write_bytes(self._path(shard), data)
        except WriteError:
            if not self.complete:  # otherwise another worker finished the run and removed the folder
                raise

    def discard(self, shard: int) -> None:
        """Removes a shard, so that it is scored again; WriteError if it cannot be removed."""
        with _writing(self.output):
            self._path(shard).unlink(missing_ok=True)
            sync(_parts(self.output))

    def digest(self, shard: int) -> str:
        """SHA-256 of the file of a shard; "" if there is none, because it is missing or merged already."""
        try:
            return sha256_file(self._path(shard))
        except FileNotFoundError:
            return ""

    def read_columns(self, shard: int, *paths: str) -> dict[str, Array]:
        """Selected columns of a completed shard, by path; errors as read."""
        layout = [column for column in SHARD_LAYOUT if column.path in paths]
        return read_values(self._path(shard), self.manifest.fingerprint, self.shards[shard], layout)

    def read(self, shard: int) -> Shard:
        """A completed shard of a run that is not merged; InputError if it is missing, FileFormatError if damaged."""
        return read_shard(self._path(shard), self.manifest.fingerprint, self.shards[shard])

    def merge(
        self,
        *,
        split: NDArray[np.uint8],
        patient: NDArray[np.int32],
        truth: Floats,
        thresholds: Floats,
        thumbnails: Thumbnails,
        provenance: Mapping[str, Any],
        names: Sequence[str] | None = None,
    ) -> Path:
        """Merges all shards into the output, replaces a file of that name, and removes the folder; returns the path.

        split, patient   for each film, [N], as in FilmRows
        truth            float32 [N,C], NaN if unknown
        thresholds       float32 [C], NaN if undefined
        provenance       JSON-ready
        names            N texts that replace the paths of the films; None: the paths

        InputError if shards are missing, values do not fit, or another process is merging; WriteError if the output
        cannot be written: then an older output is unchanged, and the run can be resumed.
        """
        own: dict[str, Array] = {
            "films/split": split,
            "films/patient": patient,
            "labels": encode_texts(self.manifest.findings),
            "truth": truth,
            "thresholds": thresholds,
            "thumbnails/film": thumbnails.film,
            "thumbnails/pixels": thumbnails.pixels,
        }
        self._check(own)
        films = self.manifest.paths if names is None else names
        if len(films) != len(self.manifest.paths):
            raise InputError(f"the merge of {self.output} has {len(films)} names of {len(self.manifest.paths)} films")
        with file_lock(_lock_file(self.output)):
            if not self.complete:
                self._merge(films, own, provenance)
                _drop(self.output)
        return self.output

    def _merge(self, films: Sequence[str], own: Mapping[str, Array], provenance: Mapping[str, Any]) -> None:
        """In the run folder, so that a killed merge leaves no file beside the output."""
        merged = _parts(self.output) / f"merged-{secrets.token_hex(4)}.h5"
        try:
            with _explain_resume(self.output), _writing(self.output):
                merge_shards(merged, self.manifest, self._all_done(), films, own, provenance)
            with _explain_resume(self.output):
                atomic_replace(merged, self.output)
        finally:
            merged.unlink(missing_ok=True)

    def _path(self, shard: int) -> Path:
        return _parts(self.output) / f"s{shard:08d}.h5"

    def _read_header(self, shard: int) -> CompletedShard | None:
        rows = self.shards[shard]
        head = read_shard_header(self._path(shard), self.manifest.fingerprint, rows)
        return None if head is None else CompletedShard(path=self._path(shard), rows=rows, head=head)

    def _all_done(self) -> list[CompletedShard]:
        found = [self._read_header(shard) for shard in range(len(self.shards))]
        done = [shard for shard in found if shard is not None]
        if len(done) < len(found):
            raise InputError(
                f"{len(found) - len(done)} of {len(found)} shards of {self.output} are not done, the first is number "
                f"{found.index(None)}. Score them, then merge."
            )
        return done

    def _check(self, own: Mapping[str, Array]) -> None:
        lengths = {"film": len(self.manifest.paths), "finding": len(self.manifest.findings)}
        lengths["thumbnail"] = len(own["thumbnails/film"])
        what = f"the data to merge into {self.output}"
        check_fit(what, own, [column for column in LAYOUT if not column.in_shard and column.path != PATHS], lengths)
        check_ranges(what, own, range(lengths["film"]), lengths["finding"])


def open_run(
    output: Path,
    paths: Sequence[str],
    findings: Sequence[str],
    fingerprint: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Run:
    """Starts a run, or resumes an interrupted one.

    paths        sorted POSIX paths of the films, below the films folder
    fingerprint  the other inputs of the scores, JSON-ready: SHA-256 of the models, backend, ...
    overwrite    discards shards of an earlier run, and allows the merge to replace an output of another run. A run
                 that was started with it resumes with or without it.

    InputError if the output or its run folder are of a run with other inputs, naming the differences; WriteError if
    the folder cannot be written.
    """
    if not (paths or fingerprint.get("partition")) or not findings:
        raise InputError(f"nothing to score into {output}: {len(paths)} films, {len(findings)} findings")
    manifest = Manifest(paths=tuple(paths), findings=tuple(findings), given=dict(fingerprint))
    make_folder(output.parent)
    if overwrite:
        _start_over(output, manifest)
    else:
        _resume(output, manifest)
    return Run(output=output, manifest=manifest)


def manifest_films(output: Path) -> tuple[str, ...] | None:
    """The films of the unfinished run, or None; FileFormatError if its manifest is damaged. The list of films is fixed,
    even if the folder has changed since."""
    return read_paths(_manifest_file(output))


def may_replace(output: Path) -> bool:
    """Whether there is an unfinished run for this output that the user allowed to replace an existing file.
    Errors as frozen_films."""
    head = read_head(_manifest_file(output))
    return head is not None and head.replaces


def manifest_partition(output: Path) -> dict[str, Any] | None:
    """The partition inputs of the unfinished run; None if there is no such run, or if it is a complete run. Errors as
    frozen_films."""
    head = read_head(_manifest_file(output))
    partition = head.inputs.get("partition") if head else None
    return partition if isinstance(partition, dict) else None


def unfinished_outputs(folder: Path) -> list[Path]:
    """The outputs in a folder whose run has left its own folder there: because it is not finished, or because it was
    interrupted while that folder was removed."""
    begun = [path.name.removesuffix(_PARTS) for path in folder.glob(f"*{_PARTS}")]
    removed = [path.name[1:].removesuffix(_DISCARDED) for path in folder.glob(f".*{_DISCARDED}")]
    return [folder / name for name in sorted({*begun, *removed})]


def discard_run(output: Path) -> None:
    """Removes the folder of the run of this output, and with it the shards of a run that is not finished. InputError if
    the folder holds a file of another program, WriteError if it cannot be removed."""
    with file_lock(_lock_file(output)):
        _drop(output)


def finished_provenance(
    output: Path, paths: Sequence[str], findings: Sequence[str], known: Mapping[str, Any], left_open: Sequence[str]
) -> FileProvenance | None:
    """The provenance of a finished output that matches the known inputs of a run, else None.

    known      the inputs as for open_run, except the keys left_open, which match any value
    Errors as open_scores if the output is damaged.
    """
    if not output.exists() or _parts(output).exists() or _discarded_folder(output).exists():
        return None
    claim = read_file_provenance(output)
    rest = {key: value for key, value in claim.inputs.items() if key not in left_open}
    return claim if Manifest(paths=tuple(paths), findings=tuple(findings), given=known).matches(rest) else None


def _start_over(output: Path, manifest: Manifest) -> None:
    try:
        head = read_head(_manifest_file(output))
    except FileFormatError:
        head = None  # damaged: discarded like the shards of another run
    if head is None or not head.replaces or not manifest.matches(head.inputs):
        with file_lock(_lock_file(output)):
            _drop(output)
            _begin(output, manifest, replaces=True)


def _resume(output: Path, manifest: Manifest) -> None:
    head = read_head(_manifest_file(output))
    if head is not None:
        _check_same(_parts(output), head.inputs, manifest)
    if output.exists() and not (head and head.replaces):
        _check_same(output, _inputs_of(output), manifest)
        if (
            _parts(output).exists() or _discarded_folder(output).exists()
        ):  # left by a merge that was interrupted during cleanup
            with file_lock(_lock_file(output)):
                _drop(output)
    elif head is None:
        _begin(output, manifest, replaces=False)


def _check_same(place: Path, inputs: Mapping[str, Any], manifest: Manifest) -> None:
    if not manifest.matches(inputs):
        changed = "; ".join(differences(inputs, manifest.inputs))
        raise OtherRunError(
            f"{place} is of another run; this one differs in {changed}. Use --overwrite to replace it, or another -o."
            f"{precision_hint(inputs, manifest.inputs)}"
        )


def _begin(output: Path, manifest: Manifest, *, replaces: bool) -> None:
    make_folder(_parts(output))
    with _writing(output):
        sync(output.parent)
    write_manifest(_manifest_file(output), manifest, replaces=replaces)


def _drop(output: Path) -> None:
    """Removes the run folder. It is renamed first, so that no worker writes into it during removal."""
    parts, aside = _parts(output), _discarded_folder(output)
    for folder in (parts, aside):
        _check_owned(folder)
    with _writing(output):
        if aside.exists():
            shutil.rmtree(aside)
        if parts.exists():
            os.rename(parts, aside)
            shutil.rmtree(aside)


def _check_owned(folder: Path) -> None:
    """InputError if a run folder contains files that no run has written: they would be removed with it."""
    if not folder.is_dir():
        return
    foreign = [path.name for path in folder.iterdir() if not _OWN.fullmatch(path.name)]
    if foreign or folder.is_symlink():
        held = f"contains {sorted(foreign)[0]!r}, which does not belong to a run" if foreign else "is a link"
        raise InputError(f"the folder {folder} {held}. Move it away, or name another output.")


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Converts an OSError of the block into a WriteError about the output."""
    try:
        yield
    except OSError as error:
        raise cannot_write(output, error) from error


@contextmanager
def _explain_resume(output: Path) -> Iterator[None]:
    """Adds to a WriteError of the block whether the completed shards are saved."""
    try:
        yield
    except WriteError as error:
        if _manifest_file(output).exists():
            hint = "Finished shards are saved: rerun the same command to resume."
        else:
            hint = f"The folder {_parts(output)} no longer exists, so its scores are lost. Rerun to start over."
        raise WriteError(f"{error} {hint}") from error


def _inputs_of(output: Path) -> dict[str, Any]:
    """The inputs of the scores in an output; empty if there is no output."""
    return read_file_provenance(output).inputs if output.exists() else {}


def _parts(output: Path) -> Path:
    return output.with_name(f"{output.name}{_PARTS}")


def _discarded_folder(output: Path) -> Path:
    return output.with_name(f".{output.name}{_DISCARDED}")


def _manifest_file(output: Path) -> Path:
    return _parts(output) / "manifest.jsonl"


def _lock_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.lock")
