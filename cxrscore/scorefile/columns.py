"""Creates and fills the datasets of the layout, for shards and for scores files.

h5py, and libhdf5 below it, only write and are imported at first use: io.hdf5.reader reads files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrscore.contract import Array
from cxrscore.scorefile.layout import TEXT, Column

if TYPE_CHECKING:
    import h5py

LIBVER = ("earliest", "v110")
"""Written so that HDF5 1.10, of 2016, can read it."""
CHUNK_ROWS = 4096
CHUNK_BYTES = 1 << 20
"""Maximum size of a chunk, unless one row is larger."""
_REPEATED = 1000
"""Different texts of a column among which repeated ones are looked for."""
MAX_ATTRIBUTE_BYTES = 60_000
"""Bytes of a text in one attribute, which HDF5 limits to 64 KiB; the rest is in those named name+1, name+2, ..."""


def create_column(file: h5py.File, column: Column, shape: tuple[int, ...], *, width: int = 1) -> h5py.Dataset:
    """An empty dataset: rows that are not written read as NaN, or 0.

    width  bytes of the longest text of a TEXT column
    """
    import h5py

    text = column.dtype == TEXT
    dtype = h5py.string_dtype("utf-8", length=width) if text else np.dtype(column.dtype)
    options: dict[str, Any] = {}
    if dtype.kind == "f":
        options["fillvalue"] = np.nan
    if 0 not in shape:  # an empty dataset has no chunks, so nothing to compress
        options |= {"chunks": _chunk(shape, dtype), "compression": "gzip", "compression_opts": 1}
        options |= {"shuffle": True, "fletcher32": True}
    return file.create_dataset(column.path, shape, dtype, **options)


def write_column(file: h5py.File, column: Column, values: Array) -> h5py.Dataset:
    """Creates a dataset and fills it. Texts are given as encode returns them."""
    dataset = create_column(file, column, values.shape, width=values.dtype.itemsize)
    fill_rows(dataset, slice(None), values)
    return dataset


def fill_rows(dataset: h5py.Dataset, place: slice, values: Array) -> None:
    """Writes rows. The dtype of the dataset tells h5py that bytes are UTF-8."""
    if values.size:
        dataset[place] = values.astype(dataset.dtype)


def write_text(file: h5py.File, name: str, text: str) -> None:
    """Creates a fixed-length attribute of the root; the reader accepts no other kind. A text that is too long for one
    attribute continues in further ones."""
    import h5py

    coded = text.encode()
    for part, start in enumerate(range(0, len(coded), MAX_ATTRIBUTE_BYTES)):
        piece = np.bytes_(coded[start : start + MAX_ATTRIBUTE_BYTES])
        place = f"{name}+{part}" if part else name
        file.attrs.create(place, piece, dtype=h5py.string_dtype("utf-8", len(piece)))


def encode_texts(texts: Sequence[str]) -> Array:
    """Texts as bytes [n] of one length, at least 1. Bytes of file names that are not UTF-8 are preserved."""
    return encode_rows(texts, range(len(texts)), longest_text(texts))


def longest_text(texts: Iterable[str]) -> int:
    """Bytes of the longest of these texts, at least 1."""
    return max((len(text) if text.isascii() else len(_encoded(text)) for text in texts), default=0) or 1


def encode_rows(texts: Sequence[str], rows: range, width: int) -> Array:
    """Some of the texts as bytes [n] of this length."""
    found = np.zeros(len(rows), f"S{width}")
    for start in range(0, len(rows), CHUNK_ROWS):
        some = rows[start : start + CHUNK_ROWS]
        found[start : start + len(some)] = [_encoded(texts[row]) for row in some]
    return found


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def decode_texts(values: Array) -> tuple[str, ...]:
    """The inverse of encode; zero bytes at the end of a text are lost. Texts that are repeated, as most are but paths
    and digests, are one object."""
    known: dict[bytes, str] = {}
    found: list[str] = []
    for start in range(0, len(values), CHUNK_ROWS):
        for value in values[start : start + CHUNK_ROWS].tolist():
            text = known.get(value)
            if text is None:
                text = value.decode("utf-8", "surrogateescape")
                if len(known) < _REPEATED:
                    known[value] = text
            found.append(text)
    return tuple(found)


def _chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    row = math.prod(shape[1:]) * dtype.itemsize
    return (max(1, min(shape[0], CHUNK_ROWS, CHUNK_BYTES // row)), *shape[1:])
