"""VinDr-CXR, its subset in Kaggle's VinBigData challenge, and VinDr-PCXR of children: findings per reader, as boxes or
as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.boxes import boxes_of
from cxrscore.labels.columns import filled_labels, film_column, index_of_distinct
from cxrscore.labels.findings import NO_FINDING, canonical
from cxrscore.labels.roles import (
    ColumnRoles,
    LayoutDataset,
    find_column,
    fixed_roles,
    has_columns,
    plain_name,
    respelled,
)
from cxrscore.labels.table import read_header, read_table
from cxrscore.labels.uncertain_labels import ZERO_ONE, parse_uncertain_labels, uncertain_dataset

_FILM, _CLASS, _CLASS_ID = "image_id", "class_name", "class_id"
_READERS = ("radid",)
"""rad_id in tables of VinDr-CXR and of boxes, rad_ID in VinDr-PCXR."""
_BOX = "x_min"
_PREDICTIONS = "PredictionString"
_OF_BOXES = (_FILM, _CLASS, _CLASS_ID, _BOX, "y_min", "x_max", "y_max", _PREDICTIONS)

FINDINGS = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis"),
    *("Other diseases", "No finding"),
)
"""The 28 of VinDr-CXR, of which VinBigData has 15."""
DISEASES_OF_CHILDREN = (
    *("No finding", "Bronchitis", "Brocho-pneumonia", "Other disease", "Bronchiolitis", "Situs inversus", "Pneumonia"),
    *("Pleuro-pneumonia", "Diagphramatic hernia", "Tuberculosis", "Congenital emphysema", "CPAM"),
    *("Hyaline membrane disease", "Mediastinal tumor", "Lung tumor"),
)
"""The 15 of VinDr-PCXR, spelled as in its tables."""
_NAMES = {
    plain_name(name): name for name in (*FINDINGS, *DISEASES_OF_CHILDREN, "Broncho-pneumonia", "Diaphragmatic hernia")
}


def majority(labels: Floats, films: NDArray[np.intp], count: int) -> Floats:
    """The majority label of each film: float32 [count,C] of labels [N,C], one row per reader; films are numbered from
    0. A tie is unknown, and so is a finding that no reader judged."""
    votes = np.zeros((count, labels.shape[1]))
    np.add.at(votes, films, np.nan_to_num(labels * 2 - 1))
    return np.where(votes == 0, np.nan, votes > 0).astype(np.float32)


def _findings(columns: Sequence[str]) -> list[str]:
    """The columns that are findings of VinDr-CXR or VinDr-PCXR, in the order of the table; the first of two for one
    finding."""
    found: dict[str, str] = {}
    for column in columns:
        if plain_name(column) in _NAMES:
            found.setdefault(canonical(column), column)
    return list(found.values())


def _recognises_children(columns: Sequence[str]) -> bool:
    return has_columns(columns, (_FILM, "Bronchiolitis", "Situs inversus"))


def _recognises(columns: Sequence[str]) -> bool:
    return has_columns(columns, (_FILM, "Aortic enlargement", "Pleural effusion")) and not _recognises_children(columns)


def _read(path: Path, uncertain: float) -> LabelTable:
    columns = read_header(path)
    names = _findings(columns)
    table = read_table(path, (_FILM, *names))
    labels = parse_uncertain_labels(table, names, ZERO_ONE, uncertain=uncertain)
    return _by_film(film_column(table, _FILM), [_NAMES[plain_name(name)] for name in names], labels)


def _roles(columns: Sequence[str]) -> ColumnRoles:
    return fixed_roles(_FILM, _findings(columns), others=_reader(columns))(columns)


def _reader(columns: Sequence[str]) -> tuple[str, ...]:
    """The column of the readers, if there is one."""
    return tuple(filter(None, (find_column(columns, _READERS),)))


def _recognises_boxes(columns: Sequence[str]) -> bool:
    has = set(respelled(columns, _OF_BOXES))
    return ({_FILM, _CLASS} <= has and bool({_BOX, _CLASS_ID} & has)) or {_FILM, _PREDICTIONS} <= has


def _roles_of_boxes(columns: Sequence[str]) -> ColumnRoles:
    return fixed_roles(_FILM, (_CLASS,), others=_reader(columns))(columns)


def _read_boxes(path: Path) -> LabelTable:
    table = read_table(path)
    table = replace(table, columns=respelled(table.columns, _OF_BOXES))
    if _CLASS not in table.columns:
        raise InputError(
            f"{path} has predictions in the form of a submission to Kaggle (column {_PREDICTIONS}), expected labels; "
            "those of VinBigData are in its train.csv"
        )
    if _BOX in table.columns:
        boxes_of(table)  # raises for an invalid box, so that a damaged table is rejected completely
    films, classes = film_column(table, _FILM), table.column(_CLASS)
    if "" in classes:
        raise table.row_error(classes.index(""), f"column {_CLASS} is empty, expected a finding or {NO_FINDING}")
    readers = next(map(table.column, _reader(table.columns)), [""] * len(films))
    readings = index_of_distinct(zip(films, readers, strict=True))
    findings = index_of_distinct(sorted(set(map(canonical, classes)) - {NO_FINDING}))
    labels = filled_labels(path, len(readings), len(findings), 0)
    for reading, name in zip(zip(films, readers, strict=True), map(canonical, classes), strict=True):
        if name != NO_FINDING:
            labels[readings[reading], findings[name]] = 1
    return _by_film([film for film, _ in readings], list(findings), labels)


def _by_film(films: Sequence[str], names: Sequence[str], labels: Floats) -> LabelTable:
    places = index_of_distinct(films)
    rows = np.array([places[film] for film in films], np.intp)
    return LabelTable(
        films=tuple(places),
        findings=tuple(map(canonical, names)),
        labels=majority(labels, rows, len(places)),
    )


vindr = replace(
    uncertain_dataset(
        name="vindr",
        summary="VinDr-CXR and VinBigData image_labels: image_id, rad_id, up to 28 columns of 0 and 1; the majority of "
        "the readers",
        recognises=_recognises,
        read_as=_read,
        roles=_roles,
        one_row_per_film=False,
    ),
    blanks=False,
)

vindr_pcxr = replace(
    uncertain_dataset(
        name="vindr-pcxr",
        summary="VinDr-PCXR image_labels: image_id, rad_ID, 15 columns of 0 and 1; the majority of the readers",
        recognises=_recognises_children,
        read_as=_read,
        roles=_roles,
        one_row_per_film=False,
    ),
    blanks=False,
)

vindr_boxes = LayoutDataset(
    name="vindr-boxes",
    summary="boxes of VinDr-CXR, VinBigData and VinDr-PCXR: image_id, class_name, rad_id, x_min, ...; the majority of "
    "the readers",
    recognises=_recognises_boxes,
    read=_read_boxes,
    roles=_roles_of_boxes,
    one_row_per_film=False,
    blanks=False,
)
