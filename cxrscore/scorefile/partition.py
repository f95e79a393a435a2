"""A partition of a run: the films that one process of several scores, into a partial scores file.

Partitions consist of complete batches, so a film is in the same batch as in a run of one process, and its score is
bit-identical; only if there is less than one batch for each partition do they consist of single films.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrscore.errors import FileFormatError, InputError
from cxrscore.scorefile.manifest import paths_digest, whole_batch

MAX_PARTITIONS = 1_000_000
"""Largest number of partitions of a run."""
_TEXT = re.compile(r"([0-9]{1,7})/([0-9]{1,7})")


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Partition ``number``, from 1, of ``count`` partitions. InputError unless 1 <= number <= count <= 1,000,000."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MAX_PARTITIONS:
            raise InputError(f"partition {self}: expected i/n with 1 <= i <= n and n at most {MAX_PARTITIONS}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Partition:
        """The partition that a text such as 2/4 names; InputError for other texts."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise InputError(f"partition {text!r}: expected i/n with 1 <= i <= n, such as 2/4")
        return cls(number=int(found[1]), count=int(found[2]))

    def rows(self, films: int, batch_size: int) -> range:
        """Its rows in a run of so many films: complete batches, whose number differs by one at most between partitions,
        or single films if there are fewer films for each partition than in a batch. If there are more partitions than
        films, some are empty."""
        batch = whole_batch(films, batch_size)
        unit = batch if films >= batch * self.count else 1
        units = -(-films // unit)
        first, last = (number * units // self.count * unit for number in (self.number - 1, self.number))
        return range(min(first, films), min(last, films))


def partition_inputs(partition: Partition, paths: Sequence[str], thumbnails: int, batch_size: int) -> dict[str, Any]:
    """The inputs of a partial file that describe its run, JSON-ready.

    paths       of all films of the run
    thumbnails  number of thumbnails in the complete run
    """
    return {
        "number": partition.number,
        "count": partition.count,
        "first_row": partition.rows(len(paths), batch_size).start,
        "total_films": len(paths),
        "paths": paths_digest(paths),
        "thumbnails": thumbnails,
    }


def full_run_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of the complete run, from those of a partial file. FileFormatError if they name no partition."""
    own = inputs.get("partition")
    if not isinstance(own, dict) or not {"total_films", "paths"} <= own.keys():
        raise FileFormatError("its inputs name no partition")
    rest = {key: value for key, value in inputs.items() if key != "partition"}
    return {**rest, "films": own["total_films"], "paths": own["paths"]}


def describe_partition(partition: Partition, rows: range, films: int) -> str:
    """Description of the films in a partial file, for users; its warnings contain the same text."""
    which = f"films {rows.start + 1} to {rows.stop} of {films}" if rows else f"none of its {films} films"
    return f"This is partition {partition} of a run: {which}."
