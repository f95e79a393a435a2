"""Choose the layout of a label table, and read it."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.io import sha256_file
from cxrscore.io.strict_json import get_text, unicode_text
from cxrscore.labels.boxes import nih_boxes
from cxrscore.labels.chexpert import OBSERVATIONS, chexpert
from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.generic_csv import ColumnsDataset, plain
from cxrscore.labels.join import JoinedLabels, join_labels
from cxrscore.labels.kaggle import rsna, siim
from cxrscore.labels.mimic import METADATA, mimic
from cxrscore.labels.nih import ADJUDICATED, nih, nih_google
from cxrscore.labels.one_column_per_finding import chexnet, course
from cxrscore.labels.padchest import FINDINGS as PADCHEST
from cxrscore.labels.padchest import padchest
from cxrscore.labels.roles import LayoutDataset
from cxrscore.labels.table import read_header, read_table
from cxrscore.labels.uncertain_labels import (
    BLANK,
    UNCERTAIN,
    FindingRule,
    UncertainDataset,
    finding_rule,
    no_such_finding,
)
from cxrscore.labels.vindr import vindr, vindr_boxes

# Google's table also has NIH's columns, so its layout is tried first.
datasets: tuple[Dataset, ...] = (
    *(nih_google, nih_boxes, nih, chexpert, mimic, padchest, vindr, vindr_boxes, rsna, siim, course, chexnet),
    plain,
)
"""The layouts that cxrscore provides; plain is tried last because it accepts most tables."""


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """How the labels of a table are read.

    uncertain      what an uncertain label counts as (finding_rule): unknown, positive or negative
    blank          what a blank cell of a film that has a row counts as (finding_rule): unknown or negative
    findings       the findings to read, in this order; none: all
    weight_column  the column of weights, which is then no finding but one of the columns of the LabelTable
    model          the findings of the model, if the labels are to evaluate one: if a generic table has some of them,
                   its other columns are not read, whatever their cells hold
    film_column    the column that names the films; None: known by its name
    patient_column  the column that identifies the patients; None: known by its name
    allow_unmatched  use the table even if more than half of the films and more than half of its rows do not match
    """

    uncertain: str = "unknown"
    blank: str = "unknown"
    findings: tuple[str, ...] = ()
    weight_column: str | None = None
    model: tuple[str, ...] = ()
    film_column: str | None = None
    patient_column: str | None = None
    allow_unmatched: bool = False

    def __post_init__(self) -> None:
        _ = self.uncertain_rule, self.blank_rule  # InputError for an invalid text
        names = [canonical(name) for name in self.findings]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"findings names {twice!r} twice, expected each once")

    @property
    def uncertain_rule(self) -> FindingRule:
        return finding_rule(self.uncertain, "uncertain", UNCERTAIN)

    @property
    def blank_rule(self) -> FindingRule:
        return finding_rule(self.blank, "blank", BLANK)

    @property
    def record(self) -> dict[str, str]:
        """The rules that are not the defaults, for the record of a table."""
        given = {"uncertain": self.uncertain, "blank": self.blank, "weight_column": self.weight_column}
        return {name: word for name, word in given.items() if word not in ("unknown", None)}


def describe_rules(record: Any) -> str:
    """The rules in the record of a label table, in words; "" for the defaults.

    Examples
    --------
    >>> describe_rules(LabelRules(blank="negative", weight_column="trust").record)
    'blank cells: negative, weights of films: column trust'
    """
    words = {"uncertain": "uncertain labels: ", "blank": "blank cells: ", "weight_column": "weights of films: column "}
    found = {name: get_text(record, name) for name in words}
    return ", ".join(f"{words[name]}{text}" for name, text in found.items() if text)


ALL_LABELS = LabelRules()
"""All findings; uncertain and blank ones are unknown."""


def read_labels(path: Path, datasets: Sequence[Dataset], rules: LabelRules = ALL_LABELS) -> tuple[LabelTable, str]:
    """Read the label table of a CSV file, plain or gzipped, by the first layout that recognises its header; return also
    the name of that layout.

    InputError if no layout recognises the header, a value is invalid for the layout, or the rules name a finding or a
    column that the table lacks.
    """
    columns = read_header(path)
    for dataset in datasets:
        if dataset.recognises(columns):
            table = _by_rules(dataset, path, columns, rules)
            return _with_weights(_selected(table, path, rules.findings), dataset, path, columns, rules), dataset.name
    known = "; ".join(f"{dataset.name}: {dataset.summary}" for dataset in datasets)
    raise InputError(f"{path} has the columns {', '.join(columns[:8])}, which match no known layout ({known})")


def _by_rules(dataset: Dataset, path: Path, columns: Sequence[str], rules: LabelRules) -> LabelTable:
    """The table with uncertain and blank labels as the rules say."""
    uncertain, blank = rules.uncertain_rule, rules.blank_rule
    if isinstance(dataset, ColumnsDataset):
        return _by_columns(dataset, path, columns, rules)
    if not isinstance(dataset, UncertainDataset):
        table = dataset.read(path)
        for rule in (uncertain, blank):
            rule.check(path, table.findings)
        return _without_blanks(table, np.isnan(table.labels), dataset, path, blank)
    # A reader gives all uncertain labels of a table one value, so the table is read once for each value.
    read = functools.cache(lambda word: dataset.read_as(path, UNCERTAIN[word]))
    table = read(uncertain.default)
    for rule in (uncertain, blank):
        rule.check(path, table.findings)
    labels = table.labels.copy()
    for place, finding in enumerate(table.findings):
        labels[:, place] = read(uncertain.word(finding)).labels[:, place]
    table = replace(table, labels=labels)
    if not _has_negative(blank):
        return table
    return _without_blanks(table, np.isnan(read("positive").labels), dataset, path, blank)


def _by_columns(dataset: ColumnsDataset, path: Path, columns: Sequence[str], rules: LabelRules) -> LabelTable:
    """The table of a layout in which any column may be a finding; none of its labels are uncertain."""
    only = tuple(map(canonical, rules.findings))
    named = [name for name in map(canonical, columns) if name]
    header = set(named)
    if of_model := tuple(name for name in rules.model if name in header):
        table = replace(dataset.read_columns(path, of_model, ()), columns={})
        for rule in (rules.uncertain_rule, rules.blank_rule):
            rule.check(path, named)
        return _without_blanks(table, np.isnan(table.labels), dataset, path, rules.blank_rule)
    if missing := [name for name in only if name not in named]:
        raise InputError(f"findings names {no_such_finding(missing[0], path, named)}")
    table = dataset.read_columns(path, only, () if rules.weight_column is None else (rules.weight_column,))
    for rule in (rules.uncertain_rule, rules.blank_rule):
        rule.check(path, named if only else table.findings)
    return _without_blanks(table, np.isnan(table.labels), dataset, path, rules.blank_rule)


def _has_negative(blank: FindingRule) -> bool:
    return "negative" in (blank.default, *blank.listed.values())


def _without_blanks(
    table: LabelTable, blanks: NDArray[np.bool_], dataset: Dataset, path: Path, rule: FindingRule
) -> LabelTable:
    """The table with blank labels as the rule says; blanks bool [N,C]: where they are. InputError if an unknown label
    of the layout means something else than a blank cell."""
    if not _has_negative(rule):
        return table
    if isinstance(dataset, LayoutDataset) and not dataset.blanks:
        raise InputError(
            f"{path} has the layout {dataset.name}, in which a label is unknown for other reasons than a blank cell: "
            "leave blank out"
        )
    negative = np.array([rule.word(finding) == "negative" for finding in table.findings])
    return replace(table, labels=np.where(blanks & negative, np.float32(0), table.labels))


def _selected(table: LabelTable, path: Path, findings: Sequence[str]) -> LabelTable:
    """The table with these findings only, in this order; without any, all of them."""
    names = tuple(map(canonical, findings))
    if not names:
        return table
    if missing := [name for name in names if name not in table.findings]:
        raise InputError(f"findings names {no_such_finding(missing[0], path, table.findings)}")
    return replace(table, findings=names, labels=table.labels[:, [table.findings.index(name) for name in names]])


def _with_weights(
    table: LabelTable, dataset: Dataset, path: Path, columns: Sequence[str], rules: LabelRules
) -> LabelTable:
    """The table with its column of weights among the columns, as text."""
    name = rules.weight_column
    if name is None:
        return table
    if name not in (*columns, *table.columns):
        close = difflib.get_close_matches(name, columns, 1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(f"weight_column names the column {name!r}, which {path} lacks{meant}")
    if canonical(name) in table.findings:
        raise InputError(f"weight_column names the column {name!r} of {path}, which is a finding")
    if name in table.columns:
        return table
    if not isinstance(dataset, LayoutDataset) or not dataset.one_row_per_film:
        raise InputError(
            f"weight_column needs a table with one row per film, and {path} has the layout {dataset.name}: write the "
            "films, the labels and the weights into a generic CSV"
        )
    return replace(table, columns={**table.columns, name: tuple(read_table(path, (name,)).column(name))})


def unusual_findings(layout: str, findings: Sequence[str]) -> tuple[str, ...]:
    """The findings of a table that no public data set names, if its layout takes any column of 0 and 1 for one."""
    return tuple(name for name in findings if name not in _PUBLIC) if layout == plain.name else ()


_PUBLIC = frozenset((*FINDINGS, *map(canonical, OBSERVATIONS), *PADCHEST, *map(canonical, ADJUDICATED)))


def read_joined_labels(
    path: Path,
    datasets: Sequence[Dataset],
    films: Sequence[str],
    rules: LabelRules = ALL_LABELS,
    *,
    name: str | None = None,
    film_names: bool = True,
) -> tuple[JoinedLabels, dict[str, Any]]:
    """The labels of these films, and what identifies the table: its name, layout and SHA-256, how it was read, and how
    many rows and films match.

    name: of the table, if path is a copy with another name; film_names: whether an error on rows that match no film
    may name one.

    InputError if the table only names folders and none of them contains a film, or if more than half of the rows and
    of the films do not match and the rules do not allow it.
    """
    table, layout = read_labels(path, datasets, rules)
    joined = join_labels(table, films)
    folders = [name for name in table.films if name.endswith("/")]
    if films and folders and joined.unmatched_films == len(films):
        raise InputError(
            f"{path} names folders of films such as {folders[0]!r}, and none of them contains a film; films have names "
            f"such as {films[0]!r}. Use the folder structure of the data set, or put its table of films ({METADATA}) "
            "into the same folder as the table."
        )
    if not rules.allow_unmatched:
        joined.match.check(path if name is None else name, film_names=film_names)
    record = {"file": unicode_text(name or path.name), "dataset": layout, "sha256": sha256_file(path)}
    return joined, record | rules.record | {"match": joined.match.record}


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
