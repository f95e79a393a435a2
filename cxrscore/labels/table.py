"""A table of text as columns: a CSV file in any usual dialect, plain or gzipped, the sheet of an Excel workbook, or the
consensus of the readers of a marks file."""

from __future__ import annotations

import array
import csv
import io
import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, dropwhile, islice, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import overload

from cxrscore.errors import InputError
from cxrscore.labels.delimiters import NAMES, check_title, delimiter_of, stated_delimiter
from cxrscore.labels.excel import open_sheet
from cxrscore.labels.roles import respelled
from cxrscore.labels.text_files import is_workbook, open_text, read_bytes
from cxrscore.marks import MAJORITY, is_marks_file, marks_table

MAX_COLUMNS = 100_000
MAX_LINES = 20_000_000
MAX_CELLS = 50_000_000
"""Largest number of cells; each takes some 60 bytes of memory, and more if it is long."""
MAX_RECORD = 16 * 1024**2
"""Largest number of characters of a row, which may have several lines if cells are quoted."""
_LONGEST_ERROR = 500
"""Largest number of characters of a row in an error message."""
_HEAD_LINES, _HEAD_CHARACTERS = 60, 256 * 1024
"""Lines, and about how many characters, from which the delimiter is told."""
_AHEAD = 20
"""Number of rows below the header that are looked at to see whether it is one."""
_BLOCK, _BLOCK_CELLS = 4096, 1024**2
"""Largest number of rows, and of their cells, that are turned into columns at once."""
_POOL = 65_536
"""Largest number of distinct cells of a column of which further copies are looked up."""
_UNNAMED = re.compile(r"Unnamed: \d+(?:_level_\d+)?|\.\.\.\d+|")
"""Names that pandas and R give to columns without a name."""

_DECIMAL = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:[.,]\d{3})+")
_NO_NUMBER = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?", "unknown", "#n/a", "<na>"))
"""Words among the numbers of a column, in lower case."""


class Rows(Sequence[Sequence[str]]):
    """Rows whose cells are stored by column."""

    def __init__(self, columns: Sequence[Sequence[str]], count: int) -> None:
        self._columns, self._count = columns, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> list[str]: ...
    @overload
    def __getitem__(self, place: slice) -> list[list[str]]: ...
    def __getitem__(self, place: int | slice) -> list[str] | list[list[str]]:
        if isinstance(place, slice):
            return [self[row] for row in range(*place.indices(self._count))]
        if not -self._count <= place < self._count:
            raise IndexError(place)
        return [column[place] for column in self._columns]

    def column(self, place: int) -> Sequence[str]:
        """The cells of a column; not a copy."""
        return self._columns[place]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a table.

    columns  names from the header, without surrounding blanks; "" for unnamed columns
    rows     cells of each row, as many as columns; empty rows are skipped
    lines    the line of the file, or row of the sheet, on which each row ends, from 1, for messages
    dialect  how the file differs from a CSV file in UTF-8, such as "semicolons, UTF-16, decimal commas"; "" if it does
             not
    """

    path: Path
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    dialect: str = ""

    @cached_property
    def _places(self) -> dict[str, int]:
        """The first index of each name among the columns."""
        return {name: place for place, name in reversed(list(enumerate(self.columns)))}

    def column(self, name: str) -> list[str]:
        """The cells of a column, without surrounding blanks."""
        place = self._places[name]
        if isinstance(self.rows, Rows):  # whose cells have been cleaned
            return list(self.rows.column(place))
        return [row[place].strip() for row in self.rows]

    def cell(self, row: int, name: str) -> str:
        """One cell, without surrounding blanks."""
        place = self._places[name]
        return self.rows.column(place)[row] if isinstance(self.rows, Rows) else self.rows[row][place].strip()

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


def read_header(path: Path, names: Iterable[str] = ()) -> tuple[str, ...]:
    """The column names of a table, those of `names` in this spelling; InputError if it cannot be read or is empty."""
    return respelled(_header(path, _Records(path)), names)


def file_dialect(path: Path) -> str:
    """How a table differs from a CSV file in UTF-8, as far as its first rows tell; see Table.dialect."""
    records = _Records(path)
    cells = {cell.strip() for _, row in islice(records.numbered(), _AHEAD) for cell in row}
    commas = records.delimiter != "," and any(map(_DECIMAL.fullmatch, cells))
    return ", ".join([*records.dialect, *(["decimal commas"] if commas else [])])


def read_headers(path: Path) -> list[tuple[str, ...]]:
    """The column names of a table, and, unless commas separate them, its first line split at commas: a reader of a
    plugin may know a table with semicolons by that. InputError as read_header."""
    records = _Records(path)
    names = _header(path, records)
    if records.delimiter in ("", ","):
        return [names]
    try:
        return [names, _header(path, _Records(path, at_commas=True))]
    except InputError:  # twice the same name between commas
        return [names]


def read_table(path: Path, only: Collection[str] | None = None) -> Table:
    """Read all columns of a table, or those named in `only`, in this spelling; InputError if it cannot be read, a row
    does not fit the header, or the table does not fit into memory."""
    records = _Records(path)
    columns = respelled(_header(path, records), only or ())
    selected = [place for place, name in enumerate(columns) if only is None or name in only]
    most = MAX_CELLS // max(len(selected), 1)
    kept = [_Column() for _ in selected]
    lines = array.array("I")
    rows = _fitting(path, columns, records)
    at_once = max(1, min(_BLOCK, _BLOCK_CELLS // len(columns)))
    while block := list(islice(rows, at_once)):
        lines.extend(map(itemgetter(0), block))
        if len(lines) > most:
            raise InputError(
                f"{path} has more than {most:,} rows of {len(selected):,} columns, which is more than fits into "
                "memory. Remove the columns or rows that are not needed."
            )
        cells = list(zip_longest(*map(itemgetter(1), block), fillvalue=""))
        for column, place in zip(kept, selected, strict=True):
            column.extend(cells[place] if place < len(cells) else [""] * len(block))
    commas = [column.read_decimal_commas(records.delimiter) for column in kept] if records.delimiter != "," else []
    dialect = [*records.dialect, *(["decimal commas"] if any(commas) else [])]
    return Table(
        path=path,
        columns=tuple(columns[place] for place in selected),
        rows=Rows([column.cells for column in kept], len(lines)),
        lines=lines,
        dialect=", ".join(dialect),
    )


def _fitting(path: Path, columns: Sequence[str], records: _Records) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with their lines; InputError for one that does not fit the header."""
    count = len(columns)
    named = max((place for place, name in enumerate(columns, 1) if name), default=0)
    for line, row in records.numbered():
        if not any(row) or not (row[0].strip() or any(map(str.strip, row))):
            continue
        if len(row) < named or (len(row) > count and any(map(str.strip, row[count:]))):
            hint = " (are there row names? In R: row.names = FALSE)" if len(row) == count + 1 else ""
            raise InputError(f"{path}, line {line}: {len(row)} cells, expected {named} as in the header{hint}")
        yield line, row


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, plain or gzipped, or the first cells of a workbook, without surrounding blanks;
    InputError if it cannot be read."""
    data = read_bytes(path, any_text=True)
    if is_workbook(path, data):
        return [row[0].strip() if row else "" for _, row in open_sheet(path, data)[1]]
    lines = _Lines(path, open_text(path, data)[0])
    found = []
    for line in lines:
        found.append(line.strip().removeprefix("\ufeff"))
        lines.begin_record()
    return found


def _header(path: Path, records: Iterator[list[str]]) -> tuple[str, ...]:
    names = tuple(map(_name, next(records, [])))
    if not any(names):
        raise InputError(f"{path} is empty; expected a table that begins with its column names")
    if len(names) > MAX_COLUMNS:
        raise InputError(f"{path} has {len(names):,} columns, expected at most {MAX_COLUMNS:,}")
    if twice := sorted(name for name, count in Counter(names).items() if name and count > 1):
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise InputError(f"{path} has more than one column named {', '.join(twice[:5])}{more}")
    return names


def _name(cell: str) -> str:
    """The name of a column, without surrounding blanks; "" for one that a program made up."""
    name = cell.strip("\ufeff \t").strip().replace("\N{NO-BREAK SPACE}", " ")
    return "" if name.startswith(("Unnamed: ", "...")) and _UNNAMED.fullmatch(name) else name


class _Column:
    """The cells of a column, without surrounding blanks. Equal ones are mostly the same object."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self._pool: dict[str, str] = {}

    def extend(self, block: Sequence[str]) -> None:
        distinct = set(block)
        if 2 * len(distinct) > len(block):
            self.cells += _cleaned(block)
            return
        if len(self._pool) > _POOL:
            self._pool = {}
        new = [cell for cell in distinct if cell not in self._pool]
        self._pool.update(zip(new, _cleaned(new), strict=True))
        self.cells.extend(map(self._pool.__getitem__, block))

    def read_decimal_commas(self, delimiter: str) -> bool:
        """Write the numbers of the column with a point; False if it has none with a comma, or other texts."""
        if not any("," in cell for cell in self.cells[:_BLOCK]) and not any("," in cell for cell in self.cells):
            return False
        distinct = set(self.cells)
        commas = {cell for cell in distinct if "," in cell}
        if not all(map(_DECIMAL.fullmatch, commas)) or not all(map(_is_number, distinct - commas)):
            return False
        if any(map(_THOUSANDS.fullmatch, distinct - commas)):  # 1.234 beside 0,5: points may separate thousands
            return False
        if delimiter != ";" and all(map(_THOUSANDS.fullmatch, commas)):  # 1,234: so may these commas
            return False
        points = {cell: cell.replace(",", ".") for cell in commas}
        self.cells = [points.get(cell, cell) for cell in self.cells]
        return True


def _is_number(cell: str) -> bool:
    return _PLAIN.fullmatch(cell) is not None or cell.lower() in _NO_NUMBER


def _cleaned(cells: Iterable[str]) -> list[str]:
    """The cells without surrounding blanks and marks, and out of Excel's ="...", which keeps leading zeros."""
    found = [cell.strip() for cell in cells]
    text = "".join(found)
    return list(map(_clean, found)) if '="' in text or "\ufeff" in text else found


def _clean(cell: str) -> str:
    cell = cell.strip("\ufeff").strip()
    if cell.startswith('="') and cell.endswith('"') and len(cell) > 2 and '"' not in cell[2:-1]:
        return cell[2:-1].strip()
    return cell


class _Records(Iterator[list[str]]):
    """The rows of a table, from its header; InputError if a row is invalid or too long.

    dialect    how the file differs from a CSV file in UTF-8
    delimiter  the character between cells; "" for a workbook and a marks file

    at_commas: take a text for a table with commas, whatever it is.
    """

    def __init__(self, path: Path, *, at_commas: bool = False) -> None:
        self.dialect: list[str] = []
        self.delimiter = ""
        data = io.BytesIO() if is_marks_file(path) else read_bytes(path)
        head: list[str] = []
        if is_marks_file(path):
            rows: Iterator[tuple[int, list[str]]] = enumerate(marks_table(path), 1)
            self.dialect.append(f"marks of readers, {MAJORITY}")
        elif is_workbook(path, data):
            title, rows = open_sheet(path, data)
            self.dialect.append(f"Excel sheet {title!r}")
        else:
            text, encoding = open_text(path, data)
            lines = _Lines(path, text)
            head = lines.head()
            self.delimiter = "," if at_commas else _delimiter(path, lines, head)
            self.dialect += [NAMES[self.delimiter]] * (self.delimiter != ",") + [encoding] * (encoding != "")
            rows = _csv_rows(path, lines, self.delimiter)
        self._rows = dropwhile(lambda row: not any(map(str.strip, row[1])), rows)
        self._ahead = deque(islice(self._rows, _AHEAD))
        if not at_commas:
            check_title(path, self._ahead, head if self.delimiter == "," else [])

    def __next__(self) -> list[str]:
        return self._ahead.popleft()[1] if self._ahead else next(self._rows)[1]

    def numbered(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that are left, and the line of the file on which each ends, from 1."""
        return chain(self._ahead, self._rows)


def _delimiter(path: Path, lines: _Lines, head: Sequence[str]) -> str:
    """The character between the cells; a line that states it, as Excel knows it, is taken from the lines."""
    stated = stated_delimiter(path, head[0]) if head else None
    if stated is None:
        return delimiter_of(path, head)
    next(lines)
    return stated


def _csv_rows(path: Path, lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a text, and the line on which each ends."""
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.begin_record()
        begin = lines.count + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            many = f" (the row begins on line {begin}: is a quote there not closed?)" if begin < lines.count else ""
            raise InputError(f"{path}, line {lines.count}: {error}{many}; expected a CSV file") from error
        if row is None:
            return
        yield lines.count, row


class _Lines(Iterator[str]):
    """The lines of a text; InputError if there are too many, or one record is too long or does not end.

    count  the number of lines that have been read
    """

    def __init__(self, path: Path, text: io.TextIOWrapper) -> None:
        self._path, self._text = path, text
        self.count = self._record = self._begin = 0

    def head(self) -> list[str]:
        """The first lines, which are read again later."""
        lines: list[str] = []
        characters = 0
        while len(lines) < _HEAD_LINES and characters < _HEAD_CHARACTERS:
            if not (line := self._text.readline(MAX_RECORD + 1)):
                break
            lines.append(line)
            characters += len(line)
        self._text.seek(0)
        return lines

    def begin_record(self) -> None:
        """Begin a new record with the next line; without this call, each line is one record."""
        self._record, self._begin = 0, self.count + 1

    def __next__(self) -> str:
        line = self._text.readline(MAX_RECORD + 1)
        if not line:
            if self._record:  # the reader asks for more lines within a record only if a cell is not closed
                raise InputError(
                    f"{self._path}, line {self._begin}: a quote opens in the row that begins here, and is not closed "
                    "up to the end of the file"
                )
            raise StopIteration
        self.count += 1
        self._record += len(line)
        if self._record > MAX_RECORD:
            raise InputError(
                f"{self._path}, line {self.count}: a row of more than {MAX_RECORD:,} characters; expected a CSV file"
            )
        if self.count > MAX_LINES:
            raise InputError(f"{self._path} has more than {MAX_LINES:,} lines, which is more than fits into memory")
        return line
