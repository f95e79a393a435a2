"""Merging, the same for the shards of a run and for the partial scores files of several machines: a single pass over
all rows with one block in memory. Partial files are first checked to belong to the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.scorefile.columns import encode_rows, longest_text
from cxrscore.scorefile.layout import LAYOUT, PATHS, SHARD_LAYOUT, TEXT, Column
from cxrscore.scorefile.manifest import Manifest, differences, precision_hint
from cxrscore.scorefile.partial_file import FILM_COLUMNS, PartialScoresFile, film_blocks, map_blocks, read_thumbnails
from cxrscore.scorefile.partition import Partition
from cxrscore.scorefile.shards import ShardHeader, read_values
from cxrscore.scorefile.thumbnail_selection import concatenate, select_thumbnails
from cxrscore.scorefile.writing import FileHeader, RowBlock, write_scores

NAMED = 5
"""Maximum number of missing partitions that a message names."""

Rows: TypeAlias = tuple[range, dict[str, Array]]
Source = TypeVar("Source")
_AXIS = {column.path: column.axes[0] for column in LAYOUT}


@dataclass(frozen=True, kw_only=True)
class CompletedShard:
    """A finished shard: its file, its rows within the run and its header."""

    path: Path
    rows: range
    head: ShardHeader


def check_parts_match(parts: Sequence[PartialScoresFile]) -> list[PartialScoresFile]:
    """The partial files in the order of their films. InputError, naming files, unless they are all partitions of the
    same run, each exactly once."""
    if not parts:
        raise InputError("no partial file is given, expected those of all partitions of a run")
    for part in parts[1:]:
        _check_same_run(parts[0], part)
    ordered = sorted(parts, key=lambda part: part.partition.number)
    for one, other in pairwise(ordered):
        if one.partition == other.partition:
            raise InputError(
                f"{one.path} and {other.path} are both partition {one.partition} of the run. Name one of them."
            )
    _check_none_missing(ordered)
    return ordered


def _check_same_run(first: PartialScoresFile, part: PartialScoresFile) -> None:
    if changed := differences(first.inputs, part.inputs):
        advice = ""
        if {"films", "which films there are"} & {text.partition(":")[0] for text in changed}:
            advice = " Films were added to or removed from the folder between the starts of the partitions."
        raise InputError(
            f"{first.path} and {part.path} belong to different runs: {'; '.join(changed)}.{advice} Score all "
            f"partitions with the same films and options, then merge.{precision_hint(first.inputs, part.inputs)}"
        )
    for what, one, other in (
        ("were divided into different numbers of partitions", first.partition.count, part.partition.count),
        ("have different numbers of thumbnails", first.thumbnails, part.thumbnails),
        ("have different label tables", _table(first), _table(part)),
    ):
        if one != other:
            raise InputError(
                f"{first.path} and {part.path} {what}: {one} and {other}. Score all partitions with the same options."
            )
    same = np.array_equal(first.findings, part.findings)
    if not same or not np.array_equal(first.thresholds, part.thresholds, equal_nan=True):
        raise FileFormatError(
            f"{first.path} and {part.path} have the same fingerprint but different models: score both again"
        )


def _table(part: PartialScoresFile) -> str:
    labels = part.provenance.get("labels")
    return f"one of SHA-256 {labels.get('sha256', '')[:16]}" if labels else "none"


def _check_none_missing(ordered: Sequence[PartialScoresFile]) -> None:
    of, films = ordered[0].partition.count, ordered[0].inputs["films"]
    if sum(len(part.rows) for part in ordered) == films:  # different partitions do not overlap
        return
    there = {part.partition.number for part in ordered}
    partitions = (Partition(number=number, count=of) for number in range(1, of + 1) if number not in there)
    missing = (partition for partition in partitions if partition.rows(films, ordered[0].inputs["batch_size"]))
    message = "partition {0} is missing: run `cxrscore score ... --shard {0} -o ...`"
    named = [message.format(partition) for partition in islice(missing, NAMED)]
    more = sum(1 for _ in missing)
    raise InputError("; ".join(named) + (f"; and {more} more are missing" if more else ""))


def merged_header(parts: Sequence[PartialScoresFile], provenance: Mapping[str, Any]) -> FileHeader:
    """The header of the merged file; parts: the result of check_parts_match."""
    first, films = parts[0], sum(len(part.rows) for part in parts)
    return _header(
        parts,
        FILM_COLUMNS,
        fingerprint=first.run,
        inputs=first.inputs,
        provenance=provenance,
        own={"labels": first.findings, "thresholds": first.thresholds, **_thumbnails(parts, films)},
    )


def _header(
    sources: Sequence[CompletedShard] | Sequence[PartialScoresFile],
    columns: Iterable[Column],
    *,
    fingerprint: str,
    inputs: Mapping[str, Any],
    provenance: Mapping[str, Any],
    own: Mapping[str, Array],
    widths: Mapping[str, int] = MappingProxyType({}),
) -> FileHeader:
    """The header of a merged file; ``columns``: columns of the sources; ``own``: complete ones; ``widths``: of text
    columns that are neither."""
    heads = [source.head for source in sources]
    texts = [column.path for column in columns if column.dtype == TEXT]
    films = sum(len(source.rows) for source in sources)
    return FileHeader(
        fingerprint=fingerprint,
        inputs=inputs,
        provenance=provenance,
        own=own,
        lengths={"film": films, "finding": len(own["labels"]), **_map_lengths(heads)},
        widths={**widths, **{path: max((head.widths[path] for head in heads), default=1) for path in texts}},
    )


def _map_lengths(heads: Sequence[ShardHeader]) -> dict[str, int]:
    """Axis lengths of the merged heat maps; InputError if their sizes differ."""
    shapes = [head.map_shape for head in heads]
    sides = {shape[1:] for shape in shapes if shape[0]}
    if len(sides) > 1:
        raise InputError(f"the heat maps have different sizes: {sorted(sides)}. Use --overwrite to start over.")
    height, width = sides.pop() if sides else (1, 1)
    return {"map": sum(shape[0] for shape in shapes), "map_row": height, "map_column": width}


def _thumbnails(parts: Sequence[PartialScoresFile], films: int) -> dict[str, Array]:
    """The thumbnails of the complete run, selected from those of the partial files."""
    chosen = set(
        select_thumbnails(concatenate([part.thumbnail_candidates for part in parts]), films, parts[0].thumbnails)
    )
    found = [read_thumbnails(part, chosen) for part in parts if chosen.intersection(part.rows)]
    if not found:
        found = [read_thumbnails(parts[0], ())]
    if len({pixels.shape[1:] for _, pixels in found}) > 1:
        raise InputError(
            "the thumbnails of the partial files have different sizes. Score all partitions with the same cxrscore."
        )
    return {
        "thumbnails/film": np.concatenate([rows for rows, _ in found]),
        "thumbnails/pixels": np.concatenate([pixels for _, pixels in found]),
    }


def merge_shards(
    output: Path,
    manifest: Manifest,
    shards: Sequence[CompletedShard],
    films: Sequence[str],
    own: Mapping[str, Array],
    provenance: Mapping[str, Any],
) -> None:
    """Writes the scores file of a run from its shards.

    Parameters
    ----------
    output
        Output file.
    manifest
        Manifest of the run.
    shards
        All shards, in the order of their films. One is in memory at a time.
    films
        Paths of the films, or the names that replace them. Those of one shard are encoded at a time.
    own
        The other columns that shards do not contain, by path.
    provenance
        JSON-ready.

    Raises
    ------
    OSError
        If the file cannot be written.
    FileFormatError
        If a shard is damaged.
    """

    width = longest_text(films)

    def read(shard: CompletedShard) -> Iterator[Rows]:
        try:
            values = read_values(shard.path, manifest.fingerprint, shard.rows)
            yield shard.rows, {**values, PATHS: encode_rows(films, shard.rows, width)}
        except FileFormatError as error:
            raise FileFormatError(f"{error}. Remove this file and run the same command again.") from error

    header = _header(
        shards,
        SHARD_LAYOUT,
        fingerprint=manifest.fingerprint,
        inputs=manifest.inputs,
        provenance=provenance,
        own=own,
        widths={PATHS: width},
    )
    write_scores(output, header, _merged(shards, read))


def merged_blocks(parts: Sequence[PartialScoresFile]) -> Iterator[RowBlock]:
    """All rows of the merged file, with one block in memory at a time.

    FileFormatError for a damaged partial file, and if the films are not those of the run.
    """
    digest, between = hashlib.sha256(), b""

    def read(part: PartialScoresFile) -> Iterator[Rows]:
        nonlocal between
        for rows, values in film_blocks(part):
            yield rows, values
            digest.update(between + b"\0".join(values["films/path"].tolist()))
            between = b"\0"
        yield from map_blocks(part)

    yield from _merged(parts, read)
    inputs = parts[0].inputs
    if not inputs.get("anonymize_paths") and digest.hexdigest() != inputs["paths"]:
        raise FileFormatError(
            f"the films of {parts[0].path} and the other partial files do not match their run: one file was changed. "
            "Score the partitions again, then merge."
        )


def _merged(sources: Iterable[Source], read: Callable[[Source], Iterator[Rows]]) -> Iterator[RowBlock]:
    """Merges sources: rows of films go to their index in the run, heat maps are appended in order of the sources.

    ``read`` yields the rows of a source in blocks: the rows of the films within the run, and values by path.
    """
    maps = 0
    for source in sources:
        for rows, values in read(source):
            after = maps + len(values.get("cam/film", ()))
            places = {"film": slice(rows.start, rows.stop), "map": slice(maps, after)}
            yield RowBlock(values=values, places={path: places[_AXIS[path]] for path in values})
            maps = after


def check_no_duplicates(parts: Sequence[Path]) -> None:
    """InputError if the same file is named twice."""
    seen: dict[Path, Path] = {}
    for path in parts:
        if (real := path.resolve()) in seen:
            raise InputError(f"{seen[real]} and {path} are the same file. Name each partial file once.")
        seen[real] = path
