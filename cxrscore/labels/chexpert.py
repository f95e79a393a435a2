"""CheXpert: train.csv and valid.csv with one row per film, and the labels of the test set with one row per study;
findings may be uncertain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import Floats, LabelTable
from cxrscore.labels.columns import clean_age, clean_columns, clean_sex, clean_view, film_column, film_key
from cxrscore.labels.findings import NO_FINDING, canonical
from cxrscore.labels.roles import FILM_COLUMNS, ColumnRoles, find_column, fixed_roles, has_columns, plain_name
from cxrscore.labels.table import Table, read_header, read_table
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

_FILM, _FRONTAL, _AP_PA, _STUDY = "Path", "Frontal/Lateral", "AP/PA", "Study"
_ABOUT = {"age": ("Age", clean_age), "sex": ("Sex", clean_sex)}
_UNCERTAIN = -1.0
_PATIENT = re.compile(r"(?:^|/)(patient\d+)(?:/|$)")
_FOLDER = re.compile(r"(?:.*/)?study\d+/?")
_BY_NAME = {plain_name(name): name for name in OBSERVATIONS}
_RARE = ("Enlarged Cardiomediastinum", "Lung Lesion", "Support Devices")
"""Observations that only tables of this labeller have together."""
_COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The observations on which CheXpert's test set is evaluated."""


def observations(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that are observations, in the order of CheXpert; case, spaces and punctuation do not matter."""
    found: dict[str, str] = {}
    for column in columns:
        found.setdefault(_BY_NAME.get(plain_name(column), ""), column)
    return tuple(found[name] for name in OBSERVATIONS if name in found)


def has_observations(columns: Sequence[str], names: Sequence[str] = _RARE) -> bool:
    """Whether all of these observations are columns; by default those that tell a table of this labeller."""
    return set(names) <= {_BY_NAME[plain_name(column)] for column in observations(columns)}


def observed(table: Table, uncertain: float) -> tuple[tuple[str, ...], Floats]:
    """Canonical findings and float32 [N,C] of the observations in a table.

    The labeller sets No Finding if nothing else is positive or uncertain, support devices excepted. Blank cells in such
    a row are therefore 0. All other blank cells are unknown, because the report does not mention the finding.
    """
    columns = observations(table.columns)
    names = [_BY_NAME[plain_name(column)] for column in columns]
    labels = parse_uncertain_labels(table, columns, ZERO_ONE, uncertain=_UNCERTAIN)
    if NO_FINDING in names:
        healthy = labels[:, [names.index(NO_FINDING)]] == 1
        implied = np.array([name not in (NO_FINDING, "Support Devices") for name in names])
        labels[healthy & implied & np.isnan(labels)] = 0
    labels[labels == _UNCERTAIN] = uncertain
    return tuple(map(canonical, names)), labels


def patient_folder(path: str) -> tuple[str, str]:
    """The path from the folder of the patient on, and the patient: ("patient00001/study1/view1_frontal.jpg",
    "patient00001"); ("", "") if there is no such folder. A path that ends with the study is a folder and ends with /.
    """
    name = film_key(path)
    found = _PATIENT.search(name)
    if not found:
        return "", ""
    folder = "/" if _FOLDER.fullmatch(name) else ""
    return name[found.start(1) :].rstrip("/") + folder, found[1]


def _recognises(columns: Sequence[str]) -> bool:
    # A hospital's own table may also have a column path.
    return (_FILM in columns or has_columns(columns, (_FILM, _FRONTAL))) and has_observations(columns)


def _roles(columns: Sequence[str]) -> ColumnRoles:
    return fixed_roles(_FILM, observations(columns), others=("Sex", "Age", _FRONTAL, _AP_PA))(columns)


def _read(path: Path, uncertain: float) -> LabelTable:
    named = observations(read_header(path))
    table = read_table(path, (_FILM, _FRONTAL, _AP_PA, "Age", "Sex", *named))
    films, patients = _films(table, _FILM)
    findings, labels = observed(table, uncertain)
    columns = clean_columns(table, _ABOUT)
    if _FRONTAL in table.columns:
        columns["view"] = plane_and_projection(table, _FRONTAL, _AP_PA)
    return LabelTable(films=films, findings=findings, labels=labels, patients=patients, columns=columns)


def _films(table: Table, column: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Films as patient00001/study1/view1_frontal.jpg, without the folders above, and their patients; folders of films
    as patient00001/study1/."""
    films, patients = [], []
    for row, name in enumerate(film_column(table, column)):
        film, patient = patient_folder(name)
        if not film:
            raise table.row_error(
                row, f"column {column} has {name!r}, expected a path with a folder such as patient00001"
            )
        films.append(film)
        patients.append(patient)
    return tuple(films), tuple(patients)


def _recognises_studies(columns: Sequence[str]) -> bool:
    return (
        has_columns(columns, [_STUDY])
        and has_observations(columns, _COMPETITION)
        and find_column(columns, FILM_COLUMNS) is None
    )


def _studies_roles(columns: Sequence[str]) -> ColumnRoles:
    return fixed_roles(_STUDY, observations(columns))(columns)


def _read_studies(path: Path, uncertain: float) -> LabelTable:
    """The labels of groundtruth.csv, in which a row is a study: all films in its folder, whatever their view."""
    table = read_table(path, (_STUDY, *observations(read_header(path))))
    films, patients = _films(table, _STUDY)
    odd = next((row for row, film in enumerate(films) if not film.endswith("/")), None)
    if odd is not None:
        raise table.row_error(odd, f"column {_STUDY} has {films[odd]!r}, expected a folder such as patient00001/study1")
    findings, labels = observed(table, uncertain)
    return LabelTable(films=films, findings=findings, labels=labels, patients=patients)


def plane_and_projection(table: Table, plane: str, projection: str) -> tuple[str, ...]:
    """Views from two columns: AP or PA of frontal films, "" if unknown; L of lateral films."""
    planes = table.column(plane)
    projections = table.column(projection) if projection in table.columns else [""] * len(planes)
    return tuple(
        "L" if plane.lower() == "lateral" else clean_view(position)
        for plane, position in zip(planes, projections, strict=True)
    )


chexpert = uncertain_dataset(
    name="chexpert",
    summary="CheXpert: Path, Sex, Age, Frontal/Lateral, AP/PA, 14 observations of 1, 0, -1 or nothing",
    recognises=_recognises,
    read_as=_read,
    roles=_roles,
)

chexpert_studies = uncertain_dataset(
    name="chexpert-studies",
    summary="CheXpert's test set: Study, which names a folder of films, and the observations",
    recognises=_recognises_studies,
    read_as=_read_studies,
    roles=_studies_roles,
)
