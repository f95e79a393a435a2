"""Films apart into train, valid and test so that no patient is in two of them."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError, LeakError
from cxrscore.labels.join import match_rows
from cxrscore.labels.table import read_table

SPLIT_NAMES = ("train", "valid", "test")
_SHOWN = 5
"""Leaks that an error names."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Row indexes of the films of each part, rising, and how they came there."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]
    rule: str

    def parts(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and rows of each part."""
        return (("train", self.train), ("valid", self.valid), ("test", self.test))


def split_by_patient(
    patients: Sequence[str | None],
    labels: Floats,
    *,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int,
) -> Split:
    """Parts of about these fractions of the films, all films of a patient in one, findings spread alike.

    patients [N], None for a film of unknown patient, which is then taken to be one of its own; labels float32
    [N,C]. The patients with the rarest finding are dealt out first, each to the part that lacks most of it; those
    with the next rarest follow, and those without any come last. The same seed gives the same split.

    Source of the idea: Sechidis, Tsoumakas, Vlahavas, On the stratification of multi-label data, ECML PKDD 2011;
    here the things dealt out are patients, those with most films first. Raises InputError for fractions that are
    not three of sum 1, and where there are too few patients for every part.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] == 0:
        raise InputError(f"fractions are {fractions}, wanted three of sum 1, that of train above 0")
    groups = _groups(patients)
    part_of = _deal(_counts(groups, labels), np.array(fractions), np.random.default_rng(seed))
    rows: list[list[int]] = [[], [], []]
    for group, part in zip(groups, part_of, strict=True):
        rows[part].extend(group)
    for name, fraction, part_rows in zip(SPLIT_NAMES, fractions, rows, strict=True):
        if fraction and not part_rows:
            raise InputError(f"{len(groups)} patients are too few: none is left for {name}")
    train, valid, test = (tuple(sorted(part)) for part in rows)
    shares = "/".join(f"{fraction:g}" for fraction in fractions)
    return Split(train=train, valid=valid, test=test, rule=f"{shares} by patient, findings balanced, seed {seed}")


def _groups(patients: Sequence[str | None]) -> list[list[int]]:
    """Rows of each patient, in order of appearance."""
    groups: dict[tuple[str, str | int], list[int]] = defaultdict(list)
    for row, patient in enumerate(patients):
        groups[("film", row) if patient is None else ("patient", patient)].append(row)
    return list(groups.values())


def _counts(groups: Sequence[Sequence[int]], labels: Floats) -> NDArray[np.float64]:
    """Per group, the positives of each finding and, last, the films: float64 [G,C+1]."""
    group_of = np.empty(len(labels), np.intp)
    for number, rows in enumerate(groups):
        group_of[rows] = number
    counts = np.zeros((len(groups), labels.shape[1] + 1))
    np.add.at(counts, group_of, np.column_stack([labels == 1, np.ones(len(labels))]))
    return counts


def _deal(counts: NDArray[np.float64], fractions: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """The part of each group, intp [G], of its counts [G,C+1]; see split_by_patient."""
    lacking = np.outer(fractions, counts.sum(axis=0))
    lacking[fractions == 0] = -np.inf
    part_of = np.full(len(counts), -1, np.intp)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    while (waiting := order[part_of[order] < 0]).size:
        left = counts[waiting].sum(axis=0)
        rarest = int(np.argmin(np.where(left > 0, left, np.inf)))  # the films, last, never are rarer than a finding
        for group in waiting[counts[waiting, rarest] > 0]:
            part = max(range(3), key=lambda k: (lacking[k, rarest], lacking[k, -1]))
            part_of[group] = part
            lacking[part] -= counts[group]
    return part_of


def read_split(path: Path, paths: Sequence[str]) -> Split:
    """The split of a CSV file with the columns film,split (train, valid or test) for the films at `paths`.

    Films that it does not name are in no part. InputError for other words, or if it names none of the films.
    """
    table = read_table(path)
    if missing := [name for name in ("film", "split") if name not in table.columns]:
        raise InputError(f"{path} lacks the column {' and '.join(missing)}; wanted film,split")
    words = table.column("split")
    for row, word in enumerate(words):
        if word not in SPLIT_NAMES:
            raise table.error(row, f"split is {word!r}, wanted {', '.join(SPLIT_NAMES)}")
    rows = match_rows(table.column("film"), paths)
    train, valid, test = (
        tuple(i for i, row in enumerate(rows) if row is not None and words[row] == name) for name in SPLIT_NAMES
    )
    if not train + valid + test:
        raise InputError(f"{path} names none of the {len(paths)} films; wanted paths below the films folder")
    return Split(train=train, valid=valid, test=test, rule=f"as in {path.name}")


def split_csv(split: Split, paths: Sequence[str]) -> str:
    """The split as CSV text that read_split takes, in the order of the films."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("film", "split"))
    writer.writerows((paths[row], name) for row, name in sorted((row, n) for n, rows in split.parts() for row in rows))
    return text.getvalue()


def check_leaks(split: Split, patients: Sequence[str | None], sha256: Sequence[str], paths: Sequence[str]) -> None:
    """Raises LeakError, naming films, if two parts share a patient, a file of the same bytes, or a film.

    patients and sha256 are of all rows; None and "" are unknown and never the same.
    """
    kinds: tuple[tuple[str, Sequence[str | None]], ...] = (
        ("the same film", paths),
        ("films of one patient", patients),
        ("files of the same bytes", sha256),
    )
    for what, keys in kinds:
        if leaks := list(_crossing(split, keys)):
            shown = "; ".join(
                f"{paths[row]} ({name}) and {paths[other]} ({other_name})"
                for row, name, other, other_name in leaks[:_SHOWN]
            )
            more = f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
            raise LeakError(f"{what} in two parts of the split: {shown}{more}. Keep each patient in one part.")


def _crossing(split: Split, keys: Sequence[str | None]) -> Iterator[tuple[int, str, int, str]]:
    """First row and part of a key, with each row of another part that has the same key."""
    first: dict[str, tuple[int, str]] = {}
    for name, rows in split.parts():
        for row in rows:
            key = keys[row]
            if key and first.setdefault(key, (row, name))[1] != name:
                yield (*first[key], row, name)
