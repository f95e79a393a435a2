"""Who trains, who chooses, who is tested: splits by patient, and the check that nobody is in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from cxrscore.contract import Array, Floats
from cxrscore.errors import InputError, LeakError
from cxrscore.labels.table import header_of, read_rows

NAMES = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of each part, ascending, and in words how they were chosen."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]
    rule: str


def split_by_patient(
    patients: Sequence[str | None],
    labels: Floats,
    *,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int,
) -> Split:
    """Draws a split in which all films of a patient stay together and rare findings are shared out.

    Patients are dealt out one by one, those with the rarest findings first, each to the part that lacks most of
    that finding (after Sechidis et al., On the Stratification of Multi-Label Data, ECML 2011). A film without a
    patient counts as one of its own. labels float32 [N,C], NaN counted as 0. Deterministic for a seed.
    """
    groups = _groups(patients)
    share = np.array(fractions) / sum(fractions)
    known = np.nan_to_num(labels)
    counts = np.array([np.append(known[rows].sum(axis=0), len(rows)) for rows in groups])
    lacking = share[:, None] * counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(groups))
    parts: list[list[int]] = [[], [], []]
    for group, finding in _rarest_first(counts, order):
        # Among parts that lack equally much of the finding, the one that lacks most films.
        part = max(range(3), key=lambda p: (round(lacking[p, finding], 9), lacking[p, -1]))
        lacking[part] -= counts[group]
        parts[part].extend(groups[group])
    train, valid, test = (tuple(sorted(rows)) for rows in parts)
    return Split(train=train, valid=valid, test=test, rule=f"by patient, stratified, {fractions}, seed {seed}")


def _groups(patients: Sequence[str | None]) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for row, patient in enumerate(patients):
        groups.setdefault(("film", row) if patient is None else patient, []).append(row)
    return list(groups.values())


def _rarest_first(counts: Array, order: Array) -> list[tuple[int, int]]:
    """Each group once with the finding it is dealt out by; the last column, films, serves those without findings."""
    totals = counts[:, :-1].sum(axis=0)
    dealt, done = [], np.zeros(len(counts), bool)
    for finding in [*np.argsort(totals, kind="stable"), counts.shape[1] - 1]:
        for group in order:
            if not done[group] and counts[group, finding] > 0:
                done[group] = True
                dealt.append((int(group), int(finding)))
    return dealt


def read_split(path: Path, paths: Sequence[str]) -> Split:
    """A CSV with the columns film,split. Films that it does not name are left out; InputError for anything odd."""
    header = header_of(path)
    if not {"film", "split"} <= set(header):
        raise InputError(f"{path} has the columns {', '.join(header)}; wanted film and split")
    film, split = header.index("film"), header.index("split")
    place = {name: row for row, name in enumerate(paths)}
    chosen: dict[str, str] = {}
    for line, row in enumerate(islice(read_rows(path), 1, None), start=2):
        if not row:
            continue
        if len(row) < len(header) or row[split] not in NAMES:
            raise InputError(f"{path}, line {line}: wanted a film and one of {', '.join(NAMES)}, not {row}")
        if row[film] not in place:
            raise InputError(f"{path}, line {line}: no labelled film is called {row[film]}")
        if chosen.setdefault(row[film], row[split]) != row[split]:
            raise LeakError(f"{path}, line {line}: {row[film]} is in {chosen[row[film]]} and in {row[split]}")
    rows = {name: tuple(sorted(place[f] for f, s in chosen.items() if s == name)) for name in NAMES}
    return Split(train=rows["train"], valid=rows["valid"], test=rows["test"], rule=f"given by {path.name}")


def split_csv(split: Split, paths: Sequence[str]) -> str:
    """The split as read_split takes it."""
    lines = [f"{_cell(paths[row])},{name}" for name in NAMES for row in getattr(split, name)]
    return "\n".join(["film,split", *lines]) + "\n"


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


def check_leaks(split: Split, patients: Sequence[str | None], sha256: Sequence[str], paths: Sequence[str]) -> None:
    """LeakError, naming films, if a patient or the same file stands in two parts."""
    faults = [*_crossing(split, patients, paths, "the same patient"), *_crossing(split, sha256, paths, "the same file")]
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise LeakError(
            f"the split leaks: {'; '.join(faults[:5])}{more}. Put all films of a patient into one of them."
        )


def _crossing(split: Split, keys: Sequence[str | None], paths: Sequence[str], what: str) -> list[str]:
    first: dict[str, tuple[str, int]] = {}
    faults = []
    for name in NAMES:
        for row in getattr(split, name):
            key = keys[row]
            if key and first.setdefault(key, (name, row))[0] != name:
                other, film = first[key]
                faults.append(f"{paths[film]} ({other}) and {paths[row]} ({name}) are of {what}")
    return faults
