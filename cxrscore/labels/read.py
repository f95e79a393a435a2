"""Which table, and in which layout."""

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

# Google's table has NIH's columns, too, and more: it is asked first.
datasets: tuple[Dataset, ...] = (
    *(nih_google, nih_boxes, nih, chexpert, mimic, padchest, vindr, vindr_boxes, rsna, siim, course, chexnet),
    plain,
)
"""The layouts that cxrscore brings itself; plain is asked last because it would take most others, too."""


def read_labels(path: Path, datasets: Sequence[Dataset], uncertain: str = "unknown") -> tuple[LabelTable, str]:
    """The label table of a CSV file, plain or gzipped, by the first layout that knows its header, and that layout's
    name. What the table calls uncertain counts as `uncertain`: unknown, positive or negative.

    InputError where no layout knows the header, or a value is not what the layout has.
    """
    label = uncertain_label(uncertain)
    columns = read_header(path)
    for dataset in datasets:
        if dataset.recognises(columns):
            table = dataset.read_as(path, label) if isinstance(dataset, UncertainDataset) else dataset.read(path)
            return table, dataset.name
    known = "; ".join(f"{dataset.name}: {dataset.summary}" for dataset in datasets)
    raise InputError(f"{path} has the columns {', '.join(columns[:8])}, of no known layout ({known})")


def read_joined_labels(
    path: Path,
    datasets: Sequence[Dataset],
    films: Sequence[str],
    uncertain: str = "unknown",
    *,
    name: str | None = None,
) -> tuple[JoinedLabels, dict[str, str]]:
    """The labels of these films, and what tells the table again: its name, layout and SHA-256.

    name  of the table, where path is a copy that has another

    InputError where the table only names folders and no film lies in one of them.
    """
    table, layout = read_labels(path, datasets, uncertain)
    joined = join_labels(table, films)
    folders = [name for name in table.films if name.endswith("/")]
    if films and folders and joined.unmatched_films == len(films):
        raise InputError(
            f"{path} names folders of films such as {folders[0]!r}, and no film lies in one; films are named like "
            f"{films[0]!r}. Keep the folders of the data set, or put its table of films ({METADATA}) beside the table."
        )
    return joined, {"file": unicode_text(name or path.name), "dataset": layout, "sha256": sha256_file(path)}


def other_findings(name: str, table: Sequence[str], model: Sequence[str]) -> str:
    """What to say of a label table none of whose findings is one of the model's; "" where one is.

    Parameters
    ----------
    name
        Of the table.
    table, model
        The findings of each.
    """
    if set(table) & set(model):
        return ""
    return (
        f"no finding of the label table {name} ({_some(table)}) is one of the model's ({_some(model)}): none of its "
        "labels is used. Name the columns as the model does."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join([f"{name[:40]}" for name in names[:4]] + ["..."] * (len(names) > 4))


def find_labels(folder: Path) -> Path | None:
    """labels.csv in the films folder, else beside it, else None."""
    places = (folder / "labels.csv", folder.resolve().parent / "labels.csv")
    return next((place for place in places if place.is_file()), None)
