"""The one pass over all shards that makes a scores file of them, with one shard in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.scores.columns import CHUNK_BYTES, LIBVER, create, fill, put, put_text
from cxrscore.scores.layout import FORMAT, LAYOUT, SCALES, SHARD_LAYOUT, TEXT, VERSION
from cxrscore.scores.manifest import Manifest, canonical
from cxrscore.scores.safefile import SafeFile
from cxrscore.scores.shards import ShardHead, read_values

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True, kw_only=True)
class Done:
    """A shard that is done: its file, its rows and its head."""

    path: Path
    rows: range
    head: ShardHead


def merge_shards(
    part: Path, manifest: Manifest, shards: Sequence[Done], own: Mapping[str, Array], provenance: Mapping[str, Any]
) -> None:
    """Writes a scores file at ``part``.

    own  the columns that no shard has, by path

    OSError where the file cannot be written; FileFormatError for a shard that turns out damaged.
    """
    import h5py

    # A chunk that was filled to its end is never needed again: drop those first from HDF5's cache.
    cache = {"rdcc_nbytes": 2 * CHUNK_BYTES, "rdcc_w0": 1.0}
    with SafeFile(part) as target, h5py.File(target, "w", libver=LIBVER, **cache) as file:
        file.attrs.update({"version": VERSION, "complete": False})
        texts = {"format": FORMAT, "fingerprint": manifest.fingerprint}
        texts |= {"inputs": canonical(manifest.inputs), "provenance": canonical(provenance)}
        for name, text in texts.items():
            put_text(file, name, text)
        for column in LAYOUT:
            if not column.in_shard:
                put(file, column, own[column.path])
        datasets = _create_empty(file, manifest, shards)
        maps = 0
        for shard in shards:
            maps = _copy(datasets, shard, manifest.fingerprint, maps)
            target.check()
        _name_axes(file)
        file.attrs["complete"] = True


def _create_empty(file: h5py.File, manifest: Manifest, shards: Sequence[Done]) -> dict[str, h5py.Dataset]:
    """The columns of the shards, by path. They stay open: closing one would pack its unfinished chunk."""
    maps, height, width = _map_shape(shards)
    lengths = {"film": len(manifest.paths), "finding": len(manifest.findings)}
    lengths |= {"map": maps, "map_row": height, "map_column": width}
    datasets = {}
    for column in SHARD_LAYOUT:
        widest = max(shard.head.widths[column.path] for shard in shards) if column.dtype == TEXT else 1
        shape = tuple(lengths[axis] for axis in column.axes)
        datasets[column.path] = create(file, column, shape, width=widest)
    return datasets


def _map_shape(shards: Sequence[Done]) -> tuple[int, int, int]:
    shapes = [shard.head.map_shape for shard in shards]
    sides = {shape[1:] for shape in shapes if shape[0]}
    if len(sides) > 1:
        raise InputError(f"shards have heat maps of different sizes: {sorted(sides)}. Use --overwrite to start anew.")
    height, width = sides.pop() if sides else (1, 1)
    return sum(shape[0] for shape in shapes), height, width


def _copy(datasets: Mapping[str, h5py.Dataset], shard: Done, fingerprint: str, maps: int) -> int:
    """Copies the rows of a shard, and its heat maps behind those already there; returns how many are there then."""
    try:
        values = read_values(shard.path, fingerprint, shard.rows)
    except FileFormatError as error:
        raise FileFormatError(f"{error}. Remove this file and run the same command again.") from error
    after = maps + len(values["cam/film"])
    places = {"film": slice(shard.rows.start, shard.rows.stop), "map": slice(maps, after)}
    for column in SHARD_LAYOUT:
        fill(datasets[column.path], places[column.axes[0]], values[column.path])
    return after


def _name_axes(file: h5py.File) -> None:
    for axis, path in SCALES.items():
        file[path].make_scale(axis)
    for column in LAYOUT:
        for dimension, axis in zip(file[column.path].dims, column.axes, strict=True):
            dimension.label = axis
            if axis in SCALES and column.path not in SCALES.values():
                dimension.attach_scale(file[SCALES[axis]])
