"""Parts to the scores file of the whole run: which parts belong together, and the pass over them that joins them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.scorefile.layout import TEXT
from cxrscore.scorefile.manifest import differences
from cxrscore.scorefile.merge_shards import map_lengths, max_text_bytes
from cxrscore.scorefile.partial_file import FILM_COLUMNS, PartialScoresFile, film_blocks, map_blocks, read_thumbnails
from cxrscore.scorefile.partition import Partition
from cxrscore.scorefile.thumbnail_selection import concatenate, select_thumbnails
from cxrscore.scorefile.writing import FileHeader, RowBlock

NAMED = 5
"""Missing partitions that are named one by one."""


def check_parts_match(parts: Sequence[PartialScoresFile]) -> list[PartialScoresFile]:
    """The parts in the order of their films. InputError, naming files, unless they are the partitions of one run, each
    of them once and none missing."""
    if not parts:
        raise InputError("no part is named, wanted all parts of a run")
    for part in parts[1:]:
        _check_same_run(parts[0], part)
    ordered = sorted(parts, key=lambda part: part.rows.start)
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
            advice = " Films were added to the folder, or removed from it, while partitions were begun."
        raise InputError(
            f"{first.path} and {part.path} are parts of different runs: {'; '.join(changed)}.{advice} Score all "
            "partitions alike, then merge."
        )
    for what, one, other in (
        ("were divided into different numbers of partitions", first.partition.count, part.partition.count),
        ("are to have different numbers of small films", first.thumbnails, part.thumbnails),
        ("have different label tables", _table(first), _table(part)),
    ):
        if one != other:
            raise InputError(f"{first.path} and {part.path} {what}: {one} and {other}. Score all partitions alike.")
    same = np.array_equal(first.findings, part.findings)
    if not same or not np.array_equal(first.thresholds, part.thresholds, equal_nan=True):
        raise FileFormatError(f"{first.path} and {part.path} say that they have the same models, and differ in them")


def _table(part: PartialScoresFile) -> str:
    labels = part.provenance.get("labels")
    return f"one of SHA-256 {labels.get('sha256', '')[:16]}" if labels else "none"


def _check_none_missing(ordered: Sequence[PartialScoresFile]) -> None:
    of, films = ordered[0].partition.count, ordered[0].inputs["films"]
    if sum(len(part.rows) for part in ordered) == films:  # they are different partitions, so they do not overlap
        return
    there = {part.partition.number for part in ordered}
    partitions = (Partition(number=number, count=of) for number in range(1, of + 1) if number not in there)
    missing = (partition for partition in partitions if partition.rows(films))
    told = "part {0} is missing: run `cxrscore score ... --shard {0} -o ...`"
    named = [told.format(partition) for partition in islice(missing, NAMED)]
    more = sum(1 for _ in missing)
    raise InputError("; ".join(named) + (f"; and {more} more are missing" if more else ""))


def merged_header(parts: Sequence[PartialScoresFile], provenance: Mapping[str, Any]) -> FileHeader:
    """What is known of the joined file before its rows are; parts as check_parts_match gives them."""
    first, heads = parts[0], [part.head for part in parts]
    films = sum(len(part.rows) for part in parts)
    texts = [column.path for column in FILM_COLUMNS if column.dtype == TEXT]
    thumbnails = _thumbnails(parts, films)
    return FileHeader(
        fingerprint=first.run,
        inputs=first.inputs,
        provenance=provenance,
        own={"labels": first.findings, "thresholds": first.thresholds, **thumbnails},
        lengths={"film": films, "finding": len(first.findings), **map_lengths(heads)},
        widths={path: max_text_bytes(heads, path) for path in texts},
    )


def _thumbnails(parts: Sequence[PartialScoresFile], films: int) -> dict[str, Array]:
    """The small films of the whole run, of those that the parts have."""
    chosen = set(
        select_thumbnails(concatenate([part.thumbnail_candidates for part in parts]), films, parts[0].thumbnails)
    )
    found = [read_thumbnails(part, chosen) for part in parts if chosen.intersection(part.rows)]
    if not found:
        found = [read_thumbnails(parts[0], ())]
    if len({pixels.shape[1:] for _, pixels in found}) > 1:
        raise InputError("the small films of the parts have different sizes. Score all partitions with one cxrscore.")
    return {
        "thumbnails/film": np.concatenate([rows for rows, _ in found]),
        "thumbnails/pixels": np.concatenate([pixels for _, pixels in found]),
    }


def merged_blocks(parts: Sequence[PartialScoresFile]) -> Iterator[RowBlock]:
    """All rows of the joined file. FileFormatError for a part that turns out damaged, and where the films are not those
    of the run."""
    yield from _film_blocks(parts)
    maps = 0
    for part in parts:
        for rows, values in map_blocks(part):
            place = slice(maps + rows.start, maps + rows.stop)
            yield RowBlock(values=values, places=dict.fromkeys(values, place))
        maps += part.head.map_shape[0]


def _film_blocks(parts: Sequence[PartialScoresFile]) -> Iterator[RowBlock]:
    digest, between = hashlib.sha256(), b""
    for part in parts:
        for rows, values in film_blocks(part):
            yield RowBlock(values=values, places=dict.fromkeys(values, slice(rows.start, rows.stop)))
            digest.update(between + b"\0".join(values["films/path"].tolist()))
            between = b"\0"
    inputs = parts[0].inputs
    if not inputs.get("anonymize_paths") and digest.hexdigest() != inputs["paths"]:
        raise FileFormatError(
            f"the films of {parts[0].path} and the other parts are not those of their run. One of them was changed."
        )


def check_no_duplicates(parts: Sequence[Path]) -> None:
    """InputError where one file is named twice."""
    seen: dict[Path, Path] = {}
    for path in parts:
        if (real := path.resolve()) in seen:
            raise InputError(f"{seen[real]} and {path} are one file. Name each part once.")
        seen[real] = path
