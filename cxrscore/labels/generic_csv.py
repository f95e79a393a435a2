"""A generic CSV file: one column names the film, columns of numbers from 0 to 1 are findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.cells import NUMBERS, UNCERTAIN_CELL, Meaning, column_meaning, is_number
from cxrscore.labels.columns import clean_age, clean_cells, clean_sex, clean_view, film_column
from cxrscore.labels.findings import canonical, is_known_finding
from cxrscore.labels.roles import (
    AGE_COLUMNS,
    FILM_COLUMNS,
    SEX_COLUMNS,
    VIEW_COLUMNS,
    ColumnRoles,
    LayoutDataset,
    find_column,
    finding_words,
    is_no_finding,
    patient_column,
)
from cxrscore.labels.table import Table, read_headers, read_table

_KNOWN = {"sex": (SEX_COLUMNS, clean_sex), "age": (AGE_COLUMNS, clean_age), "view": (VIEW_COLUMNS, clean_view)}
_MOSTLY = 0.9
"""A column of an unknown name is a finding with errors, and not a text, if so many of its cells are labels."""


def _recognises(columns: Sequence[str]) -> bool:
    return find_column(columns, FILM_COLUMNS) is not None


@dataclass(frozen=True, kw_only=True)
class ColumnChoice:
    """What the user says of the columns of a table in which any column may be a finding.

    film       column of the films; None: known by its name
    patient    column of the patients; None: known by its name
    named      finding of each column that is one for certain
    defaults   whether the columns that look like findings are some, too
    without    columns that are no finding in any case
    uncertain  label of uncertain cells
    """

    film: str | None = None
    patient: str | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    defaults: bool = True
    without: Collection[str] = ()
    uncertain: float = np.nan


DEFAULT_CHOICE = ColumnChoice()

ReadColumns = Callable[[Path, ColumnChoice], tuple[LabelTable, ColumnRoles]]


@dataclass(frozen=True, kw_only=True)
class ColumnsDataset(LayoutDataset):
    """A layout in which any column may be a finding; ``read_columns`` reads those of a choice."""

    read_columns: ReadColumns


def columns_dataset(
    name: str, summary: str, recognises: Callable[[Sequence[str]], bool], read_columns: ReadColumns
) -> ColumnsDataset:
    """The descriptor of a layout in which any column may be a finding."""

    def read(path: Path) -> LabelTable:
        return read_columns(path, DEFAULT_CHOICE)[0]

    def roles(columns: Sequence[str]) -> ColumnRoles:
        film, patient = find_column(columns, FILM_COLUMNS) or "", patient_column(columns) or ""
        return ColumnRoles(film=film, patient=patient, findings=())

    return ColumnsDataset(
        name=name, summary=summary, recognises=recognises, read=read, read_columns=read_columns, roles=roles
    )


def _read_columns(path: Path, choice: ColumnChoice) -> tuple[LabelTable, ColumnRoles]:
    table = read_table(path)
    film, patient = _film_and_patient(path, table.columns, choice)
    films = film_column(table, film)
    rest = [name for name in table.columns if name and name not in (film, patient)]
    about = [name for name in rest if name not in choice.named]
    known = {name: found for name, (names, _) in _KNOWN.items() if (found := find_column(about, names))}
    rest = [name for name in rest if name not in known.values()]
    findings, texts, unsure = _split_columns(table, rest, choice)
    if not findings:
        seen = ", ".join(name for name in table.columns if name)
        raise InputError(
            f"{path} has no finding: expected columns of 0, 1 or nothing, one for each finding, beside {seen}"
        )
    cleaned = {name: clean_cells(table.column(column), _KNOWN[name][1]) for name, column in known.items()}
    labels = LabelTable(
        films=tuple(films),
        findings=tuple(finding for finding, _ in findings.values()),
        labels=np.column_stack([labels for _, labels in findings.values()]),
        patients=None if patient is None else tuple(table.column(patient)),
        columns={**{name: tuple(cells) for name, cells in texts.items()}, **cleaned},
    )
    return labels, ColumnRoles(
        film=film,
        patient=patient or "",
        findings=tuple(
            finding_words(name, column) if column in choice.named else column for column, (name, _) in findings.items()
        ),
        others=(*known.values(), *texts),
        unsure=tuple(unsure),
    )


def _film_and_patient(path: Path, columns: Sequence[str], choice: ColumnChoice) -> tuple[str, str | None]:
    """The columns of the films and of the patients; None for unknown patients."""
    film = choice.film or find_column([name for name in columns if name not in choice.named], FILM_COLUMNS)
    if film is None:
        seen = ", ".join(name for name in columns[:12] if name)
        raise InputError(
            f"{path} has no column that is known to name the films; it has {seen}. Call it film, or as in "
            "the label table."
        )
    others = [name for name in columns if name != film and name not in choice.named]
    return film, choice.patient or patient_column(others)


def read_film_columns(
    path: Path, datasets: Sequence[Dataset], film: str = ""
) -> tuple[tuple[str, ...], Mapping[str, Sequence[str]]]:
    """The films of a table and its other columns (sex, age, view and all others), in canonical form. The table has any
    layout of ``datasets`` or is a generic CSV, which needs no finding here. film: the column of the films of the label
    table, which names them here, too, if no column is known to."""
    headers = read_headers(path)
    for dataset in datasets:
        if dataset.name != plain.name and any(map(dataset.recognises, headers)):
            labels = dataset.read(path)
            return labels.films, labels.columns
    table = read_table(path)
    own = film in table.columns and not _recognises(table.columns)
    film, patient = _film_and_patient(path, table.columns, ColumnChoice(film=film if own else None))
    columns: dict[str, Sequence[str]] = {name: table.column(name) for name in table.columns if name}
    for name in (film, patient):
        columns.pop(name or "", None)
    for name, (names, clean) in _KNOWN.items():
        if found := find_column(table.columns, names):
            columns.pop(found)
            columns[name] = clean_cells(table.column(found), clean)
    return tuple(film_column(table, film)), columns


Findings = dict[str, tuple[str, NDArray[np.float32]]]


def _split_columns(
    table: Table, names: Sequence[str], choice: ColumnChoice
) -> tuple[Findings, dict[str, list[str]], list[str]]:
    """Separate columns into findings with their labels, float32 [N] with NaN for unknown, and texts; the third are
    texts that hold labels only. InputError if a column is neither.

    A column of an unknown name is a finding if its cells are labels, and if not more than one column has the name of a
    known finding: among several of these, it is more probably something else, such as the fold.
    """
    maybe = [name for name in names if name not in choice.named]
    known = [
        name
        for name in maybe
        if is_known_finding(name) and name not in choice.without and canonical(name) not in choice.named.values()
    ]
    strangers = choice.defaults and len(known) + len(choice.named) < 2
    findings: Findings = {}
    texts: dict[str, list[str]] = {}
    unsure: list[str] = []
    taken: set[str] = set()
    for name in names:
        cells = table.column(name)
        labels = None
        if name in choice.named or (choice.defaults and name in known):
            labels = certain_labels(table, name, choice.uncertain)
        elif choice.defaults and _may_be_finding(name, choice):
            found = _possible_labels(table, name, cells, choice.uncertain, strict=strangers)
            labels = found if strangers else None
            unsure += [name] * (found is not None and not strangers)
        if labels is None:
            texts[name] = cells
        elif (finding := choice.named.get(name, canonical(name))) in taken:
            raise InputError(f"{table.path} has two columns for {finding}; keep one")
        else:
            findings[name] = finding, labels
            taken.add(finding)
    return findings, texts, unsure


def _may_be_finding(name: str, choice: ColumnChoice) -> bool:
    """Whether the cells decide if the column is a finding."""
    taken = name in choice.without or canonical(name) in choice.named.values()
    return not taken and not is_no_finding(name)


def certain_labels(table: Table, name: str, uncertain: float) -> NDArray[np.float32]:
    """The labels of a column that is a finding, float32 [N]. Anything but a label is an error: to ignore it would train
    or test on less than the user expects. uncertain: the label of an uncertain cell."""
    cells = table.column(name)
    found = column_meaning(cells)
    if found.odd is not None:
        raise _odd_cell(table, name, cells, found)
    return _labels(cells, found, uncertain)


def _possible_labels(
    table: Table, name: str, cells: Sequence[str], uncertain: float, *, strict: bool
) -> NDArray[np.float32] | None:
    """The labels of a column that may be a finding, float32 [N]; None if it is empty or something else. Only numbers
    are labels here: yes and no may answer any question. strict: it is an error if nearly all of its cells are
    labels."""
    found = column_meaning(cells, ways=(NUMBERS,))
    if found.odd is None:
        return _labels(cells, found, uncertain) if found.informative else None
    odd = sum(cell not in found.values for cell in cells)
    if strict and found.informative and odd <= (1 - _MOSTLY) * sum(map(bool, cells)):
        raise _odd_cell(table, name, cells, found)
    return None


def _labels(cells: Sequence[str], found: Meaning, uncertain: float) -> NDArray[np.float32]:
    values = {cell: uncertain if value == UNCERTAIN_CELL else value for cell, value in found.values.items()}
    return np.array([values[cell] for cell in cells], np.float32)


def _odd_cell(table: Table, name: str, cells: Sequence[str], found: Meaning) -> InputError:
    why = f" ({found.why})" if found.why else _percents(set(cells))
    return table.row_error(
        cells.index(found.odd or ""),
        f"column {name} has {found.odd!r}, expected 0, 1 or nothing (unknown), -1 (uncertain), or a number between 0 "
        f"and 1 (a soft label){why}; write it this way, or, if it is not a finding, remove the column or name the "
        "findings (--finding)",
    )


def _percents(cells: Collection[str]) -> str:
    """A hint if all numbers of a column lie in 0 to 100 and are not 0 to 10 only, as grades are."""
    numbers = [float(cell) for cell in cells if is_number(cell)]
    return " (divide percents by 100)" if numbers and min(numbers) >= 0 and 10 < max(numbers) <= 100 else ""


plain = columns_dataset(
    name="plain",
    summary="any table: a column film (or Image, path, filename, ...) and one column of 0 and 1 for each finding",
    recognises=_recognises,
    read_columns=_read_columns,
)
