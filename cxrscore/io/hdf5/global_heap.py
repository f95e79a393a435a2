"""Texts of any length, which HDF5 keeps in heaps away from the values that name them.

Source: HDF5 File Format Specification 3.0, III.E (global heap).
"""

from __future__ import annotations

import struct

from cxrscore.io.hdf5.object_header import FileBytes, MalformedHDF5Error

_REFERENCE = struct.Struct("<IQI")
_HEAP = struct.Struct("<4sB3xQ")
_ITEM = struct.Struct("<H6xQ")


class GlobalHeap:
    """The heaps of a file, each read once."""

    def __init__(self, source: FileBytes) -> None:
        self._source = source
        self._known: dict[int, dict[int, bytes]] = {}

    def texts(self, references: bytes, longest: int) -> list[bytes]:
        """The texts that references name; MalformedHDF5Error where one is not there, or all have over ``longest``
        bytes."""
        found: list[bytes] = []
        for size, address, index in _REFERENCE.iter_unpack(references):
            text = self._items(address).get(index, b"")[:size] if size else b""
            if len(text) < size:
                raise MalformedHDF5Error("names a text that is not there")
            longest -= size
            if longest < 0:
                raise MalformedHDF5Error("has texts that are too long")
            found.append(text)
        return found

    def _items(self, address: int) -> dict[int, bytes]:
        if address not in self._known:
            self._known[address] = _items(self._source, address)
        return self._known[address]


def _items(source: FileBytes, address: int) -> dict[int, bytes]:
    """What is in a heap, by number; number 0 is the free space."""
    signature, version, size = _HEAP.unpack(source.metadata(address, _HEAP.size))
    if (signature, version) != (b"GCOL", 1) or size < _HEAP.size:
        raise MalformedHDF5Error("has a heap of texts that is none")
    heap = source.metadata(address + _HEAP.size, size - _HEAP.size)
    items: dict[int, bytes] = {}
    at = 0
    while at + _ITEM.size <= len(heap):
        index, length = _ITEM.unpack_from(heap, at)
        if index == 0:
            break
        at += _ITEM.size
        items[index] = heap[at : at + length]
        at += -(-length // 8) * 8
    return items
