"""The values of an HDF5 dataset, read and unpacked here and not by libhdf5.

libhdf5 (1.14 and 2.0) believes that a chunk is as long as it should be: of a shorter one it returns whatever lies
behind it in memory, a longer one it may write over what lies there, or it ends by SIGSEGV. So it is asked only where
the bytes are. Here every length is looked at, and no more is unpacked than is wanted.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
"""Codes of the filters that are known here."""
_WORDS = 1 << 20
"""Words that are summed up at a time, so that 64 bits are enough."""


class ChunkError(Exception):
    """A chunk is not what its dataset says. Never leaves this room."""


def read_values(dataset: Any) -> Array:
    """All values; ChunkError where any of them is missing or is not what it should be."""
    values: Array = np.zeros(dataset.shape, dataset.dtype)
    if not values.size:
        return values
    if dataset.chunks is None:
        return _whole(dataset).reshape(dataset.shape)
    filters = _filters(dataset)
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    for chunk in _chunks(dataset):
        raw = _read(dataset, chunk.byte_offset, chunk.size)
        block = np.frombuffer(unpacked(raw, filters, size, dataset.dtype.itemsize), dataset.dtype)
        corner = zip(chunk.chunk_offset, dataset.chunks, strict=True)
        inside = values[tuple(slice(start, start + side) for start, side in corner)]
        inside[...] = block.reshape(dataset.chunks)[tuple(map(slice, inside.shape))]
    return values


def _whole(dataset: Any) -> Array:
    """The values of a dataset that lies in the file in one piece."""
    offset = dataset.id.get_offset()
    if offset is None:
        raise ChunkError("has no values in the file")
    return np.frombuffer(_read(dataset, offset, dataset.size * dataset.dtype.itemsize), dataset.dtype).copy()


def _read(dataset: Any, offset: int, size: int) -> bytes:
    """So many bytes of the file; ChunkError where it ends before."""
    descriptor = dataset.file.id.get_vfd_handle()
    if offset + size > os.fstat(descriptor).st_size:
        raise ChunkError("has values beyond the end of the file")
    parts, at = [], offset
    while at < offset + size:  # the system reads at most 2 GB at a time
        parts.append(os.pread(descriptor, offset + size - at, at))
        if not parts[-1]:
            raise ChunkError("has values beyond the end of the file")
        at += len(parts[-1])
    return b"".join(parts)


def _filters(dataset: Any) -> list[int]:
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]


def _chunks(dataset: Any) -> list[Any]:
    """Where the chunks are, each once. A tree that leads to more of them than there can be is left at once."""
    most = math.prod(-(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    found: dict[tuple[int, ...], Any] = {}

    def take(chunk: Any) -> None:
        if chunk.filter_mask:
            raise ChunkError("has a chunk that leaves out filters")
        for at, side, step in zip(chunk.chunk_offset, dataset.shape, dataset.chunks, strict=True):
            if at >= side or at % step or chunk.chunk_offset in found:
                raise ChunkError(f"has a chunk at {chunk.chunk_offset}, or two")
        found[chunk.chunk_offset] = chunk

    dataset.id.chunk_iter(take)
    if len(found) < most:
        raise ChunkError(f"has {len(found)} of its {most} chunks")
    return list(found.values())


def unpacked(raw: bytes, filters: Sequence[int], size: int, itemsize: int) -> bytes:
    """A chunk of ``size`` bytes, of what the filters made of it; ChunkError if it is not that long, or its checksum is
    wrong."""
    for code in reversed(filters):
        if code == DEFLATE:
            raw = _inflated(raw, size + 4 * filters.count(FLETCHER32))
        elif code == FLETCHER32:
            raw = _checked(raw)
        elif code == SHUFFLE:
            raw = _in_order(raw, itemsize)
        else:
            raise ChunkError(f"is packed with filter {code}")
    if len(raw) != size:
        raise ChunkError(f"has a chunk of {len(raw)} bytes, wanted {size}")
    return raw


def _inflated(raw: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, most + 1)
    except zlib.error as error:
        raise ChunkError(f"has a chunk that cannot be unpacked: {error}") from None


def _in_order(raw: bytes, itemsize: int) -> bytes:
    """Undoes the shuffle: first bytes of all values, second bytes, ...; bytes that make no whole value stay last."""
    count = len(raw) // itemsize
    planes = np.frombuffer(raw, np.uint8, count * itemsize).reshape(itemsize, count)
    return planes.T.tobytes() + raw[count * itemsize :]


def _checked(raw: bytes) -> bytes:
    """Without the Fletcher-32 checksum behind it, which is compared; 0 and 65535 are the same to it."""
    data, stored = raw[:-4], int.from_bytes(raw[-4:], "little")
    first, second = _fletcher32(data)
    if len(raw) < 4 or (stored & 0xFFFF) % 65535 != first or (stored >> 16) % 65535 != second:
        raise ChunkError("has a chunk with a wrong checksum")
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
