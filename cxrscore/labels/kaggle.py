"""Kaggle challenges: pneumonia (RSNA 2018) and pneumothorax (SIIM-ACR 2019), several rows per film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import LabelTable
from cxrscore.labels.columns import film_column, index_of_distinct
from cxrscore.labels.roles import LayoutDataset, fixed_roles, has_columns
from cxrscore.labels.table import read_table
from cxrscore.labels.uncertain_labels import ZERO_ONE, parse_uncertain_labels

_RSNA = ("patientId", "Target")
_SIIM = ("ImageId", "EncodedPixels")


def _any_row(films: Sequence[str], found: Sequence[float], finding: str) -> LabelTable:
    """A film has the finding if any of its rows has it. The tables do not identify patients."""
    places = index_of_distinct(films)
    labels = np.zeros((len(places), 1), np.float32)
    np.maximum.at(labels, [places[film] for film in films], np.array(found, np.float32).reshape(-1, 1))
    return LabelTable(films=tuple(places), findings=(finding,), labels=labels)


def _recognises_rsna(columns: Sequence[str]) -> bool:
    return set(_RSNA) <= set(columns)


def _read_rsna(path: Path) -> LabelTable:
    """patientId names the film: it is a number made up for the challenge, different for each film."""
    table = read_table(path, _RSNA)
    film, target = _RSNA
    return _any_row(
        film_column(table, film), parse_uncertain_labels(table, [target], ZERO_ONE)[:, 0].tolist(), "Pneumonia"
    )


def _recognises_siim(columns: Sequence[str]) -> bool:
    return has_columns(columns, _SIIM)


def _read_siim(path: Path) -> LabelTable:
    table = read_table(path, _SIIM)
    film, mask = _SIIM
    cells = table.column(mask)
    for row, cell in enumerate(cells):
        if cell != "-1" and not cell.replace(" ", "").isdigit():
            raise table.row_error(row, f"column {mask} has {cell[:60]!r}, expected -1 or numbers of pixels")
    return _any_row(film_column(table, film), [float(cell != "-1") for cell in cells], "Pneumothorax")


rsna = LayoutDataset(
    name="rsna",
    summary="RSNA pneumonia: patientId (which names the film), x, y, width, height, Target",
    recognises=_recognises_rsna,
    read=_read_rsna,
    roles=fixed_roles(_RSNA[0], _RSNA[1:]),
    one_row_per_film=False,
    blanks=False,
)

siim = LayoutDataset(
    name="siim",
    summary="SIIM-ACR pneumothorax: ImageId, EncodedPixels (-1: none)",
    recognises=_recognises_siim,
    read=_read_siim,
    roles=fixed_roles(_SIIM[0], _SIIM[1:]),
    one_row_per_film=False,
    blanks=False,
)
