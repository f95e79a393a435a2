"""The heads of the objects in an HDF5 file, read by hand.

libhdf5 (1.14 and 2.0) ends by SIGSEGV on some damaged files, and reads or writes memory that it should not. So no file
is read through it: what h5py writes by default is old and plain enough to be read here, and the rest is refused.

Source: HDF5 File Format Specification 3.0, II.A (superblock), IV.A.1.a (version 1 object header), IV.A.2 (messages).
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from cxrscore.io.regular import HDF5

_SUPERBLOCK = struct.Struct("<8sB4xBB9xQ8xQ8x8xQ")
_HEAD = struct.Struct("<BxHI I4x")
_MESSAGE = struct.Struct("<HHB3x")
_BLOCK = struct.Struct("<QQ")
Messages = Mapping[int, Sequence[bytes]]
"""The messages of an object, by kind."""
UNDEFINED = (1 << 64) - 1
"""An address that leads nowhere."""

SPACE, TYPE, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, LINKS = 0x01, 0x03, 0x07, 0x08, 0x0B, 0x0C, 0x11
"""Kinds of messages that are read."""
_NOTHING, _CONTINUED = 0x00, 0x10
_KNOWN_MESSAGES = frozenset(
    {*(_NOTHING, SPACE, TYPE, 0x04, 0x05, EXTERNAL, LAYOUT, FILTERS), *(ATTRIBUTE, 0x0D, 0x0E, _CONTINUED, LINKS), 0x12}
)
"""Kinds that groups and datasets of the older kind have. One that is not known may be a damaged one that matters."""
_UNSUPPORTED_MESSAGES = {
    0x02: "link info",
    0x06: "link",
    0x0A: "group info",
    0x0F: "shared messages",
    0x15: "attribute info",
}
_SHARED = 0x02
MAX_METADATA = 64 << 20
"""Bytes of heads, links and trees that are read of one file, at most; they say where up to 100 million films are."""
_BLOCKS = 1000
"""Blocks of messages that one object may have."""


class MalformedHDF5Error(Exception):
    """A file is damaged, or of a kind that is not read; the text says why. Raised and caught inside this package."""


class FileBytes:
    """The bytes of a file that is open for reading, ``size`` of them.

    What says where values are is read once, so no more of it is let through than the file has bytes: whatever leads
    in circles comes to an end.
    """

    def __init__(self, descriptor: int) -> None:
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._rest = min(self.size, MAX_METADATA)

    def metadata(self, place: int, size: int) -> bytes:
        """Bytes that are no values; MalformedHDF5Error where the file ends before, or too many were read already."""
        self._rest -= size
        if self._rest < 0:
            raise MalformedHDF5Error("leads in circles, or has too much that says where the values are")
        return self.values(place, size)

    def values(self, place: int, size: int) -> bytes:
        """MalformedHDF5Error where the file ends before."""
        if place + size > self.size:
            raise MalformedHDF5Error(f"names a place beyond its end: it has {self.size} bytes")
        parts, at = [], place
        while at < place + size:  # the system reads at most 2 GB at a time
            parts.append(os.pread(self._descriptor, place + size - at, at))
            if not parts[-1]:
                raise MalformedHDF5Error("became shorter while it was read")
            at += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)


class MemoryBytes(FileBytes):
    """As FileBytes, of a file that lies in memory, such as a member of an archive."""

    def __init__(self, data: memoryview) -> None:
        self.size = len(data)
        self._data = data
        self._rest = min(self.size, MAX_METADATA)

    def values(self, place: int, size: int) -> bytes:
        """As in a file."""
        if place + size > self.size:
            raise MalformedHDF5Error(f"names a place beyond its end: it has {self.size} bytes")
        return bytes(self._data[place : place + size])


def root_address(source: FileBytes) -> int:
    """Where the head of the root group is; MalformedHDF5Error unless the file begins as h5py begins files by
    default."""
    if source.size < _SUPERBLOCK.size or source.values(0, len(HDF5)) != HDF5:
        raise MalformedHDF5Error("does not begin as HDF5 files do")
    _, version, offset, length, base, end, address = _SUPERBLOCK.unpack(source.metadata(0, _SUPERBLOCK.size))
    if (version, offset, length, base) != (0, 8, 8, 0):
        raise MalformedHDF5Error("has a superblock of another kind than version 0")
    if end > source.size:
        raise MalformedHDF5Error(f"is cut short: it has {source.size} of {end} bytes")
    return int(address)


def read_object_header(source: FileBytes, address: int) -> Messages:
    """The messages of an object, by kind; MalformedHDF5Error unless its head is of version 1 and has none of other
    kinds."""
    version, count, _, size = _HEAD.unpack(source.metadata(address, _HEAD.size))
    if version != 1:
        raise MalformedHDF5Error("has a head that is not of version 1")
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    blocks = [(address + _HEAD.size, size)]
    for start, length in blocks:  # grows as blocks name further ones
        for kind, content in _messages(source.metadata(start, length)):
            if kind == _CONTINUED:
                blocks.append(_BLOCK.unpack_from(content))
            if kind not in _KNOWN_MESSAGES:
                raise MalformedHDF5Error(f"has a message of the kind {_UNSUPPORTED_MESSAGES.get(kind, kind)}")
            if kind != _NOTHING:
                found[kind].append(content)
            count -= 1
        if len(blocks) > _BLOCKS:
            raise MalformedHDF5Error(f"has a head of over {_BLOCKS} blocks")
    if count < 0:
        raise MalformedHDF5Error("has more messages than its head says")
    return found


def single_message(messages: Messages, kind: int) -> bytes:
    """The one message of a kind; MalformedHDF5Error where there are none or several."""
    found = messages.get(kind, ())
    if len(found) != 1:
        raise MalformedHDF5Error(f"has {len(found)} messages of the kind {kind}, expected one")
    return found[0]


def _messages(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each."""
    at = 0
    while at < len(block):
        kind, size, flags = _MESSAGE.unpack_from(block, at)
        if flags & _SHARED:
            raise MalformedHDF5Error("shares a message with another")
        at += _MESSAGE.size + size
        if at > len(block):
            raise MalformedHDF5Error("has a message that is longer than its block")
        yield kind, block[at - size : at]
