"""Patients of films: out of a column of the label table, or out of the names that public data sets give their films."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cxrscore.contract import LabelTable
from cxrscore.io.strict_json import unicode_text
from cxrscore.labels.columns import film_key
from cxrscore.labels.join import JoinedLabels
from cxrscore.labels.public_sets import NIH, OPENI, set_of_film
from cxrscore.labels.roles import ColumnRoles, maybe_patients

FROM_NAMES = "names of the films"
"""Where patients come from that no column names."""

BY_PATIENT = "by patient"

_NIH = re.compile(r"(?:.*/)?0*(\d+)_\d{3}(?:\.[a-z]+)?", re.IGNORECASE)
_CHEXPERT = re.compile(r"(?:^|[/_-])(patient\d{5})[/_-]study\d", re.IGNORECASE)
_MIMIC = re.compile(r"(?:.*/)?p\d{2}/p(\d{8})/s\d{8}/", re.IGNORECASE)
_BRAX = re.compile(r"(?:^|/)(id_[0-9a-f-]+)/Study_", re.IGNORECASE)
_OPENI = re.compile(r"(?:.*/)?(?:CXR)?(\d+)_.*", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[a-z]{1,5}$", re.IGNORECASE)


def patient_of_film(path: str) -> str:
    """The patient of a film by its name or path, as NIH ChestX-ray14, CheXpert, MIMIC-CXR, BRAX and Open-i have them;
    "" for others.

    Examples
    --------
    >>> patient_of_film("images_001/00000013_005.png"), patient_of_film("train/patient00042/study1/view1_frontal.jpg")
    ('13', 'patient00042')
    >>> patient_of_film("20260101_001.png")
    ''
    """
    path = film_key(path)
    named = path if _SUFFIX.search(path) else f"{path}.png"
    by_file_name = {NIH: _NIH, OPENI: _OPENI}.get(set_of_film(named))
    if by_file_name and (found := by_file_name.fullmatch(path)):
        return found[1]
    by_folder = (_CHEXPERT.search(path), _MIMIC.match(path), _BRAX.search(path))
    return next((found[1].lower() for found in by_folder if found), "")


def with_patients(joined: JoinedLabels, table: LabelTable, roles: ColumnRoles, paths: Sequence[str]) -> JoinedLabels:
    """The joined labels with the patients of the films, and where these come from: what the reader of the table knows,
    and for films of which it knows none, the names of the films."""
    patients = joined.patients
    if not all(patients):
        patients = _completed(patients, [patient_of_film(path) for path in paths])
    sources = [f"column {unicode_text(roles.patient)}" if roles.patient else "label table"] * any(joined.patients)
    sources += [FROM_NAMES] * (patients != joined.patients)
    if sources:
        return replace(joined, patients=patients, patient_source=" and ".join(sources))
    return replace(joined, maybe_patients=maybe_patients([*roles.others, *roles.ignored], table.columns))


def _completed(patients: Sequence[str | None], named: Sequence[str]) -> tuple[str | None, ...]:
    """The patients, and for films without one that of another film of which the name has the same patient, or the
    patient of the name. named: the patient in the name of each film, "" for none."""
    known = {name: patient for name, patient in zip(named, patients, strict=True) if name and patient}
    return tuple(patient or known.get(name, name) or None for name, patient in zip(named, patients, strict=True))


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
