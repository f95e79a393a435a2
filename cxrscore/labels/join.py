"""Joins rows of a label table to films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats, LabelTable
from cxrscore.labels.columns import check_labels_fit
from cxrscore.labels.match import match_rows
from cxrscore.labels.unmatched import MatchSummary, summarise_match


@dataclass(frozen=True, kw_only=True)
class JoinedLabels:
    """Labels in the order of the films.

    labels           float32 [N,C], NaN if unknown or if the film has no row
    findings         C canonical names
    patients         N identifiers, None where unknown
    columns          further columns by name, N strings each, "" where unknown
    matched          N, whether a film has a row
    match            films without a row and rows without a film
    patient_source   where the patients come from, in words; "" where none is known
    maybe_patients   where none is known: columns that may identify them
    unsure           columns that hold labels only, but are not taken for findings
    """

    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    columns: Mapping[str, tuple[str, ...]]
    matched: tuple[bool, ...]
    match: MatchSummary
    patient_source: str = ""
    maybe_patients: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()

    @property
    def unmatched_films(self) -> int:
        """Number of films without a row."""
        return self.match.unmatched_films

    @property
    def unused_rows(self) -> int:
        """Number of rows without a film."""
        return self.match.unmatched_rows

    def of(self, findings: Sequence[str], films: NDArray[np.intp] | None = None) -> Floats:
        """The labels of these findings, in this order; NaN for findings that the table lacks. ``films`` are row
        numbers; None: all films."""
        labels = self.labels if films is None else self.labels[films]
        place = {name: i for i, name in enumerate(self.findings)}
        unknown = np.full(len(labels), np.nan, np.float32)
        return np.stack([labels[:, place[f]] if f in place else unknown for f in findings], axis=1)


def join_labels(table: LabelTable, paths: Sequence[str]) -> JoinedLabels:
    """The rows of a table for the films at `paths`; match_rows describes how rows are matched. InputError if the result
    does not fit into memory."""
    check_labels_fit("the label table", len(paths), len(table.findings) + len(table.columns))
    rows = match_rows(table.films, paths)
    labels = np.full((len(paths), len(table.findings)), np.nan, np.float32)
    matched = [i for i, row in enumerate(rows) if row is not None]
    labels[matched] = table.labels[[row for row in rows if row is not None]]
    patients = table.patients or ("",) * len(table.films)
    return JoinedLabels(
        labels=labels,
        findings=table.findings,
        patients=tuple(None if row is None else patients[row] or None for row in rows),
        columns={
            name: tuple("" if row is None else cells[row] for row in rows) for name, cells in table.columns.items()
        },
        matched=tuple(row is not None for row in rows),
        match=summarise_match(table, paths, rows),
    )
