"""The writer of scores files: the header first, then the rows in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrscore.contract import Array
from cxrscore.scorefile.columns import CHUNK_BYTES, LIBVER, create_column, fill_rows, write_column, write_text
from cxrscore.scorefile.layout import FORMAT, LAYOUT, SCALES, VERSION
from cxrscore.scorefile.manifest import canonical_json
from cxrscore.scorefile.safefile import ErrorTrappingFile

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True, kw_only=True)
class FileHeader:
    """The header of a scores file, known before its rows.

    fingerprint  digest of the inputs
    inputs       all inputs of the scores, JSON-ready
    provenance   JSON-ready
    own          complete columns, by path
    lengths      axis lengths of the other columns, by axis
    widths       bytes of the longest text of the other columns, by path
    """

    fingerprint: str
    inputs: Mapping[str, Any]
    provenance: Mapping[str, Any]
    own: Mapping[str, Array]
    lengths: Mapping[str, int]
    widths: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class RowBlock:
    """Rows of some columns, by path, and their indexes along the first axis."""

    values: Mapping[str, Array]
    places: Mapping[str, slice]


def write_scores(part: Path, frame: FileHeader, blocks: Iterable[RowBlock]) -> None:
    """Writes a scores file at ``part``. OSError, after the block that failed, if it cannot be written; errors of the
    blocks pass through."""
    import h5py

    # Complete chunks are never needed again: HDF5 evicts them from its cache first.
    cache = {"rdcc_nbytes": 2 * CHUNK_BYTES, "rdcc_w0": 1.0}
    with ErrorTrappingFile(part) as target, h5py.File(target, "w", libver=LIBVER, **cache) as file:
        write_header(file, FORMAT, frame)
        # The datasets stay open: closing one would compress its unfinished chunk.
        datasets = _create(file, frame)
        for block in blocks:
            for path, values in block.values.items():
                fill_rows(datasets[path], block.places[path], values)
            target.check()
        name_axes(file)
        file.attrs["complete"] = True


def write_header(file: h5py.File, form: str, frame: FileHeader) -> None:
    """Writes the attributes of the root, marked as incomplete."""
    file.attrs.update({"version": VERSION, "complete": False})
    write_text(file, "format", form)
    write_text(file, "fingerprint", frame.fingerprint)
    write_text(file, "inputs", canonical_json(frame.inputs))
    write_text(file, "provenance", canonical_json(frame.provenance))


def _create(file: h5py.File, frame: FileHeader) -> dict[str, h5py.Dataset]:
    """Creates the columns to fill, by path, and writes the complete ones."""
    datasets = {}
    for column in LAYOUT:
        if column.path in frame.own:
            write_column(file, column, frame.own[column.path])
        else:
            shape = tuple(frame.lengths[axis] for axis in column.axes)
            datasets[column.path] = create_column(file, column, shape, width=frame.widths.get(column.path, 1))
    return datasets


def name_axes(file: h5py.File) -> None:
    """Labels the dimensions of all columns, and attaches dimension scales."""
    for axis, path in SCALES.items():
        file[path].make_scale(axis)
    for column in LAYOUT:
        for dimension, axis in zip(file[column.path].dims, column.axes, strict=True):
            dimension.label = axis
            if axis in SCALES and column.path not in SCALES.values():
                dimension.attach_scale(file[SCALES[axis]])
