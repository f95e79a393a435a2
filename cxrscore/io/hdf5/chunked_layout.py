"""The values of an HDF5 dataset: where they are, and how they are unpacked.

Every length is looked at, and no more is unpacked than is wanted.

Source: HDF5 File Format Specification 3.0, III.A.1 (version 1 B-trees), IV.A.2.i (layout) and l (filters).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.io.hdf5.btree import VALUES_NODE, btree_leaves
from cxrscore.io.hdf5.datatypes import as_values
from cxrscore.io.hdf5.object_header import (
    EXTERNAL,
    FILTERS,
    LAYOUT,
    UNDEFINED,
    FileBytes,
    MalformedHDF5Error,
    Messages,
    single_message,
)

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
"""Codes of the filters that are known here."""
_PIECE = struct.Struct("<QQ")
_TREE = struct.Struct("<BQ")
_SHORT = struct.Struct("<H")
_PAIR = struct.Struct("<HH")
_START = struct.Struct("<BB")
_COMPACT, _PLAIN, _CHUNKED, _VIRTUAL = range(4)
_WORDS = 1 << 20
"""Words that are summed up at a time, so that 64 bits are enough."""


class VirtualError(MalformedHDF5Error):
    """A dataset's values lie in other files."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A block of values: where it is in the file, its packed bytes, and where it is in the dataset."""

    place: int
    size: int
    corner: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetStorage:
    """Where the values of a dataset are.

    shape    its sides
    block    sides of a chunk; ``shape`` where the values lie in one piece
    filters  codes, in the order in which they packed
    chunks   those that there are
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]
    filters: tuple[int, ...]
    chunks: tuple[Chunk, ...]

    @property
    def stored_bytes(self) -> int:
        """Bytes in the file."""
        return sum(chunk.size for chunk in self.chunks)

    @property
    def expected_chunks(self) -> int:
        """How many chunks there should be."""
        return math.prod(-(-side // step) for side, step in zip(self.shape, self.block, strict=True) if side)

    @property
    def padded_values(self) -> int:
        """How many values its chunks have, those that stick out of the dataset included; sides of 0 count as 1."""
        return self.expected_chunks * math.prod(step or 1 for step in self.block)


def storage_of(source: FileBytes, messages: Messages, shape: tuple[int, ...], itemsize: int) -> DatasetStorage:
    """Where a dataset's values are; MalformedHDF5Error unless they are in this file, in one piece or in chunks of a
    kind that
    is read."""
    if EXTERNAL in messages:
        raise MalformedHDF5Error("has its data in another file")
    layout = single_message(messages, LAYOUT)
    version, kind = _START.unpack_from(layout)
    if kind == _VIRTUAL and version > 3:
        raise VirtualError(
            "is virtual: its data lie in other files. If it has scores, merge its parts without --virtual"
        )
    if version != 3 or kind not in (_PLAIN, _CHUNKED):
        raise MalformedHDF5Error(
            "has its values within its head" if kind == _COMPACT else "has a layout of another kind than version 3"
        )
    if kind == _CHUNKED:
        return _chunked(source, layout, _filters(messages, itemsize), shape, itemsize)
    place, size = _PIECE.unpack_from(layout, 2)
    piece = Chunk(place=place, size=size, corner=(0,) * len(shape))
    there = () if place == UNDEFINED else (piece,)
    return DatasetStorage(shape=shape, block=shape, filters=(), chunks=there)


def read_values(source: FileBytes, storage: DatasetStorage, dtype: np.dtype[Any]) -> Array:
    """All values; MalformedHDF5Error where any of them is missing or is not what it should be."""
    values: Array = np.zeros(storage.shape, dtype)
    if not values.size:
        return values
    if len(storage.chunks) < storage.expected_chunks:
        raise MalformedHDF5Error(f"has {len(storage.chunks)} of its {storage.expected_chunks} chunks")
    size = math.prod(storage.block) * dtype.itemsize
    for chunk in storage.chunks:
        raw = decode_chunk(source.values(chunk.place, chunk.size), storage.filters, size, dtype.itemsize)
        inside = values[_block_index(chunk.corner, storage.block)]
        inside[...] = as_values(raw, dtype).reshape(storage.block)[_block_index((0,) * inside.ndim, inside.shape)]
    return values


def read_rows(source: FileBytes, storage: DatasetStorage, dtype: np.dtype[Any], rows: range) -> Array:
    """The values at these places of the first side, without unpacking those far from them; errors as read_values."""
    step = storage.block[0] or 1
    start, stop = rows.start // step * step, min(-(-rows.stop // step) * step, storage.shape[0])
    overlapping = tuple(
        replace(chunk, corner=(chunk.corner[0] - start, *chunk.corner[1:]))
        for chunk in storage.chunks
        if start <= chunk.corner[0] < stop
    )
    part = replace(storage, shape=(stop - start, *storage.shape[1:]), chunks=overlapping)
    return read_values(source, part, dtype)[rows.start - start : rows.stop - start]


def _block_index(corner: Sequence[int], sides: Sequence[int]) -> tuple[Any, ...]:
    """An index that gives a view of a block, even of one without dimensions."""
    return (*(slice(start, start + side) for start, side in zip(corner, sides, strict=True)), ...)


def _chunked(
    source: FileBytes, layout: bytes, filters: tuple[int, ...], shape: tuple[int, ...], itemsize: int
) -> DatasetStorage:
    sides, address = _TREE.unpack_from(layout, 2)
    if sides != len(shape) + 1:
        raise MalformedHDF5Error(f"has chunks of {sides - 1} dimensions, itself {len(shape)}")
    *block, size = struct.unpack_from(f"<{sides}I", layout, 2 + _TREE.size)
    if size != itemsize:
        raise MalformedHDF5Error("has chunks with values of another size than its type says")
    if 0 in block:
        raise MalformedHDF5Error(f"has chunks of shape {block}, itself of shape {list(shape)}")
    bare = DatasetStorage(shape=shape, block=tuple(block), filters=filters, chunks=())
    return replace(bare, chunks=tuple(_chunks(source, address, bare)))


def _chunks(source: FileBytes, address: int, storage: DatasetStorage) -> Iterator[Chunk]:
    """Each chunk once. A tree that leads to more of them than there can be is left at once."""
    key = struct.Struct(f"<II{len(storage.shape)}Q8x")
    seen: set[tuple[int, ...]] = set()
    for raw, place in btree_leaves(source, address, VALUES_NODE, key.size):
        size, mask, *at = key.unpack(raw)
        corner = tuple(at)
        if mask:
            raise MalformedHDF5Error("has a chunk that leaves out filters")
        fits = all(
            a < side and a % step == 0 for a, side, step in zip(corner, storage.shape, storage.block, strict=True)
        )
        if not fits or corner in seen:
            raise MalformedHDF5Error(f"has a chunk at {corner}, or two")
        seen.add(corner)
        yield Chunk(place=place, size=size, corner=corner)


def _filters(messages: Messages, itemsize: int) -> tuple[int, ...]:
    """Codes of a dataset's filters, each once; MalformedHDF5Error for those that are not known here."""
    if FILTERS not in messages:
        return ()
    codes: list[int] = []
    for code, numbers in _pipeline(single_message(messages, FILTERS)):
        if code not in (DEFLATE, SHUFFLE, FLETCHER32) or code in codes:
            raise MalformedHDF5Error(f"is packed with filter {code}; expected gzip, shuffle or fletcher32, each once")
        if code == SHUFFLE and numbers[:1] != (itemsize,):
            raise MalformedHDF5Error("has values of another size than were shuffled")
        codes.append(code)
    return tuple(codes)


def _pipeline(message: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Code and numbers of each filter. In version 2, those that HDF5 itself knows have no name."""
    version, count = _START.unpack_from(message)
    at = 8 if version == 1 else 2
    for _ in range(count):
        (code,) = _SHORT.unpack_from(message, at)
        named = version == 1 or code >= 256
        name = _SHORT.unpack_from(message, at + 2)[0] if named else 0
        at += 4 if named else 2
        _, many = _PAIR.unpack_from(message, at)
        at += 4 + name
        yield code, struct.unpack_from(f"<{many}I", message, at)
        at += 4 * (many + many % 2 if version == 1 else many)


def decode_chunk(raw: bytes, filters: Sequence[int], size: int, itemsize: int) -> bytes:
    """A chunk of ``size`` bytes, of what the filters made of it; MalformedHDF5Error if it is not that long, or its
    checksum
    is wrong."""
    for code in reversed(filters):
        if code == DEFLATE:
            raw = _inflate(raw, size + 4 * filters.count(FLETCHER32))
        elif code == FLETCHER32:
            raw = _strip_checksum(raw)
        elif code == SHUFFLE:
            raw = _unshuffle(raw, itemsize)
        else:
            raise MalformedHDF5Error(f"is packed with filter {code}")
    if len(raw) != size:
        raise MalformedHDF5Error(f"has a chunk of {len(raw)} bytes, expected {size}")
    return raw


def _inflate(raw: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, most + 1)
    except zlib.error as error:
        raise MalformedHDF5Error(f"has a chunk that cannot be unpacked: {error}") from None


def _unshuffle(raw: bytes, itemsize: int) -> bytes:
    """Undoes the shuffle: first bytes of all values, second bytes, ...; bytes that make no whole value stay last."""
    count = len(raw) // itemsize
    planes = np.frombuffer(raw, np.uint8, count * itemsize).reshape(itemsize, count)
    return planes.T.tobytes() + raw[count * itemsize :]


def _strip_checksum(raw: bytes) -> bytes:
    """Without the Fletcher-32 checksum behind it, which is compared; 0 and 65535 are the same to it."""
    data, stored = raw[:-4], int.from_bytes(raw[-4:], "little")
    first, second = _fletcher32(data)
    if len(raw) < 4 or (stored & 0xFFFF) % 65535 != first or (stored >> 16) % 65535 != second:
        raise MalformedHDF5Error("has a chunk with a wrong checksum")
    return data


def _fletcher32(data: bytes) -> tuple[int, int]:
    """The two sums, modulo 65535, over big-endian words; a last odd byte is the upper half of a word."""
    words: NDArray[np.uint64] = np.frombuffer(data + bytes(len(data) % 2), ">u2").astype(np.uint64)
    first = second = 0
    for start in range(0, len(words), _WORDS):
        block = words[start : start + _WORDS]
        weights = np.arange(len(block), 0, -1, dtype=np.uint64)
        second = (second + len(block) * first + int(block @ weights)) % 65535
        first = (first + int(block.sum())) % 65535
    return first, second
