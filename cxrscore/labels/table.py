"""A CSV file, plain or gzipped, as columns of text."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrscore.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader

MAX_BYTES = 1024**3
"""Of a table when unpacked; the largest public one is a tenth of this."""
_BLOCK = 1024**2


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a CSV file.

    columns  names from the header, without blanks around them; "" for unnamed columns
    rows     cells of each row, as many as columns; empty lines are left out
    lines    the line of the file on which each row ends, from 1, for messages
    """

    path: Path
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]

    def column(self, name: str) -> list[str]:
        """The cells of a column, without blanks around them."""
        place = self.columns.index(name)
        return [row[place].strip() for row in self.rows]

    def cell(self, row: int, name: str) -> str:
        """One cell, without blanks around it."""
        return self.rows[row][self.columns.index(name)].strip()

    def first_of(self, names: Sequence[str]) -> str | None:
        """The first of these names that is a column."""
        return next((name for name in names if name in self.columns), None)

    def wrong(self, what: str) -> InputError:
        """The error that `what` is wrong with the whole table."""
        return InputError(f"{self.path} {what}")

    def error(self, row: int, what: str) -> InputError:
        """The error that `what` is wrong with this row."""
        return InputError(f"{self.path}, line {self.lines[row]}: {what}")


def read_header(path: Path) -> tuple[str, ...]:
    """The column names of a CSV file; InputError if it cannot be read or is empty."""
    return _header(path, _reader(path))


def read_table(path: Path, only: Container[str] | None = None) -> Table:
    """All of a CSV file, or of its columns those named in `only`; InputError where it cannot be read or a row does
    not fit the header."""
    reader = _reader(path)
    columns = _header(path, reader)
    named = len(columns)
    while named > 1 and not columns[named - 1]:
        named -= 1
    kept = [place for place, name in enumerate(columns) if only is None or name in only]
    rows, lines = [], []
    try:
        for row in reader:
            if not any(row):
                continue
            if len(row) < named or any(cell.strip() for cell in row[len(columns) :]):
                where = f"{path}, line {reader.line_num}"
                raise InputError(f"{where}: {len(row)} cells, wanted {named} as in the header")
            rows.append([row[place] if place < len(row) else "" for place in kept])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; wanted a CSV file") from error
    return Table(path=path, columns=tuple(columns[place] for place in kept), rows=rows, lines=lines)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, plain or gzipped, without blanks around them; InputError if it cannot be read."""
    with _text(path) as text:
        return [line.strip() for line in text]


def _header(path: Path, reader: Reader) -> tuple[str, ...]:
    try:
        names = tuple(name.strip() for name in next(reader, []))
    except csv.Error as error:
        raise InputError(f"{path}, line 1: {error}; wanted a CSV file") from error
    if not any(names):
        raise InputError(f"{path} is empty; wanted a CSV file that begins with its column names")
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise InputError(f"{path} has more than one column named {', '.join(twice)}")
    return names


def _reader(path: Path) -> Reader:
    return csv.reader(_text(path))


def _text(path: Path) -> io.TextIOWrapper:
    data = _unpacked(path)
    try:
        str(data.getbuffer(), "utf-8-sig")  # all at once, to say at which byte; what is kept is decoded line by line
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}; save it as CSV in UTF-8") from error
    return io.TextIOWrapper(data, "utf-8-sig", newline="")


def _unpacked(path: Path) -> io.BytesIO:
    """The bytes of a file, unpacked if they are gzipped; read in blocks, as one read would reserve all that may be."""
    data = io.BytesIO()
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            while block := file.read(_BLOCK):
                data.write(block)
                if data.tell() > MAX_BYTES:
                    raise InputError(f"{path} has more than {MAX_BYTES:,} bytes; wanted a label table")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    data.seek(0)
    return data
