"""CXR-LT, the challenges of 2023 (26 findings) and 2024 (tasks 1 to 3: 40, 26 and 5 findings) on rare findings of
MIMIC-CXR films; one row per film.

The names of the columns are those that public code of participants reads from train.csv, development.csv,
train_labeled.csv and test_labeled_task1.csv: dicom_id, subject_id, study_id, ViewPosition, fpath (2023: path), and the
findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrscore.contract import LabelTable
from cxrscore.labels.findings import NO_FINDING, canonical
from cxrscore.labels.mimic import COLUMNS, columns_about, film_of_row, read_films
from cxrscore.labels.roles import ColumnRoles, fixed_roles, has_columns, plain_name, respelled
from cxrscore.labels.table import read_header
from cxrscore.labels.uncertain_labels import ZERO_ONE, parse_uncertain_labels, uncertain_dataset

FINDINGS = (
    *("Adenopathy", "Atelectasis", "Azygos Lobe", "Bulla", "Calcification of the Aorta", "Cardiomegaly"),
    *("Cardiomyopathy", "Clavicle Fracture", "Consolidation", "Edema", "Emphysema", "Enlarged Cardiomediastinum"),
    *("Fibrosis", "Fissure", "Fracture", "Granuloma", "Hernia", "Hilum", "Hydropneumothorax", "Infarction"),
    *("Infiltration", "Kyphosis", "Lobar Atelectasis", "Lung Lesion", "Lung Opacity", "Mass", "No Finding", "Nodule"),
    *("Normal", "Osteopenia", "Pleural Effusion", "Pleural Other", "Pleural Thickening", "Pneumomediastinum"),
    *("Pneumonia", "Pneumoperitoneum", "Pneumothorax", "Pulmonary Embolism", "Pulmonary Hypertension"),
    *("Rib Fracture", "Round(ed) Atelectasis", "Scoliosis", "Subcutaneous Emphysema", "Support Devices"),
    *("Tortuous Aorta", "Tuberculosis"),
)
"""The findings of all tasks; Normal is the name of 2024 for No Finding."""

_BY_NAME = {plain_name(name): name for name in FINDINGS}
_RARE = (
    *("Adenopathy", "Azygos Lobe", "Bulla", "Calcification of the Aorta", "Cardiomyopathy", "Fissure", "Hilum"),
    *("Infarction", "Osteopenia", "Pneumomediastinum", "Pneumoperitoneum", "Scoliosis", "Subcutaneous Emphysema"),
    "Tortuous Aorta",
)
"""Findings that MIMIC-CXR-JPG does not have. A table of CXR-LT has at least two."""

_OF_MIMIC = ({"dicom_id"}, {"fpath"}, {"subject_id", "study_id"})
"""Columns of which a table has at least one set: other tables may have such findings, too."""


def _findings(columns: Sequence[str]) -> list[str]:
    """The columns that are findings of CXR-LT, in the order of the table; the first of two for one finding."""
    found: dict[str, str] = {}
    for column in columns:
        if plain_name(column) in _BY_NAME:
            found.setdefault(_name(column), column)
    return list(found.values())


def _name(column: str) -> str:
    """The canonical name of the finding of a column."""
    name = _BY_NAME[plain_name(column)]
    return NO_FINDING if name == "Normal" else canonical(name)


def _recognises(columns: Sequence[str]) -> bool:
    names = {_BY_NAME[plain_name(column)] for column in _findings(columns)}
    of_mimic = any(has_columns(columns, some) for some in _OF_MIMIC)
    return of_mimic and film_of_row(columns) is not None and len(names & set(_RARE)) > 1


def _roles(columns: Sequence[str]) -> ColumnRoles:
    spelled = respelled(columns, COLUMNS)
    others = columns_about(spelled)
    return fixed_roles(film_of_row(spelled) or "", _findings(columns), patient="subject_id", others=others)(columns)


def _read(path: Path, uncertain: float) -> LabelTable:
    columns = read_header(path, COLUMNS)
    findings = _findings(columns)
    table, films = read_films(path, columns, findings)
    labels = parse_uncertain_labels(table, findings, ZERO_ONE, uncertain=uncertain)
    return replace(films, findings=tuple(map(_name, findings)), labels=labels)


cxr_lt = uncertain_dataset(
    name="cxr-lt",
    summary="CXR-LT 2023 and 2024: dicom_id or path, subject_id, study_id, 5 to 45 findings of 0 and 1",
    recognises=_recognises,
    read_as=_read,
    roles=_roles,
)
