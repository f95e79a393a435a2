"""A run on disk: OUT.parts/ while it goes on, OUT when it is done. Whoever holds the folder may do any shard.

    out.h5.parts/manifest.jsonl    what the run is, frozen
    out.h5.parts/s00000000.h5 ...  its shards; one is done if, and only if, its file is there with the run's fingerprint
    out.h5                         all of them, merged; then the folder goes

Each of these appears whole or not at all, so a run may be stopped anywhere and started again.
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
from cxrscore.errors import FileFormatError, InputError, WriteError
from cxrscore.io import atomic_write_bytes, file_lock, make_folder, sha256_file
from cxrscore.io.atomic import atomic_replace, cannot_write, sync
from cxrscore.scorefile.checks import check_fit, check_ranges
from cxrscore.scorefile.columns import encode_texts
from cxrscore.scorefile.data import Thumbnails
from cxrscore.scorefile.layout import LAYOUT, SHARD_LAYOUT
from cxrscore.scorefile.manifest import Manifest, differences, read_head, read_paths, write_manifest
from cxrscore.scorefile.merge import CompletedShard, merge_shards
from cxrscore.scorefile.reading import FileProvenance, read_file_provenance
from cxrscore.scorefile.shards import Shard, read_shard, read_shard_header, read_values, shard_bytes

_OWN = re.compile(
    r"manifest\.jsonl|s\d{8}\.h5|merged-[0-9a-f]{8}\.h5|\.(manifest\.jsonl|s\d{8}\.h5)\.[0-9a-f]{8}\.part"
)
"""Names in the folder of a run."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that open_run has opened: score the shards that are not done, in any order, then merge."""

    output: Path
    manifest: Manifest

    @property
    def shards(self) -> tuple[range, ...]:
        """The rows of each shard."""
        return self.manifest.shards

    @property
    def complete(self) -> bool:
        """Whether the output is there, made of exactly this run."""
        return not _manifest_file(self.output).exists() and self.manifest.matches(_inputs_of(self.output))

    @property
    def pending(self) -> tuple[int, ...]:
        """The shards that are not done yet."""
        return tuple(shard for shard in range(len(self.shards)) if not self.done(shard))

    def done(self, shard: int) -> bool:
        """Whether this shard needs no scoring any more."""
        return self._read_header(shard) is not None or self.complete

    def write(self, shard: int, content: Shard) -> None:
        """Stores a shard, whole or not at all. InputError if it does not fit the run, WriteError as write_whole.

        Two workers may write the same shard: the content is the same.
        """
        rows = self.shards[shard]
        data = shard_bytes(content, self.manifest.fingerprint, rows, len(self.manifest.findings))
        try:
            with _explain_resume(self.output):
                atomic_write_bytes(self._path(shard), data)
        except WriteError:
            if not self.complete:  # else another worker did the rest, merged, and cleared the folder away
                raise

    def discard(self, shard: int) -> None:
        """Removes a shard, which is then to be scored again; WriteError where it cannot be removed."""
        with _writing(self.output):
            self._path(shard).unlink(missing_ok=True)
            sync(_parts(self.output))

    def digest(self, shard: int) -> str:
        """SHA-256 of the file of a shard; "" where there is none, as it is not done, or merged already."""
        try:
            return sha256_file(self._path(shard))
        except FileNotFoundError:
            return ""

    def read_columns(self, shard: int, *paths: str) -> dict[str, Array]:
        """These columns of a shard that is done, by path, without the others; errors as read."""
        layout = [column for column in SHARD_LAYOUT if column.path in paths]
        return read_values(self._path(shard), self.manifest.fingerprint, self.shards[shard], layout)

    def read(self, shard: int) -> Shard:
        """A shard that is done, of a run that is not merged; InputError or FileFormatError where it is not."""
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
        """Makes the output of all shards, in place of what has its name, and removes the parts; returns its path.

        split, patient   of each film, [N], as in FilmRows
        truth            float32 [N,C], NaN unknown
        thresholds       float32 [C], NaN where there is none
        provenance       JSON-ready
        names            N texts to stand for the films' paths; None: the paths

        InputError where shards are missing, values do not fit, or another process is merging; WriteError where the
        output cannot be written: an older one is then as it was, and the run can go on.
        """
        own = {
            "films/path": encode_texts(self.manifest.paths if names is None else names),
            "films/split": split,
            "films/patient": patient,
            "labels": encode_texts(self.manifest.findings),
            "truth": truth,
            "thresholds": thresholds,
            "thumbnails/film": thumbnails.film,
            "thumbnails/pixels": thumbnails.pixels,
        }
        self._check(own)
        with file_lock(_lock_file(self.output)):
            if not self.complete:
                self._merge(own, provenance)
                _drop(self.output)
        return self.output

    def _merge(self, own: Mapping[str, Array], provenance: Mapping[str, Any]) -> None:
        """Among the parts, so that a merge that is killed leaves nothing beside the output."""
        merged = _parts(self.output) / f"merged-{secrets.token_hex(4)}.h5"
        try:
            with _explain_resume(self.output), _writing(self.output):
                merge_shards(merged, self.manifest, self._all_done(), own, provenance)
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
        what = f"what is merged into {self.output}"
        check_fit(what, own, [column for column in LAYOUT if not column.in_shard], lengths)
        check_ranges(what, own, range(lengths["film"]), lengths["finding"])


def open_run(
    output: Path,
    paths: Sequence[str],
    findings: Sequence[str],
    fingerprint: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Run:
    """Starts a run, or goes on with one that was stopped.

    paths        sorted POSIX paths of the films, below the films folder
    fingerprint  what else the scores depend on, JSON-ready: the models' SHA-256, backend, ...
    overwrite    discards parts of an earlier run, and lets the merge replace an output of another run. A run that was
                 begun so, and stopped, goes on where it was, with or without it.

    Raises InputError where the output, or its parts, are of a run with other inputs, naming those that differ;
    WriteError where nothing can be written.
    """
    if not paths or not findings:
        raise InputError(f"nothing to score into {output}: {len(paths)} films, {len(findings)} findings")
    manifest = Manifest(paths=tuple(paths), findings=tuple(findings), given=dict(fingerprint))
    make_folder(output.parent)
    if overwrite:
        _start_over(output, manifest)
    else:
        _resume(output, manifest)
    return Run(output=output, manifest=manifest)


def manifest_films(output: Path) -> tuple[str, ...] | None:
    """The films of the run that was begun and not finished, None where there is none; FileFormatError if its manifest
    is damaged. A run keeps to them, whatever has come into the folder since."""
    return read_paths(_manifest_file(output))


def may_replace(output: Path) -> bool:
    """Whether a run for this output was begun, and not finished, with the user's word that it replaces what is there.
    Errors as frozen_films."""
    head = read_head(_manifest_file(output))
    return head is not None and head.replaces


def manifest_partition(output: Path) -> dict[str, Any] | None:
    """What the run that was begun and not finished says of the run that it is a partition of; None where it is a whole
    one, or there is none. Errors as frozen_films."""
    head = read_head(_manifest_file(output))
    partition = head.inputs.get("partition") if head else None
    return partition if isinstance(partition, dict) else None


def finished_provenance(
    output: Path, paths: Sequence[str], findings: Sequence[str], known: Mapping[str, Any], left_open: Sequence[str]
) -> FileProvenance | None:
    """The claim of an output that is done and agrees with all that is known of a run, else None.

    known      what the scores depend on, as for open_run, but for the keys left_open, whose values any output may have

    Errors as open_scores, where the output is damaged.
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
        head = None  # damaged: discarded like those of another run
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
        ):  # left by a merge that was stopped while it cleared up
            with file_lock(_lock_file(output)):
                _drop(output)
    elif head is None:
        _begin(output, manifest, replaces=False)


def _check_same(place: Path, inputs: Mapping[str, Any], manifest: Manifest) -> None:
    if not manifest.matches(inputs):
        changed = "; ".join(differences(inputs, manifest.inputs))
        raise InputError(
            f"{place} is of another run; this one differs in {changed}. Use --overwrite to replace it, or another -o."
        )


def _begin(output: Path, manifest: Manifest, *, replaces: bool) -> None:
    make_folder(_parts(output))
    with _writing(output):
        sync(output.parent)
    write_manifest(_manifest_file(output), manifest, replaces=replaces)


def _drop(output: Path) -> None:
    """Removes the parts, first taking their name away, so that no worker writes into a folder that is being emptied."""
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
    """InputError where a folder of parts holds what no run has put there: it would be removed with it."""
    if not folder.is_dir():
        return
    foreign = [path.name for path in folder.iterdir() if not _OWN.fullmatch(path.name)]
    if foreign or folder.is_symlink():
        held = f"holds {sorted(foreign)[0]!r}, which is of no run" if foreign else "is a link"
        raise InputError(f"the folder {folder} {held}. Move it away, or name another output.")


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Turns an OSError of the block into a WriteError about the output."""
    try:
        yield
    except OSError as error:
        raise cannot_write(output, error) from error


@contextmanager
def _explain_resume(output: Path) -> Iterator[None]:
    """Says in a WriteError of the block what becomes of the shards that are done."""
    try:
        yield
    except WriteError as error:
        if _manifest_file(output).exists():
            hint = "The shards that are done are kept. Rerun the same command to resume."
        else:
            hint = f"The folder {_parts(output)} is gone, and all that was scored with it. Rerun to start again."
        raise WriteError(f"{error} {hint}") from error


def _inputs_of(output: Path) -> dict[str, Any]:
    """What the scores in an output depend on; nothing where there is no output."""
    return read_file_provenance(output).inputs if output.exists() else {}


def _parts(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def _discarded_folder(output: Path) -> Path:
    return output.with_name(f".{output.name}.parts.done")


def _manifest_file(output: Path) -> Path:
    return _parts(output) / "manifest.jsonl"


def _lock_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.lock")
