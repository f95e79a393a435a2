"""The films of the paper's experiment: so many for training, validation and testing, no patient in two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrscore import labels as lab
from cxrscore.contract import Floats
from cxrscore.errors import InputError

Rows = tuple[int, ...]


def draw_split(patients: Sequence[str | None], labels: Floats, wanted: tuple[int, int, int], *, seed: int) -> lab.Split:
    """A split of about this many films for train, valid and test, findings spread alike; other films are in no part.

    patients [N], labels float32 [N,C] as labels.split_by_patient takes them. Test is drawn first and training last, so
    training is what lacks films where there are too few. The numbers are met nearly: no patient is divided, and
    findings are spread before films are counted. InputError where nothing is left to train on.
    """
    train, valid, test = wanted
    if len(labels) < valid + test + 1:
        raise InputError(
            f"{len(labels)} labelled films are too few for {test} to test and {valid} to validate; ask for fewer with "
            "--test and --valid"
        )
    rest: Rows = tuple(range(len(labels)))
    parts: list[Rows] = []
    for count in (test, valid, train):
        part, rest = _take(rest, patients, labels, count, seed)
        parts.append(part)
    if not all(parts):
        raise InputError(f"the patients of {len(labels)} films are too few: a part of the split is empty")
    rule = f"by patient with seed {seed}, findings spread alike, test first and training last"
    return lab.Split(train=parts[2], valid=parts[1], test=parts[0], rule=rule)


def _take(rows: Rows, patients: Sequence[str | None], labels: Floats, count: int, seed: int) -> tuple[Rows, Rows]:
    """About this many of the rows, whole patients of them, and those that are left."""
    if count >= len(rows):
        return rows, ()
    share = count / len(rows)
    owners = [patients[row] for row in rows]
    drawn = lab.split_by_patient(owners, labels[list(rows)], fractions=(1 - share, 0.0, share), seed=seed)
    all_rows = np.array(rows)
    return tuple(all_rows[list(drawn.test)].tolist()), tuple(all_rows[list(drawn.train)].tolist())
