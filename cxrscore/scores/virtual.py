"""A scores file that holds no rows: its datasets are virtual, and show other programs what lies in its parts.

Where a part is missing, HDF5 shows fill values: NaN for scores, and for status 0, not written; never a score. cxrscore
itself does not read through such a file, which may point anywhere, but looks at the parts that it names.
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
from cxrscore.files import sha256_of
from cxrscore.files.guard import open_guarded, read_text
from cxrscore.files.names import lies_below
from cxrscore.files.plain import parsed_json
from cxrscore.scores.columns import LIBVER, create, fill, put, put_text
from cxrscore.scores.layout import LAYOUT, TEXT, Column
from cxrscore.scores.parts import Part
from cxrscore.scores.reading import check_format
from cxrscore.scores.safefile import SafeFile
from cxrscore.scores.writing import Block, Frame, name_axes, put_head

if TYPE_CHECKING:
    import h5py

VIRTUAL_FORMAT = "cxrscore-virtual-scores"
FILLS = {"films/patient": -1, "films/split": 255}
"""What whole numbers say where a part is missing, if 0 would say something: 255 is no split."""
_STORED = ("cam/film", "cam/finding")
"""Columns of the parts that are copied: cam/film counts in the whole run here, and in its share there."""


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """What a virtual file says of a part: its file, relative to its own folder; SHA-256 of its bytes; its share."""

    file: str
    sha256: str
    share: str


def part_files(output: Path, parts: Sequence[Part]) -> list[PartFile]:
    """What a virtual file is to say of its parts. InputError for a part that does not lie in its folder, or below:
    they must be moved together."""
    folder = output.parent.resolve()
    found = []
    for part in parts:
        path = part.path.resolve()
        if not path.is_relative_to(folder):
            raise InputError(f"{part.path} lies outside of {folder}: a virtual file and its parts must move together")
        name = path.relative_to(folder).as_posix()
        found.append(PartFile(file=name, sha256=sha256_of(path), share=str(part.share)))
    return found


def write_virtual(
    place: Path, frame: Frame, parts: Sequence[Part], files: Sequence[PartFile], blocks: Iterable[Block]
) -> None:
    """Writes a virtual scores file at ``place``; of the blocks, which are all rows of the parts, only what is not
    virtual is kept. Errors as write_scores."""
    import h5py

    with SafeFile(place) as target, h5py.File(target, "w", libver=LIBVER) as file:
        put_head(file, VIRTUAL_FORMAT, frame)
        put_text(file, "parts", json.dumps([vars(one) for one in files]))
        stored = {path: create(file, column, _shape(column, frame)) for path, column in _columns(_STORED).items()}
        for column in LAYOUT:
            if column.path in frame.own:
                put(file, column, frame.own[column.path])
            elif column.path not in stored:
                _put_virtual(file, column, frame, list(zip(parts, files, strict=True)))
        for block in blocks:
            for path in stored.keys() & block.values.keys():
                fill(stored[path], block.places[path], block.values[path])
            target.check()
        name_axes(file)
        file.attrs["complete"] = True


def _columns(paths: Sequence[str]) -> dict[str, Column]:
    return {column.path: column for column in LAYOUT if column.path in paths}


def _shape(column: Column, frame: Frame) -> tuple[int, ...]:
    return tuple(frame.lengths[axis] for axis in column.axes)


def _put_virtual(file: h5py.File, column: Column, frame: Frame, parts: Sequence[tuple[Part, PartFile]]) -> None:
    """A dataset that shows the parts' rows, one part behind the other."""
    import h5py

    shape = _shape(column, frame)
    text = column.dtype == TEXT
    dtype = h5py.string_dtype("utf-8", length=frame.widths[column.path]) if text else np.dtype(column.dtype)
    if 0 in shape:  # no heat maps: there is nothing to show
        create(file, column, shape, width=frame.widths.get(column.path, 1))
        return
    layout, at = h5py.VirtualLayout(shape, dtype), 0
    for part, own in parts:
        rows = len(part.rows) if column.axes[0] == "film" else part.head.map_shape[0]
        own_type = h5py.string_dtype("utf-8", length=part.head.widths[column.path]) if text else dtype
        if rows:
            # HDF5 takes a % for the beginning of a pattern.
            name = f"./{own.file}".replace("%", "%%")
            layout[at : at + rows] = h5py.VirtualSource(name, column.path, shape=(rows, *shape[1:]), dtype=own_type)
        at += rows
    file.create_virtual_dataset(column.path, layout, fillvalue=_fill_value(column, dtype))


def _fill_value(column: Column, dtype: Any) -> Any:
    return np.nan if np.dtype(dtype).kind == "f" else FILLS.get(column.path)


@dataclass(frozen=True, kw_only=True)
class Virtual:
    """What a virtual file says of itself."""

    fingerprint: str
    inputs: Mapping[str, Any]
    parts: tuple[PartFile, ...]


def read_virtual(path: Path) -> Virtual | None:
    """What a virtual file says of itself, without a look at any other file; None for a file that is none. InputError
    where there is no file, FileFormatError where it is damaged."""
    with open_guarded(path, virtual=True) as file:
        if "format" not in file.groups[""].attributes or read_text(file, "format") != VIRTUAL_FORMAT:
            return None
        check_format(file, VIRTUAL_FORMAT)
        found = {name: _json(path, read_text(file, name)) for name in ("inputs", "parts")}
        fingerprint = read_text(file, "fingerprint", longest=64)
    if not isinstance(found["inputs"], dict) or not isinstance(found["parts"], list):
        raise FileFormatError(f"{path} does not say which parts it is made of")
    parts = tuple(_part_file(path, one) for one in found["parts"])
    return Virtual(fingerprint=fingerprint, inputs=found["inputs"], parts=parts)


def _json(path: Path, text: str) -> Any:
    try:
        return parsed_json(text)
    except ValueError as error:
        raise FileFormatError(f"{path}: an attribute is not JSON that can be used: {error}") from error


def _part_file(path: Path, told: Any) -> PartFile:
    """FileFormatError unless it is one, and its name leads no way out of the folder."""
    keys = ("file", "sha256", "share")
    if not isinstance(told, dict) or not all(isinstance(told.get(key), str) for key in keys):
        raise FileFormatError(f"{path} does not say which parts it is made of")
    if not lies_below(told["file"]):
        raise FileFormatError(f"{path} names a part outside of its folder: {told['file']!r:.100}")
    return PartFile(**{key: told[key] for key in keys})


def fault_of(output: Path, part: PartFile) -> str:
    """Why the part is not the one that a virtual file at ``output`` was made of; "" where it is."""
    path = output.parent / part.file
    if not path.is_file():
        return f"{part.file} is missing"
    try:
        same = sha256_of(path) == part.sha256
    except OSError as error:
        return f"{part.file} cannot be read: {os.strerror(error.errno or 0)}"
    return "" if same else f"{part.file} was changed"
