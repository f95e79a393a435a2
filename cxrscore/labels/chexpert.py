"""CheXpert: train.csv and valid.csv, one row per film; findings may be uncertain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import Floats, LabelTable
from cxrscore.labels.columns import clean_age, clean_columns, clean_sex, clean_view, film_column, film_key
from cxrscore.labels.findings import NO_FINDING, canonical
from cxrscore.labels.roles import fixed_roles
from cxrscore.labels.table import Table, read_table
from cxrscore.labels.uncertain_labels import ZERO_ONE, parse_uncertain_labels, uncertain_dataset

OBSERVATIONS = (
    NO_FINDING,
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The observations of the CheXpert labeller, in its order; MIMIC-CXR-JPG has the same ones, sorted."""

_FILM, _FRONTAL, _AP_PA = "Path", "Frontal/Lateral", "AP/PA"
_ABOUT = {"age": ("Age", clean_age), "sex": ("Sex", clean_sex)}
_UNCERTAIN = -1.0
_PATIENT = re.compile(r"(?:^|/)(patient\d+)/")


def observations(columns: Sequence[str]) -> tuple[str, ...]:
    """The observations that are columns of the table, in the order of CheXpert."""
    return tuple(name for name in OBSERVATIONS if name in columns)


def observed(table: Table, uncertain: float) -> tuple[tuple[str, ...], Floats]:
    """Canonical findings and float32 [N,C] of the observations in a table.

    The labeller sets No Finding if nothing else is positive or uncertain, support devices excepted. Blank cells in such
    a row are therefore 0. All other blank cells are unknown, because the report does not mention the finding.
    """
    names = observations(table.columns)
    labels = parse_uncertain_labels(table, names, ZERO_ONE, uncertain=_UNCERTAIN)
    if NO_FINDING in names:
        healthy = labels[:, [names.index(NO_FINDING)]] == 1
        implied = np.array([name not in (NO_FINDING, "Support Devices") for name in names])
        labels[healthy & implied & np.isnan(labels)] = 0
    labels[labels == _UNCERTAIN] = uncertain
    return tuple(map(canonical, names)), labels


def _recognises(columns: Sequence[str]) -> bool:
    return {_FILM, "Enlarged Cardiomediastinum", "Lung Lesion", "Support Devices"} <= set(columns)


def _read(path: Path, uncertain: float) -> LabelTable:
    table = read_table(path, (_FILM, _FRONTAL, _AP_PA, "Age", "Sex", *OBSERVATIONS))
    films, patients = _films(table)
    findings, labels = observed(table, uncertain)
    columns = clean_columns(table, _ABOUT)
    if _FRONTAL in table.columns:
        columns["view"] = _views(table)
    return LabelTable(films=films, findings=findings, labels=labels, patients=patients, columns=columns)


def _films(table: Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Films as patient00001/study1/view1_frontal.jpg, without the folders above, and their patients."""
    films, patients = [], []
    for row, name in enumerate(map(film_key, film_column(table, _FILM))):
        found = _PATIENT.search(name)
        if not found:
            raise table.row_error(
                row, f"column {_FILM} has {name!r}, expected a path with a folder such as patient00001"
            )
        films.append(name[found.start(1) :])
        patients.append(found[1])
    return tuple(films), tuple(patients)


def _views(table: Table) -> tuple[str, ...]:
    """AP or PA of frontal films, "" if unknown; L of lateral films."""
    frontal = table.column(_FRONTAL)
    positions = table.column(_AP_PA) if _AP_PA in table.columns else [""] * len(frontal)
    return tuple(
        "L" if plane.lower() == "lateral" else clean_view(position)
        for plane, position in zip(frontal, positions, strict=True)
    )


chexpert = uncertain_dataset(
    name="chexpert",
    summary="CheXpert: Path, Sex, Age, Frontal/Lateral, AP/PA, 14 observations of 1, 0, -1 or nothing",
    recognises=_recognises,
    read_as=_read,
    roles=fixed_roles(_FILM, OBSERVATIONS, others=("Sex", "Age", _FRONTAL, _AP_PA)),
)
