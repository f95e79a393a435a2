"""A generic CSV file: one column names the film, every column of numbers from 0 to 1 is a finding."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.columns import clean_age, clean_cells, clean_sex, clean_view, film_column
from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.roles import ColumnRoles, LayoutDataset
from cxrscore.labels.table import Table, read_header, read_table

_FILMS = ("film", "Image Index", "Image", "image", "path", "Path", "filename", "file")
_PATIENTS = ("patient", "patient_id", "PatientId", "Patient ID", "subject_id")
_KNOWN = {
    "sex": (("sex", "Sex", "gender", "Gender", "Patient Gender"), clean_sex),
    "age": (("age", "Age", "Patient Age"), clean_age),
    "view": (("view", "View", "View Position", "ViewPosition"), clean_view),
}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORDS = frozenset(("yes", "no", "y", "n", "true", "false", "pos", "neg", "positive", "negative", "present", "absent"))


def _recognises(columns: Sequence[str]) -> bool:
    return any(name in columns for name in _FILMS)


@dataclass(frozen=True, kw_only=True)
class ColumnsDataset(LayoutDataset):
    """A layout in which any column may be a finding.

    read_columns  function(path, only, without) -> LabelTable. only: canonical names of the findings to read, all
                  other columns being texts; without any, all columns that can be findings are. without: columns that
                  are texts in any case
    """

    read_columns: Callable[[Path, Collection[str], Collection[str]], LabelTable]


def columns_dataset(
    name: str,
    summary: str,
    recognises: Callable[[Sequence[str]], bool],
    read_columns: Callable[[Path, Collection[str], Collection[str]], LabelTable],
) -> ColumnsDataset:
    """The descriptor of a layout in which any column may be a finding."""

    def read(path: Path) -> LabelTable:
        return read_columns(path, (), ())

    return ColumnsDataset(
        name=name,
        summary=summary,
        recognises=recognises,
        read=read,
        read_columns=read_columns,
        roles=lambda columns: ColumnRoles(film="", findings=()),
    )


def _read_columns(path: Path, only: Collection[str], without: Collection[str]) -> LabelTable:
    table = read_table(path)
    film, patient = table.first_of(_FILMS), table.first_of(_PATIENTS)
    if film is None:
        raise InputError(f"{path} has no column for the film; expected one named {', '.join(_FILMS)}")
    films = film_column(table, film)
    known = {name: found for name, (names, _) in _KNOWN.items() if (found := table.first_of(names))}
    rest = [name for name in table.columns if name and name not in (film, patient, *known.values())]
    findings, texts = _split_columns(table, rest, only, without)
    if not findings:
        seen = ", ".join(name for name in table.columns if name)
        raise InputError(f"{path} has no finding: expected columns of 0, 1 or nothing beside {seen}")
    cleaned = {name: clean_cells(table.column(column), _KNOWN[name][1]) for name, column in known.items()}
    return LabelTable(
        films=tuple(films),
        findings=tuple(findings),
        labels=np.column_stack(list(findings.values())),
        patients=None if patient is None else tuple(table.column(patient)),
        columns={**{name: tuple(cells) for name, cells in texts.items()}, **cleaned},
    )


def read_film_columns(path: Path, datasets: Sequence[Dataset]) -> tuple[tuple[str, ...], Mapping[str, Sequence[str]]]:
    """The films of a table and its other columns (sex, age, view and all others), in canonical form. The table has any
    layout of ``datasets`` or is a generic CSV, which needs no finding here."""
    named = read_header(path)
    for dataset in datasets:
        if dataset.name != plain.name and dataset.recognises(named):
            labels = dataset.read(path)
            return labels.films, labels.columns
    table = read_table(path)
    film = table.first_of(_FILMS)
    if film is None:
        raise InputError(f"{path} has no column for the film; expected one named {', '.join(_FILMS)}")
    patient = table.first_of(_PATIENTS)
    columns: dict[str, Sequence[str]] = {name: table.column(name) for name in table.columns if name}
    for name in (film, patient):
        columns.pop(name or "", None)
    for name, (names, clean) in _KNOWN.items():
        if found := table.first_of(names):
            columns.pop(found)
            columns[name] = clean_cells(table.column(found), clean)
    return tuple(film_column(table, film)), columns


def _split_columns(
    table: Table, names: Sequence[str], only: Collection[str], without: Collection[str]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, list[str]]]:
    """Separate columns into findings, float32 [N] with NaN for unknown, and texts; InputError if a column is
    neither. only, without: as in ColumnsDataset."""
    findings: dict[str, NDArray[np.float32]] = {}
    texts: dict[str, list[str]] = {}
    for name in names:
        cells, finding = table.column(name), canonical(name)
        chosen = name not in without and (not only or finding in only)
        labels = _labels(table, name, cells, asked=bool(only)) if chosen else None
        if labels is None:
            texts[name] = cells
        elif finding in findings:
            raise InputError(f"{table.path} has two columns for {finding}; keep one")
        else:
            findings[finding] = labels
    return findings, texts


def _labels(table: Table, name: str, cells: Sequence[str], *, asked: bool) -> NDArray[np.float32] | None:
    """The labels of a column, float32 [N], if it is a finding: all cells are numbers from 0 to 1, or empty.

    Another number, a yes or no, or any other text under the name of a known finding is an error: to ignore it would
    train or test on less than the user expects. asked: the user named the column as a finding.
    """
    known = asked or canonical(name) in FINDINGS
    values = {cell: _label(cell) for cell in set(cells)}
    odd = next((row for row, cell in enumerate(cells) if values[cell] is None), None)
    if odd is None:
        return np.array([values[cell] for cell in cells], np.float32) if known or any(cells) else None
    if not known and not any(map(_is_label_value, values)):
        return None
    raise table.row_error(
        odd,
        f"column {name} has {cells[odd]!r}, expected 0, 1 or nothing (unknown), or a number between 0 and 1 (a soft "
        f"label){_percents(values)}; write it this way, or, if it is not a finding, remove the column or name the "
        "findings (train --findings)",
    )


def _label(cell: str) -> float | None:
    """NaN for an empty cell, the number of a cell from 0 to 1, None for others."""
    if not cell:
        return np.nan
    return value if (value := _number(cell)) is not None and 0 <= value <= 1 else None


def _number(cell: str) -> float | None:
    return float(cell) if _NUMBER.fullmatch(cell) else None


def _percents(cells: Collection[str]) -> str:
    """A hint if all numbers of a column lie in 0 to 100 and are not 0 to 10 only, as grades are."""
    numbers = [value for cell in cells if (value := _number(cell)) is not None]
    return " (divide percents by 100)" if numbers and min(numbers) >= 0 and 10 < max(numbers) <= 100 else ""


def _is_label_value(cell: str) -> bool:
    if cell.lower() in _WORDS:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


plain = columns_dataset(
    name="plain",
    summary="any CSV: a column film (or Image, path, filename, ...) and one column of 0 and 1 for each finding",
    recognises=_recognises,
    read_columns=_read_columns,
)
