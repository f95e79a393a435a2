"""BRAX: master_spreadsheet_update.csv, one row per film; the observations of the CheXpert labeller.

The names of the columns and the codes are those of its page on PhysioNet, version 1.1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrscore.contract import LabelTable
from cxrscore.labels.chexpert import has_observations, observations, observed
from cxrscore.labels.columns import clean_age, clean_columns, clean_sex, clean_view, film_column, film_key, film_stem
from cxrscore.labels.roles import ColumnRoles, find_column, fixed_roles, plain_name
from cxrscore.labels.table import read_header, read_table
from cxrscore.labels.uncertain_labels import uncertain_dataset

_FILMS = ("PngPath", "DicomPath")
_PATIENT = "PatientID"
_ROOTS = ("images/", "Anonymized_DICOMs/")
"""The folders of the PNG and of the DICOM files; the paths below are alike."""


def _age(cell: str) -> str:
    """The first year of an age group: "60", "85 or more"."""
    return clean_age(cell.partition(" ")[0])


_ABOUT = {"age": ("PatientAge", _age), "sex": ("PatientSex", clean_sex), "view": ("ViewPosition", clean_view)}


def _film(columns: Sequence[str]) -> str:
    return find_column(columns, tuple(map(plain_name, _FILMS))) or ""


def _recognises(columns: Sequence[str]) -> bool:
    return bool(_film(columns)) and has_observations(columns)


def _roles(columns: Sequence[str]) -> ColumnRoles:
    others = [column for column, _ in _ABOUT.values()]
    return fixed_roles(_film(columns), observations(columns), patient=_PATIENT, others=others)(columns)


def _read(path: Path, uncertain: float) -> LabelTable:
    header = read_header(path)
    film = _film(header)
    about = (column for column, _ in _ABOUT.values())
    table = read_table(path, (film, _PATIENT, *about, *observations(header)))
    findings, labels = observed(table, uncertain)
    return LabelTable(
        films=tuple(map(_below_root, film_column(table, film))),
        findings=findings,
        labels=labels,
        patients=tuple(table.column(_PATIENT)) if _PATIENT in table.columns else None,
        columns=clean_columns(table, _ABOUT),
    )


def _below_root(path: str) -> str:
    """The film without the folder of all films and without suffix, so that the row matches either file of it."""
    name = film_key(path)
    root = next((root for root in _ROOTS if name.startswith(root)), "")
    return film_stem(name.removeprefix(root))


brax = uncertain_dataset(
    name="brax",
    summary="BRAX: PngPath, DicomPath, PatientID, PatientSex, PatientAge, ViewPosition, 14 observations of 1, 0, -1 or "
    "nothing",
    recognises=_recognises,
    read_as=_read,
    roles=_roles,
)
