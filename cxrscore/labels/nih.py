"""NIH ChestX-ray14: Data_Entry_2017.csv, its 2020 version, Kaggle's sample of it, Google's adjudicated subset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import Dataset, LabelTable
from cxrscore.labels.columns import clean_age, clean_sex
from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.table import Table, read_table

_FILM, _LABELS = "Image Index", "Finding Labels"
_NONE = "No Finding"


def _recognises(columns: Sequence[str]) -> bool:
    return _FILM in columns and _LABELS in columns


def _read(path: Path) -> LabelTable:
    table = read_table(path)
    films = table.column(_FILM)
    if "" in films:
        raise table.error(films.index(""), f"{_FILM} is empty, wanted the name of a film")
    cells = table.column(_LABELS)
    rows = {cell: _row(table, cells, cell) for cell in dict.fromkeys(cells)}  # 800 different ones in 112,120
    labels = np.array([rows[cell] for cell in cells], np.float32).reshape(len(cells), len(FINDINGS))
    columns = {
        name: tuple(clean(cell) for cell in table.column(column))
        for name, column, clean in (
            ("age", "Patient Age", clean_age),
            ("sex", "Patient Gender", clean_sex),
            ("view", "View Position", str.upper),
        )
        if column in table.columns
    }
    patients = tuple(table.column("Patient ID")) if "Patient ID" in table.columns else None
    return LabelTable(films=tuple(films), findings=FINDINGS, labels=labels, patients=patients, columns=columns)


def _row(table: Table, cells: Sequence[str], cell: str) -> list[float]:
    """0 or 1 per finding of a cell such as "Effusion|Mass"; NaN throughout for an empty cell."""
    if not cell:
        return [np.nan] * len(FINDINGS)
    words = [canonical(word.strip()) for word in cell.split("|")]
    where = cells.index(cell)
    for word in words:
        if word not in FINDINGS and word != _NONE:
            wanted = f"wanted {_NONE} or findings such as {FINDINGS[2]}|{FINDINGS[4]}"
            raise table.error(where, f"column {_LABELS} has the unknown finding {word!r}; {wanted}")
    if _NONE in words and len(words) > 1:
        raise table.error(where, f"column {_LABELS} says {cell!r}: {_NONE} and findings cannot both be")
    return [float(finding in words) for finding in FINDINGS]


nih = Dataset(
    name="nih",
    summary="NIH ChestX-ray14: Image Index, Finding Labels joined by |, Patient ID",
    recognises=_recognises,
    read=_read,
)
