"""Film names and patient attributes in one form for all layouts."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.labels.table import Table

Key = TypeVar("Key", bound=Hashable)

MAX_AGE = 120
"""Years; the first NIH table contains ages above 400, which are typing errors."""

MAX_LABELS = 500_000_000
"""Largest number of films times columns: a table of few bytes may otherwise need more memory than exists."""

FILM_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".dcm", ".dicom", ".dic", ".dc3", ".ima")

DEMOGRAPHICS = ("age", "sex", "view")
"""Columns in one form for all layouts: what is known of a film without looking at it."""

_AGE = re.compile(r"0*(\d{1,3})(?:\.\d*)?([YMWD]?)", re.IGNORECASE)
_PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}
_VIEWS = {
    **dict.fromkeys(("L", "LL", "RL", "LATERAL"), "L"),
    **dict.fromkeys(("AP_HORIZONTAL", "AP SUPINE", "AP_SUPINE"), "AP Supine"),
    **dict.fromkeys(("UNK", "UNKNOWN"), ""),
}


def clean_age(cell: str) -> str:
    """Age in full years of a cell such as "61", "061Y", "018M"; "" if invalid or above 120 years."""
    found = _AGE.fullmatch(cell)
    if not found:
        return ""
    years = int(found[1]) // _PER_YEAR[found[2].upper() or "Y"]
    return str(years) if years <= MAX_AGE else ""


def years(cell: str) -> float:
    """Age in full years; NaN if unknown."""
    return float(clean_age(cell) or "nan")


def clean_sex(cell: str) -> str:
    """ "F" or "M" from any common spelling; "" for others."""
    return {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}.get(cell.upper(), "")


def clean_view(cell: str) -> str:
    """PA, AP, L or AP Supine from any common spelling; other views in capitals, "" if unknown."""
    return _VIEWS.get(cell.upper(), cell.upper())


Clean = Callable[[str], str]


def clean_cells(cells: Sequence[str], clean: Clean) -> tuple[str, ...]:
    """`clean` of each cell, called once per distinct cell."""
    cleaned = {cell: clean(cell) for cell in set(cells)}
    return tuple(cleaned[cell] for cell in cells)


def clean_columns(table: Table, sources: Mapping[str, tuple[str, Clean]]) -> dict[str, tuple[str, ...]]:
    """Columns by canonical name, from sources of (name in the table, cleaning function); missing columns are left
    out."""
    return {
        name: clean_cells(table.column(column), clean)
        for name, (column, clean) in sources.items()
        if column in table.columns
    }


def film_column(table: Table, column: str) -> list[str]:
    """The films that a column names; InputError if a cell is empty."""
    films = table.column(column)
    if "" in films:
        raise table.row_error(films.index(""), f"column {column} is empty, expected the name of a film")
    return films


def check_labels_fit(what: Path | str, films: int, columns: int) -> None:
    """Raise an InputError if the table does not fit into memory.

    Parameters
    ----------
    what
        The table, for the message.
    films, columns
        Number of each.
    """
    if films * columns > MAX_LABELS:
        raise InputError(
            f"{what} has {columns:,} findings and other columns for {films:,} films, which is more than fits into "
            "memory. Take out the columns that are not needed."
        )


def filled_labels(what: Path, films: int, findings: int, value: float) -> Floats:
    """float32 [films,findings] of one value; InputError as check_labels_fit."""
    check_labels_fit(what, films, findings)
    return np.full((films, findings), value, np.float32)


def film_key(name: str) -> str:
    """A film's name as a POSIX path: without a leading "./", and with / instead of \\."""
    return name.replace("\\", "/").removeprefix("./")


def film_stem(name: str) -> str:
    """A film's name without the suffix of an image format."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in FILM_SUFFIXES else name


def index_of_distinct(names: Iterable[Key]) -> dict[Key, int]:
    """A row number for each distinct name, in order of appearance."""
    return {name: place for place, name in enumerate(dict.fromkeys(names))}
