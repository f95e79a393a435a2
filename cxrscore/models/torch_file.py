"""Checkpoints of torch, read without torch: the zip files of torch 1.6 and later, and the older kind.

Both contain one pickle, which describes the tensors, and their storages (arrays of numbers). torch_pickle reads the
pickle without executing it; tensors are views of the bytes of the file, so they never need more memory than it has
bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.regular import read_regular
from cxrscore.models.torch_names import STORAGES, InertObject, StorageRef, TensorRef, UnsafePickleError
from cxrscore.models.torch_pickle import read_pickle

SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin")
"""Of files that are read as such checkpoints; CheXNet's is called model.pth.tar and is no tar archive."""
MAX_FILE_BYTES = 1 << 30
"""Bytes; a DenseNet121 has 32 million, with Adam's moments three times as many."""
MAX_TENSORS = 20_000
MAX_MODULES = 10_000
MAX_MEMBERS = 65_000
_LONGEST_NAME = 500

_ZIP, _TAR, _PICKLE = b"PK\x03\x04", b"ustar", b"\x80"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_WEIGHTS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts store the weights, beside epoch and optimiser."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file holds.

    tensors  by the name that torch's state_dict gives them, read-only
    module   path of the class where a whole network was stored, else ""
    metadata attributes of that network that are numbers, texts, or lists of them
    epsilon  what its batch normalisations add to the variance, of a whole network; a state_dict does not say
    """

    tensors: dict[str, Array]
    module: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    epsilon: frozenset[float] = frozenset()


def read_torch(path: Path) -> Checkpoint:
    """Reads a checkpoint without executing code of it. InputError if there is none, FileFormatError if it is damaged,
    not of torch, or contains more than tensors."""
    try:
        data = read_regular(path, MAX_FILE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no checkpoint at {path}") from None
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    if data is None:
        raise FileFormatError(f"{path} has more than {MAX_FILE_BYTES:,} bytes, expected at most so many")
    try:
        return _checkpoint(memoryview(data))
    except UnsafePickleError as error:
        raise FileFormatError(f"{path} is not a checkpoint that can be read: {error}") from error


Raws: TypeAlias = dict[str, memoryview]
"""The bytes of each storage, by its key."""


def _checkpoint(data: memoryview) -> Checkpoint:
    if bytes(data[:4]) == _ZIP:
        value, raws = _read_zip(data)
    elif bytes(data[257:262]) == _TAR:
        raise UnsafePickleError("it is a tar archive, as torch wrote before 0.1.10. Save it anew with a later torch")
    else:
        value, raws = _read_legacy(data)
    return _collected(value, _Tensors(raws))


# --- the file of torch 1.6 and later: a zip archive of stored members


def _read_zip(data: memoryview) -> tuple[Any, Raws]:
    members = _members(data)
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UnsafePickleError("it is a zip archive without the one data.pkl that torch.save writes")
    home = pickles[0].removesuffix("data.pkl")
    if f"{home}constants.pkl" in members:
        raise UnsafePickleError("it is a TorchScript program, not weights. Save the state_dict of the network")
    if bytes(members.get(f"{home}byteorder", b"little")) != b"little":
        raise UnsafePickleError("its numbers are not little-endian")
    rows = f"{home}data/"
    raws = {name.removeprefix(rows): member for name, member in members.items() if name.startswith(rows)}
    return read_pickle(members[pickles[0]]).value, raws


_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


def _members(data: memoryview) -> dict[str, memoryview]:
    """Bytes by name, of members that are stored as they are: nothing is inflated. The table of contents is read by
    hand, as zipfile builds an object for as many members as it claims."""
    if len(data) < _END.size:
        raise UnsafePickleError("it is a zip archive that was cut")
    mark, _, _, _, count, size, start, comment = _END.unpack_from(data, len(data) - _END.size)
    if mark != b"PK\x05\x06" or comment or count > MAX_MEMBERS or start + size > len(data):
        raise UnsafePickleError("it is a zip archive that was cut, or that torch.save did not write")
    members: dict[str, memoryview] = {}
    taken = 0
    for name, member in _listed(data, start, start + size, count):
        taken += len(member)
        if name in members or taken > len(data):
            raise UnsafePickleError(f"it is a zip archive in which {name[:80]!r} lies upon another member")
        members[name] = member
    return members


def _listed(data: memoryview, at: int, end: int, count: int) -> Iterator[tuple[str, memoryview]]:
    for _ in range(count):
        if at + _ENTRY.size > end:
            raise UnsafePickleError("it is a zip archive whose table of contents was cut")
        entry = _ENTRY.unpack_from(data, at)
        flags, method, check, packed, size = entry[3], entry[4], *entry[7:10]
        lengths, place = entry[10:13], entry[16]
        name = bytes(data[at + _ENTRY.size : at + _ENTRY.size + lengths[0]]).decode("utf-8", "replace")
        at += _ENTRY.size + sum(lengths)
        if entry[0] != b"PK\x01\x02" or flags & 1 or method != 0 or packed != size:
            raise UnsafePickleError(f"its member {name[:80]!r} is packed or encrypted, which torch.save never does")
        member = _stored(data, place, size)
        if zlib.crc32(member) != check:
            raise UnsafePickleError(f"its member {name[:80]!r} is damaged: its checksum is another")
        yield name, member


def _stored(data: memoryview, place: int, size: int) -> memoryview:
    if place + _LOCAL.size > len(data):
        raise UnsafePickleError("it is a zip archive with a member beyond its end")
    mark, *_, name, extra = _LOCAL.unpack_from(data, place)
    start = place + _LOCAL.size + name + extra
    if mark != b"PK\x03\x04" or start + size > len(data):
        raise UnsafePickleError("it is a zip archive with a member beyond its end")
    return data[start : start + size]


# --- the older file: five pickles, then the storages one after the other


def _read_legacy(data: memoryview) -> tuple[Any, Raws]:
    if bytes(data[:1]) != _PICKLE or (magic := read_pickle(data)).value != _MAGIC:
        raise UnsafePickleError("it does not begin as torch's files do")
    protocol = read_pickle(data, magic.end)
    system = read_pickle(data, protocol.end)
    if protocol.value != _PROTOCOL or not isinstance(system.value, dict):
        raise UnsafePickleError(f"it is not of protocol {_PROTOCOL}")
    if system.value.get("little_endian") is not True:
        raise UnsafePickleError("its numbers are not little-endian")
    held = read_pickle(data, system.end)
    keys = read_pickle(data, held.end)
    return held.value, dict(_rows(data, keys.end, keys.value, held.storages))


def _rows(data: memoryview, at: int, keys: Any, storages: dict[str, StorageRef]) -> Iterator[tuple[str, memoryview]]:
    """Each storage follows its element count; the pickle contains the element size."""
    if not isinstance(keys, list) or len(keys) > MAX_TENSORS or set(map(type, keys)) - {str}:
        raise UnsafePickleError("it has no list of its storages")
    for key in keys:
        if at + _COUNT.size > len(data) or key not in storages:
            raise UnsafePickleError(f"storage {key[:40]!r} is cut, or no tensor lies in it")
        size = _COUNT.unpack_from(data, at)[0] * _width(storages[key])
        at += _COUNT.size
        if at + size > len(data):
            raise UnsafePickleError(f"storage {key[:40]!r} is cut")
        yield key, data[at : at + size]
        at += size


_COUNT = struct.Struct("<Q")


# --- tensors


def _width(storage: StorageRef) -> int:
    """Bytes of a number."""
    return 2 if STORAGES[storage.kind] == "bfloat16" else np.dtype(STORAGES[storage.kind]).itemsize


class _Tensors:
    """Tensors as views of their storages; those in bfloat16 as float32, each storage widened once."""

    def __init__(self, raws: Raws) -> None:
        self._raws = raws
        self._numbers: dict[str, Array] = {}

    def at(self, tensor: TensorRef) -> Array:
        storage = tensor.storage
        if 0 in tensor.size:
            raise UnsafePickleError("it has a weight of no numbers")
        if storage.key not in self._numbers:
            self._numbers[storage.key] = self._all_of(storage)
        row = self._numbers[storage.key][storage.first : storage.first + storage.count][tensor.offset :]
        strides = tuple(step * row.itemsize for step in tensor.stride)
        # Within bounds: torch_names looked at offset, size and strides, and _all_of at the size of the storage.
        return np.lib.stride_tricks.as_strided(row, tensor.size, strides, writeable=False)

    def _all_of(self, storage: StorageRef) -> Array:
        raw, wanted = self._raws.get(storage.key, memoryview(b"")), storage.total * _width(storage)
        if len(raw) != wanted:
            raise UnsafePickleError(f"storage {storage.key[:40]!r} has {len(raw)} bytes, expected {wanted}")
        if STORAGES[storage.kind] != "bfloat16":
            return np.frombuffer(raw, STORAGES[storage.kind])
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)


# --- what is looked at: a state_dict, a dictionary that holds one, or a whole network


def _collected(value: Any, tensors: _Tensors) -> Checkpoint:
    if isinstance(value, dict):
        inner = next((value[key] for key in _WEIGHTS if isinstance(value.get(key), dict | InertObject)), value)
        if isinstance(inner, dict):
            return Checkpoint(tensors=_arrays(inner.items(), tensors))
        value = inner
    if not isinstance(value, InertObject):
        raise UnsafePickleError("it holds neither a state_dict nor a network")
    modules = list(_modules(value))
    epsilons = (module.state.get("eps") for _, module in modules if "running_mean" in _part(module, "_buffers"))
    return Checkpoint(
        tensors=_arrays(_leaves(modules), tensors),
        module=value.path,
        metadata={name: held for name, held in value.state.items() if _is_plain(held)},
        epsilon=frozenset(held for held in epsilons if isinstance(held, float)),
    )


def _arrays(items: Iterable[tuple[str, Any]], tensors: _Tensors) -> dict[str, Array]:
    """The tensors among the items, of which there may be twice as many as tensors."""
    first = islice(items, 2 * MAX_TENSORS)
    places = {name: leaf for name, leaf in first if isinstance(leaf, TensorRef) and len(name) <= _LONGEST_NAME}
    if not 0 < len(places) <= MAX_TENSORS:
        raise UnsafePickleError(f"it holds {len(places)} tensors, expected 1 to {MAX_TENSORS:,}")
    return {name: tensors.at(place) for name, place in places.items()}


def _modules(top: InertObject) -> Iterator[tuple[str, InertObject]]:
    """The network and all modules below it, with the prefix of their tensors. A file may hold a module within itself,
    so names have a greatest length, and modules a greatest number."""
    waiting, count = [("", top)], 0
    while waiting:
        prefix, module = waiting.pop()
        count += 1
        if count + len(waiting) > MAX_MODULES or len(prefix) > _LONGEST_NAME:
            raise UnsafePickleError("its network has modules without end")
        yield prefix, module
        below = _part(module, "_modules").items()
        waiting += [(f"{prefix}{name}.", inner) for name, inner in below if isinstance(inner, InertObject)]


def _leaves(modules: list[tuple[str, InertObject]]) -> Iterator[tuple[str, Any]]:
    for prefix, module in modules:
        for part in ("_parameters", "_buffers"):
            yield from ((f"{prefix}{name}", leaf) for name, leaf in _part(module, part).items())


def _part(module: InertObject, name: str) -> dict[str, Any]:
    held = module.state.get(name)
    return held if isinstance(held, dict) else {}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 1000 and all(isinstance(one, int | float | str) for one in value)
    return isinstance(value, int | float | str)
