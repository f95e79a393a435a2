"""Which table, and in which layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.files import sha256_of
from cxrscore.labels.join import JoinedLabels, join_labels
from cxrscore.labels.nih import nih
from cxrscore.labels.plain import plain
from cxrscore.labels.table import read_header

datasets: tuple[Dataset, ...] = (nih, plain)
"""The layouts that cxrscore brings itself; plain is asked last because it would take most others, too."""


def read_labels(path: Path, datasets: Sequence[Dataset]) -> tuple[LabelTable, str]:
    """The label table of a CSV file, plain or gzipped, by the first layout that knows its header, and that
    layout's name. InputError where no layout does, or a value is not what the layout has."""
    columns = read_header(path)
    for dataset in datasets:
        if dataset.recognises(columns):
            return dataset.read(path), dataset.name
    known = "; ".join(f"{dataset.name}: {dataset.summary}" for dataset in datasets)
    raise InputError(f"{path} has the columns {', '.join(columns[:8])}, of no known layout ({known})")


def joined_labels(path: Path, datasets: Sequence[Dataset], films: Sequence[str]) -> tuple[JoinedLabels, dict[str, str]]:
    """The labels of these films, and what tells the table again: its name, layout and SHA-256."""
    table, layout = read_labels(path, datasets)
    return join_labels(table, films), {"file": path.name, "dataset": layout, "sha256": sha256_of(path)}


def find_labels(folder: Path) -> Path | None:
    """labels.csv in the films folder, else beside it, else None."""
    places = (folder / "labels.csv", folder.resolve().parent / "labels.csv")
    return next((place for place in places if place.is_file()), None)
