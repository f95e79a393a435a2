"""The heads of the objects in an HDF5 file, looked at by hand before libhdf5 may read on.

libhdf5 1.14 and 2.0 end by SIGSEGV on some damaged files: groups of the kind that HDF5 1.8 brought, whose links lie in
messages and heaps, and datasets whose chunks have values of another size than their type says. So only the older kind,
which h5py writes by default, is let through, and the sizes are compared.

Source: HDF5 File Format Specification 3.0, II.A (superblock), IV.A.1.a (version 1 object header), IV.A.2.d and i
(datatype and data layout messages).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = struct.Struct("<8sB4xBB9xQ24x8xQ")
_HEAD = struct.Struct("<BxH4xI4x")
_MESSAGE = struct.Struct("<HHB3x")
_BLOCK = struct.Struct("<QQ")
_NEWER = {0x02: "link info", 0x06: "link", 0x0A: "group info", 0x0F: "shared messages", 0x15: "attribute info"}
_KNOWN = frozenset({0x00, 0x01, 0x03, 0x04, 0x05, 0x07, 0x08, 0x0B, 0x0C, 0x0D, 0x0E, 0x10, 0x11, 0x12, 0x16})
"""Kinds of messages that groups and datasets of the older kind have. libhdf5 passes over those that it does not know,
and then takes packed values for plain ones."""
_DATATYPE, _LAYOUT, _CONTINUED = 0x03, 0x08, 0x10
_SHARED = 0x02
_COMPACT, _CHUNKED, _VIRTUAL = 0, 2, 3
_LARGEST = 64 << 20
_BLOCKS = 1000
"""Blocks of messages that one object may have."""


class OddHeadError(Exception):
    """An object is of a kind that is not read; the text says why. Never leaves this room."""


def root_address(file: BinaryIO) -> int:
    """Where the head of the root group is; OddHeadError unless the file begins as h5py begins files by default."""
    data = _at(file, 0, _SUPERBLOCK.size)
    signature, version, offset, length, base, address = _SUPERBLOCK.unpack(data)
    if (signature, version, offset, length, base) != (_SIGNATURE, 0, 8, 8, 0):
        raise OddHeadError("the file has a superblock of another kind than version 0")
    return int(address)


def check_head(file: BinaryIO, address: int) -> None:
    """OddHeadError unless an object has a head of version 1, without messages of the newer kind of groups, whose
    chunks, if it has any, have values of the size that its type says."""
    version, _, size = _HEAD.unpack(_at(file, address, _HEAD.size))
    if version != 1:
        raise OddHeadError("the head of an object is not of version 1")
    blocks, sizes = [(address + _HEAD.size, size)], set()
    for start, length in blocks:  # grows as blocks name further ones
        for kind, content in _messages(_at(file, start, length)):
            if kind not in _KNOWN:
                raise OddHeadError(f"an object has a message of the kind {_NEWER.get(kind, kind)}")
            if kind == _CONTINUED and len(content) >= _BLOCK.size:
                blocks.append(_BLOCK.unpack_from(content))
            sizes |= _value_sizes(kind, content)
        if len(blocks) > _BLOCKS:
            raise OddHeadError(f"the head of an object has over {_BLOCKS} blocks")
    if len(sizes) > 1:
        raise OddHeadError("the chunks of a dataset have values of another size than its type says")


def _messages(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each."""
    at = 0
    while at + _MESSAGE.size <= len(block):
        kind, size, flags = _MESSAGE.unpack_from(block, at)
        if flags & _SHARED:
            raise OddHeadError("an object shares a message with another")
        at += _MESSAGE.size
        yield kind, block[at : at + size]
        at += size


def _value_sizes(kind: int, content: bytes) -> set[int]:
    """Bytes of a value, where the message says."""
    if kind == _DATATYPE and len(content) >= 8:
        return {int.from_bytes(content[4:8], "little")}
    if kind == _LAYOUT and len(content) >= 3:
        version, layout, dimensions = content[:3]
        if version != 3 and (version, layout) != (4, _VIRTUAL):  # virtual ones are told by their own name later
            raise OddHeadError("a dataset has a layout of another kind than version 3")
        if layout == _COMPACT:
            raise OddHeadError("a dataset has its values within its head")
        if layout == _CHUNKED:
            last = 11 + 4 * dimensions
            return {int.from_bytes(content[last - 4 : last], "little") if last <= len(content) else -1}
    return set()


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    if place > 1 << 62:
        raise OddHeadError("the file names a place beyond its end")
    file.seek(place)
    data = file.read(min(size, _LARGEST))
    if len(data) < size:
        raise OddHeadError("the head of an object is longer than the file, or than 64 MiB")
    return data
