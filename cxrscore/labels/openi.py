"""Open-i, the collection of Indiana University, in the tables of Kaggle: indiana_reports.csv with the terms of each
report, and indiana_projections.csv with its films; or both merged.

A term is a heading of MeSH or RadLex, perhaps with qualifiers: "Thickening/pleura/apex". Problems has headings only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.columns import film_column
from cxrscore.labels.roles import LayoutDataset, fixed_roles, respelled
from cxrscore.labels.table import Table, read_header, read_table

_REPORT, _FILM, _VIEW = "uid", "filename", "projection"
_TERMS = ("MeSH", "Problems")
_READ = (_REPORT, _FILM, _VIEW, *_TERMS)
_REPORTS_FILE, _FILMS_FILE = "indiana_reports.csv", "indiana_projections.csv"

_WORDS = {
    "Atelectasis": ("pulmonary atelectasis", "atelectasis"),
    "Cardiomegaly": ("cardiomegaly",),
    "Effusion": ("pleural effusion",),
    "Infiltration": ("infiltrate",),
    "Mass": ("mass",),
    "Nodule": ("nodule",),
    "Pneumonia": ("pneumonia",),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "Consolidation": ("consolidation",),
    "Edema": ("pulmonary edema",),
    "Emphysema": ("emphysema", "pulmonary emphysema"),
    "Fibrosis": ("pulmonary fibrosis",),
    "Pleural_Thickening": ("pleural thickening",),
    "Hernia": ("hernia, hiatal",),
    "Lung Opacity": ("opacity",),
    "Fracture": ("fractures, bone",),
    "Support Devices": ("catheters, indwelling", "implanted medical device", "medical device", "tube, inserted"),
    "Bronchiectasis": ("bronchiectasis",),
    "Granuloma": ("granuloma", "calcified granuloma"),
    "Tuberculosis": ("tuberculosis",),
    "Scoliosis": ("scoliosis",),
}
"""The headings that make a finding, compared as a whole: "subcutaneous emphysema" is not emphysema."""

FINDINGS = tuple(_WORDS)
_NOT_READ = frozenset(("no indexing", "technical quality of image unsatisfactory"))
_VIEWS = {"frontal": "", "lateral": "L", "": ""}
_THICKENING, _PLEURA = "thickening", "pleura"


def _recognises(columns: Sequence[str]) -> bool:
    has = set(respelled(columns, _READ)) - {""}
    of_films = {_REPORT, _FILM, _VIEW}
    return {_REPORT, *_TERMS} <= has or has == of_films or (of_films <= has and bool(has & set(_TERMS)))


def _read(path: Path) -> LabelTable:
    header = set(read_header(path, _READ))
    table = read_table(path, _READ)
    films = table if _FILM in header else read_table(_beside(path, _FILMS_FILE), (_REPORT, _FILM, _VIEW))
    reports = table if header & set(_TERMS) else read_table(_beside(path, _REPORTS_FILE), (_REPORT, *_TERMS))
    labels = _labels(reports, one_row_each=reports is not films)
    uids = films.column(_REPORT)
    known = [row for row, uid in enumerate(uids) if uid in labels]
    names = film_column(films, _FILM)
    views = _views(films)
    return LabelTable(
        films=tuple(names[row] for row in known),
        findings=FINDINGS,
        labels=np.array([labels[uids[row]] for row in known], np.float32).reshape(len(known), len(FINDINGS)),
        patients=tuple(uids[row] for row in known),
        columns={"view": tuple(views[row] for row in known)},
    )


def _views(films: Table) -> list[str]:
    """L of lateral films; "" of frontal ones, which may be PA or AP."""
    planes = films.column(_VIEW) if _VIEW in films.columns else [""] * len(films.rows)
    odd = next((row for row, plane in enumerate(planes) if plane.lower() not in _VIEWS), None)
    if odd is not None:
        raise films.row_error(odd, f"column {_VIEW} has {planes[odd]!r}, expected Frontal or Lateral")
    return [_VIEWS[plane.lower()] for plane in planes]


def _beside(path: Path, name: str) -> Path:
    """The other table of the two, in the same folder; plain or gzipped."""
    folder = path.absolute().parent
    found = next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)
    if found is None:
        raise InputError(f"{path} is one of Open-i's two tables; expected {name} in the same folder")
    return found


def _labels(reports: Table, *, one_row_each: bool) -> dict[str, list[float]]:
    """The labels of each report; InputError if one has two rows with other labels, or, if asked for, two rows at
    all."""
    columns = [reports.column(name) for name in _TERMS if name in reports.columns]
    found: dict[str, list[float]] = {}
    cells = list(zip(*columns, strict=True))
    rows = {row: _row(row) for row in set(cells)}
    for row, uid in enumerate(reports.column(_REPORT)):
        labels = found.setdefault(uid, rows[cells[row]])
        if labels is not rows[cells[row]] or (one_row_each and row + 1 != len(found)):
            raise reports.row_error(row, f"column {_REPORT} has {uid!r} again, expected one row for each report")
    return found


def _row(cells: Sequence[str]) -> list[float]:
    """0 or 1 per finding for cells such as "Cardiomegaly/borderline;Pulmonary Artery/enlarged".

    All NaN for empty cells, and for reports that were not indexed or whose films are poor. Thickening is unknown if
    nothing says of what.
    """
    terms = [[" ".join(part.lower().split()) for part in term.split("/")] for cell in cells for term in cell.split(";")]
    headings = {heading for heading, *_ in terms} - {""}
    if not headings or headings & _NOT_READ:
        return [np.nan] * len(FINDINGS)
    labels = {finding: float(bool(headings & set(words))) for finding, words in _WORDS.items()}
    thickened = [qualifiers for heading, *qualifiers in terms if heading == _THICKENING]
    if any(_PLEURA in qualifiers for qualifiers in thickened):
        labels["Pleural_Thickening"] = 1.0
    elif thickened and not any(thickened) and not labels["Pleural_Thickening"]:
        labels["Pleural_Thickening"] = np.nan
    return list(labels.values())


openi = LayoutDataset(
    name="openi",
    summary="Open-i of Indiana University: uid, MeSH, Problems (indiana_reports.csv) and uid, filename, projection "
    "(indiana_projections.csv) in the same folder, or both in one table",
    recognises=_recognises,
    read=_read,
    roles=fixed_roles(_FILM, _TERMS, patient=_REPORT, others=(_VIEW,)),
    one_row_per_film=False,
    blanks=False,
)
