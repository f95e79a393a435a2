"""Split films into train, valid and test, by patient where patients are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.labels.patients import grouping

SPLIT_NAMES = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Row indexes of the films of each split, ascending, and the rule that made them."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]
    rule: str

    def parts(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and rows of each split."""
        return (("train", self.train), ("valid", self.valid), ("test", self.test))


def split_by_patient(
    patients: Sequence[str | None],
    labels: Floats,
    *,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int,
) -> Split:
    """Split films into about these fractions, all films of a patient in one split, findings balanced.

    patients: [N]; None for an unknown patient, who then counts as a patient with one film. labels: float32 [N,C]; a
    soft label is positive above 0.5.
    Patients with the rarest finding are assigned first, each to the split that lacks most of it; those with the next
    rarest follow, and those without any finding come last. The same seed gives the same split.

    Source of the idea: Sechidis, Tsoumakas, Vlahavas, On the stratification of multi-label data, ECML PKDD 2011; here
    patients are assigned instead of single films, those with most films first. Raises InputError for fractions that are
    not three with the sum 1, and if there are too few patients for every split.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] == 0:
        raise InputError(f"fractions are {fractions}, expected three of sum 1, that of train above 0")
    groups = _groups(patients)
    part_of = _deal(_counts(groups, labels), np.array(fractions), np.random.default_rng(seed))
    rows: list[list[int]] = [[], [], []]
    for group, part in zip(groups, part_of, strict=True):
        rows[part].extend(group)
    for name, fraction, part_rows in zip(SPLIT_NAMES, fractions, rows, strict=True):
        if fraction and not part_rows:
            raise InputError(
                f"the films have {len(groups)} {'patient' if len(groups) == 1 else 'patients'}, too few: none is left "
                f"for {name}. Label films of more patients, or keep fewer apart (--test, --split)"
            )
    train, valid, test = (tuple(sorted(part)) for part in rows)
    shares = "/".join(f"{fraction:g}" for fraction in fractions)
    if 0 in fractions:
        shares = ", ".join(f"{part:g} {name}" for name, part in zip(SPLIT_NAMES, fractions, strict=True) if part)
    if len(train) == len(patients):
        return Split(train=train, valid=valid, test=test, rule="all films for training")
    rule = f"{shares} {grouping(patients)}, findings balanced, seed {seed}"
    return Split(train=train, valid=valid, test=test, rule=rule)


def folds_by_patient(patients: Sequence[str | None], labels: Floats, folds: int, *, seed: int) -> NDArray[np.intp]:
    """The fold of each film, intp [N] in 0..folds-1: all films of a patient in one fold, findings balanced.

    Parameters and method as for split_by_patient. Raises InputError for fewer than 2 folds or fewer patients than
    folds.
    """
    groups = _groups(patients)
    if not 2 <= folds <= len(groups):
        least = "2 patients or more" if len(groups) < 2 else f"2 to {len(groups)} folds"
        who = "1 patient" if len(groups) == 1 else f"{len(groups)} patients"
        raise InputError(f"{who} cannot be divided into {folds} folds: expected {least}")
    fold_of = _deal(_counts(groups, labels), np.full(folds, 1 / folds), np.random.default_rng(seed))
    found = np.empty(len(labels), np.intp)
    for group, fold in zip(groups, fold_of, strict=True):
        found[group] = fold
    return found


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
    np.add.at(counts, group_of, np.column_stack([labels > 0.5, np.ones(len(labels))]))
    return counts


def _deal(counts: NDArray[np.float64], fractions: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """The split of each group, intp [G], from its counts [G,C+1]; see split_by_patient."""
    lacking = np.outer(fractions, counts.sum(axis=0))
    lacking[fractions == 0] = -np.inf
    part_of = np.full(len(counts), -1, np.intp)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    left = counts.sum(axis=0)  # of the groups without a split: integers, so that subtraction needs no rounding
    while left[-1] > 0:
        rarest = int(np.argmin(np.where(left > 0, left, np.inf)))  # the last column, films, is never the rarest
        for group in order[(counts[order, rarest] > 0) & (part_of[order] < 0)]:
            part = max(range(len(fractions)), key=lambda k: (lacking[k, rarest], lacking[k, -1]))
            part_of[group] = part
            lacking[part] -= counts[group]
            left -= counts[group]
    return part_of


def draw_valid(
    split: Split, patients: Sequence[str | None], labels: Floats, *, fraction: float = 0.125, seed: int
) -> Split:
    """Move about this fraction of the training films, by patient, to the validation split if that is empty, as in
    official splits. A split that has validation films is returned unchanged; InputError as for split_by_patient."""
    if split.valid or not split.train:
        return split
    rows = np.array(split.train)
    owners = [patients[row] for row in split.train]
    drawn = split_by_patient(owners, labels[rows], fractions=(1 - fraction, fraction, 0.0), seed=seed)
    train, valid = (tuple(rows[list(part)].tolist()) for part in (drawn.train, drawn.valid))
    rule = f"{split.rule}; valid is {fraction:g} of train {grouping(owners)}, findings balanced, seed {seed}"
    return Split(train=train, valid=valid, test=split.test, rule=rule)
