"""Columns of findings in which a cell says yes, no, uncertain or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrscore.contract import Dataset, Floats, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.table import Table

UNCERTAIN: Mapping[str, float] = {"unknown": np.nan, "positive": 1.0, "negative": 0.0}
"""How to count an uncertain label, and the label that it then gets."""

LabelValues = Mapping[str, float]
ZERO_ONE: LabelValues = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
YES_NO: LabelValues = {"YES": 1.0, "NO": 0.0}


@dataclass(frozen=True, kw_only=True)
class UncertainDataset(Dataset):
    """A layout with uncertain findings; ``read`` makes them unknown, ``read_as`` gives them this label."""

    read_as: Callable[[Path, float], LabelTable]


def uncertain_dataset(
    name: str, summary: str, recognises: Callable[[Sequence[str]], bool], read_as: Callable[[Path, float], LabelTable]
) -> UncertainDataset:
    """The descriptor of a layout with uncertain findings."""

    def read(path: Path) -> LabelTable:
        return read_as(path, np.nan)

    return UncertainDataset(name=name, summary=summary, recognises=recognises, read=read, read_as=read_as)


def uncertain_label(word: str) -> float:
    """NaN, 1 or 0 for unknown, positive or negative; InputError for any other word."""
    if word not in UNCERTAIN:
        raise InputError(f"uncertain is {word!r}, expected {', '.join(UNCERTAIN)}")
    return UNCERTAIN[word]


def parse_uncertain_labels(
    table: Table, columns: Sequence[str], answers: LabelValues, uncertain: float | None = None
) -> Floats:
    """The labels in the cells of the columns, float32 [N,C], NaN for empty cells; InputError with row and column for an
    invalid cell. -1 is valid if `uncertain` defines its label."""
    known = {**answers, "": np.nan}
    if uncertain is not None:
        known |= {"-1": uncertain, "-1.0": uncertain}
    labels = np.empty((len(table.rows), len(columns)), np.float32)
    for place, column in enumerate(columns):
        cells = table.column(column)
        try:
            labels[:, place] = [known[cell] for cell in cells]
        except KeyError as error:
            row = cells.index(error.args[0])
            wanted = ", ".join(word for word in known if word and not word.endswith(".0"))
            raise table.row_error(row, f"column {column} has {cells[row]!r}, expected {wanted} or nothing") from None
    return labels
