"""Partial scores files, one for each partition of a run: validated, and read in blocks of rows."""

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
from cxrscore.scorefile.layout import LAYOUT, SCORED, TEXT
from cxrscore.scorefile.manifest import fingerprint_of
from cxrscore.scorefile.partition import Partition, full_run_inputs
from cxrscore.scorefile.reading import check_scores_file, read_json, with_missing_columns
from cxrscore.scorefile.shards import ShardHeader
from cxrscore.scorefile.thumbnail_selection import ScoredFilms, concatenate, scored_films, thumbnail_candidates

BLOCK = 1 << 15
"""Rows in memory at a time, which is at least the size of a chunk of a scores file."""
THUMBNAILS = 1 << 16
"""Maximum number of thumbnails, whatever a partial file declares."""
FILM_COLUMNS = tuple(column for column in LAYOUT if column.axes[0] == "film")
MAP_COLUMNS = tuple(column for column in LAYOUT if column.axes[0] == "map")


@dataclass(frozen=True, kw_only=True)
class PartialScoresFile:
    """The properties of a partial file, without its rows.

    rows         its films within the complete run
    inputs       inputs of the complete run, and ``run``, their digest
    fingerprint  fingerprint of this file
    thumbnails   number of thumbnails in the complete run
    head         widths of its text columns, and the shape of its heat maps
    findings     bytes [C], and thresholds float32 [C]
    shown        the candidates for thumbnails, by their rows in the complete run
    failed       number of films that were not scored
    provenance   see schemas/scores.schema.json
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
    """Reads and checks a partial file with all its scores. InputError if there is no file, or it is not a partial file;
    FileFormatError if it is damaged."""
    with _opened(path) as file:
        own = read_json(file, "inputs")
        partition, rows, thumbnails = _read_partition(path, own, file.datasets["films/path"].shape[0])
        inputs = full_run_inputs(own)
        fingerprint = read_text(file, "fingerprint", longest=64)
        provenance = read_json(file, "provenance")
        check_document(provenance, "scores", f"{path}: provenance", "attributes", "provenance")
        run = fingerprint_of(inputs)
        if fingerprint != fingerprint_of(own) or (provenance.get("partition") or {}).get("run_fingerprint") != run:
            raise FileFormatError(f"{path}: its fingerprint does not match its inputs")
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
    """The columns of its films, by path, and their rows in the complete run; FileFormatError if they are damaged."""
    with _opened(part.path, part.fingerprint) as file:
        for rows in blocks(len(part.rows)):
            there = [column.path for column in FILM_COLUMNS if column.path in file.datasets]
            values = with_missing_columns({path: read_rows(file, path, rows) for path in there})
            check_ranges(file.name, values, rows, 0)
            yield range(part.rows.start + rows.start, part.rows.start + rows.stop), values


def map_blocks(part: PartialScoresFile) -> Iterator[tuple[range, dict[str, Array]]]:
    """The columns of its heat maps, with film rows of the complete run, and their indexes in this file."""
    with _opened(part.path, part.fingerprint) as file:
        for rows in blocks(part.head.map_shape[0]):
            values = {column.path: read_rows(file, column.path, rows) for column in MAP_COLUMNS}
            check_ranges(file.name, values, range(len(part.rows)), len(part.findings))
            values["cam/film"] = (values["cam/film"] + part.rows.start).astype(np.int32)
            yield rows, values


def read_thumbnails(part: PartialScoresFile, chosen: Container[int]) -> tuple[Array, Array]:
    """Rows in the complete run and pixels of its selected thumbnails: int32 [t], uint8 [t,side,side]."""
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
    """An open partial file with a valid layout, and with this fingerprint if one is given. Errors say what to do."""
    try:
        with open_guarded(path) as file:
            check_scores_file(file)
            if fingerprint and read_text(file, "fingerprint", longest=64) != fingerprint:
                raise FileFormatError(f"{path} was replaced during the merge: merge again")
            yield file
    except FileFormatError as error:
        raise FileFormatError(f"{error}. Remove it, score this partition again, and merge again.") from error


def _read_partition(path: Path, inputs: Mapping[str, Any], films: int) -> tuple[Partition, range, int]:
    """The partition, its rows and the number of thumbnails, all validated."""
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
    rows = partition.rows(total, max(1, _count(path, inputs, "batch_size")))
    if (own.get("first_row"), films, inputs.get("films")) != (rows.start, len(rows), len(rows)):
        raise FileFormatError(f"{path} has {films} films, which does not match partition {partition} of {total}")
    return partition, rows, min(thumbnails, THUMBNAILS)


def _count(path: Path, partition: Any, key: str) -> int:
    value = partition.get(key) if isinstance(partition, dict) else None
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise FileFormatError(f"{path}: its inputs do not name its partition")
    return value


def _scanned(file: HDF5File, rows: range, films: int, most: int) -> tuple[ScoredFilms, int]:
    """The candidates for thumbnails in a partial file, and the number of films that were not scored."""
    found, failed = [], 0
    for block in (*blocks(len(rows)),) or (range(0),):
        names = ("scores/prob", "truth", "films/split", "films/status")
        prob, truth, split, status = (read_rows(file, name, block) for name in names)
        found.append(thumbnail_candidates(scored_films(prob, truth, split, rows.start + block.start), films, most))
        failed += int(np.count_nonzero(status != SCORED))
    return thumbnail_candidates(concatenate(found), films, most), failed


def _head(file: HDF5File) -> ShardHeader:
    found = file.datasets
    maps, height, width = found["cam/map"].shape
    widths = {column.path: found[column.path].dtype.itemsize for column in FILM_COLUMNS if column.dtype == TEXT}
    return ShardHeader(widths=widths, map_shape=(maps, height, width))
