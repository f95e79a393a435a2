"""HDF5 files of others, read with distrust.

HDF5 can make a file point into any other file of its reader (external links, external storage, virtual datasets), load
code for a filter, and declare terabytes in a few bytes. Here a file is opened for reading only, every object in it is
looked at before any of its data is, and libhdf5 has no part in it: it reads and writes memory that it should not where
a damaged file says so.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.hdf5 import chunked_layout
from cxrscore.io.hdf5.btree import group_members
from cxrscore.io.hdf5.chunked_layout import DatasetStorage, VirtualError, read_values, storage_of
from cxrscore.io.hdf5.datatypes import NAMED, UNREAD, Attribute, attribute_of, shape_of, type_of
from cxrscore.io.hdf5.global_heap import GlobalHeap
from cxrscore.io.hdf5.object_header import (
    ATTRIBUTE,
    LAYOUT,
    LINKS,
    SPACE,
    TYPE,
    FileBytes,
    MalformedHDF5Error,
    MemoryBytes,
    Messages,
    read_object_header,
    root_address,
    single_message,
)
from cxrscore.io.regular import open_regular

MAX_DECLARED_BYTES = 16 << 30
"""Bytes that all datasets of a file may declare together, unless the caller says otherwise; and never more than half of
the machine's memory."""
ALWAYS_ALLOWED_BYTES = 64 << 20
"""Bytes that a dataset may declare whatever it stores."""
MAX_COMPRESSION_RATIO = 1000
"""Beyond that, how many bytes it may declare for each one stored: about what deflate can reach."""
MAX_OBJECTS = 100_000
"""Objects that a file may have."""
MAX_DEPTH = 20
"""Groups that may lie within each other."""
MAX_TEXT_BYTES = 16 << 20
"""Bytes of the longest text that an attribute may hold."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group, or the root, by what its head says."""

    messages: Messages

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """By name; MalformedHDF5Error if any of them is odd."""
        return dict(map(attribute_of, self.messages.get(ATTRIBUTE, ())))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset, by what its head says.

    shape    its sides
    dtype    of numbers, booleans or texts of a fixed length
    storage  where its values are
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    storage: DatasetStorage

    @property
    def declared(self) -> int:
        """Bytes of its values, once they are unpacked."""
        return self.storage.padded_values * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class HDF5File:
    """A file whose objects were all looked at.

    name      its path, for errors
    groups    by path without a slash before it; "" is the root
    datasets  likewise
    virtual   paths of datasets whose values lie in other files; only where such were asked for
    """

    name: str
    source: FileBytes
    groups: Mapping[str, Group]
    datasets: Mapping[str, Dataset]
    heaps: GlobalHeap
    virtual: frozenset[str] = frozenset()


@contextmanager
def open_guarded(path: Path, *, cap: int = MAX_DECLARED_BYTES, virtual: bool = False) -> Iterator[HDF5File]:
    """Opens an HDF5 file for reading, after looking at every object in it.

    cap      bytes that all datasets may declare together
    virtual  lets datasets through whose values lie in other files: that they are there can be told, and no more

    InputError where there is no such file. FileFormatError, naming the file and what is wrong, if the file is damaged,
    unsafe, or of a kind that h5py does not write by default.
    """
    try:
        file = open_regular(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or error}") from error
    with file, _named_errors(str(path)):
        yield _check_all_objects(str(path), FileBytes(file.fileno()), min(cap, _half_of_memory()), virtual)


@contextmanager
def guarded_bytes(name: str, data: memoryview) -> Iterator[HDF5File]:
    """As open_guarded, of a file that lies in memory; ``name`` is for errors."""
    with _named_errors(name):
        yield _check_all_objects(name, MemoryBytes(data), min(MAX_DECLARED_BYTES, _half_of_memory()), virtual=False)


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """FileFormatError, naming the file, for what is wrong with it."""
    try:
        yield
    except MalformedHDF5Error as error:
        raise FileFormatError(f"{name} is not a readable HDF5 file: it {error}") from None
    except struct.error:
        raise FileFormatError(f"{name} is not a readable HDF5 file: it has a message that is too short") from None
    except OSError as error:
        raise FileFormatError(f"{name} is not a readable HDF5 file: {error.strerror or error}") from error
    except MemoryError:
        raise FileFormatError(f"{name} needs more memory than there is") from None


def read_dataset(file: HDF5File, path: str) -> Array:
    """The values of one dataset of a file that open_guarded gave; FileFormatError if there is no such dataset, or they
    are damaged."""
    if path not in file.datasets:
        raise FileFormatError(f"{file.name} has no dataset {path}")
    dataset = file.datasets[path]
    try:
        return read_values(file.source, dataset.storage, dataset.dtype)
    except MalformedHDF5Error as error:
        raise FileFormatError(f"{file.name}: /{path} {error}") from None


def read_rows(file: HDF5File, path: str, rows: range) -> Array:
    """The values at these places of the first side of a dataset; errors as read_dataset."""
    if path not in file.datasets:
        raise FileFormatError(f"{file.name} has no dataset {path}")
    dataset = file.datasets[path]
    try:
        return chunked_layout.read_rows(file.source, dataset.storage, dataset.dtype, rows)
    except MalformedHDF5Error as error:
        raise FileFormatError(f"{file.name}: /{path} {error}") from None


def read_attribute(file: HDF5File, name: str, *, group: str = "", longest: int = MAX_TEXT_BYTES) -> Any:
    """An attribute of numbers, booleans or texts of a fixed length, as a NumPy scalar or array; FileFormatError if
    there is none, it is of another type, or of more than ``longest`` bytes."""
    found = file.groups[group].attributes.get(name)
    if found is None:
        raise FileFormatError(f"{file.name} has no attribute {name}")
    if found.dtype in (NAMED, UNREAD) or found.shape is None:
        raise FileFormatError(f"{file.name}: attribute {name} is neither numbers nor text of a fixed length")
    if len(found.raw) > longest:
        raise FileFormatError(f"{file.name}: attribute {name} is longer than {longest} bytes")
    return found.value()


def read_names(file: HDF5File, name: str, *, group: str) -> list[str] | None:
    """Texts, of a fixed length or not, in an attribute; None where there is none, FileFormatError if it is of another
    type."""
    found = file.groups[group].attributes.get(name)
    if found is None:
        return None
    if found.dtype is NAMED and found.shape is not None:
        values = file.heaps.texts(found.raw, MAX_TEXT_BYTES)
    else:
        values = np.atleast_1d(read_attribute(file, name, group=group)).ravel().tolist()
    if not all(isinstance(value, bytes) for value in values):
        raise FileFormatError(f"{file.name}: attribute {name} of /{group} is not a list of texts")
    return [value.decode("utf-8", "replace") for value in values]


def read_number(file: HDF5File, name: str) -> int:
    """A whole number that is an attribute of the root; errors as read_attribute."""
    value = read_attribute(file, name, longest=8)
    if not isinstance(value, np.integer):
        raise FileFormatError(f"{file.name}: attribute {name} is not a whole number")
    return int(value)


def read_text(file: HDF5File, name: str, *, longest: int = MAX_TEXT_BYTES) -> str:
    """A text attribute of the root, which may go on in those named name+1, name+2, ...; FileFormatError if there is
    none, or one of more than ``longest`` bytes."""
    pieces: list[bytes] = []
    part, length = name, 0
    while not pieces or part in file.groups[""].attributes:
        value = read_attribute(file, part, longest=longest)
        if not isinstance(value, bytes):
            raise FileFormatError(f"{file.name}: attribute {part} is not a text")
        pieces.append(value)
        part = f"{name}+{len(pieces)}"
        length += len(value)
        if length > longest:
            raise FileFormatError(f"{file.name}: attribute {name} is longer than {longest} bytes")
    try:
        return b"".join(pieces).decode()
    except UnicodeDecodeError:
        raise FileFormatError(f"{file.name}: attribute {name} is not UTF-8") from None


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _check_all_objects(name: str, source: FileBytes, cap: int, virtual: bool) -> HDF5File:
    """All objects, from the root on."""
    tree = _ObjectScan(name, source, cap, virtual)
    waiting = tree.add("", root_address(source))
    while waiting:
        waiting += tree.add(*waiting.pop())
    found, heaps = frozenset(tree.virtual), GlobalHeap(source)
    return HDF5File(name=name, source=source, groups=tree.groups, datasets=tree.datasets, heaps=heaps, virtual=found)


class _ObjectScan:
    """The objects that were found so far."""

    def __init__(self, name: str, source: FileBytes, cap: int, let_virtual: bool) -> None:
        self.groups: dict[str, Group] = {}
        self.datasets: dict[str, Dataset] = {}
        self.virtual: set[str] = set()
        self._let_virtual = let_virtual
        self._name, self._source, self._cap = name, source, cap
        self._seen: set[int] = set()
        self._declared = self._stored = 0

    def add(self, path: str, address: int) -> list[tuple[str, int]]:
        """Looks at an object; path and address of its members. FileFormatError for what is not let through."""
        try:
            self._check_new(path, address)
            messages = read_object_header(self._source, address)
            if LINKS in messages:
                self.groups[path] = Group(messages=messages)
                above = f"{path}/" if path else ""
                return [
                    (above + name, place)
                    for name, place in group_members(self._source, single_message(messages, LINKS))
                ]
            self.datasets[path] = self._dataset(messages)
        except VirtualError as error:
            if not self._let_virtual:
                raise FileFormatError(f"{self._name}: /{path} {error}") from None
            self.virtual.add(path)
        except MalformedHDF5Error as error:
            raise FileFormatError(f"{self._name}: /{path} {error}") from None
        except struct.error:
            raise FileFormatError(f"{self._name}: /{path} has a message that is too short") from None
        return []

    def _check_new(self, path: str, address: int) -> None:
        named = path in self.groups or path in self.datasets or path in self.virtual
        if address in self._seen or named:
            raise MalformedHDF5Error("has two names, or is one of two with this name")
        if len(self._seen) > MAX_OBJECTS or path.count("/") > MAX_DEPTH:
            raise MalformedHDF5Error(f"is one of over {MAX_OBJECTS} objects, or lies in over {MAX_DEPTH} groups")
        self._seen.add(address)

    def _dataset(self, messages: Messages) -> Dataset:
        if not {SPACE, TYPE, LAYOUT} <= messages.keys():
            raise MalformedHDF5Error("is neither a group nor a dataset")
        dtype, kind = type_of(single_message(messages, TYPE))
        shape = shape_of(single_message(messages, SPACE))
        if shape is None:
            raise MalformedHDF5Error("has no values")
        storage = storage_of(self._source, messages, shape, dtype.itemsize)
        if dtype in (NAMED, UNREAD):
            raise MalformedHDF5Error(f"has {kind}; only numbers and texts of a fixed length are read")
        dataset = Dataset(shape=shape, dtype=dtype, storage=storage)
        self._weigh(dataset)
        return dataset

    def _weigh(self, dataset: Dataset) -> None:
        """Refuses what would not fit into memory, and what claims to store what cannot be in the file."""
        declared, stored = dataset.declared, dataset.storage.stored_bytes
        self._declared += declared
        self._stored += stored
        if declared > max(ALWAYS_ALLOWED_BYTES, MAX_COMPRESSION_RATIO * stored):
            raise MalformedHDF5Error(f"declares {declared} bytes but stores {stored}")
        if self._stored > self._source.size:
            raise MalformedHDF5Error("says that it stores more than the file has left")
        if self._declared > self._cap:
            raise FileFormatError(f"{self._name} declares over {self._cap} bytes, more than is read at once")
