"""Patients of films: out of a column of the label table, or out of the names that public data sets give their films."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cxrscore.contract import LabelTable
from cxrscore.io.strict_json import unicode_text
from cxrscore.labels.columns import film_key
from cxrscore.labels.join import JoinedLabels
from cxrscore.labels.public_sets import NIH, set_of_film
from cxrscore.labels.roles import ColumnRoles, maybe_patients

FROM_NAMES = "names of the films"
"""Where patients come from that no column names."""

BY_PATIENT = "by patient"

_NIH = re.compile(r"(?:.*/)?0*(\d+)_\d{3}(?:\.[a-z]+)?", re.IGNORECASE)
_CHEXPERT = re.compile(r"(?:^|[/_-])(patient\d{5})[/_-]study\d", re.IGNORECASE)
_MIMIC = re.compile(r"(?:.*/)?p\d{2}/p(\d{8})/s\d{8}/", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[a-z]{1,5}$", re.IGNORECASE)


def patient_of_film(path: str) -> str:
    """The patient of a film by its name or path, as NIH ChestX-ray14, CheXpert and MIMIC-CXR have them; "" for others.

    Examples
    --------
    >>> patient_of_film("images_001/00000013_005.png"), patient_of_film("train/patient00042/study1/view1_frontal.jpg")
    ('13', 'patient00042')
    >>> patient_of_film("20260101_001.png")
    ''
    """
    path = film_key(path)
    named = path if _SUFFIX.search(path) else f"{path}.png"
    if set_of_film(named) == NIH and (found := _NIH.fullmatch(path)):
        return found[1]
    if found := _CHEXPERT.search(path):
        return found[1].lower()
    found = _MIMIC.match(path)
    return found[1] if found else ""


def with_patients(joined: JoinedLabels, table: LabelTable, roles: ColumnRoles, paths: Sequence[str]) -> JoinedLabels:
    """The joined labels with the patients of the films, and where these come from: what the reader of the table knows,
    else the names of the films."""
    if any(joined.patients):
        source = f"column {unicode_text(roles.patient)}" if roles.patient else "label table"
        return replace(joined, patient_source=source)
    patients = tuple(patient_of_film(path) or None for path in paths)
    if any(patients):
        return replace(joined, patients=patients, patient_source=FROM_NAMES)
    return replace(joined, maybe_patients=maybe_patients([*roles.others, *roles.ignored]))


def grouping(patients: Sequence[str | None]) -> str:
    """How films are kept together in splits and folds: "by patient", or "by film" where no patient is known.

    Examples
    --------
    >>> grouping(["p1", "p1"]), grouping([None, None])
    ('by patient', 'by film')
    >>> grouping(["p1", "p1", None])
    'by patient (1 film without one by itself)'
    """
    unknown = sum(patient is None for patient in patients)
    if unknown == len(patients):
        return "by film"
    films = "1 film" if unknown == 1 else f"{unknown:,} films"
    return (
        f"by patient ({films} without one {'by itself' if unknown == 1 else 'each by itself'})"
        if unknown
        else BY_PATIENT
    )
