"""What separates the cells of a table: commas, semicolons, tabs or vertical bars, told from its first rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cxrscore.errors import InputError

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""The characters that separate cells, and how to call them."""
ROWS = 20
"""Number of rows that are looked at."""
_SEP = re.compile(r'"?sep=(.?)"?[;,\t|]*\s*', re.IGNORECASE)
_NESTED = re.compile(r"\"[^\"]*\"|\[[^\]\[]*\]|\([^)(]*\)")
"""What is quoted or bracketed, as in Bbox [x,y,w,h]."""
_MANY_MORE = 3
"""Of two characters that both fit, the one that makes so many times more columns separates them."""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """Columns that a character makes of the header, and the share of rows that fit them."""

    delimiter: str
    columns: int
    fit: float


def stated_delimiter(path: Path, line: str) -> str | None:
    """The character that a first line such as sep=; states; None if it is no such line, InputError if it states no
    usual one."""
    found = _SEP.fullmatch(line)
    if not found:
        return None
    if found[1] not in NAMES:
        raise InputError(f"{path}, line 1: {line.strip()!r} states {found[1]!r}; expected one of {_words(NAMES)}")
    return found[1]


def delimiter_of(path: Path, lines: Sequence[str]) -> str:
    """The character that separates the cells of a table that begins with these lines, of which the first is the header.

    Only a character of the header can be it, so one that only cells have (Mass|Effusion) is not. Other characters than
    commas must separate the rows likewise. InputError if there are two, and nothing says which.
    """
    header = next((line for line in lines if line.strip()), "")
    bare = _NESTED.sub("", header)
    met = [character for character in NAMES if character in bare]
    if met in ([], [","]):
        return ","
    fitting = [found for found in (_candidate(lines, character) for character in met) if found is not None]
    fitting.sort(key=lambda found: (found.fit, found.columns), reverse=True)
    fitting = [found for found in fitting if found.fit == fitting[0].fit]
    if len(fitting) < 2:
        return fitting[0].delimiter if fitting else ","
    if any(found.delimiter == "\t" for found in fitting):  # no name has a tab
        return "\t"
    if fitting[0].columns >= _MANY_MORE * fitting[1].columns:
        return fitting[0].delimiter
    first, second = (NAMES[found.delimiter] for found in fitting[:2])
    raise InputError(
        f"{path}: its cells may be separated by {first} or by {second}; write sep={fitting[0].delimiter} or "
        f"sep={fitting[1].delimiter} as its first line, or put names with such a character into quotes"
    )


def _candidate(lines: Sequence[str], delimiter: str) -> _Candidate | None:
    """What the character makes of the rows; None unless it makes two columns and, a comma excepted, is in half of the
    rows."""
    try:
        rows = [row for row in islice(csv.reader(lines, delimiter=delimiter), ROWS) if any(map(str.strip, row))]
    except csv.Error:  # the last record of the lines may be cut
        return None
    if not rows or len(rows[0]) < 2:
        return None
    header = rows.pop(0)
    named = max((place for place, name in enumerate(header, 1) if name.strip()), default=0)
    fit = [len(row) >= named and not any(cell.strip() for cell in row[len(header) :]) for row in rows]
    share = sum(fit) / len(fit) if fit else 1.0
    if delimiter != "," and 2 * sum(len(row) > 1 for row in rows) < len(rows):
        return None
    return _Candidate(delimiter=delimiter, columns=len(header), fit=share)


def check_title(path: Path, rows: Iterable[tuple[int, Sequence[str]]], lines: Sequence[str]) -> None:
    """InputError if the first row is no header but a title or a comment: all rows from another one on have more cells.

    Parameters
    ----------
    path
        The table, for the message.
    rows
        Its first rows, and the line of each.
    lines
        Its first lines, if their cells may be separated by another character than those of the first row.
    """
    first = list(rows)
    readings = [first]
    if lines and first and len(first[0][1]) == 1:
        readings += [_numbered(lines, delimiter) for delimiter in NAMES if delimiter != ","]
    for reading in readings:
        filled = [(line, row) for line, row in reading if any(map(str.strip, row))]
        if place := _header_below(filled):
            line, names = filled[place]
            raise InputError(
                f"{path}, line {filled[0][0]}: {_named(filled[0][1])}, but the rows below have {len(names)} cells. If "
                f"line {line} ({_named(names)}) is the header, remove what is above it"
            )


def _numbered(lines: Sequence[str], delimiter: str) -> list[tuple[int, Sequence[str]]]:
    """The rows of these lines, and the line on which each ends."""
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        return [(reader.line_num, row) for row in islice(reader, ROWS)]
    except csv.Error:  # the last record may be cut
        return []


def _header_below(rows: Sequence[tuple[int, Sequence[str]]]) -> int:
    """The place of the row that looks like the header below a title or comments; 0 if the first one may be it."""
    widths = [len(row) for _, row in rows]
    if len(rows) < 2 or widths[-1] < 2:
        return 0
    place = len(rows) - 1
    while place and widths[place - 1] == widths[-1] and _width(rows[place - 1][1]) > 1:
        place -= 1
    title = rows[0][1]
    # A header of several names above longer rows is one with too few names, and the error is that of the row.
    alone = _width(title) <= 1 and _width(title[:1]) == 1
    comment = title[0].lstrip().startswith("#") and _width(title) < _width(rows[place][1])
    return place if (alone or comment) and _width(rows[place][1]) > 1 else 0


def _width(row: Sequence[str]) -> int:
    """The number of cells up to the last one that is not blank."""
    return next((place for place in range(len(row), 0, -1) if row[place - 1].strip()), 0)


def _named(row: Sequence[str]) -> str:
    names = [name.strip()[:40] for name in row if name.strip()]
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")


def _words(characters: Sequence[str] | Mapping[str, str]) -> str:
    return ", ".join("tab" if character == "\t" else character for character in characters)
