"""A virtual scores file: its HDF5 virtual datasets show the rows of partial files to other programs.

If a partial file is missing, HDF5 returns fill values: NaN for scores, and 0 (not written) for status. cxrscore never
reads through the virtual datasets, which could refer to any file; it reads and checks the partial files themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrscore.errors import FileFormatError, InputError
from cxrscore.io import sha256_file
from cxrscore.io.hdf5.reader import open_guarded, read_text
from cxrscore.io.strict_json import parse_json
from cxrscore.io.untrusted_names import is_plain_relative_path
from cxrscore.scorefile.columns import LIBVER, create_column, fill_rows, write_column, write_text
from cxrscore.scorefile.layout import LAYOUT, TEXT, Column
from cxrscore.scorefile.partial_file import PartialScoresFile
from cxrscore.scorefile.reading import check_format
from cxrscore.scorefile.safefile import ErrorTrappingFile
from cxrscore.scorefile.writing import FileHeader, RowBlock, name_axes, write_header

if TYPE_CHECKING:
    import h5py

VIRTUAL_FORMAT = "cxrscore-virtual-scores"
FILLS = {"films/patient": -1, "films/split": 255}
"""Fill values of integer columns in which 0 has a meaning: 255 is not a split."""
_STORED = ("cam/film", "cam/finding")
"""Columns that are copied: cam/film counts rows of the complete run here, and rows of the partition there."""


@dataclass(frozen=True, kw_only=True)
class VirtualSource:
    """Reference to a partial file: its path relative to the virtual file, the SHA-256 of its bytes, its partition."""

    file: str
    sha256: str
    partition: str


def part_files(output: Path, parts: Sequence[PartialScoresFile]) -> list[VirtualSource]:
    """References to partial files. InputError for a file that is not in or below the folder of the virtual file,
    because both must be moved together."""
    folder = output.parent.resolve()
    found = []
    for part in parts:
        path = part.path.resolve()
        if not path.is_relative_to(folder):
            raise InputError(
                f"{part.path} is outside of {folder}: put the virtual file in a folder above its partial files"
            )
        name = path.relative_to(folder).as_posix()
        found.append(VirtualSource(file=name, sha256=sha256_file(path), partition=str(part.partition)))
    return found


def write_virtual(
    place: Path,
    frame: FileHeader,
    parts: Sequence[PartialScoresFile],
    files: Sequence[VirtualSource],
    blocks: Iterable[RowBlock],
) -> None:
    """Writes a virtual scores file at ``place``; of the blocks, which are all rows of the partial files, only columns
    that are not virtual are stored. Errors as write_scores."""
    import h5py

    with ErrorTrappingFile(place) as target, h5py.File(target, "w", libver=LIBVER) as file:
        write_header(file, VIRTUAL_FORMAT, frame)
        write_text(file, "partial_files", json.dumps([vars(one) for one in files]))
        stored = {
            path: create_column(file, column, _shape(column, frame)) for path, column in _columns(_STORED).items()
        }
        for column in LAYOUT:
            if column.path in frame.own:
                write_column(file, column, frame.own[column.path])
            elif column.path not in stored:
                _write_virtual_column(file, column, frame, list(zip(parts, files, strict=True)))
        for block in blocks:
            for path in stored.keys() & block.values.keys():
                fill_rows(stored[path], block.places[path], block.values[path])
            target.check()
        name_axes(file)
        file.attrs["complete"] = True


def _columns(paths: Sequence[str]) -> dict[str, Column]:
    return {column.path: column for column in LAYOUT if column.path in paths}


def _shape(column: Column, frame: FileHeader) -> tuple[int, ...]:
    return tuple(frame.lengths[axis] for axis in column.axes)


def _write_virtual_column(
    file: h5py.File, column: Column, frame: FileHeader, parts: Sequence[tuple[PartialScoresFile, VirtualSource]]
) -> None:
    """A virtual dataset that concatenates the rows of the partial files."""
    import h5py

    shape = _shape(column, frame)
    text = column.dtype == TEXT
    dtype = h5py.string_dtype("utf-8", length=frame.widths[column.path]) if text else np.dtype(column.dtype)
    if 0 in shape:  # no heat maps
        create_column(file, column, shape, width=frame.widths.get(column.path, 1))
        return
    layout, at = h5py.VirtualLayout(shape, dtype), 0
    for part, own in parts:
        rows = len(part.rows) if column.axes[0] == "film" else part.head.map_shape[0]
        own_type = h5py.string_dtype("utf-8", length=part.head.widths[column.path]) if text else dtype
        if rows:
            # HDF5 reads % as the start of a pattern.
            name = f"./{own.file}".replace("%", "%%")
            layout[at : at + rows] = h5py.VirtualSource(name, column.path, shape=(rows, *shape[1:]), dtype=own_type)
        at += rows
    file.create_virtual_dataset(column.path, layout, fillvalue=_fill_value(column, dtype))


def _fill_value(column: Column, dtype: Any) -> Any:
    return np.nan if np.dtype(dtype).kind == "f" else FILLS.get(column.path)


@dataclass(frozen=True, kw_only=True)
class VirtualFile:
    """The metadata of a virtual file."""

    fingerprint: str
    inputs: Mapping[str, Any]
    parts: tuple[VirtualSource, ...]


def read_virtual(path: Path) -> VirtualFile | None:
    """The metadata of a virtual file, without access to other files; None for a file that is not virtual. InputError
    if there is no file, FileFormatError if it is damaged."""
    with open_guarded(path, virtual=True) as file:
        if "format" not in file.groups[""].attributes or read_text(file, "format") != VIRTUAL_FORMAT:
            return None
        check_format(file, VIRTUAL_FORMAT)
        found = {name: _json(path, read_text(file, name)) for name in ("inputs", "partial_files")}
        fingerprint = read_text(file, "fingerprint", longest=64)
    if not isinstance(found["inputs"], dict) or not isinstance(found["partial_files"], list):
        raise FileFormatError(f"{path} does not list its partial files")
    parts = tuple(_part_file(path, one) for one in found["partial_files"])
    return VirtualFile(fingerprint=fingerprint, inputs=found["inputs"], parts=parts)


def _json(path: Path, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise FileFormatError(f"{path}: an attribute is not JSON that can be used: {error}") from error


def _part_file(path: Path, entry: Any) -> VirtualSource:
    """FileFormatError unless it is a valid reference to a path inside the folder."""
    keys = ("file", "sha256", "partition")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in keys):
        raise FileFormatError(f"{path} does not list its partial files")
    if not is_plain_relative_path(entry["file"]):
        raise FileFormatError(f"{path} names a partial file outside its folder: {entry['file']!r:.100}")
    return VirtualSource(**{key: entry[key] for key in keys})


def find_mismatch(output: Path, part: VirtualSource) -> str:
    """Why a partial file does not match its reference in a virtual file at ``output``; "" if it matches."""
    path = output.parent / part.file
    if not path.is_file():
        return f"{part.file} is missing"
    try:
        same = sha256_file(path) == part.sha256
    except OSError as error:
        return f"{part.file} cannot be read: {os.strerror(error.errno or 0)}"
    return "" if same else f"{part.file} was changed"
