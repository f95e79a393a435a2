"""MIMIC-CXR-JPG: findings per study, from either labeller or by hand; the films of each study are in a second table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import LabelTable
from cxrscore.labels.chexpert import OBSERVATIONS, observed
from cxrscore.labels.columns import clean_view
from cxrscore.labels.roles import fixed_roles
from cxrscore.labels.table import Table, read_table
from cxrscore.labels.uncertain_labels import uncertain_dataset

METADATA = "mimic-cxr-2.0.0-metadata.csv.gz"
_SUBJECT, _STUDY, _FILM, _VIEW = "subject_id", "study_id", "dicom_id", "ViewPosition"
_ORIENTATION = "PatientOrientationCodeSequence_CodeMeaning"
_BY_HAND = "Airspace Opacity"
"""Name of Lung Opacity in the manually labelled table of the test set."""


def _recognises(columns: Sequence[str]) -> bool:
    return {_STUDY, "Enlarged Cardiomediastinum", "Lung Lesion"} <= set(columns)


def _read(path: Path, uncertain: float) -> LabelTable:
    table = _renamed(read_table(path, (_SUBJECT, _STUDY, _BY_HAND, *OBSERVATIONS)))
    findings, labels = observed(table, uncertain)
    rows, films, views, subjects = _films(table, _metadata(path))
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
    blank = [""] * len(films)
    views = metadata.column(_VIEW) if _VIEW in metadata.columns else blank
    lying = metadata.column(_ORIENTATION) if _ORIENTATION in metadata.columns else blank
    seen = [
        "AP Supine" if view == "AP" and how == "Recumbent" else clean_view(view)
        for view, how in zip(views, lying, strict=True)
    ]
    return list(zip(films, subjects, studies, seen, strict=True))


def _folder(subject: str, study: str) -> str:
    """The folder of a study, p10/p10000032/s50414267/; s50414267/ if the subject is unknown."""
    return f"p{subject[:2]}/p{subject}/s{study}/" if subject else f"s{study}/"


mimic = uncertain_dataset(
    name="mimic",
    summary="MIMIC-CXR-JPG: subject_id, study_id, 14 observations of 1, 0, -1 or nothing; films from "
    "mimic-cxr-2.0.0-metadata.csv.gz in the same folder, or by their folders",
    recognises=_recognises,
    read_as=_read,
    roles=fixed_roles(_STUDY, (_BY_HAND, *OBSERVATIONS), patient=_SUBJECT),
    one_row_per_film=False,
)
