"""A plain CSV: a column that names the film, one column a finding with 1, 0 or blank, and a few that are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.findings import canonical
from cxrscore.labels.table import header_of, read_rows

_FILM = ("film", "image index", "image", "path", "filename", "file")
_PATIENT = ("patient", "patient_id", "patientid", "patient id", "subject_id")
_COLUMNS = {"sex": ("sex", "gender"), "age": ("age",), "view": ("view", "view position")}
_VALUES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "": np.nan}


def _place(header: Sequence[str], names: Sequence[str]) -> int | None:
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in names if name in lower), None)


def recognises(header: Sequence[str]) -> bool:
    """Whether a column names the film."""
    return _place(header, _FILM) is not None


def read(path: Path) -> LabelTable:
    """Columns other than film, patient, sex, age and view are findings. InputError names line, column and value."""
    header = header_of(path)
    film, patient = _place(header, _FILM), _place(header, _PATIENT)
    if film is None:
        raise InputError(f"{path} has no column that names the film; wanted one called {', '.join(_FILM)}")
    others = {key: _place(header, names) for key, names in _COLUMNS.items()}
    used = {film, patient, *others.values()}
    findings = [index for index in range(len(header)) if index not in used and header[index]]
    if not findings:
        raise InputError(f"{path} has no column of a finding beside {', '.join(header)}")
    rows = [
        (line, row) for line, row in enumerate(islice(read_rows(path), 1, None), start=2) if any(v.strip() for v in row)
    ]
    for line, row in rows:
        if len(row) < len(header):
            raise InputError(f"{path}, line {line}: {len(row)} fields, wanted the {len(header)} of the header")
    labels = [[_value(row[index], path, line, header[index]) for index in findings] for line, row in rows]
    return LabelTable(
        films=tuple(row[film].strip() for _, row in rows),
        findings=_names([header[index] for index in findings], path),
        labels=np.array(labels, np.float32).reshape(len(rows), len(findings)),
        patients=None if patient is None else tuple(row[patient].strip() for _, row in rows),
        columns={
            key: tuple(row[index].strip() for _, row in rows) for key, index in others.items() if index is not None
        },
    )


def _value(text: str, path: Path, line: int, column: str) -> float:
    value = _VALUES.get(text.strip())
    if value is None:
        raise InputError(
            f"{path}, line {line}, column {column}: {text!r} is not a label; wanted 1, 0, or blank for unknown. "
            "Remove columns that are no findings."
        )
    return value


def _names(columns: list[str], path: Path) -> tuple[str, ...]:
    names = tuple(canonical(column) for column in columns)
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two columns are of the same finding among {', '.join(columns)}")
    return names


plain = Dataset(
    name="plain", summary="a film column and a column a finding: 1, 0, blank", recognises=recognises, read=read
)
