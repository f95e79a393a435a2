"""HDF5 files of others, read with distrust.

HDF5 can make a file point into any other file of its reader (external links, external storage, virtual datasets), load
code for a filter, and declare terabytes in a few bytes. Here a file is opened for reading only, and every object in it
is looked at before any of its data is.

This is the one place that imports h5py; others import it from here, so that no filter is ever loaded from a folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.files.chunks import DEFLATE, FLETCHER32, SHUFFLE, ChunkError, read_values
from cxrscore.files.heads import OddHeadError, check_head, root_address

os.environ["HDF5_PLUGIN_PATH"] = "::"  # read by libhdf5 when it starts: it disables loading filters as plugins

import h5py as h5py  # others take it from here

DECLARED = 16 << 30
"""Bytes that all datasets of a file may declare together, unless the caller says otherwise."""
UNQUESTIONED = 64 << 20
"""Bytes that a dataset may declare whatever it stores."""
RATIO = 1000
"""Beyond that, how many bytes it may declare for each one stored: about what deflate can reach."""
FILTERS = {DEFLATE, SHUFFLE, FLETCHER32}
KINDS = "biufS"
"""NumPy kinds of plain numbers and fixed-length text; others, such as references, may point elsewhere."""
MEMBERS = 100_000
"""Objects that a file may have."""
ATTRIBUTE = 16 << 20
"""Bytes of the longest text that an attribute may hold."""
TEXT_PART = 60_000
"""Bytes of a text in one attribute, which HDF5 limits to 64 KiB; the rest is in those named name+1, name+2, ..."""

_FAULTS = (OSError, KeyError, RuntimeError, ValueError, TypeError)
"""What h5py raises for damaged files, by no rule that could be told apart."""


@contextmanager
def open_guarded(path: Path, *, cap: int = DECLARED) -> Iterator[h5py.File]:
    """Opens an HDF5 file for reading, after checking every link and dataset in it.

    cap  bytes that all datasets may declare together

    InputError where there is no such file. FileFormatError, naming the file and what is wrong, if the file is damaged
    or unsafe, and for every error that h5py raises in the block.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with path.open("rb") as raw:
            check_head(raw, root_address(raw))
            with h5py.File(path, "r", locking="best-effort") as file:
                _check_tree(file, raw, cap)
                yield file
    except OddHeadError as error:
        raise FileFormatError(f"{path} is not a readable HDF5 file: {error}") from None
    except _FAULTS as error:
        raise FileFormatError(f"{path} is not a readable HDF5 file: {_reason(error)}") from error


def read_dataset(file: h5py.File, name: str) -> Array:
    """The values of one dataset of a file that open_guarded gave; FileFormatError if there is no such dataset."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise FileFormatError(f"{file.filename} has no dataset {name}")
    try:
        return read_values(dataset)
    except ChunkError as error:
        raise _refused(dataset, str(error)) from None


def read_attribute(owner: h5py.Group, name: str, *, longest: int = ATTRIBUTE) -> Any:
    """An attribute of numbers or of texts of a fixed length, as h5py gives it; FileFormatError if there is none, it is
    of another type, or of more than ``longest`` bytes.

    Texts of any length are refused: libhdf5 reads them from a heap whose sizes it believes, be they of 4 GB, and walks
    some damaged heaps for ever.
    """
    if name not in owner.attrs:
        raise FileFormatError(f"{owner.file.filename} has no attribute {name}")
    found = owner.attrs.get_id(name)
    if found.dtype.kind not in KINDS or found.shape is None:
        raise FileFormatError(f"{owner.file.filename}: attribute {name} is neither numbers nor text of a fixed length")
    if found.get_storage_size() > longest:
        raise FileFormatError(f"{owner.file.filename}: attribute {name} is longer than {longest} bytes")
    return owner.attrs[name]


def read_text(file: h5py.File, name: str, *, longest: int = ATTRIBUTE) -> str:
    """A text attribute of the root; FileFormatError if there is none, or one of more than ``longest`` bytes."""
    pieces: list[bytes] = []
    part = name
    while not pieces or part in file.attrs:
        value = read_attribute(file, part, longest=longest)
        if not isinstance(value, bytes):
            raise FileFormatError(f"{file.filename}: attribute {part} is not a text")
        pieces.append(value)
        part = f"{name}+{len(pieces)}"
        if sum(map(len, pieces)) > longest:
            raise FileFormatError(f"{file.filename}: attribute {name} is longer than {longest} bytes")
    return b"".join(pieces).decode()


def check_link(group: h5py.Group, name: str) -> None:
    """FileFormatError unless the member is part of this file, not a pointer to another place."""
    kind = group.id.links.get_info(name.encode()).type
    if kind != h5py.h5l.TYPE_HARD:
        word = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}.get(
            kind, "unknown"
        )
        raise FileFormatError(f"{group.file.filename}: {_place(group, name)} is {word}; only plain members are read")


def check_dataset(dataset: h5py.Dataset) -> int:
    """The bytes that a dataset declares; FileFormatError unless plain data of that proportion lie in this file."""
    _check_storage(dataset)
    if dataset.dtype.kind not in KINDS or dataset.dtype.hasobject:
        raise _refused(dataset, f"has values of type {dataset.dtype}; only numbers and fixed-length text are read")
    if dataset.shape is None:
        raise _refused(dataset, "has no values")
    # A chunk may be larger than the dataset, and is unpacked whole.
    items = max(dataset.size, int(np.prod(dataset.chunks or (0,), dtype=object)))
    declared: int = items * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if declared > max(UNQUESTIONED, RATIO * stored):
        raise _refused(dataset, f"declares {declared} bytes but stores {stored}")
    return declared


def _check_storage(dataset: h5py.Dataset) -> None:
    """Asks only for properties that libhdf5 answers without opening another file: the shape comes later."""
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise _refused(dataset, "is virtual: its data lie in other files")
    if properties.get_external_count():
        raise _refused(dataset, "has its data in another file")
    for index in range(properties.get_nfilters()):
        code = properties.get_filter(index)[0]
        if code not in FILTERS:
            raise _refused(dataset, f"is packed with filter {code}; wanted gzip, shuffle or fletcher32")


def _check_tree(file: h5py.File, raw: BinaryIO, cap: int) -> None:
    declared, members = 0, 0
    groups, seen = [file], {h5py.h5o.get_info(file.id).addr}
    while groups:
        for member in _members(groups.pop(), raw):
            address = h5py.h5o.get_info(member.id).addr
            members += 1
            if address in seen or members > MEMBERS:
                raise FileFormatError(
                    f"{file.filename}: {member.name} has two names, or is one of over {MEMBERS} objects"
                )
            seen.add(address)
            if isinstance(member, h5py.Group):
                groups.append(member)
                continue
            declared += check_dataset(member)
            if declared > cap:
                raise FileFormatError(f"{file.filename} declares over {cap} bytes, more than is read at once")


def _members(group: h5py.Group, raw: BinaryIO) -> Iterator[Any]:
    for name in group:
        if not isinstance(name, str):  # h5py gives bytes where they are not UTF-8
            raise FileFormatError(f"{group.file.filename}: the name of a member of {group.name} is not UTF-8: {name!r}")
        check_link(group, name)
        check_head(raw, group.id.links.get_info(name.encode()).u)
        member = group[name]
        if not isinstance(member, h5py.Group | h5py.Dataset):
            raise FileFormatError(f"{group.file.filename}: {_place(group, name)} is neither a group nor a dataset")
        yield member


def _refused(dataset: h5py.Dataset, why: str) -> FileFormatError:
    return FileFormatError(f"{dataset.file.filename}: dataset {dataset.name} {why}")


def _place(group: h5py.Group, name: str) -> str:
    return f"{group.name.rstrip('/')}/{name}"


def _reason(error: Exception) -> str:
    """KeyError wraps its text in quotes; the others do not."""
    return str(error.args[0]) if error.args else type(error).__name__
