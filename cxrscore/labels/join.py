"""Label rows to the films that were found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrscore.contract import Floats, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.columns import film_key


@dataclass(frozen=True, kw_only=True)
class JoinedLabels:
    """Labels in the order of the films.

    labels           float32 [N,C], NaN unknown and where a film has no row
    findings         C canonical names
    patients         N identifiers, None where unknown
    columns          further columns by name, N strings each, "" where unknown
    unmatched_films  films without a row
    unused_rows      rows without a film
    """

    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    columns: Mapping[str, tuple[str, ...]]
    unmatched_films: int
    unused_rows: int


def join_labels(table: LabelTable, paths: Sequence[str]) -> JoinedLabels:
    """The rows of a table for the films at `paths`; see match_rows for how they find each other."""
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
        unmatched_films=len(paths) - len(matched),
        unused_rows=len(table.films) - len(matched),
    )


def match_rows(names: Sequence[str], paths: Sequence[str]) -> list[int | None]:
    """For each path of a film, the index of the name that means it, None without one.

    A name with a folder in it means the film at that path, or else, like a bare name, the film of that base name.
    InputError where two names mean one film, or a base name means films in several folders.
    """
    at_path, at_base = defaultdict(list), defaultdict(list)
    wanted = frozenset(paths)
    for index, name in enumerate(map(film_key, names)):
        if "/" in name and name in wanted:
            at_path[name].append(index)
        else:
            at_base[_base(name)].append(index)
    found = [_only(at_path.get(path, []), path) for path in paths]
    _check_bases([path for path, row in zip(paths, found, strict=True) if row is None], at_base)
    return [
        _only(at_base.get(_base(path), []), path) if row is None else row
        for path, row in zip(paths, found, strict=True)
    ]


def _check_bases(paths: Sequence[str], rows: Mapping[str, Sequence[int]]) -> None:
    """Raises InputError where a row that gives only a base name could mean two films."""
    first: dict[str, str] = {}
    for path in paths:
        base = _base(path)
        if base in rows and first.setdefault(base, path) != path:
            raise InputError(
                f"the label row {base!r} could mean {first[base]!r} or {path!r}; "
                "write paths below the films folder in the table"
            )


def _only(rows: Sequence[int], path: str) -> int | None:
    if len(rows) > 1:
        raise InputError(f"the table has {len(rows)} rows for the film {path!r}, wanted one")
    return rows[0] if rows else None


def _base(path: str) -> str:
    return path.rpartition("/")[2]
