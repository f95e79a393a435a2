"""Reading CSV tables: rows with their line numbers, and the choice of a reader by the header."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError


def read_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file, gzipped or not, header first; InputError if it is no text table."""
    if not path.is_file():
        raise InputError(f"there is no label table at {path}")
    try:
        with _open(path) as file:
            yield from csv.reader(file)
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"{path} is not a CSV table in UTF-8: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def header_of(path: Path) -> list[str]:
    """Column names, blanks around them removed; InputError for an empty file."""
    header = next(read_rows(path), None)
    if not header:
        raise InputError(f"{path} is empty; wanted a header line with column names")
    return [name.strip() for name in header]


def read_labels(path: Path, datasets: Sequence[Dataset]) -> tuple[LabelTable, str]:
    """The table, read by the first reader that recognises its header, and the name of that layout."""
    header = header_of(path)
    for dataset in datasets:
        if dataset.recognises(header):
            return dataset.read(path), dataset.name
    known = ", ".join(dataset.name for dataset in datasets)
    raise InputError(f"{path}: no reader knows the columns {', '.join(header[:8])}; there is: {known}")


def find_labels(folder: Path) -> Path | None:
    """labels.csv in the films folder, else beside it, else None."""
    places = (folder / "labels.csv", folder.resolve().parent / "labels.csv")
    return next((place for place in places if place.is_file()), None)
