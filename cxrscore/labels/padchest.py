"""PadChest: one row per film, its labels as a Python list of English words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import LabelTable
from cxrscore.labels.columns import MAX_AGE, clean_columns, clean_sex, clean_view, film_column
from cxrscore.labels.roles import LayoutDataset, fixed_roles, has_columns
from cxrscore.labels.table import Table, read_table

_FILM, _LABELS = "ImageID", "Labels"
_DATE, _BIRTH = "StudyDate_DICOM", "PatientBirth"
_ABOUT = {"sex": ("PatientSex_DICOM", clean_sex), "view": ("Projection", clean_view)}
_READ = (_FILM, _LABELS, "PatientID", _DATE, _BIRTH, "PatientSex_DICOM", "Projection")

_WORDS: Mapping[str, tuple[str, ...]] = {
    "Atelectasis": (
        *("atelectasis", "atelectasis basal", "laminar atelectasis", "lobar atelectasis"),
        *("round atelectasis", "segmental atelectasis", "total atelectasis"),
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Effusion": ("pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "hydropneumothorax"),
    "Infiltration": (
        *("infiltrates", "interstitial pattern", "ground glass pattern", "alveolar pattern"),
        *("reticular interstitial pattern", "reticulonodular interstitial pattern"),
    ),
    "Mass": ("mass", "pulmonary mass", "mediastinal mass", "pleural mass"),
    "Nodule": ("nodule", "multiple nodules"),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "Consolidation": ("consolidation", "air bronchogram"),
    "Edema": ("pulmonary edema",),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis",),
    "Pleural_Thickening": ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    "Hernia": ("hiatal hernia",),
    "Fracture": (
        *("fracture", "clavicle fracture", "humeral fracture", "rib fracture", "vertebral fracture"),
        "callus rib fracture",
    ),
    "Support Devices": (
        *("electrical device", "dual chamber device", "single chamber device", "pacemaker", "dai"),
        *("artificial heart valve", "artificial aortic heart valve", "artificial mitral heart valve"),
        *("endotracheal tube", "tracheostomy tube", "chest drain tube", "NSG tube"),
        *("catheter", "central venous catheter", "central venous catheter via jugular vein"),
        *("central venous catheter via subclavian vein", "central venous catheter via umbilical vein"),
        "reservoir central venous catheter",
    ),
    "Bronchiectasis": ("bronchiectasis",),
    "Granuloma": ("granuloma", "calcified granuloma"),
    "Tuberculosis": ("tuberculosis",),
    "Scoliosis": ("scoliosis",),
}
"""The labels that make a finding, compared as complete terms: "subcutaneous emphysema" is not emphysema."""

FINDINGS = tuple(_WORDS)
_NOT_READ = frozenset(("exclude", "suboptimal study"))
_UNCHANGED = "unchanged"
_ITEM = r"""(?:'[^'\\]*'|"[^"\\]*"|nan)"""
_LIST = re.compile(rf"\[\s*(?:{_ITEM}\s*(?:,\s*{_ITEM}\s*)*)?\]")
_ITEMS = re.compile(r"""'([^'\\]*)'|"([^"\\]*)\"""")


def _recognises(columns: Sequence[str]) -> bool:
    return {_FILM, _LABELS} <= set(columns) or has_columns(columns, (_FILM, _LABELS, "PatientID", "Projection"))


def _read(path: Path) -> LabelTable:
    table = read_table(path, _READ)
    cells = table.column(_LABELS)
    rows = {cell: _row(table, cells, cell) for cell in dict.fromkeys(cells)}
    columns = clean_columns(table, _ABOUT)
    if _DATE in table.columns and _BIRTH in table.columns:
        columns["age"] = tuple(map(_age, table.column(_DATE), table.column(_BIRTH)))
    return LabelTable(
        films=tuple(film_column(table, _FILM)),
        findings=FINDINGS,
        labels=np.array([rows[cell] for cell in cells], np.float32).reshape(len(cells), len(FINDINGS)),
        patients=tuple(table.column("PatientID")) if "PatientID" in table.columns else None,
        columns=columns,
    )


def _row(table: Table, cells: Sequence[str], cell: str) -> list[float]:
    """0 or 1 per finding for a cell such as "['cardiomegaly', 'scoliosis']".

    All NaN for an empty cell, an empty list, and films that the readers excluded; NaN instead of 0 if the report says
    only that nothing changed.
    """
    if cell in ("", "nan"):
        return [np.nan] * len(FINDINGS)
    if not _LIST.fullmatch(cell):
        wanted = "a list of words in quotes, such as ['cardiomegaly', 'scoliosis']"
        raise table.row_error(cells.index(cell), f"column {_LABELS} has {cell[:60]!r}, expected {wanted}")
    words = {" ".join((single or double).split()) for single, double in _ITEMS.findall(cell)} - {""}
    if not words or words & _NOT_READ:
        return [np.nan] * len(FINDINGS)
    absent = np.nan if _UNCHANGED in words else 0.0
    return [1.0 if words & set(_WORDS[finding]) else absent for finding in FINDINGS]


def _age(date: str, birth: str) -> str:
    """Years between a date such as 20140915 and a year of birth such as 1930.0; "" if either is unknown."""
    year, born = date[:4], birth.partition(".")[0]
    if not (year.isdecimal() and born.isdecimal() and len(born) <= len("1930")):
        return ""
    age = int(year) - int(born)
    return str(age) if 0 <= age <= MAX_AGE else ""


padchest = LayoutDataset(
    name="padchest",
    summary="PadChest: ImageID, PatientID, Projection, Labels, a list of terms",
    recognises=_recognises,
    read=_read,
    roles=fixed_roles(
        _FILM, (_LABELS,), patient="PatientID", others=(*(column for column, _ in _ABOUT.values()), _DATE, _BIRTH)
    ),
    blanks=False,
)
