"""NIH ChestX-ray14: Data_Entry_2017.csv and Data_Entry_2017_v2020.csv."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.table import header_of, read_rows

_FILM, _WORDS, _PATIENT = "Image Index", "Finding Labels", "Patient ID"
_COLUMNS = {"age": "Patient Age", "sex": "Patient Gender", "view": "View Position"}


def recognises(header: Sequence[str]) -> bool:
    """Whether these are the columns of NIH's table."""
    return {_FILM, _WORDS, _PATIENT} <= set(header)


def read(path: Path) -> LabelTable:
    """Every film has all 14 labels: those named are 1, the others 0. InputError names line and column."""
    header = header_of(path)
    place = {name: header.index(name) for name in (_FILM, _WORDS, _PATIENT)}
    others = {key: header.index(name) for key, name in _COLUMNS.items() if name in header}
    films, patients, labels = [], [], []
    columns: dict[str, list[str]] = {key: [] for key in others}
    for line, row in enumerate(islice(read_rows(path), 1, None), start=2):
        if not row:
            continue
        if len(row) <= max(place.values()):
            raise InputError(f"{path}, line {line}: {len(row)} fields, wanted the {len(header)} of the header")
        films.append(row[place[_FILM]].strip())
        patients.append(row[place[_PATIENT]].strip())
        labels.append(_labels(row[place[_WORDS]], path, line))
        for key, index in others.items():
            columns[key].append(_age(row[index]) if key == "age" else row[index].strip())
    return LabelTable(
        films=tuple(films),
        findings=FINDINGS,
        labels=np.array(labels, np.float32).reshape(len(films), len(FINDINGS)),
        patients=tuple(patients),
        columns={key: tuple(values) for key, values in columns.items()},
    )


def _labels(words: str, path: Path, line: int) -> list[float]:
    named = {canonical(word) for word in words.split("|")} - {"No Finding"}
    if unknown := sorted(named - set(FINDINGS)):
        raise InputError(f"{path}, line {line}, column {_WORDS}: {unknown[0]!r} is not one of NIH's 14 findings")
    return [float(finding in named) for finding in FINDINGS]


def _age(text: str) -> str:
    """Years as a plain number: the Kaggle sample writes 060Y."""
    return text.strip().removesuffix("Y").lstrip("0") or "0"


nih = Dataset(name="nih", summary="NIH ChestX-ray14, Data_Entry_2017*.csv", recognises=recognises, read=read)
