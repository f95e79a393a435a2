"""The split of the paper: given numbers of films for training, validation and test, no patient in two splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrscore import labels as lab
from cxrscore.contract import Floats
from cxrscore.errors import InputError

Rows = tuple[int, ...]


def draw_split(patients: Sequence[str | None], labels: Floats, wanted: tuple[int, int, int], *, seed: int) -> lab.Split:
    """A split of about this many films for train, valid and test, stratified by finding; other films are unused.

    patients [N], labels float32 [N,C] as for labels.split_by_patient. Test is drawn first and train last, so train is
    smaller if there are too few films. The numbers are approximate, because patients are not divided and the split is
    stratified by finding. InputError if no film is left for training.
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
        raise InputError(
            f"the patients of {len(labels)} films are too few: one of the splits is empty; add films or ask for fewer"
        )
    rule = f"{lab.grouping(patients)} with seed {seed}, findings spread alike, test first and training last"
    return lab.Split(train=parts[2], valid=parts[1], test=parts[0], rule=rule)


def _take(rows: Rows, patients: Sequence[str | None], labels: Floats, count: int, seed: int) -> tuple[Rows, Rows]:
    """About this many of the rows, complete patients only, and the remaining rows."""
    if count >= len(rows):
        return rows, ()
    share = count / len(rows)
    owners = [patients[row] for row in rows]
    drawn = lab.split_by_patient(owners, labels[list(rows)], fractions=(1 - share, 0.0, share), seed=seed)
    all_rows = np.array(rows)
    return tuple(all_rows[list(drawn.test)].tolist()), tuple(all_rows[list(drawn.train)].tolist())
