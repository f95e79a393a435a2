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
from cxrscore.files import chunks
from cxrscore.files.chunks import Storage, VirtualError, read_values, storage_of
from cxrscore.files.datatypes import NAMED, UNREAD, Attribute, attribute_of, shape_of, type_of
from cxrscore.files.heads import (
    ATTRIBUTE,
    LAYOUT,
    LINKS,
    SPACE,
    TYPE,
    Messages,
    OddFileError,
    Source,
    only,
    read_head,
    root_address,
)
from cxrscore.files.heap import Heaps
from cxrscore.files.links import members
from cxrscore.files.regular import open_regular

DECLARED = 16 << 30
"""Bytes that all datasets of a file may declare together, unless the caller says otherwise; and never more than half of
the machine's memory."""
UNQUESTIONED = 64 << 20
"""Bytes that a dataset may declare whatever it stores."""
RATIO = 1000
"""Beyond that, how many bytes it may declare for each one stored: about what deflate can reach."""
MEMBERS = 100_000
"""Objects that a file may have."""
DEPTH = 20
"""Groups that may lie within each other."""
LONGEST = 16 << 20
"""Bytes of the longest text that an attribute may hold."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group, or the root, by what its head says."""

    messages: Messages

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """By name; OddFileError if any of them is odd."""
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
    storage: Storage

    @property
    def declared(self) -> int:
        """Bytes of its values, once they are unpacked."""
        return self.storage.values * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class File:
    """A file whose objects were all looked at.

    name      its path, for errors
    groups    by path without a slash before it; "" is the root
    datasets  likewise
    virtual   paths of datasets whose values lie in other files; only where such were asked for
    """

    name: str
    source: Source
    groups: Mapping[str, Group]
    datasets: Mapping[str, Dataset]
    heaps: Heaps
    virtual: frozenset[str] = frozenset()


@contextmanager
def open_guarded(path: Path, *, cap: int = DECLARED, virtual: bool = False) -> Iterator[File]:
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
    try:
        with file:
            source = Source(file.fileno())
            yield _looked_at(str(path), source, min(cap, _half_the_memory()), virtual)
    except OddFileError as error:
        raise FileFormatError(f"{path} is not a readable HDF5 file: it {error}") from None
    except struct.error:
        raise FileFormatError(f"{path} is not a readable HDF5 file: it has a message that is too short") from None
    except OSError as error:
        raise FileFormatError(f"{path} is not a readable HDF5 file: {error.strerror or error}") from error
    except MemoryError:
        raise FileFormatError(f"{path} needs more memory than there is") from None


def read_dataset(file: File, path: str) -> Array:
    """The values of one dataset of a file that open_guarded gave; FileFormatError if there is no such dataset, or they
    are damaged."""
    if path not in file.datasets:
        raise FileFormatError(f"{file.name} has no dataset {path}")
    dataset = file.datasets[path]
    try:
        return read_values(file.source, dataset.storage, dataset.dtype)
    except OddFileError as error:
        raise FileFormatError(f"{file.name}: /{path} {error}") from None


def read_rows(file: File, path: str, rows: range) -> Array:
    """The values at these places of the first side of a dataset; errors as read_dataset."""
    if path not in file.datasets:
        raise FileFormatError(f"{file.name} has no dataset {path}")
    dataset = file.datasets[path]
    try:
        return chunks.read_rows(file.source, dataset.storage, dataset.dtype, rows)
    except OddFileError as error:
        raise FileFormatError(f"{file.name}: /{path} {error}") from None


def read_attribute(file: File, name: str, *, group: str = "", longest: int = LONGEST) -> Any:
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


def read_names(file: File, name: str, *, group: str) -> list[str] | None:
    """Texts, of a fixed length or not, in an attribute; None where there is none, FileFormatError if it is of another
    type."""
    found = file.groups[group].attributes.get(name)
    if found is None:
        return None
    if found.dtype is NAMED and found.shape is not None:
        values = file.heaps.texts(found.raw, LONGEST)
    else:
        values = np.atleast_1d(read_attribute(file, name, group=group)).ravel().tolist()
    if not all(isinstance(value, bytes) for value in values):
        raise FileFormatError(f"{file.name}: attribute {name} of /{group} is not a list of texts")
    return [value.decode("utf-8", "replace") for value in values]


def read_number(file: File, name: str) -> int:
    """A whole number that is an attribute of the root; errors as read_attribute."""
    value = read_attribute(file, name, longest=8)
    if not isinstance(value, np.integer):
        raise FileFormatError(f"{file.name}: attribute {name} is not a whole number")
    return int(value)


def read_text(file: File, name: str, *, longest: int = LONGEST) -> str:
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


def _half_the_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _looked_at(name: str, source: Source, cap: int, virtual: bool) -> File:
    """All objects, from the root on."""
    tree = _Tree(name, source, cap, virtual)
    waiting = tree.add("", root_address(source))
    while waiting:
        waiting += tree.add(*waiting.pop())
    found, heaps = frozenset(tree.virtual), Heaps(source)
    return File(name=name, source=source, groups=tree.groups, datasets=tree.datasets, heaps=heaps, virtual=found)


class _Tree:
    """The objects that were found so far."""

    def __init__(self, name: str, source: Source, cap: int, let_virtual: bool) -> None:
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
            messages = read_head(self._source, address)
            if LINKS in messages:
                self.groups[path] = Group(messages=messages)
                above = f"{path}/" if path else ""
                return [(above + name, place) for name, place in members(self._source, only(messages, LINKS))]
            self.datasets[path] = self._dataset(messages)
        except VirtualError as error:
            if not self._let_virtual:
                raise FileFormatError(f"{self._name}: /{path} {error}") from None
            self.virtual.add(path)
        except OddFileError as error:
            raise FileFormatError(f"{self._name}: /{path} {error}") from None
        except struct.error:
            raise FileFormatError(f"{self._name}: /{path} has a message that is too short") from None
        return []

    def _check_new(self, path: str, address: int) -> None:
        named = path in self.groups or path in self.datasets or path in self.virtual
        if address in self._seen or named:
            raise OddFileError("has two names, or is one of two with this name")
        if len(self._seen) > MEMBERS or path.count("/") > DEPTH:
            raise OddFileError(f"is one of over {MEMBERS} objects, or lies in over {DEPTH} groups")
        self._seen.add(address)

    def _dataset(self, messages: Messages) -> Dataset:
        if not {SPACE, TYPE, LAYOUT} <= messages.keys():
            raise OddFileError("is neither a group nor a dataset")
        dtype, kind = type_of(only(messages, TYPE))
        shape = shape_of(only(messages, SPACE))
        if shape is None:
            raise OddFileError("has no values")
        storage = storage_of(self._source, messages, shape, dtype.itemsize)
        if dtype in (NAMED, UNREAD):
            raise OddFileError(f"has {kind}; only numbers and texts of a fixed length are read")
        dataset = Dataset(shape=shape, dtype=dtype, storage=storage)
        self._weigh(dataset)
        return dataset

    def _weigh(self, dataset: Dataset) -> None:
        """Refuses what would not fit into memory, and what claims to store what cannot be in the file."""
        declared, stored = dataset.declared, dataset.storage.stored
        self._declared += declared
        self._stored += stored
        if declared > max(UNQUESTIONED, RATIO * stored):
            raise OddFileError(f"declares {declared} bytes but stores {stored}")
        if self._stored > self._source.size:
            raise OddFileError("says that it stores more than the file has left")
        if self._declared > self._cap:
            raise FileFormatError(f"{self._name} declares over {self._cap} bytes, more than is read at once")
