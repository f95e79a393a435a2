"""Choose the layout of a label table, and read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.io import sha256_file
from cxrscore.io.strict_json import unicode_text
from cxrscore.labels.boxes import nih_boxes
from cxrscore.labels.chexpert import chexpert
from cxrscore.labels.generic_csv import plain
from cxrscore.labels.join import JoinedLabels, join_labels
from cxrscore.labels.kaggle import rsna, siim
from cxrscore.labels.mimic import METADATA, mimic
from cxrscore.labels.nih import nih, nih_google
from cxrscore.labels.one_column_per_finding import chexnet, course
from cxrscore.labels.padchest import padchest
from cxrscore.labels.table import read_header
from cxrscore.labels.uncertain_labels import UncertainDataset, uncertain_label
from cxrscore.labels.vindr import vindr, vindr_boxes

# Google's table also has NIH's columns, so its layout is tried first.
datasets: tuple[Dataset, ...] = (
    *(nih_google, nih_boxes, nih, chexpert, mimic, padchest, vindr, vindr_boxes, rsna, siim, course, chexnet),
    plain,
)
"""The layouts that cxrscore provides; plain is tried last because it accepts most tables."""


def read_labels(path: Path, datasets: Sequence[Dataset], uncertain: str = "unknown") -> tuple[LabelTable, str]:
    """Read the label table of a CSV file, plain or gzipped, by the first layout that recognises its header; return also
    the name of that layout. Uncertain labels count as `uncertain`: unknown, positive or negative.

    InputError if no layout recognises the header, or a value is invalid for the layout.
    """
    label = uncertain_label(uncertain)
    columns = read_header(path)
    for dataset in datasets:
        if dataset.recognises(columns):
            table = dataset.read_as(path, label) if isinstance(dataset, UncertainDataset) else dataset.read(path)
            return table, dataset.name
    known = "; ".join(f"{dataset.name}: {dataset.summary}" for dataset in datasets)
    raise InputError(f"{path} has the columns {', '.join(columns[:8])}, which match no known layout ({known})")


def read_joined_labels(
    path: Path,
    datasets: Sequence[Dataset],
    films: Sequence[str],
    uncertain: str = "unknown",
    *,
    name: str | None = None,
) -> tuple[JoinedLabels, dict[str, str]]:
    """The labels of these films, and what identifies the table: its name, layout and SHA-256.

    name: of the table, if path is a copy with another name.

    InputError if the table only names folders and none of them contains a film.
    """
    table, layout = read_labels(path, datasets, uncertain)
    joined = join_labels(table, films)
    folders = [name for name in table.films if name.endswith("/")]
    if films and folders and joined.unmatched_films == len(films):
        raise InputError(
            f"{path} names folders of films such as {folders[0]!r}, and none of them contains a film; films have names "
            f"such as {films[0]!r}. Use the folder structure of the data set, or put its table of films ({METADATA}) "
            "into the same folder as the table."
        )
    return joined, {"file": unicode_text(name or path.name), "dataset": layout, "sha256": sha256_file(path)}


def other_findings(name: str, table: Sequence[str], model: Sequence[str]) -> str:
    """Warning for a label table that shares no finding with the model; "" if it shares one.

    Parameters
    ----------
    name
        Name of the table.
    table, model
        Findings of each.
    """
    if set(table) & set(model):
        return ""
    return (
        f"the label table {name} ({_some(table)}) and the model ({_some(model)}) have no finding in common: no "
        "label is used. Name the columns as the model does."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join([f"{name[:40]}" for name in names[:4]] + ["..."] * (len(names) > 4))


def find_labels(folder: Path) -> Path | None:
    """labels.csv in the films folder, else in its parent folder, else None."""
    places = (folder / "labels.csv", folder.resolve().parent / "labels.csv")
    return next((place for place in places if place.is_file()), None)
