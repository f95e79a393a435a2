"""MIMIC-CXR-JPG: findings per study, from either labeller or by hand; the films of each study are in a second table, or
the table is merged with it and has a row for each film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrscore.contract import LabelTable
from cxrscore.labels.chexpert import has_observations, observations, observed
from cxrscore.labels.columns import clean_age, clean_columns, clean_sex, clean_view, film_column, film_key
from cxrscore.labels.roles import (
    AGE_COLUMNS,
    FILM_COLUMNS,
    SEX_COLUMNS,
    ColumnRoles,
    find_column,
    fixed_roles,
    has_columns,
    respelled,
)
from cxrscore.labels.table import Table, read_header, read_table
from cxrscore.labels.uncertain_labels import uncertain_dataset

METADATA = "mimic-cxr-2.0.0-metadata.csv.gz"
_SUBJECT, _STUDY, _FILM, _VIEW = "subject_id", "study_id", "dicom_id", "ViewPosition"
_ORIENTATION = "PatientOrientationCodeSequence_CodeMeaning"
COLUMNS = (_SUBJECT, _STUDY, _FILM, _VIEW, _ORIENTATION)
"""Columns that may be spelled in other ways in a table."""
_BY_HAND = "Airspace Opacity"
"""Name of Lung Opacity in the manually labelled table of the test set."""
_RARE = ("Enlarged Cardiomediastinum", "Lung Lesion")


def _recognises(columns: Sequence[str]) -> bool:
    return has_columns(columns, [_STUDY]) and has_observations(columns, _RARE)


def _roles(columns: Sequence[str]) -> ColumnRoles:
    spelled = respelled(columns, COLUMNS)
    findings = [_BY_HAND, *observations(columns)]
    if film := film_of_row(spelled):
        return fixed_roles(film, findings, patient=_SUBJECT, others=columns_about(spelled))(columns)
    return fixed_roles(_STUDY, findings, patient=_SUBJECT)(columns)


def film_of_row(columns: Sequence[str]) -> str | None:
    """The column of the films, if each row is a film: dicom_id, or any usual name."""
    return _FILM if _FILM in columns else find_column(columns, FILM_COLUMNS)


def columns_about(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of the study, view, position, sex and age, as far as a table with a row for each film has them."""
    people = (find_column(columns, SEX_COLUMNS), find_column(columns, AGE_COLUMNS))
    return tuple(name for name in (_STUDY, _VIEW, _ORIENTATION, *people) if name and name in columns)


def read_films(path: Path, columns: Sequence[str], findings: Sequence[str]) -> tuple[Table, LabelTable]:
    """The columns of a table with a row for each film, and its films, patients, sexes, ages and views; the LabelTable
    has no labels yet.

    A film is p10/p10000032/s50414267/02aa804e if the table says in which folder it lies, else dicom_id alone; a table
    without dicom_id names it by a path.
    """
    film = film_of_row(columns) or _FILM
    table = read_table(path, (film, _SUBJECT, *columns_about(columns), *findings))
    films = list(map(film_key, film_column(table, film)))
    subjects = list(map(_number, table.column(_SUBJECT))) if _SUBJECT in columns else None
    if film == _FILM and subjects is not None and _STUDY in columns:
        studies = map(_number, table.column(_STUDY))
        films = [
            f"{_folder(subject, study)}{film}" if study else film
            for subject, study, film in zip(subjects, studies, films, strict=True)
        ]
    about = {
        name: (column, clean)
        for name, names, clean in (("sex", SEX_COLUMNS, clean_sex), ("age", AGE_COLUMNS, clean_age))
        if (column := find_column(columns, names))
    }
    known = clean_columns(table, about)
    if _VIEW in columns:
        known["view"] = tuple(_views(table))
    empty = LabelTable(
        films=tuple(films),
        findings=(),
        labels=np.empty((len(films), 0), np.float32),
        patients=None if subjects is None else tuple(subjects),
        columns=known,
    )
    return table, empty


def _read(path: Path, uncertain: float) -> LabelTable:
    columns = read_header(path, COLUMNS)
    named = (_BY_HAND, *observations(columns))
    if film_of_row(columns):
        table, films = read_films(path, columns, named)
        findings, labels = observed(_renamed(table), uncertain)
        return replace(films, findings=findings, labels=labels)
    return _read_studies(_renamed(read_table(path, (_SUBJECT, _STUDY, *named))), uncertain)


def _read_studies(table: Table, uncertain: float) -> LabelTable:
    """The labels of a table with a row for each study, for all its films."""
    findings, labels = observed(table, uncertain)
    rows, films, views, subjects = _films(table, _metadata(table.path))
    known = any(subjects)
    return LabelTable(
        films=tuple(films),
        findings=findings,
        labels=labels[np.array(rows, np.intp)],
        patients=tuple(subjects) if known else None,
        columns={"view": tuple(views)} if any(views) else {},
    )


def _renamed(table: Table) -> Table:
    columns = tuple("Lung Opacity" if name == _BY_HAND else name for name in table.columns)
    return Table(path=table.path, columns=columns, rows=table.rows, lines=table.lines)


def _metadata(path: Path) -> Table | None:
    """The table of films in the same folder as the table of studies."""
    found = sorted(path.absolute().parent.glob("mimic-cxr-*metadata.csv*"))
    return read_table(found[0], (_FILM, _SUBJECT, _STUDY, _VIEW, _ORIENTATION)) if found else None


def _films(table: Table, metadata: Table | None) -> tuple[list[int], list[str], list[str], list[str]]:
    """Row of the study, name, view and subject of each film; for a study without known films, of its folder."""
    places = _studies(table)
    subjects = table.column(_SUBJECT) if _SUBJECT in table.columns else [""] * len(places)
    rows, films, views, owners = [], [], [], []
    for film, subject, study, view in _read_metadata_rows(metadata):
        if study in places:
            rows.append(places[study])
            films.append(f"{_folder(subject, study)}{film}")
            views.append(view)
            owners.append(subject)
    listed = set(rows)
    for study, row in places.items():
        if row not in listed:
            rows.append(row)
            films.append(_folder(subjects[row], study))
            views.append("")
            owners.append(subjects[row])
    return rows, films, views, owners


def _studies(table: Table) -> dict[str, int]:
    """The row of each study; InputError for a study without a number, or with two rows."""
    places: dict[str, int] = {}
    for row, study in enumerate(table.column(_STUDY)):
        if not study.isdigit():
            raise table.row_error(row, f"column {_STUDY} has {study!r}, expected a number")
        if places.setdefault(study, row) != row:
            raise table.row_error(row, f"column {_STUDY} has {study} again, as on line {table.lines[places[study]]}")
    return places


def _read_metadata_rows(metadata: Table | None) -> list[tuple[str, str, str, str]]:
    """Film, subject, study and view of each row of the table of films."""
    if metadata is None:
        return []
    names = (_FILM, _SUBJECT, _STUDY)
    if missing := [name for name in names if name not in metadata.columns]:
        raise metadata.table_error(f"lacks the column {' and '.join(missing)}")
    films, subjects, studies = map(metadata.column, names)
    return list(zip(films, subjects, studies, _views(metadata), strict=True))


def _views(table: Table) -> list[str]:
    """The view of each film; AP of a patient who lies is AP Supine."""
    blank = [""] * len(table.rows)
    views = table.column(_VIEW) if _VIEW in table.columns else blank
    lying = table.column(_ORIENTATION) if _ORIENTATION in table.columns else blank
    return [
        "AP Supine" if view == "AP" and how == "Recumbent" else clean_view(view)
        for view, how in zip(views, lying, strict=True)
    ]


def _number(cell: str) -> str:
    """An identifier that a merged table may hold as 10000032.0."""
    return cell.removesuffix(".0")


def _folder(subject: str, study: str) -> str:
    """The folder of a study, p10/p10000032/s50414267/; s50414267/ if the subject is unknown."""
    return f"p{subject[:2]}/p{subject}/s{study}/" if subject else f"s{study}/"


mimic = uncertain_dataset(
    name="mimic",
    summary="MIMIC-CXR-JPG: subject_id, study_id, 14 observations of 1, 0, -1 or nothing; films from "
    "dicom_id, from mimic-cxr-2.0.0-metadata.csv.gz in the same folder, or by their folders",
    recognises=_recognises,
    read_as=_read,
    roles=_roles,
    one_row_per_film=False,
)
