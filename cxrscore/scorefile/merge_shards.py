"""The one pass over all shards that makes a scores file of them, with one shard in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.scorefile.layout import SHARD_LAYOUT, TEXT
from cxrscore.scorefile.manifest import Manifest
from cxrscore.scorefile.shards import ShardHeader, read_values
from cxrscore.scorefile.writing import FileHeader, RowBlock, write_scores


@dataclass(frozen=True, kw_only=True)
class CompletedShard:
    """A shard that is done: its file, its rows and its head."""

    path: Path
    rows: range
    head: ShardHeader


def merge_shards(
    part: Path,
    manifest: Manifest,
    shards: Sequence[CompletedShard],
    own: Mapping[str, Array],
    provenance: Mapping[str, Any],
) -> None:
    """Writes a scores file at ``part``.

    own  the columns that no shard has, by path

    OSError where the file cannot be written; FileFormatError for a shard that turns out damaged.
    """
    heads = [shard.head for shard in shards]
    frame = FileHeader(
        fingerprint=manifest.fingerprint,
        inputs=manifest.inputs,
        provenance=provenance,
        own=own,
        lengths={"film": len(manifest.paths), "finding": len(manifest.findings), **map_lengths(heads)},
        widths={column.path: max_text_bytes(heads, column.path) for column in SHARD_LAYOUT if column.dtype == TEXT},
    )
    write_scores(part, frame, _blocks(shards, manifest.fingerprint))


def map_lengths(heads: Sequence[ShardHeader]) -> dict[str, int]:
    """Lengths of the axes of all heat maps together; InputError where their sizes differ."""
    shapes = [head.map_shape for head in heads]
    sides = {shape[1:] for shape in shapes if shape[0]}
    if len(sides) > 1:
        raise InputError(f"there are heat maps of different sizes: {sorted(sides)}. Use --overwrite to start anew.")
    height, width = sides.pop() if sides else (1, 1)
    return {"map": sum(shape[0] for shape in shapes), "map_row": height, "map_column": width}


def max_text_bytes(heads: Sequence[ShardHeader], path: str) -> int:
    """Bytes of the longest text of a column."""
    return max(head.widths[path] for head in heads)


def _blocks(shards: Sequence[CompletedShard], fingerprint: str) -> Iterator[RowBlock]:
    """The rows of each shard, and its heat maps behind those already there."""
    maps = 0
    for shard in shards:
        try:
            values = read_values(shard.path, fingerprint, shard.rows)
        except FileFormatError as error:
            raise FileFormatError(f"{error}. Remove this file and run the same command again.") from error
        after = maps + len(values["cam/film"])
        places = {"film": slice(shard.rows.start, shard.rows.stop), "map": slice(maps, after)}
        yield RowBlock(values=values, places={column.path: places[column.axes[0]] for column in SHARD_LAYOUT})
        maps = after
