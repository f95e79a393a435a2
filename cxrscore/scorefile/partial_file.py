"""Parts of a run: scores files of its partitions, read with distrust, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.hdf5.reader import HDF5File, open_guarded, read_dataset, read_rows, read_text
from cxrscore.io.strict_json import check_document
from cxrscore.scorefile.checks import check_ranges
from cxrscore.scorefile.layout import FORMAT, LAYOUT, SCORED, TEXT
from cxrscore.scorefile.manifest import fingerprint_of
from cxrscore.scorefile.partition import Partition, full_run_inputs
from cxrscore.scorefile.reading import check_columns, check_format, read_json
from cxrscore.scorefile.shards import ShardHeader
from cxrscore.scorefile.thumbnail_selection import ScoredFilms, concatenate, scored_films, thumbnail_candidates

BLOCK = 1 << 15
"""Rows in memory at a time; chunks of a scores file have no more."""
THUMBNAILS = 1 << 16
"""Small films that are chosen at most, whatever a part says."""
FILM_COLUMNS = tuple(column for column in LAYOUT if column.axes[0] == "film")
MAP_COLUMNS = tuple(column for column in LAYOUT if column.axes[0] == "map")


@dataclass(frozen=True, kw_only=True)
class PartialScoresFile:
    """What can be known of a part without holding its rows.

    rows         its films within the whole run
    inputs       of the whole run, and ``run``, their digest
    fingerprint  the part's own
    thumbnails   how many small films the whole run is to have
    head         widths of all its texts a film, and the shape of its heat maps
    findings     bytes [C], and thresholds float32 [C]
    shown        the films on which the choice of small films may fall, by their rows in the whole run
    failed       films that were not scored
    provenance   as its schema says
    """

    path: Path
    partition: Partition
    rows: range
    inputs: Mapping[str, Any]
    run: str
    fingerprint: str
    thumbnails: int
    head: ShardHeader
    findings: Array
    thresholds: Array
    thumbnail_candidates: ScoredFilms
    failed: int
    provenance: Mapping[str, Any]


def read_part(path: Path) -> PartialScoresFile:
    """Looks at a part, and at each of its scores. InputError where there is no file, or it is no part;
    FileFormatError where it is damaged."""
    with _opened(path) as file:
        own = read_json(file, "inputs")
        partition, rows, thumbnails = _read_partition(path, own, file.datasets["films/path"].shape[0])
        inputs = full_run_inputs(own)
        fingerprint = read_text(file, "fingerprint", longest=64)
        provenance = read_json(file, "provenance")
        check_document(provenance, "scores", f"{path}: provenance", "attributes", "provenance")
        run = fingerprint_of(inputs)
        if fingerprint != fingerprint_of(own) or (provenance.get("partition") or {}).get("run_fingerprint") != run:
            raise FileFormatError(f"{path}: its fingerprint is not that of its inputs")
        shown, failed = _scanned(file, rows, inputs["films"], thumbnails)
        values = {name: read_dataset(file, name) for name in ("labels", "thresholds")}
        check_ranges(str(path), values, range(0), 0)
        return PartialScoresFile(
            path=path,
            partition=partition,
            rows=rows,
            inputs=inputs,
            run=run,
            fingerprint=fingerprint,
            thumbnails=thumbnails,
            head=_head(file),
            findings=values["labels"],
            thresholds=values["thresholds"],
            thumbnail_candidates=shown,
            failed=failed,
            provenance=provenance,
        )


def film_blocks(part: PartialScoresFile) -> Iterator[tuple[range, dict[str, Array]]]:
    """The columns of its films, by path, and their rows in the whole run; FileFormatError where they are damaged."""
    with _opened(part.path, part.fingerprint) as file:
        for rows in blocks(len(part.rows)):
            values = {column.path: read_rows(file, column.path, rows) for column in FILM_COLUMNS}
            check_ranges(file.name, values, rows, 0)
            yield range(part.rows.start + rows.start, part.rows.start + rows.stop), values


def map_blocks(part: PartialScoresFile) -> Iterator[tuple[range, dict[str, Array]]]:
    """The columns of its heat maps, which name films of the whole run, and their places among the part's maps."""
    with _opened(part.path, part.fingerprint) as file:
        for rows in blocks(part.head.map_shape[0]):
            values = {column.path: read_rows(file, column.path, rows) for column in MAP_COLUMNS}
            check_ranges(file.name, values, range(len(part.rows)), len(part.findings))
            values["cam/film"] = (values["cam/film"] + part.rows.start).astype(np.int32)
            yield rows, values


def read_thumbnails(part: PartialScoresFile, chosen: Container[int]) -> tuple[Array, Array]:
    """Rows in the whole run and pixels of those of its small films that are chosen: int32 [t], uint8 [t,side,side]."""
    with _opened(part.path, part.fingerprint) as file:
        values = {name: read_dataset(file, name) for name in ("thumbnails/film", "thumbnails/pixels")}
    check_ranges(str(part.path), values, range(len(part.rows)), 0)
    rows = values["thumbnails/film"] + part.rows.start
    wanted = np.array([row in chosen for row in rows.tolist()], bool)
    return rows[wanted].astype(np.int32), values["thumbnails/pixels"][wanted]


def blocks(length: int) -> Iterator[range]:
    """Ranges of at most BLOCK rows."""
    return (range(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK))


@contextmanager
def _opened(path: Path, fingerprint: str = "") -> Iterator[HDF5File]:
    """A part that is of the layout, and still that of the fingerprint, if one is given. Its errors say what to do."""
    try:
        with open_guarded(path) as file:
            check_format(file, FORMAT)
            check_columns(file, LAYOUT)
            if fingerprint and read_text(file, "fingerprint", longest=64) != fingerprint:
                raise FileFormatError(f"{path} was replaced during the merge")
            yield file
    except FileFormatError as error:
        raise FileFormatError(f"{error}. Remove it, score this partition again, and merge again.") from error


def _read_partition(path: Path, inputs: Mapping[str, Any], films: int) -> tuple[Partition, range, int]:
    """Which partition it is, its rows, and how many small films are wanted; nothing of it is taken on trust."""
    own = inputs.get("partition")
    if own is None:
        raise InputError(
            f"{path} is a complete scores file, not a partial one. `cxrscore score --shard i/n` writes partial files."
        )
    number, of, total, thumbnails = (_count(path, own, key) for key in ("number", "count", "total_films", "thumbnails"))
    try:
        partition = Partition(number=number, count=of)
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from None
    rows = partition.rows(total)
    if (own.get("first_row"), films, inputs.get("films")) != (rows.start, len(rows), len(rows)) or not rows:
        raise FileFormatError(f"{path} has {films} films, which are not those of partition {partition} of {total}")
    return partition, rows, min(thumbnails, THUMBNAILS)


def _count(path: Path, partition: Any, key: str) -> int:
    value = partition.get(key) if isinstance(partition, dict) else None
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise FileFormatError(f"{path}: its inputs do not say which partition it is")
    return value


def _scanned(file: HDF5File, rows: range, films: int, most: int) -> tuple[ScoredFilms, int]:
    """The films of a part on which the choice of small films may fall, and how many films were not scored."""
    found, failed = [], 0
    for block in blocks(len(rows)):
        prob, truth, status = (read_rows(file, name, block) for name in ("scores/prob", "truth", "films/status"))
        found.append(thumbnail_candidates(scored_films(prob, truth, rows.start + block.start), films, most))
        failed += int(np.count_nonzero(status != SCORED))
    return thumbnail_candidates(concatenate(found), films, most), failed


def _head(file: HDF5File) -> ShardHeader:
    found = file.datasets
    maps, height, width = found["cam/map"].shape
    widths = {column.path: found[column.path].dtype.itemsize for column in FILM_COLUMNS if column.dtype == TEXT}
    return ShardHeader(widths=widths, map_shape=(maps, height, width))
