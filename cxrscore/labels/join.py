"""A label table laid beside the films that were found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrscore.contract import Floats, LabelTable
from cxrscore.errors import InputError


@dataclass(frozen=True, kw_only=True)
class JoinedLabels:
    """Labels in the order of the films that were found.

    labels           float32 [N,C], all NaN for films without a row
    patients         N identifiers, None where unknown
    columns          further columns, N strings each, "" where unknown
    unmatched_films  how many films have no row;   unused_rows  how many rows have no film
    """

    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    columns: Mapping[str, tuple[str, ...]]
    unmatched_films: int
    unused_rows: int


def join_labels(table: LabelTable, paths: Sequence[str]) -> JoinedLabels:
    """Joins by the path below the films folder, else by the file's name.

    InputError where that is ambiguous: two rows for one film, or one row for two films.
    """
    rows = _rows_by_name(table.films)
    by_base = Counter(path.rsplit("/", 1)[-1] for path in paths)
    matches = [_match(path, rows, by_base) for path in paths]
    _check_once(matches, paths)
    labels = np.full((len(paths), len(table.findings)), np.nan, np.float32)
    for film, row in enumerate(matches):
        if row is not None:
            labels[film] = table.labels[row]
    patients = table.patients
    return JoinedLabels(
        labels=labels,
        findings=table.findings,
        patients=tuple(None if row is None or patients is None else patients[row] or None for row in matches),
        columns={
            key: tuple("" if row is None else values[row] for row in matches) for key, values in table.columns.items()
        },
        unmatched_films=sum(row is None for row in matches),
        unused_rows=len(table.films) - len({row for row in matches if row is not None}),
    )


def _rows_by_name(films: Sequence[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, film in enumerate(films):
        name = film.replace("\\", "/").removeprefix("./")
        if name in rows:
            raise InputError(f"the label table has two rows for {name}; wanted one a film")
        rows[name] = row
    return rows


def _match(path: str, rows: Mapping[str, int], by_base: Mapping[str, int]) -> int | None:
    if path in rows:
        return rows[path]
    base = path.rsplit("/", 1)[-1]
    if base not in rows:
        return None
    if by_base[base] > 1:
        raise InputError(
            f"{by_base[base]} films are called {base}; give their paths in the label table to tell them apart"
        )
    return rows[base]


def _check_once(matches: Sequence[int | None], paths: Sequence[str]) -> None:
    seen: dict[int, str] = {}
    for row, path in zip(matches, paths, strict=True):
        if row is not None and seen.setdefault(row, path) != path:
            raise InputError(f"one row of the label table names both {seen[row]} and {path}")
