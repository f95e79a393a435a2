"""Zip archives whose members are stored as they are, as torch and Keras write them: nothing is inflated."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

MAX_MEMBERS = 65_000


class ArchiveError(Exception):
    """An archive is damaged or of another kind. Raised and caught inside this package."""


_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


def stored_members(data: memoryview) -> dict[str, memoryview]:
    """The bytes of each member by its name; ArchiveError if any is not stored as it is. The table of contents is
    read by hand, as zipfile builds an object for as many members as it claims."""
    if len(data) < _END.size:
        raise ArchiveError("it is a zip archive that was cut")
    mark, _, _, _, count, size, start, comment = _END.unpack_from(data, len(data) - _END.size)
    if mark != b"PK\x05\x06" or comment or count > MAX_MEMBERS or start + size > len(data):
        raise ArchiveError("it is a zip archive that was cut, or has a comment or too many members")
    members: dict[str, memoryview] = {}
    taken = 0
    for name, member in _listed(data, start, start + size, count):
        taken += len(member)
        if name in members or taken > len(data):
            raise ArchiveError(f"it is a zip archive in which {name[:80]!r} lies upon another member")
        members[name] = member
    return members


def _listed(data: memoryview, at: int, end: int, count: int) -> Iterator[tuple[str, memoryview]]:
    for _ in range(count):
        if at + _ENTRY.size > end:
            raise ArchiveError("it is a zip archive whose table of contents was cut")
        entry = _ENTRY.unpack_from(data, at)
        flags, method, check, packed, size = entry[3], entry[4], *entry[7:10]
        lengths, place = entry[10:13], entry[16]
        name = bytes(data[at + _ENTRY.size : at + _ENTRY.size + lengths[0]]).decode("utf-8", "replace")
        at += _ENTRY.size + sum(lengths)
        if entry[0] != b"PK\x01\x02" or flags & 1 or method != 0 or packed != size:
            if "/code/" in name:
                raise ArchiveError("it is a TorchScript program, not weights. Save the state_dict of the network")
            raise ArchiveError(f"its member {name[:80]!r} is packed or encrypted, expected one that is stored as it is")
        member = _stored(data, place, size)
        if zlib.crc32(member) != check:
            raise ArchiveError(f"its member {name[:80]!r} is damaged: its checksum is another")
        yield name, member


def _stored(data: memoryview, place: int, size: int) -> memoryview:
    if place + _LOCAL.size > len(data):
        raise ArchiveError("it is a zip archive with a member beyond its end")
    mark, *_, name, extra = _LOCAL.unpack_from(data, place)
    start = place + _LOCAL.size + name + extra
    if mark != b"PK\x03\x04" or start + size > len(data):
        raise ArchiveError("it is a zip archive with a member beyond its end")
    return data[start : start + size]
