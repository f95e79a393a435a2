"""Choose the layout of a label table, and read it."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.io import sha256_file
from cxrscore.io.strict_json import get_nested, get_text, get_texts, unicode_text
from cxrscore.labels.boxes import nih_boxes
from cxrscore.labels.brax import brax
from cxrscore.labels.chexpert import chexpert, chexpert_studies
from cxrscore.labels.chexpert_plus import chexpert_plus
from cxrscore.labels.columns import film_column, film_stem
from cxrscore.labels.cxr_lt import cxr_lt
from cxrscore.labels.findings import canonical, is_known_finding
from cxrscore.labels.generic_csv import ColumnChoice, ColumnsDataset, certain_labels, plain
from cxrscore.labels.join import JoinedLabels, join_labels
from cxrscore.labels.kaggle import rsna, siim
from cxrscore.labels.mimic import METADATA, mimic
from cxrscore.labels.nih import nih, nih_google
from cxrscore.labels.one_column_per_finding import chexnet, course
from cxrscore.labels.openi import openi
from cxrscore.labels.padchest import padchest
from cxrscore.labels.patients import with_patients
from cxrscore.labels.roles import ColumnRoles, LayoutDataset, finding_words, named_column, plain_name, roles_of_table
from cxrscore.labels.table import file_dialect, read_headers, read_table
from cxrscore.labels.uncertain_labels import (
    BLANK,
    UNCERTAIN,
    FindingRule,
    UncertainDataset,
    finding_rule,
    no_such_finding,
)
from cxrscore.labels.vindr import vindr, vindr_boxes, vindr_pcxr

# Google's table also has NIH's columns, and CXR-LT's has MIMIC's, so these layouts are tried first.
datasets: tuple[Dataset, ...] = (
    *(nih_google, nih_boxes, nih, chexpert, chexpert_studies, chexpert_plus, brax, cxr_lt, mimic, padchest),
    *(vindr, vindr_pcxr, vindr_boxes, openi, rsna, siim, course, chexnet),
    plain,
)
"""The layouts that cxrscore provides; plain is tried last because it accepts most tables."""


ALL = "all"
"""Stands for the findings that are read without a choice."""


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """How the labels of a table are read.

    uncertain      what an uncertain label counts as (finding_rule): unknown, positive or negative
    blank          what a blank cell of a film that has a row counts as (finding_rule): unknown or negative
    findings       the findings to read, in this order, each as NAME or NAME=COLUMN, or ALL; none: ALL
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

    @classmethod
    def of(cls, options: object) -> LabelRules:
        """The rules in the fields of the same names that the options of a command have; ``model``, which is a file
        there, is left empty."""
        names = (one.name for one in fields(cls) if one.name != "model" and hasattr(options, one.name))
        return cls(**{name: getattr(options, name) for name in names})

    def __post_init__(self) -> None:
        _ = self.uncertain_rule, self.blank_rule  # InputError for an invalid text
        names = self.order
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"findings names {twice!r} twice, expected each once")

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the findings to read, among them perhaps ALL."""
        return tuple(_named(text)[0] for text in self.findings)

    @property
    def chosen(self) -> tuple[tuple[str, str], ...]:
        """Each finding that is named, and its column, "" if that is known by the name."""
        return tuple(pair for text in self.findings if (pair := _named(text))[0] != ALL)

    @property
    def takes_defaults(self) -> bool:
        """Whether the findings that are read without a choice are read."""
        return not self.findings or ALL in self.order

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


def _named(text: str) -> tuple[str, str]:
    """The finding and the column of NAME or NAME=COLUMN; "" for no column."""
    name, _, column = (part.strip() for part in text.partition("="))
    if not name or (not column and "=" in text):
        raise InputError(f"findings has {text!r}, expected NAME or NAME=COLUMN")
    return (ALL if name == ALL else canonical(name)), column


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


@dataclass(frozen=True, kw_only=True)
class LabelReading:
    """A label table as it was read.

    table    its labels
    layout   name of the layout
    roles    what its columns were read as
    """

    table: LabelTable
    layout: str
    roles: ColumnRoles


def read_labels(path: Path, datasets: Sequence[Dataset], rules: LabelRules = ALL_LABELS) -> tuple[LabelTable, str]:
    """The label table of a file and the name of its layout; see read_label_table."""
    reading = read_label_table(path, datasets, rules)
    return reading.table, reading.layout


def read_label_table(path: Path, datasets: Sequence[Dataset], rules: LabelRules = ALL_LABELS) -> LabelReading:
    """Read the label table of a file by the first layout that recognises its header.

    InputError if no layout recognises the header, a value is invalid for the layout, or the rules name a finding or a
    column that the table lacks.
    """
    headers = read_headers(path)
    columns = headers[0]
    dataset = next((one for one in datasets if any(map(one.recognises, headers))), None)
    if dataset is None and rules.film_column is not None:
        dataset = next((one for one in datasets if one.name == plain.name), plain)
    if dataset is None:
        raise _unknown_layout(path, columns, datasets)
    rules = _exact_columns(path, columns, rules)
    if isinstance(dataset, ColumnsDataset):
        table, roles = _by_columns(dataset, path, columns, rules)
    else:
        table, roles = _by_layout(dataset, path, columns, rules)
    table = _with_weights(_selected(table, path, rules), dataset, path, columns, rules)
    return LabelReading(table=table, layout=dataset.name, roles=roles)


def _unknown_layout(path: Path, columns: Sequence[str], datasets: Sequence[Dataset]) -> InputError:
    known = ", ".join(dataset.name for dataset in datasets)
    seen = ", ".join(name for name in columns[:8] if name) + (" ..." if len(columns) > 8 else "")
    if len(columns) == 1 and " " in columns[0]:
        return InputError(
            f"{path} begins with {seen!r}, expected names of columns between commas, semicolons or tabs: separate its "
            "cells by one of these"
        )
    if any(film_stem(name) != name for name in columns):
        return InputError(
            f"{path} begins with {seen}, expected the names of its columns: write a header above the rows"
        )
    return InputError(
        f"{path} has the columns {seen}, of which none is known to name the films, and which match no layout ({known}; "
        "`cxrscore plugins` describes them). Name the column of the films with --film-column, or call it film."
    )


def _exact_columns(path: Path, columns: Sequence[str], rules: LabelRules) -> LabelRules:
    """The rules with the columns of films and patients as the table spells them."""
    film, patient = rules.film_column, rules.patient_column
    return replace(
        rules,
        film_column=None if film is None else named_column(film, "film_column", path, columns),
        patient_column=None if patient is None else named_column(patient, "patient_column", path, columns),
    )


def _by_layout(
    dataset: Dataset, path: Path, columns: Sequence[str], rules: LabelRules
) -> tuple[LabelTable, ColumnRoles]:
    """The table of a layout of fixed columns, with the columns that the rules name besides."""
    table = _by_rules(dataset, path, columns, rules)
    layout = dataset if isinstance(dataset, LayoutDataset) else None
    roles = roles_of_table(table, columns, canonical) if layout is None else layout.roles(columns)
    film, patient = rules.film_column, rules.patient_column
    added = _added_findings(rules, path, roles, table.findings)
    if not added and film in (None, roles.film) and patient in (None, roles.patient):
        return table, roles
    if layout is None or not layout.one_row_per_film:
        raise InputError(
            f"film_column, patient_column and findings with a column need a table with one row per film, and {path} "
            f"has the layout {dataset.name}: leave them out, or write the films and labels into a generic CSV"
        )
    return _with_columns(table, roles, path, rules, added)


def _added_findings(rules: LabelRules, path: Path, roles: ColumnRoles, there: Sequence[str]) -> dict[str, str]:
    """The finding of each further column that the rules name, besides the findings of a layout."""
    given = [(name, column) for name, column in rules.chosen if column or (name not in there and not rules.model)]
    columns = (*roles.others, *roles.ignored, *(roles.findings if len(roles.findings) > 1 else ()))
    has = (*there, *roles.ignored)
    return _findings_of(path, columns, given, has)


def _with_columns(
    table: LabelTable, roles: ColumnRoles, path: Path, rules: LabelRules, added: Mapping[str, str]
) -> tuple[LabelTable, ColumnRoles]:
    """The table of a layout with one row per film, with further findings, and films and patients of other columns."""
    film, patient = rules.film_column or roles.film, rules.patient_column or roles.patient
    cells = read_table(path, {film, patient, *added})
    labels = {
        name: certain_labels(cells, column, UNCERTAIN[rules.uncertain_rule.word(name)])
        for column, name in added.items()
    }
    kept = [place for place, name in enumerate(table.findings) if name not in labels]
    table = replace(
        table,
        films=tuple(film_column(cells, film)) if rules.film_column else table.films,
        patients=tuple(cells.column(patient)) if rules.patient_column else table.patients,
        findings=(*(table.findings[place] for place in kept), *labels),
        labels=np.column_stack([table.labels[:, kept], *labels.values()]),
    )
    read = {film, patient, *roles.findings, *added}
    return table, replace(
        roles,
        film=film,
        patient=patient,
        findings=(*roles.findings, *(finding_words(name, column) for column, name in added.items())),
        others=tuple(name for name in roles.others if name not in read),
        ignored=tuple(name for name in roles.ignored if name not in read),
    )


def _by_rules(dataset: Dataset, path: Path, columns: Sequence[str], rules: LabelRules) -> LabelTable:
    """The table with uncertain and blank labels as the rules say."""
    uncertain, blank = rules.uncertain_rule, rules.blank_rule
    if not isinstance(dataset, UncertainDataset):
        table = dataset.read(path)
        for rule in (uncertain, blank):
            rule.check(path, table.findings)
        return _without_blanks(table, np.isnan(table.labels), dataset, path, blank)
    return _uncertain_as(lambda label: dataset.read_as(path, label), dataset, path, rules)


def _uncertain_as(
    read_as: Callable[[float], LabelTable], dataset: Dataset, path: Path, rules: LabelRules, named: Sequence[str] = ()
) -> LabelTable:
    """The table of a reader that takes the label of uncertain cells. named: what rules may name beside its findings."""
    # A reader gives all uncertain labels of a table one value, so the table is read once for each value.
    read = functools.cache(lambda word: read_as(UNCERTAIN[word]))
    uncertain, blank = rules.uncertain_rule, rules.blank_rule
    table = read(uncertain.default)
    for rule in (uncertain, blank):
        rule.check(path, (*named, *table.findings))
    labels = table.labels.copy()
    for place, finding in enumerate(table.findings):
        labels[:, place] = read(uncertain.word(finding)).labels[:, place]
    table = replace(table, labels=labels)
    if not _has_negative(blank):
        return table
    return _without_blanks(table, np.isnan(read("positive").labels), dataset, path, blank)


def _by_columns(
    dataset: ColumnsDataset, path: Path, columns: Sequence[str], rules: LabelRules
) -> tuple[LabelTable, ColumnRoles]:
    """The table of a layout in which any column may be a finding."""
    known = [name for name in map(canonical, columns) if name]
    named = _findings_of(path, columns, rules.chosen)
    defaults = rules.takes_defaults
    if of_model := {column: canonical(column) for column in columns if _is_of_model(column, named, rules)}:
        named, defaults = of_model | named, False
    elif rules.model and named:
        defaults = False
    choice = ColumnChoice(
        film=rules.film_column,
        patient=rules.patient_column,
        named=named,
        defaults=defaults,
        without=() if rules.weight_column is None else (rules.weight_column,),
    )
    roles: list[ColumnRoles] = []

    def read_as(uncertain: float) -> LabelTable:
        table, found = dataset.read_columns(path, replace(choice, uncertain=uncertain))
        roles.append(found)
        return replace(table, columns={}) if of_model else table

    table = _uncertain_as(read_as, dataset, path, rules, () if defaults else known)
    return table, roles[0]


def _findings_of(
    path: Path, columns: Sequence[str], chosen: Sequence[tuple[str, str]], has: Sequence[str] | None = None
) -> dict[str, str]:
    """The finding of each column that the rules name; InputError if a column is to be two findings."""
    named: dict[str, str] = {}
    for name, column in chosen:
        found = _column_of(path, columns, name, column, has)
        if named.setdefault(found, name) != name:
            raise InputError(
                f"findings names the column {found!r} for {named[found]} and for {name}, expected one finding"
            )
    return named


def _is_of_model(column: str, named: Mapping[str, str], rules: LabelRules) -> bool:
    """Whether a column has a finding of the model, for which the rules name no other column."""
    return canonical(column) in rules.model and canonical(column) not in named.values()


def _column_of(path: Path, columns: Sequence[str], name: str, column: str, has: Sequence[str] | None = None) -> str:
    """The column of a finding that the rules name; InputError if there is none, with what the table has instead."""
    if column:
        return named_column(column, "findings", path, columns)
    alike = [one for one in columns if one and name in (one, canonical(one))]
    alike = alike or [one for one in columns if one and plain_name(one) == plain_name(name)]
    if not alike:
        there = [canonical(one) for one in columns if one] if has is None else has
        advice = f"to name its column, write {name}=COLUMN"
        raise InputError(f"findings names {no_such_finding(name, path, there, advice)}")
    if len(alike) > 1 and name not in alike:
        raise InputError(f"{path} has two columns for {name}: {' and '.join(alike)}. Name one: {name}=COLUMN")
    return name if name in alike else alike[0]


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


def _selected(table: LabelTable, path: Path, rules: LabelRules) -> LabelTable:
    """The table with the findings that the rules name, in their order; without any, all of them."""
    if rules.model or not rules.findings:
        return table
    names = []
    for name in rules.order:
        names += [one for one in table.findings if one not in rules.order] if name == ALL else [name]
    if missing := [name for name in names if name not in table.findings]:
        raise InputError(f"findings names {no_such_finding(missing[0], path, table.findings)}")
    return replace(table, findings=tuple(names), labels=table.labels[:, [table.findings.index(name) for name in names]])


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


def describe_columns(record: Any) -> str:
    """What the columns of a label table were read as, in words, from its record; "" if that is not recorded.

    Examples
    --------
    >>> roles = ColumnRoles(film="Path", findings=("Mass",), others=("Sex",), ignored=("ward", "bed"))
    >>> describe_columns({"dataset": "mine", "columns": roles.record, "patients": "names of the films"})
    'film = Path; patient = names of the films; finding = Mass; attributes: Sex; not read: ward, bed'
    """
    columns = get_nested(record, "columns")
    if not isinstance(columns, Mapping):
        return ""
    findings = get_texts(columns, "findings")
    parts = (
        ("film = ", get_text(columns, "film")),
        ("patient = ", _patient_words(get_text(columns, "patient"), get_nested(record, "patients"))),
        ("findings = " if len(findings) > 1 else "finding = ", some_names(findings, 20)),
        ("attributes: ", some_names(get_texts(columns, "others"), 8)),
        ("not read: ", some_names(get_texts(columns, "ignored"), 8)),
    )
    return "; ".join(f"{name}{text}" for name, text in parts if text)


def _patient_words(column: str, source: Any) -> str:
    """Where the patients come from; source: JoinedLabels.patient_source, of which old files have none.

    Examples
    --------
    >>> _patient_words("MRN", "column MRN and names of the films"), _patient_words("MRN", "")
    ('MRN and names of the films', 'unknown (no film has one in MRN)')
    """
    if not isinstance(source, str):
        return column or "unknown"
    without = f" (no film has one in {column})" if column and f"column {column}" not in source else ""
    return (source.removeprefix("column ") or "unknown") + without


def describe_table(record: Any) -> str:
    """A label table in one line: its name, its layout, and what its columns were read as."""
    name, columns = get_text(record, "file") or "label table", describe_columns(record)
    dialect = get_text(record, "dialect")
    layout = f"layout {get_text(record, 'dataset')}" + (f"; {dialect}" if dialect else "")
    return f"{name} ({layout}): {columns}" if columns else ""


def some_names(names: Sequence[str], most: int) -> str:
    """The first names in words, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def unusual_findings(layout: str, findings: Sequence[str]) -> tuple[str, ...]:
    """The findings of a table that no public data set names, if its layout takes any column of 0 and 1 for one."""
    return tuple(name for name in findings if not is_known_finding(name)) if layout == plain.name else ()


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
    reading = read_label_table(path, datasets, rules)
    table = reading.table
    joined = with_patients(join_labels(table, films), table, reading.roles, films)
    joined = replace(joined, unsure=reading.roles.unsure)
    folders = [name for name in table.films if name.endswith("/")]
    if films and folders and joined.unmatched_films == len(films):
        raise InputError(
            f"{path} names folders of films such as {folders[0]!r}, and none of them contains a film; films have names "
            f"such as {films[0]!r}. Use the folder structure of the data set, or put its table of films ({METADATA}) "
            "into the same folder as the table."
        )
    if not rules.allow_unmatched:
        joined.match.check(path if name is None else name, film_names=film_names)
    record = {
        "file": unicode_text(name or path.name),
        "dataset": reading.layout,
        **({"dialect": unicode_text(dialect)} if (dialect := file_dialect(path)) else {}),
        "sha256": sha256_file(path),
        "columns": reading.roles.record,
        "patients": joined.patient_source,
        "match": joined.match.record,
    }
    return joined, record | rules.record


_NOTHING_IN_COMMON = "have no finding in common"


def other_findings(name: str, table: Sequence[str], model: Sequence[str]) -> str:
    """Warning for a label table that shares no finding with the model; "" if it shares one.

    Parameters
    ----------
    name
        Name of the table; "" if it is hidden.
    table, model
        Findings of each.
    """
    if set(table) & set(model):
        return ""
    which = f"the label table {name}".rstrip()
    return (
        f"{which} ({_some(table)}) and the model ({_some(model)}) {_NOTHING_IN_COMMON}: no label is used. Name the "
        "columns as the model does, or use --finding NAME=COLUMN of `score` and `report`."
    )


def is_other_findings(warning: str) -> bool:
    """Whether a stored warning is one of `other_findings`: it no longer holds once other labels are joined."""
    return _NOTHING_IN_COMMON in warning


def _some(names: Sequence[str]) -> str:
    return ", ".join([f"{name[:40]}" for name in names[:4]] + ["..."] * (len(names) > 4))


def find_labels(folder: Path) -> Path | None:
    """labels.csv in the films folder, else in its parent folder, else None."""
    places = (folder / "labels.csv", folder.resolve().parent / "labels.csv")
    return next((place for place in places if place.is_file()), None)
