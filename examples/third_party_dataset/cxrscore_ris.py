"""A label table reader for cxrscore: exports of a radiology information system (RIS), with semicolons.

One row is one examination, and the film has the accession number as its name. A finding is pos, neg, or empty if the
report does not mention it:

    accession;patient;sex;Effusion;Pneumothorax
    A1001;P17;f;pos;neg
    A1002;P18;m;;pos
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import Dataset, LabelTable, hookimpl
from cxrscore.errors import InputError
from cxrscore.labels.findings import canonical

ABOUT = ("accession", "patient", "sex")
ANSWERS = {"pos": 1.0, "neg": 0.0, "": np.nan}


def recognises(columns: Sequence[str]) -> bool:
    """cxrscore also offers the first line split at commas. This one has none, so it is one name."""
    return len(columns) == 1 and columns[0].split(";")[:3] == list(ABOUT)


def read(path: Path) -> LabelTable:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; expected a RIS export in UTF-8") from error
    if not recognises(lines[:1]):
        raise InputError(f"{path} is no RIS export: expected a first line that begins with {';'.join(ABOUT)}")
    header, *rows = csv.reader(lines, delimiter=";")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header) or not row[0] or not set(row[3:]) <= set(ANSWERS):
            wanted = "an accession number and pos, neg or nothing for each finding"
            raise InputError(f"{path}, line {number}: {';'.join(row)!r}, expected {len(header)} cells: {wanted}")
    films, patients, sex = ([row[place].strip() for row in rows] for place in range(3))
    return LabelTable(
        films=tuple(f"{name}.png" for name in films),
        findings=tuple(canonical(name) for name in header[3:]),
        labels=np.array([[ANSWERS[cell] for cell in row[3:]] for row in rows], np.float32),
        patients=tuple(patients),
        columns={"sex": tuple(cell.upper() for cell in sex)},
    )


ris = Dataset(
    name="ris",
    summary="RIS export: accession;patient;sex;FINDING;... with pos, neg or nothing",
    recognises=recognises,
    read=read,
)


@hookimpl
def cxrscore_datasets() -> Sequence[Dataset]:
    return [ris]
