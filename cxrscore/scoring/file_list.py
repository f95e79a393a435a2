"""Which films a run is of: those found, unless it was begun before and its list is frozen; all of them, or a
partition."""

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
    run_paths  paths of all films of the run, of which these are all, or a partition; None if the run is a partition
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
        """What a run's fingerprint has of it, besides the paths."""
        return {"partition": self.partition} if self.partition else {}

    def all_films(self) -> tuple[str, ...]:
        """Paths of all films of the run; InputError where they are not known."""
        if self.run_paths is None:
            raise InputError(
                "films were added to the folder, or removed from it, since this partition was begun, and labels and "
                "patient numbers are those of the whole folder. Put it back as it was, or start all partitions over "
                "with --overwrite."
            )
        return self.run_paths

    def changes(self, found: tuple[str, ...]) -> tuple[str, ...]:
        """What has changed in the folder since the run began, in words without names; ``found`` are its films now."""
        there, own = set(found), set(self.paths)
        added, gone = len(there - own) if self.partition is None else 0, len(own - there)
        changes = []
        if added:
            changes.append(
                f"{_films(added)} added to the folder after the run had begun, and not scored: a run keeps to the list "
                "it began with. To have all, score with another -o, or anew with --overwrite."
            )
        if gone:
            changes.append(
                f"{_films(gone)} removed from the folder after the run had begun; those not scored by then have a "
                "status instead."
            )
        if self.run_paths is None:
            changes.append(
                "The folder does not list the films that it did when this partition was begun, and the partition keeps "
                "to its own. Partitions that start now belong to another run, and cannot be merged with it."
            )
        return tuple(changes)


def resume_file_list(options: ScoreOptions, found: FoundFilms) -> FileList:
    """The films of the run that goes on, if one does, else of all that are there. InputError where most films of that
    run are gone: then it was another folder."""
    new = new_file_list(options, found)
    frozen = None if options.overwrite else manifest_films(options.file)
    if frozen is None:
        return new
    gone = len(set(frozen) - set(found.paths))
    if 2 * gone > len(frozen):
        raise InputError(
            f"the run that was begun for {options.output} is of other films: {gone} of its {len(frozen)} are not below "
            f"{options.films}. Use --overwrite to start over, or another -o."
        )
    if options.partition is None:
        return FileList(paths=frozen, run_paths=frozen, partition=None)
    partition = manifest_partition(options.file)
    if partition is None or not _same_partition(partition, new.partition or {}):
        return new  # which open_run compares with what lies there, and says what differs
    unchanged = partition.get("paths") == paths_digest(found.paths)
    return FileList(paths=frozen, run_paths=found.paths if unchanged else None, partition=partition)


def new_file_list(options: ScoreOptions, found: FoundFilms) -> FileList:
    """The films of a run that begins now."""
    if options.partition is None:
        return FileList(paths=found.paths, run_paths=found.paths, partition=None)
    rows = options.partition.rows(len(found.paths))
    return FileList(
        paths=found.paths[rows.start : rows.stop],
        run_paths=found.paths,
        partition=partition_inputs(options.partition, found.paths, options.thumbnails),
    )


def _same_partition(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both are of one number, though perhaps of other films."""
    return one.keys() == other.keys() and all(one[key] == other[key] for key in ("number", "count"))


def _films(number: int) -> str:
    return f"{number} film was" if number == 1 else f"{number} films were"
