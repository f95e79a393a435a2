"""What films are called, and what is said of patients, in one form for all layouts."""

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
"""Years; the first NIH table has ages above 400, which are slips of the pen."""

MAX_LABELS = 500_000_000
"""Films times findings, or times columns: what a table of few bytes may ask for is more than memory holds."""

FILM_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")

_AGE = re.compile(r"0*(\d{1,3})(?:\.\d*)?([YMWD]?)", re.IGNORECASE)
_PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}
_VIEWS = {
    **dict.fromkeys(("L", "LL", "RL", "LATERAL"), "L"),
    **dict.fromkeys(("AP_HORIZONTAL", "AP SUPINE", "AP_SUPINE"), "AP Supine"),
    **dict.fromkeys(("UNK", "UNKNOWN"), ""),
}


def clean_age(cell: str) -> str:
    """Whole years of an age such as "61", "061Y", "018M"; "" where it is none or above 120 years."""
    found = _AGE.fullmatch(cell)
    if not found:
        return ""
    years = int(found[1]) // _PER_YEAR[found[2].upper() or "Y"]
    return str(years) if years <= MAX_AGE else ""


def clean_sex(cell: str) -> str:
    """ "F" or "M", however spelt; "" for others."""
    return {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}.get(cell.upper(), "")


def clean_view(cell: str) -> str:
    """PA, AP, L or AP Supine, however spelt; other views in capitals, "" for unknown."""
    return _VIEWS.get(cell.upper(), cell.upper())


Clean = Callable[[str], str]


def clean_cells(cells: Sequence[str], clean: Clean) -> tuple[str, ...]:
    """`clean` of each cell, asked once for each different one."""
    cleaned = {cell: clean(cell) for cell in set(cells)}
    return tuple(cleaned[cell] for cell in cells)


def clean_columns(table: Table, sources: Mapping[str, tuple[str, Clean]]) -> dict[str, tuple[str, ...]]:
    """Columns by their canonical name, from sources of (name in the table, how to clean); absent ones are left out."""
    return {
        name: clean_cells(table.column(column), clean)
        for name, (column, clean) in sources.items()
        if column in table.columns
    }


def film_column(table: Table, column: str) -> list[str]:
    """The films that a column names; InputError where a cell is empty."""
    films = table.column(column)
    if "" in films:
        raise table.row_error(films.index(""), f"column {column} is empty, wanted the name of a film")
    return films


def check_labels_fit(what: Path | str, films: int, columns: int) -> None:
    """InputError where so many films cannot have so many columns in memory.

    Parameters
    ----------
    what
        The table, for the message.
    films, columns
        How many there are of each.
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
    """A film's name as a POSIX path: without a leading "./", with / for \\."""
    return name.replace("\\", "/").removeprefix("./")


def film_stem(name: str) -> str:
    """A film's name without the suffix of a film format."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in FILM_SUFFIXES else name


def index_of_distinct(names: Iterable[Key]) -> dict[Key, int]:
    """A place for each different name, in order of appearance."""
    return {name: place for place, name in enumerate(dict.fromkeys(names))}
