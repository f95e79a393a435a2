"""NIH's findings as 14 columns of 0 and 1: the split files of courses (Image, ..., PatientId) and of CheXNet-Keras
(Image Index, ...). Read like generic tables; the patient comes from NIH's film names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrscore.contract import LabelTable
from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.generic_csv import ColumnChoice, columns_dataset, plain
from cxrscore.labels.nih import FILM
from cxrscore.labels.patients import patient_of_film
from cxrscore.labels.roles import ColumnRoles


def _has_findings(columns: Sequence[str]) -> bool:
    return set(FINDINGS) <= set(map(canonical, columns))


def _recognises_course(columns: Sequence[str]) -> bool:
    return {"Image", "PatientId"} <= set(columns) and _has_findings(columns)


def _recognises_chexnet(columns: Sequence[str]) -> bool:
    return FILM in columns and _has_findings(columns)


def _read_chexnet(path: Path, choice: ColumnChoice) -> tuple[LabelTable, ColumnRoles]:
    table, roles = plain.read_columns(path, choice)
    patients = tuple(map(patient_of_film, table.films))
    if table.patients is None and any(patients):
        table = replace(table, patients=patients)
    return table, roles


course = columns_dataset(
    name="course",
    summary="courses on NIH films: Image, 14 columns of 0 and 1, PatientId",
    recognises=_recognises_course,
    read_columns=plain.read_columns,
)

chexnet = columns_dataset(
    name="chexnet",
    summary="CheXNet-Keras: Image Index and 14 columns of 0 and 1; the patient from the film's name",
    recognises=_recognises_chexnet,
    read_columns=_read_chexnet,
)
