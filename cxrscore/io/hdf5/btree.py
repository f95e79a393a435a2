"""The members of a group of an HDF5 file of the older kind: a tree of blocks of links, whose names lie in a heap.

Source: HDF5 File Format Specification 3.0, III.A.1 (version 1 B-trees), III.B (symbol table nodes), III.C (entries),
III.D (local heap), IV.A.2.r (symbol table message).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cxrscore.io.hdf5.object_header import UNDEFINED, FileBytes, MalformedHDF5Error

_ROOTS = struct.Struct("<QQ")
_NODE = struct.Struct("<4sBBHQQ")
_HEAP = struct.Struct("<4sB3xQQQ")
_BLOCK = struct.Struct("<4sBxH")
_ENTRY = struct.Struct("<QQI4x16x")
_LINKS_NODE, VALUES_NODE = 0, 1
_PLAIN, _GROUP, _SOFT = 0, 1, 2
_LONGEST = 1024
"""Bytes of a name."""


def group_members(source: FileBytes, message: bytes) -> Iterator[tuple[str, int]]:
    """Name and address of each; MalformedHDF5Error for a link that leads elsewhere, or an odd name."""
    tree, heap = _ROOTS.unpack_from(message)
    names = _heap(source, heap)
    for _, block in btree_leaves(source, tree, _LINKS_NODE, 8):
        signature, version, count = _BLOCK.unpack(source.metadata(block, _BLOCK.size))
        if (signature, version) != (b"SNOD", 1):
            raise MalformedHDF5Error("has a block of links that is none")
        for place, address, kind in _ENTRY.iter_unpack(source.metadata(block + _BLOCK.size, count * _ENTRY.size)):
            name = _name(names, place)
            if kind not in (_PLAIN, _GROUP):
                word = "a soft link" if kind == _SOFT else f"a link of the kind {kind}"
                raise MalformedHDF5Error(f"has {name}, {word}; only plain members are read")
            yield name, address


def btree_leaves(source: FileBytes, address: int, kind: int, key: int) -> Iterator[tuple[bytes, int]]:
    """Key and address of each leaf of a tree; nothing for a tree that is nowhere.

    kind  _LINKS_NODE or VALUES_NODE
    key   bytes of a key
    """
    waiting = [] if address == UNDEFINED else [(address, -1)]
    while waiting:
        place, level = waiting.pop()
        signature, found, height, count, _, _ = _NODE.unpack(source.metadata(place, _NODE.size))
        if (signature, found) != (b"TREE", kind) or level not in (-1, height):
            raise MalformedHDF5Error("has a tree with a node that is none of it")
        entries = source.metadata(place + _NODE.size, count * (key + 8))
        children = [
            (entries[at : at + key], int.from_bytes(entries[at + key : at + key + 8], "little"))
            for at in range(0, len(entries), key + 8)
        ]
        if height:
            waiting += [(child, height - 1) for _, child in reversed(children)]
        else:
            yield from children


def _heap(source: FileBytes, address: int) -> bytes:
    signature, version, size, _, place = _HEAP.unpack(source.metadata(address, _HEAP.size))
    if (signature, version) != (b"HEAP", 0):
        raise MalformedHDF5Error("has a heap of names that is none")
    return source.metadata(place, size)


def _name(names: bytes, place: int) -> str:
    raw, end, _ = names[place : place + _LONGEST].partition(b"\0")
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise MalformedHDF5Error(f"has a member whose name is not UTF-8: {raw!r}") from None
    if not end or not name or "/" in name:
        raise MalformedHDF5Error(f"has a member whose name is empty, has a slash, or is too long: {name[:50]!r}")
    return name
