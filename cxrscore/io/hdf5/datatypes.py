"""The messages that say what values are: their type, their shape, and attributes, which are both and the values.

Source: HDF5 File Format Specification 3.0, IV.A.2.b (dataspace), d (datatype) and m (attribute).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrscore.contract import Array
from cxrscore.io.hdf5.object_header import MalformedHDF5Error

_TYPE = struct.Struct("<B3sI")
_SPACE = struct.Struct("<BBBB")
_INTEGER = struct.Struct("<HH")
_FLOAT = struct.Struct("<HHBBBBI")
_ATTRIBUTE = struct.Struct("<BBHHH")
_FIXED_POINT, _REAL, _TEXT, _ENUMERATION, _VARIED = 0, 1, 3, 8, 9
_OTHER = {2: "times", 4: "bit fields", 5: "opaque bytes", 6: "records", 7: "references", 9: "texts of any length"}
_IEEE = {
    2: (0x20, 15, 0, 16, 10, 5, 0, 10, 15),
    4: (0x20, 31, 0, 32, 23, 8, 0, 23, 127),
    8: (0x20, 63, 0, 64, 52, 11, 0, 52, 1023),
}
"""Of floats, by size: the mantissa's first bit is implied, place of the sign; offset, bits, then where the exponent and
the mantissa begin and their bits, and the bias."""
_TRUTH = (b"FALSE\0\0\0TRUE\0\0\0\0\0\1", b"FALSE\0TRUE\0\0\1")
"""Names and values of h5py's booleans, the names padded or not."""
_BASE = 12
"""Bytes of the type of an enumeration's values, before its names."""
_LONGEST = 1 << 30
"""Bytes of a text."""
_MOST_SIDES = 8
_NULL = 2
UNREAD = np.dtype("V1")
"""Stands for a type that is not read."""
NAMED = np.dtype("V16")
"""Stands for texts of any length, of which only the places are here (see io.hdf5.global_heap)."""


def type_of(message: bytes) -> tuple[np.dtype[Any], str]:
    """The type as NumPy has it, or UNREAD, and in words what kind of values it has."""
    first, bits, size = _TYPE.unpack_from(message)
    form, more = first & 15, message[_TYPE.size :]
    order = ">" if bits[0] & 1 else "<"
    if form == _FIXED_POINT and size in (1, 2, 4, 8) and _INTEGER.unpack_from(more) == (0, 8 * size):
        return np.dtype(f"{order}{'i' if bits[0] & 8 else 'u'}{size}"), ""
    if form == _REAL and size in _IEEE and (bits[0] & 0x70, bits[1], *_FLOAT.unpack_from(more)) == _IEEE[size]:
        return np.dtype(f"{order}f{size}"), ""
    if form == _TEXT and 0 < size <= _LONGEST:
        return np.dtype(f"S{size}"), ""
    if form == _ENUMERATION and size == 1 and more.startswith(_TRUTH, _BASE):
        return np.dtype(bool), ""
    if form == _VARIED and size == NAMED.itemsize and bits[0] & 15 == 1:
        return NAMED, _OTHER[_VARIED]
    return UNREAD, _OTHER.get(form, f"values of an unusual kind ({form}, of {size} bytes)")


def shape_of(message: bytes) -> tuple[int, ...] | None:
    """The sides of a dataspace; None where it holds nothing, not even one value."""
    version, sides, flags, kind = _SPACE.unpack_from(message)
    start = {1: 8, 2: 4}.get(version)
    if start is None or sides > _MOST_SIDES or flags & ~1:
        raise MalformedHDF5Error(f"has values in a space of {sides} dimensions, or of another kind than version 1 or 2")
    shape = struct.unpack_from(f"<{sides}Q", message, start)
    return None if version == 2 and kind == _NULL else shape


def as_values(raw: bytes, dtype: np.dtype[Any]) -> Array:
    """Bytes as a flat array; booleans are whatever is not 0."""
    return np.frombuffer(raw, np.uint8) != 0 if dtype.kind == "b" else np.frombuffer(raw, dtype)


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A value at an object, as it lies in the file.

    dtype  NAMED for texts of any length, UNREAD for a type that is not read
    shape  None where it holds nothing
    raw    the bytes of all its values
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    raw: bytes

    def value(self) -> Any:
        """A NumPy scalar or array."""
        return as_values(self.raw, self.dtype).reshape(self.shape or ())[()]


def attribute_of(message: bytes) -> tuple[str, Attribute]:
    """An attribute and its name."""
    version, shared, *sizes = _ATTRIBUTE.unpack_from(message)
    if version not in (1, 2, 3) or (version > 1 and shared):
        raise MalformedHDF5Error("has an attribute of another kind than version 1 to 3, or one that shares its type")
    parts, at = [], _ATTRIBUTE.size + (version == 3)
    for size in sizes:
        parts.append(message[at : at + size])
        at += -(-size // 8) * 8 if version == 1 else size
    name = parts[0].partition(b"\0")[0].decode("utf-8", "replace")
    dtype, _ = type_of(parts[1])
    shape = shape_of(parts[2])
    raw = b"" if shape is None else message[at : at + dtype.itemsize * math.prod(shape)]
    if shape is not None and len(raw) < dtype.itemsize * math.prod(shape):
        raise MalformedHDF5Error(f"has an attribute {name} that is longer than its message")
    return name, Attribute(dtype=dtype, shape=shape, raw=raw)
