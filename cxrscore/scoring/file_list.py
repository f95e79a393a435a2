"""The films of a run: those in the folder, or the frozen list of a resumed run; all of them, or a partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxrscore.errors import InputError
from cxrscore.images import FoundFilms
from cxrscore.scorefile import manifest_films, manifest_partition, partition_inputs
from cxrscore.scorefile.manifest import paths_digest
from cxrscore.scoring.options import ScoreOptions


@dataclass(frozen=True, kw_only=True)
class FileList:
    """The films to score.

    paths      their paths, sorted
    run_paths  paths of all films of the run, of which ``paths`` are all or a partition; None if the run is a partition
               that was started with another list than the folder has now, of which only the digest is recorded
    partition  what the inputs of a partition say about it (scorefile.partition_inputs); None for a complete run
    """

    paths: tuple[str, ...]
    run_paths: tuple[str, ...] | None
    partition: Mapping[str, Any] | None

    @property
    def rows(self) -> range:
        """Their rows within the run."""
        first = self.partition["first_row"] if self.partition else 0
        return range(first, first + len(self.paths))

    @property
    def inputs(self) -> dict[str, Any]:
        """The entries of the run's fingerprint, except the paths."""
        return {"partition": self.partition} if self.partition else {}

    def all_films(self) -> tuple[str, ...]:
        """Paths of all films of the run; InputError if they are unknown."""
        if self.run_paths is None:
            raise InputError(
                "films were added to or removed from the folder after this partition was started, but labels and "
                "patient numbers depend on all films of the folder. Restore the folder, or start all partitions over "
                "with --overwrite."
            )
        return self.run_paths

    def _added_and_gone(self, found: tuple[str, ...]) -> tuple[int, int]:
        """Numbers of films; a partition does not say which others were there."""
        rows = self.rows
        if found[rows.start : rows.stop] == self.paths and (self.partition or len(found) == len(self.paths)):
            return 0, 0  # as nearly always: no set of a million paths is made
        there, own = set(found), set(self.paths)
        return len(there - own) if self.partition is None else 0, len(own - there)

    def changes(self, found: tuple[str, ...]) -> tuple[str, ...]:
        """Notes, without file names, on changes of the folder since the run started; ``found``: its present films."""
        added, gone = self._added_and_gone(found)
        changes = []
        if added:
            changes.append(
                f"{_films(added)} added to the folder after the run started, and not scored: the list of films is "
                "fixed at the start. To score all films, use another -o, or start over with --overwrite."
            )
        if gone:
            changes.append(
                f"{_films(gone)} removed from the folder after the run started; those not yet scored have a "
                "status instead of scores."
            )
        if self.run_paths is None:
            changes.append(
                "The films of the folder have changed since this partition was started; it uses its original list. "
                "Partitions that start now belong to another run, and cannot be merged with it."
            )
        return tuple(changes)


def resume_file_list(options: ScoreOptions, found: FoundFilms) -> FileList:
    """The films of the run to resume, or else all films of the folder. InputError if most films of that run are
    missing, which suggests another folder."""
    new = new_file_list(options, found)
    frozen = None if options.overwrite else manifest_films(options.file)
    if frozen is None:
        return new
    if frozen == found.paths:
        frozen = found.paths  # one list of the same paths in memory, not two
    gone = 0 if frozen is found.paths else len(set(frozen) - set(found.paths))
    if 2 * gone > len(frozen):
        raise InputError(
            f"the unfinished run for {options.output} is of other films: {gone} of its {len(frozen)} are not "
            f"below {options.films}. Use --overwrite to start over, or another -o."
        )
    if options.partition is None:
        return FileList(paths=frozen, run_paths=frozen, partition=None)
    partition = manifest_partition(options.file)
    if partition is None or not _same_partition(partition, new.partition or {}):
        return new  # open_run compares it with the earlier run and names the differences
    unchanged = partition.get("paths") == paths_digest(found.paths)
    return FileList(paths=frozen, run_paths=found.paths if unchanged else None, partition=partition)


def new_file_list(options: ScoreOptions, found: FoundFilms) -> FileList:
    """The films of a new run."""
    if options.partition is None:
        return FileList(paths=found.paths, run_paths=found.paths, partition=None)
    rows = options.partition.rows(len(found.paths), options.batch_size)
    return FileList(
        paths=found.paths[rows.start : rows.stop],
        run_paths=found.paths,
        partition=partition_inputs(options.partition, found.paths, options.thumbnails, options.batch_size),
    )


def _same_partition(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both are the same partition i/n, perhaps of other films."""
    return one.keys() == other.keys() and all(one[key] == other[key] for key in ("number", "count"))


def _films(number: int) -> str:
    return f"{number} film was" if number == 1 else f"{number} films were"
