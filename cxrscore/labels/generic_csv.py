"""A generic CSV file: one column names the film, every column of 0 and 1 is a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.columns import clean_age, clean_cells, clean_sex, clean_view, film_column
from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.table import Table, read_header, read_table
from cxrscore.labels.uncertain_labels import ZERO_ONE

_FILMS = ("film", "Image Index", "Image", "image", "path", "Path", "filename", "file")
_PATIENTS = ("patient", "patient_id", "PatientId", "Patient ID", "subject_id")
_KNOWN = {
    "sex": (("sex", "Sex", "gender", "Gender", "Patient Gender"), clean_sex),
    "age": (("age", "Age", "Patient Age"), clean_age),
    "view": (("view", "View", "View Position", "ViewPosition"), clean_view),
}
_VALUES = {**ZERO_ONE, "": np.nan}
_WORDS = frozenset(("yes", "no", "y", "n", "true", "false", "pos", "neg", "positive", "negative", "present", "absent"))


def _recognises(columns: Sequence[str]) -> bool:
    return any(name in columns for name in _FILMS)


def _read(path: Path) -> LabelTable:
    table = read_table(path)
    film, patient = table.first_of(_FILMS), table.first_of(_PATIENTS)
    if film is None:
        raise InputError(f"{path} has no column for the film; expected one named {', '.join(_FILMS)}")
    films = film_column(table, film)
    known = {name: found for name, (names, _) in _KNOWN.items() if (found := table.first_of(names))}
    rest = [name for name in table.columns if name and name not in (film, patient, *known.values())]
    findings, texts = _split_columns(table, rest)
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


def _split_columns(table: Table, names: Sequence[str]) -> tuple[dict[str, NDArray[np.float32]], dict[str, list[str]]]:
    """Separate columns into findings, float32 [N] with NaN for unknown, and texts; InputError if a column is
    neither."""
    findings: dict[str, NDArray[np.float32]] = {}
    texts: dict[str, list[str]] = {}
    for name in names:
        cells, finding = table.column(name), canonical(name)
        if not _is_finding(table, name, cells):
            texts[name] = cells
        elif finding in findings:
            raise InputError(f"{table.path} has two columns for {finding}; keep one")
        else:
            findings[finding] = np.array([_VALUES[cell] for cell in cells], np.float32)
    return findings, texts


def _is_finding(table: Table, name: str, cells: Sequence[str]) -> bool:
    """Whether a column is a finding: all cells are 0, 1 or empty.

    A number that is not 0 or 1, a yes or no, or any other text under the name of a known finding is an error: to ignore
    it would train or test on less than the user expects.
    """
    known = canonical(name) in FINDINGS
    odd = next((row for row, cell in enumerate(cells) if cell not in _VALUES), None)
    if odd is None:
        return known or any(cells)
    if not known and not any(map(_is_label_value, cells)):
        return False
    raise table.row_error(
        odd,
        f"column {name} has {cells[odd]!r}, expected 0, 1 or nothing (unknown); "
        "write it this way, or remove the column if it is not a finding",
    )


def _is_label_value(cell: str) -> bool:
    if cell.lower() in _WORDS:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


plain = Dataset(
    name="plain",
    summary="any CSV: a column film (or Image, path, filename, ...) and one column of 0 and 1 for each finding",
    recognises=_recognises,
    read=_read,
)
