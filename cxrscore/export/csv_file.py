"""Scores as CSV, for spreadsheets and statistics programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import InputError
from cxrscore.io.csv_text import csv_lines, escape_formula
from cxrscore.io.strict_json import unicode_text
from cxrscore.scorefile import Scores
from cxrscore.scorefile.data import Column, film_columns, finding_columns

ROWS = 4096
"""Number of films that are converted to text at a time."""


def csv_pieces(scores: Scores, *, layout: str, every: bool) -> Iterator[bytes]:
    """The table as UTF-8, in pieces. Undefined values are empty.

    layout  plain: film, status, message, prob_FINDING; peer: Image Index, prob_FINDING
    every   plain with all columns
    """
    columns = _peer(scores) if layout == "peer" else film_columns(scores, every=every)
    yield csv_lines([[escape_formula(column.name) for column in columns]])
    for start in range(0, len(scores.films.path), ROWS):
        rows = slice(start, start + ROWS)
        yield csv_lines(zip(*(_cells(column.values[rows]) for column in columns), strict=True))


def is_plain_csv(path: Path) -> bool:
    """Whether a file begins like a plain table of cxrscore. Tables in the layout peer cannot be distinguished from
    those of other programs."""
    with path.open("rb") as file:
        columns = file.readline(1 << 20).decode("utf-8", "replace").rstrip("\n").split(",")
    return columns[:3] == ["film", "status", "message"] and any(name.startswith("prob_") for name in columns)


def _peer(scores: Scores) -> list[Column]:
    """The usual layout of published predictions on NIH ChestX-ray14: the name of the film, then probabilities."""
    names = [unicode_text(PurePosixPath(path).name) for path in scores.films.path]
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise InputError(
            f"{count} films are called {name}, and the layout peer has names without folders. Use --layout plain."
        )
    return [Column(name="Image Index", values=names), *finding_columns("prob", scores.prob, scores.findings)]


def _cells(values: Sequence[str] | Array) -> Sequence[str]:
    if not isinstance(values, np.ndarray):
        return [escape_formula(value) for value in values]
    # NumPy writes the shortest text that restores the same float32.
    return ["" if word == "nan" else word for word in values.astype(np.str_).tolist()]
