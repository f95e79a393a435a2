"""Checkpoints of torch, read without torch: the zip files of torch 1.6 and later, and the older kind.

Both contain one pickle, which describes the tensors, and their storages (arrays of numbers). torch_pickle reads the
pickle without executing it; tensors are views of the bytes of the file, so they never need more memory than it has
bytes.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.regular import read_regular
from cxrscore.models.stored_zip import ArchiveError, stored_members
from cxrscore.models.torch_names import STORAGES, InertObject, StorageRef, TensorRef, UnsafePickleError
from cxrscore.models.torch_pickle import read_pickle

SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin")
"""Of files that are read as such checkpoints; CheXNet's is called model.pth.tar and is no tar archive."""
MAX_FILE_BYTES = 4 << 30
MAX_TABLE_BYTES = 1 << 20
"""At the end of an archive, where its table of contents is looked for a sign of TorchScript."""
_SCRIPT = "it is a TorchScript program, not weights. Save the state_dict of the network"
"""Bytes; a ViT-B has 346 million, with Adam's moments and an averaged copy four times as many."""
MAX_TENSORS = 20_000
MAX_MODULES = 10_000
_LONGEST_NAME = 500

_ZIP, _TAR, _PICKLE = b"PK\x03\x04", b"ustar", b"\x80"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file holds.

    tensors  by the name that torch's state_dict gives them, after the keys of the dictionaries that they lie in and a
             dot: {"net": {"fc.bias": ...}} has net.fc.bias; read-only
    module   path of the class where a whole network was stored, else ""
    metadata of the outermost dictionary and of that network: numbers, texts, and lists of them
    epsilon  what its batch normalisations add to the variance, by the name of the layer, of a whole network; a
             state_dict does not say
    """

    tensors: dict[str, Array]
    module: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    epsilon: dict[str, float] = field(default_factory=dict)


def read_torch(path: Path) -> Checkpoint:
    """Reads a checkpoint without executing code of it. InputError if there is none, FileFormatError if it is damaged,
    not of torch, or contains more than tensors."""
    return torch_checkpoint(path, read_file(path))


def read_file(path: Path) -> bytes:
    """The bytes of a file of weights. InputError if there is none, FileFormatError if it is too large."""
    try:
        data = read_regular(path, MAX_FILE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no checkpoint at {path}") from None
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    if data is None:
        raise FileFormatError(f"{path} has more than {MAX_FILE_BYTES:,} bytes, expected at most so many")
    return data


def torch_checkpoint(path: Path, data: bytes) -> Checkpoint:
    """As read_torch, of the bytes of the file."""
    try:
        return _checkpoint(memoryview(data))
    except (UnsafePickleError, ArchiveError) as error:
        if isinstance(error, ArchiveError) and b"/constants.pkl" in data[-MAX_TABLE_BYTES:]:
            raise FileFormatError(f"{path} is not a checkpoint that can be read: {_SCRIPT}") from error
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
    members = stored_members(data)
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UnsafePickleError("it is a zip archive without the one data.pkl that torch.save writes")
    home = pickles[0].removesuffix("data.pkl")
    if f"{home}constants.pkl" in members:
        raise UnsafePickleError(_SCRIPT)
    if bytes(members.get(f"{home}byteorder", b"little")) != b"little":
        raise UnsafePickleError("its numbers are not little-endian")
    rows = f"{home}data/"
    raws = {name.removeprefix(rows): member for name, member in members.items() if name.startswith(rows)}
    return read_pickle(members[pickles[0]]).value, raws


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


# --- what is looked at: all tensors, in dictionaries and networks at any depth


def _collected(value: Any, tensors: _Tensors) -> Checkpoint:
    if not isinstance(value, dict | InertObject):
        raise UnsafePickleError("it holds neither a state_dict nor a network")
    places: dict[str, TensorRef] = {}
    epsilon: dict[str, float] = {}
    modules: list[InertObject] = []
    for name, held in _walk(value):
        if isinstance(held, TensorRef):
            if 0 in held.size:
                continue  # as empty buffers of metrics are; a weight of no numbers is one that is missing
            if name in places:
                raise UnsafePickleError(f"it holds two tensors called {name[:80]!r}")
            places[name] = held
        elif isinstance(held, InertObject):
            modules.append(held)
            if "running_mean" in _part(held, "_buffers") and isinstance(held.state.get("eps"), float):
                epsilon[name.removesuffix(".")] = held.state["eps"]
    if not 0 < len(places) <= MAX_TENSORS:
        raise UnsafePickleError(f"it holds {len(places)} tensors, expected 1 to {MAX_TENSORS:,}")
    return Checkpoint(
        tensors={name: tensors.at(place) for name, place in places.items()},
        module=modules[0].path if modules else "",
        metadata=_metadata([value, *modules[:1]]),
        epsilon=epsilon,
    )


def _walk(top: dict[str, Any] | InertObject) -> Iterator[tuple[str, Any]]:
    """All tensors and modules below, with their names; the prefix of what is in a module ends in a dot. A file may hold
    a dictionary or module within itself, so names have a greatest length, and what is looked at a greatest number."""
    waiting: deque[tuple[str, Any]] = deque([("", top)])
    count, looked_at = 0, 0
    while waiting:
        prefix, held = waiting.popleft()
        count += 1
        if count + len(waiting) > MAX_MODULES or len(prefix) > _LONGEST_NAME:
            raise UnsafePickleError("it has modules or dictionaries without end")
        if isinstance(held, InertObject):
            yield prefix, held
        for name, inner in _items(held):
            looked_at += 1
            if looked_at > 10 * MAX_TENSORS:
                raise UnsafePickleError(f"it has over {10 * MAX_TENSORS:,} entries")
            if isinstance(inner, TensorRef) and len(name) <= _LONGEST_NAME:
                yield f"{prefix}{name}", inner
            elif (isinstance(inner, dict) and inner) or (isinstance(inner, InertObject) and inner.state):
                waiting.append((f"{prefix}{name}.", inner))


def _items(held: dict[str, Any] | InertObject) -> Iterator[tuple[str, Any]]:
    if isinstance(held, dict):
        yield from held.items()
    else:
        for part in ("_parameters", "_buffers", "_modules"):
            yield from _part(held, part).items()


def _part(module: InertObject, name: str) -> dict[str, Any]:
    held = module.state.get(name)
    return held if isinstance(held, dict) else {}


def _metadata(sources: list[dict[str, Any] | InertObject]) -> dict[str, Any]:
    """Numbers, texts and lists of them at the top of the file, and of its first network."""
    found: dict[str, Any] = {}
    for source in sources:
        values = source if isinstance(source, dict) else source.state
        found |= {name: value for name, value in islice(values.items(), MAX_TENSORS) if _is_plain(value)}
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 1000 and all(isinstance(one, int | float | str) for one in value)
    return isinstance(value, int | float | str)
