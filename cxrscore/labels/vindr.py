"""VinDr-CXR: findings per reader, as boxes (Kaggle, PhysioNet) or as columns (PhysioNet)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats, LabelTable
from cxrscore.labels.boxes import boxes_of
from cxrscore.labels.columns import filled_labels, film_column, index_of_distinct
from cxrscore.labels.findings import NO_FINDING, canonical
from cxrscore.labels.roles import ColumnRoles, LayoutDataset, fixed_roles
from cxrscore.labels.table import Table, read_table
from cxrscore.labels.uncertain_labels import ZERO_ONE, parse_uncertain_labels

_FILM, _READER, _CLASS = "image_id", "rad_id", "class_name"
_BOX = "x_min"


def majority(labels: Floats, films: NDArray[np.intp], count: int) -> Floats:
    """The majority label of each film: float32 [count,C] of labels [N,C], one row per reader; films are numbered from
    0. A tie is unknown, and so is a finding that no reader judged."""
    votes = np.zeros((count, labels.shape[1]))
    np.add.at(votes, films, np.nan_to_num(labels * 2 - 1))
    return np.where(votes == 0, np.nan, votes > 0).astype(np.float32)


def _recognises(columns: Sequence[str]) -> bool:
    return _FILM in columns and {"Aortic enlargement", "Pleural effusion"} <= set(columns)


def _read(path: Path) -> LabelTable:
    table = read_table(path)
    names = [name for name in table.columns if name and name not in (_FILM, _READER)]
    return _by_film(film_column(table, _FILM), names, parse_uncertain_labels(table, names, ZERO_ONE))


def _roles(columns: Sequence[str]) -> ColumnRoles:
    findings = [name for name in columns if name and name not in (_FILM, _READER)]
    return fixed_roles(_FILM, findings, others=(_READER,))(columns)


def _recognises_boxes(columns: Sequence[str]) -> bool:
    return {_FILM, _CLASS, _BOX} <= set(columns)


def _read_boxes(path: Path) -> LabelTable:
    table = read_table(path)
    boxes_of(table)  # raises for an invalid box, so that a damaged table is rejected completely
    films, classes = film_column(table, _FILM), table.column(_CLASS)
    if "" in classes:
        raise table.row_error(classes.index(""), f"column {_CLASS} is empty, expected a finding or {NO_FINDING}")
    readings = index_of_distinct(zip(films, _readers(table), strict=True))
    findings = index_of_distinct(sorted(set(map(canonical, classes)) - {NO_FINDING}))
    labels = filled_labels(path, len(readings), len(findings), 0)
    for reading, name in zip(zip(films, _readers(table), strict=True), map(canonical, classes), strict=True):
        if name != NO_FINDING:
            labels[readings[reading], findings[name]] = 1
    return _by_film([film for film, _ in readings], list(findings), labels)


def _readers(table: Table) -> list[str]:
    return table.column(_READER) if _READER in table.columns else [""] * len(table.rows)


def _by_film(films: Sequence[str], names: Sequence[str], labels: Floats) -> LabelTable:
    places = index_of_distinct(films)
    rows = np.array([places[film] for film in films], np.intp)
    return LabelTable(
        films=tuple(places),
        findings=tuple(map(canonical, names)),
        labels=majority(labels, rows, len(places)),
    )


vindr = LayoutDataset(
    name="vindr",
    summary="VinDr-CXR image_labels: image_id, rad_id, 28 columns of 0 and 1; the majority of the readers",
    recognises=_recognises,
    read=_read,
    roles=_roles,
    one_row_per_film=False,
    blanks=False,
)

vindr_boxes = LayoutDataset(
    name="vindr-boxes",
    summary="VinDr-CXR boxes: image_id, class_name, rad_id, x_min, ...; the majority of the readers",
    recognises=_recognises_boxes,
    read=_read_boxes,
    roles=fixed_roles(_FILM, (_CLASS,), others=(_READER,)),
    one_row_per_film=False,
    blanks=False,
)
