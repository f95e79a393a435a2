"""A CSV file, plain or gzipped, as columns of text."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.io.regular import open_regular

MAX_BYTES = 1024**3
"""Of a table when unpacked; the largest public one is a tenth of this."""
MAX_RATIO = 200
"""Largest ratio of unpacked to packed bytes of a gzipped table. Public ones reach 20; a decompression bomb reaches
1,000."""
UNQUESTIONED = 64 * 1024**2
"""Bytes that may be unpacked in any case: small tables with repeated wide rows compress well."""
MAX_COLUMNS = 100_000
MAX_LINES = 20_000_000
MAX_CELLS = 50_000_000
"""Largest number of lines; each takes some 60 bytes of memory, and more if it is long."""
MAX_RECORD = 16 * 1024**2
"""Largest number of characters of a row, which may have several lines if cells are quoted."""
_BLOCK = 1024**2
_LONGEST_ERROR = 500
"""Largest number of characters of a row in an error message."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a CSV file.

    columns  names from the header, without surrounding blanks; "" for unnamed columns
    rows     cells of each row, as many as columns; empty lines are skipped
    lines    the line of the file on which each row ends, from 1, for messages
    """

    path: Path
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]

    @cached_property
    def _places(self) -> dict[str, int]:
        """The first index of each name among the columns."""
        return {name: place for place, name in reversed(list(enumerate(self.columns)))}

    def column(self, name: str) -> list[str]:
        """The cells of a column, without surrounding blanks."""
        place = self._places[name]
        return [row[place].strip() for row in self.rows]

    def cell(self, row: int, name: str) -> str:
        """One cell, without surrounding blanks."""
        return self.rows[row][self._places[name]].strip()

    def first_of(self, names: Sequence[str]) -> str | None:
        """The first of these names that is a column."""
        return next((name for name in names if name in self._places), None)

    def table_error(self, what: str) -> InputError:
        """An error about the table: `what` is wrong."""
        return InputError(f"{self.path} {what}")

    def row_error(self, row: int, what: str) -> InputError:
        """An error about this row: `what` is wrong."""
        return InputError(f"{self.path}, line {self.lines[row]}: {_short(what)}")


def _short(text: str) -> str:
    """The text, without its middle if it is long, as cells may be."""
    return text if len(text) <= _LONGEST_ERROR else f"{text[: _LONGEST_ERROR // 2]} ... {text[-_LONGEST_ERROR // 2 :]}"


def read_header(path: Path) -> tuple[str, ...]:
    """The column names of a CSV file; InputError if it cannot be read or is empty."""
    return _header(path, _Records(path))


def read_table(path: Path, only: Container[str] | None = None) -> Table:
    """Read all columns of a CSV file, or those named in `only`; InputError if it cannot be read, a row does not fit the
    header, or the table does not fit into memory."""
    records = _Records(path)
    columns = _header(path, records)
    named = len(columns)
    while named > 1 and not columns[named - 1]:
        named -= 1
    selected = [place for place, name in enumerate(columns) if only is None or name in only]
    rows: list[list[str]] = []
    lines: list[int] = []
    most = MAX_CELLS // max(len(selected), 1)
    for row in records:
        if not any(row):
            continue
        if len(row) < named or any(cell.strip() for cell in row[len(columns) :]):
            raise InputError(f"{path}, line {records.line}: {len(row)} cells, expected {named} as in the header")
        if len(rows) >= most:
            raise InputError(
                f"{path} has more than {most:,} rows of {len(selected):,} columns, which is more than fits into "
                "memory. Remove the columns or rows that are not needed."
            )
        rows.append([row[place] if place < len(row) else "" for place in selected])
        lines.append(records.line)
    return Table(path=path, columns=tuple(columns[place] for place in selected), rows=rows, lines=lines)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, plain or gzipped, without surrounding blanks; InputError if it cannot be read."""
    lines = _Lines(path)
    found = []
    for line in lines:
        found.append(line.strip())
        lines.begin_record()
    return found


def _header(path: Path, records: _Records) -> tuple[str, ...]:
    names = tuple(name.strip() for name in next(records, []))
    if not any(names):
        raise InputError(f"{path} is empty; expected a CSV file that begins with its column names")
    if len(names) > MAX_COLUMNS:
        raise InputError(f"{path} has {len(names):,} columns, expected at most {MAX_COLUMNS:,}")
    if twice := sorted(name for name, count in Counter(names).items() if name and count > 1):
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise InputError(f"{path} has more than one column named {', '.join(twice[:5])}{more}")
    return names


class _Records(Iterator[list[str]]):
    """The rows of a CSV file; InputError if a row is invalid or too long."""

    def __init__(self, path: Path) -> None:
        self._path, self._lines = path, _Lines(path)
        self._reader = csv.reader(self._lines)

    @property
    def line(self) -> int:
        """The line of the file on which the last row ends, from 1."""
        return self._reader.line_num

    def __next__(self) -> list[str]:
        self._lines.begin_record()
        try:
            return next(self._reader)
        except csv.Error as error:
            raise InputError(f"{self._path}, line {self.line or 1}: {error}; expected a CSV file") from error


class _Lines(Iterator[str]):
    """The lines of a text file, plain or gzipped; InputError if there are too many, or one record is too long."""

    def __init__(self, path: Path) -> None:
        self._path, self._text = path, _text(path)
        self._count = self._record = 0

    def begin_record(self) -> None:
        """Begin a new record with the next line; without this call, each line is one record."""
        self._record = 0

    def __next__(self) -> str:
        line = self._text.readline(MAX_RECORD + 1)
        if not line:
            raise StopIteration
        self._count += 1
        self._record += len(line)
        if self._record > MAX_RECORD:
            raise InputError(
                f"{self._path}, line {self._count}: a row of more than {MAX_RECORD:,} characters; expected a CSV file"
            )
        if self._count > MAX_LINES:
            raise InputError(f"{self._path} has more than {MAX_LINES:,} lines, which is more than fits into memory")
        return line


def _text(path: Path) -> io.TextIOWrapper:
    data = _unpacked(path)
    try:
        str(data.getbuffer(), "utf-8-sig")  # only to find the byte of an error; lines are decoded later
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}; save it as CSV in UTF-8") from error
    return io.TextIOWrapper(data, "utf-8-sig", newline="")


def _unpacked(path: Path) -> io.BytesIO:
    """The bytes of a file, unpacked if they are gzipped."""
    data = io.BytesIO()
    try:
        with open_regular(path) as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            for block in _blocks(path, gzip.GzipFile(fileobj=file) if packed else file):
                data.write(block)
                if packed and data.tell() > max(UNQUESTIONED, MAX_RATIO * file.tell()):
                    raise InputError(f"{path} unpacks to over {MAX_RATIO} times its bytes; expected a label table")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    data.seek(0)
    return data


def _blocks(path: Path, file: io.BufferedReader | gzip.GzipFile) -> Iterator[bytes]:
    """The bytes of a file, piece by piece: a single read would reserve the largest allowed size."""
    count = 0
    while block := file.read(_BLOCK):
        if (zero := block.find(b"\0")) >= 0:
            raise InputError(f"{path} is not a text file: byte {count + zero} is zero; save it as CSV in UTF-8")
        count += len(block)
        if count > MAX_BYTES:
            raise InputError(f"{path} has more than {MAX_BYTES:,} bytes; expected a label table")
        yield block
