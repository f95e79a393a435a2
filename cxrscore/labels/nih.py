"""NIH ChestX-ray14: Data_Entry_2017.csv, its 2020 version, Kaggle's sample, and Google's adjudicated subset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import LabelTable
from cxrscore.labels.columns import clean_age, clean_columns, clean_sex, clean_view, film_column
from cxrscore.labels.findings import FINDINGS, NO_FINDING, canonical
from cxrscore.labels.roles import LayoutDataset, fixed_roles, has_columns
from cxrscore.labels.table import Table, read_table
from cxrscore.labels.uncertain_labels import YES_NO, parse_uncertain_labels

FILM, PATIENT = "Image Index", "Patient ID"
_LABELS = "Finding Labels"
_ABOUT = {
    "age": ("Patient Age", clean_age),
    "sex": ("Patient Gender", clean_sex),
    "view": ("View Position", clean_view),
}
_READ = (FILM, PATIENT, _LABELS, "Patient Age", "Patient Gender", "View Position")
ADJUDICATED = ("Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass")
_SET = "Set Id"


def _recognises(columns: Sequence[str]) -> bool:
    return has_columns(columns, (FILM, _LABELS))


def _read(path: Path) -> LabelTable:
    table = read_table(path, _READ)
    films = film_column(table, FILM)
    cells = table.column(_LABELS)
    rows = {cell: _row(table, cells, cell) for cell in dict.fromkeys(cells)}  # 800 distinct ones in 112,120
    labels = np.array([rows[cell] for cell in cells], np.float32).reshape(len(cells), len(FINDINGS))
    return LabelTable(
        films=tuple(films),
        findings=FINDINGS,
        labels=labels,
        patients=_patients(table),
        columns=clean_columns(table, _ABOUT),
    )


def _patients(table: Table) -> tuple[str, ...] | None:
    return tuple(table.column(PATIENT)) if PATIENT in table.columns else None


def _row(table: Table, cells: Sequence[str], cell: str) -> list[float]:
    """0 or 1 per finding for a cell such as "Effusion|Mass"; all NaN for an empty cell."""
    if not cell:
        return [np.nan] * len(FINDINGS)
    words = [canonical(word.strip()) for word in cell.split("|")]
    odd = next((word for word in words if word not in FINDINGS and word != NO_FINDING), None)
    if odd is not None:
        wanted = f"expected {NO_FINDING} or findings such as {FINDINGS[2]}|{FINDINGS[4]}"
        raise table.row_error(cells.index(cell), f"column {_LABELS} has the unknown finding {odd!r}; {wanted}")
    if NO_FINDING in words and len(words) > 1:
        what = f"column {_LABELS} has {cell!r}: {NO_FINDING} excludes all findings"
        raise table.row_error(cells.index(cell), what)
    return [float(finding in words) for finding in FINDINGS]


def _recognises_google(columns: Sequence[str]) -> bool:
    return has_columns(columns, (FILM, *ADJUDICATED))


def _read_google(path: Path) -> LabelTable:
    """The four findings that radiologists adjudicated, without the text-mined ones that the table repeats."""
    table = read_table(path, (*_READ, *ADJUDICATED, _SET))
    return LabelTable(
        films=tuple(film_column(table, FILM)),
        findings=tuple(map(canonical, ADJUDICATED)),
        labels=parse_uncertain_labels(table, ADJUDICATED, YES_NO),
        patients=_patients(table),
        columns=clean_columns(table, {**_ABOUT, "set": (_SET, str.lower)}),
    )


nih = LayoutDataset(
    name="nih",
    summary="NIH ChestX-ray14: Image Index, Finding Labels joined by |, Patient ID",
    recognises=_recognises,
    read=_read,
    roles=fixed_roles(FILM, (_LABELS,), patient=PATIENT, others=[column for column, _ in _ABOUT.values()]),
)

nih_google = LayoutDataset(
    name="nih-google",
    summary="NIH films that radiologists adjudicated for Google: Fracture, Pneumothorax, Airspace opacity, Nodule or "
    "mass of YES and NO",
    recognises=_recognises_google,
    read=_read_google,
    roles=fixed_roles(FILM, ADJUDICATED, patient=PATIENT, others=[*(column for column, _ in _ABOUT.values()), _SET]),
)
