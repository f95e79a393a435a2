"""CheXpert Plus: df_chexpert_plus_240401.csv, one row per film, with labels in a JSON file of its own.

The table has reports and what is known of the patients. The labels are in impression_fixed.json, findings_fixed.json
and report_fixed.json, by the part of the report that CheXbert read: a JSON object with path_to_image and the 14
observations on each line. The names of the columns and files are those that public code reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Floats, LabelTable
from cxrscore.errors import InputError
from cxrscore.io.strict_json import parse_json
from cxrscore.labels.chexpert import (
    OBSERVATIONS,
    has_observations,
    observations,
    observed,
    patient_folder,
    plane_and_projection,
)
from cxrscore.labels.columns import (
    Clean,
    clean_age,
    clean_columns,
    clean_sex,
    film_column,
    film_stem,
    index_of_distinct,
)
from cxrscore.labels.roles import ColumnRoles, fixed_roles, has_columns
from cxrscore.labels.table import Table, read_header, read_lines, read_table
from cxrscore.labels.uncertain_labels import uncertain_dataset

_FILM, _PATIENT, _PLANE, _PROJECTION = "path_to_image", "deid_patient_id", "frontal_lateral", "ap_pa"
_ABOUT: Mapping[str, tuple[str, Clean]] = {
    "age": ("age", clean_age),
    "sex": ("sex", clean_sex),
    "race": ("race", str.strip),
}
_LABELS = ("impression_fixed.json", "findings_fixed.json", "report_fixed.json")
"""The files of labels; the first is read if there are several, because CheXpert's own labels are of impressions."""
_FOLDERS = ("", "chexbert_labels")
_NAN = re.compile(r":\s*NaN\b")


def _recognises(columns: Sequence[str]) -> bool:
    told = has_columns(columns, [_PATIENT]) or has_columns(columns, [_PLANE]) or has_observations(columns)
    return has_columns(columns, [_FILM]) and told


def _roles(columns: Sequence[str]) -> ColumnRoles:
    others = (*(column for column, _ in _ABOUT.values()), _PLANE, _PROJECTION)
    return fixed_roles(_FILM, observations(columns), patient=_PATIENT, others=others)(columns)


def _read(path: Path, uncertain: float) -> LabelTable:
    header = read_header(path)
    about = (column for column, _ in _ABOUT.values())
    table = read_table(path, (_FILM, _PATIENT, _PLANE, _PROJECTION, *about, *observations(header)))
    films = _films(table)
    findings, labels = observed(table, uncertain) if observations(header) else _from_json(path, films, uncertain)
    columns = clean_columns(table, _ABOUT)
    if _PLANE in table.columns:
        columns["view"] = plane_and_projection(table, _PLANE, _PROJECTION)
    patients = table.column(_PATIENT) if _PATIENT in table.columns else [patient_folder(film)[1] for film in films]
    return LabelTable(films=films, findings=findings, labels=labels, patients=tuple(patients), columns=columns)


def _films(table: Table) -> tuple[str, ...]:
    """Films as patient00001/study1/view1_frontal: the table has the names of JPEG files, of which there are PNG and
    DICOM files."""
    films = []
    for row, name in enumerate(film_column(table, _FILM)):
        film = film_stem(patient_folder(name)[0])
        if not film:
            raise table.row_error(
                row, f"column {_FILM} has {name!r}, expected a path with a folder such as patient00001"
            )
        films.append(film)
    return tuple(films)


def _from_json(path: Path, films: Sequence[str], uncertain: float) -> tuple[tuple[str, ...], Floats]:
    """Findings and labels of the films from the file of labels beside the table; unknown for films without a line."""
    places = (path.absolute().parent / folder / name for name in _LABELS for folder in _FOLDERS)
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise InputError(
            f"{path} has no labels: expected {_LABELS[0]} (or {', '.join(_LABELS[1:])}) of CheXpert Plus in the same "
            "folder"
        )
    table = _table_of_lines(file)
    findings, known = observed(table, uncertain)
    rows = index_of_distinct(_films(table))
    if len(rows) < len(known):
        raise InputError(f"{file} has {len(known)} lines for {len(rows)} films, expected one for each film")
    nothing = np.full((1, len(findings)), np.nan, np.float32)
    return findings, np.vstack((known, nothing))[[rows.get(film, len(known)) for film in films]]


def _table_of_lines(file: Path) -> Table:
    """The film and the observations of each line of a file of labels, as cells of text."""
    columns = (_FILM, *OBSERVATIONS)
    rows, lines = [], []
    for line, text in enumerate(read_lines(file), 1):
        if text:
            record = _record(text, f"{file}, line {line}")
            rows.append([_cell(record.get(name)) for name in columns])
            lines.append(line)
    return Table(path=file, columns=columns, rows=rows, lines=lines)


def _record(text: str, where: str) -> Mapping[str, Any]:
    """The object of a line; Python writes NaN, which is no JSON, for null."""
    try:
        record = parse_json(_NAN.sub(": null", text))
    except ValueError as error:
        raise InputError(f"{where}: {error}; expected a JSON object on each line") from None
    if not isinstance(record, Mapping) or _FILM not in record:
        raise InputError(f"{where}: expected a JSON object with {_FILM} and the observations")
    return record


def _cell(value: Any) -> str:
    return "" if value is None else str(value).strip()


chexpert_plus = uncertain_dataset(
    name="chexpert-plus",
    summary="CheXpert Plus: path_to_image, deid_patient_id, frontal_lateral, ap_pa, age, sex; 14 observations as "
    "columns, or from impression_fixed.json in the same folder",
    recognises=_recognises,
    read_as=_read,
    roles=_roles,
)
