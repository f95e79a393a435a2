"""Tables of bounding boxes: NIH's BBox_List_2017, VinDr-CXR's, RSNA's. As label tables they say which films have a
finding; the report compares the boxes with heat maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrscore.contract import LabelTable
from cxrscore.labels.columns import filled_labels, film_column, index_of_distinct
from cxrscore.labels.findings import canonical
from cxrscore.labels.nih import FILM
from cxrscore.labels.patients import patient_of_film
from cxrscore.labels.roles import LayoutDataset, fixed_roles
from cxrscore.labels.table import Table, read_table

_FINDING = "Finding Label"
_SIDES = ("Bbox [x", "y", "w", "h]")


@dataclass(frozen=True, kw_only=True)
class Box:
    """Bounding box of a finding: left, top, width and height in pixels of the published film; rater "" if unknown."""

    film: str
    finding: str
    x: float
    y: float
    width: float
    height: float
    rater: str = ""


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Column names of a table of boxes; ``rater``: the names that the column of the readers may have; ``corners``: the
    last two sides are the right and lower edge."""

    film: str
    finding: str | None
    sides: tuple[str, str, str, str]
    rater: tuple[str, ...] = ()
    corners: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        return (self.film, *self.sides, *filter(None, (self.finding,)))


_TABLES = (
    _Columns(film=FILM, finding=_FINDING, sides=_SIDES),
    _Columns(
        film="image_id",
        finding="class_name",
        sides=("x_min", "y_min", "x_max", "y_max"),
        rater=("rad_id", "rad_ID"),
        corners=True,
    ),
    _Columns(film="patientId", finding=None, sides=("x", "y", "width", "height")),
)


def read_boxes(path: Path) -> tuple[Box, ...]:
    """Read the boxes of a table in any of the three layouts; rows without a box are skipped.

    InputError, with row and column, for other tables and for invalid boxes.
    """
    return boxes_of(read_table(path))


def boxes_of(table: Table) -> tuple[Box, ...]:
    """See read_boxes."""
    names = next((names for names in _TABLES if set(names.wanted) <= set(table.columns)), None)
    if names is None:
        met = ", ".join(table.columns[:8])
        raise table.table_error(f"has the columns {met}, expected a table of boxes of NIH, VinDr or RSNA")
    films = film_column(table, names.film)
    findings = ["Pneumonia"] * len(films) if names.finding is None else table.column(names.finding)
    rater = table.first_of(names.rater)
    raters = table.column(rater) if rater else [""] * len(films)
    sides = [table.column(side) for side in names.sides]
    found = []
    for row, film in enumerate(films):
        if any(cells[row] for cells in sides):
            x, y, width, height = _box_sides(table, row, names)
            finding, reader = canonical(findings[row]), raters[row]
            found.append(Box(film=film, finding=finding, x=x, y=y, width=width, height=height, rater=reader))
    return tuple(found)


def _box_sides(table: Table, row: int, names: _Columns) -> tuple[float, float, float, float]:
    """Left, top, width and height of the box in a row."""
    numbers = []
    for side in names.sides:
        cell = table.cell(row, side)
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise table.row_error(row, f"column {side} has {cell!r}, expected a number of pixels")
        numbers.append(number)
    x, y, width, height = numbers
    if names.corners:
        width, height = width - x, height - y
    if width <= 0 or height <= 0:
        raise table.row_error(row, f"the box is {width:g} wide and {height:g} high, expected both above 0")
    return x, y, width, height


def _recognises(columns: Sequence[str]) -> bool:
    return {FILM, _FINDING, _SIDES[0]} <= set(columns)


def _read(path: Path) -> LabelTable:
    """1 for a finding that has a box, else unknown: a film without a box for a finding may still have the finding."""
    boxes = read_boxes(path)
    films = index_of_distinct(box.film for box in boxes)
    findings = index_of_distinct(sorted({box.finding for box in boxes}))
    labels = filled_labels(path, len(films), len(findings), math.nan)
    for box in boxes:
        labels[films[box.film], findings[box.finding]] = 1
    patients = tuple(map(patient_of_film, films))
    return LabelTable(
        films=tuple(films), findings=tuple(findings), labels=labels, patients=patients if any(patients) else None
    )


nih_boxes = LayoutDataset(
    name="nih-boxes",
    summary="NIH BBox_List_2017: Image Index, Finding Label, Bbox [x,y,w,h]; only findings with a box are labelled",
    recognises=_recognises,
    read=_read,
    roles=fixed_roles(FILM, (_FINDING,), others=_SIDES),
    one_row_per_film=False,
    blanks=False,
)
