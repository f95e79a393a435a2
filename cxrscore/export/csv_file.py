"""Scores as CSV, for spreadsheets and statistics programs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import InputError
from cxrscore.export.columns import Column, film_columns, finding_columns
from cxrscore.files.plain import unicode_text
from cxrscore.scores import Scores

ROWS = 4096
"""Films that are text at one time."""
_FORMULA = "=+-@\t\r\n＝＋－＠"
"""What a spreadsheet takes for the beginning of a formula, or skips to find one; the last four where its language is
written in wide letters."""
_SPECIAL = re.compile(r'[,"\r\n]')
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_pieces(scores: Scores, *, layout: str, every: bool) -> Iterator[bytes]:
    """The table as UTF-8, piece by piece. An empty cell is a value that there is not.

    layout  plain: film, status, message, prob_FINDING; peer: Image Index, prob_FINDING
    every   plain with all columns that there are
    """
    columns = _peer(scores) if layout == "peer" else film_columns(scores, every=every)
    yield _lines([[harmless(column.name) for column in columns]])
    for start in range(0, len(scores.films.path), ROWS):
        rows = slice(start, start + ROWS)
        yield _lines(zip(*(_cells(column.values[rows]) for column in columns), strict=True))


def is_plain_csv(path: Path) -> bool:
    """Whether a file begins as a plain table of ours does. A table in the layout peer begins as those of others do, and
    is not told from them."""
    with path.open("rb") as file:
        columns = file.readline(1 << 20).decode("utf-8", "replace").rstrip("\n").split(",")
    return columns[:3] == ["film", "status", "message"] and any(name.startswith("prob_") for name in columns)


def harmless(cell: str) -> str:
    """The cell with an apostrophe before it if a spreadsheet would run it as a formula; numbers stay as they are."""
    return f"'{cell}" if cell[:1] in _FORMULA and cell and not _NUMBER.fullmatch(cell) else cell


def _peer(scores: Scores) -> list[Column]:
    """As others publish their predictions on NIH ChestX-ray14: the name of the film, then probabilities."""
    names = [unicode_text(PurePosixPath(path).name) for path in scores.films.path]
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise InputError(
            f"{count} films are called {name}, and the layout peer has names without folders. Use --layout plain."
        )
    return [Column(name="Image Index", values=names), *finding_columns("prob", scores.prob, scores.findings)]


def _cells(values: Sequence[str] | Array) -> Sequence[str]:
    if not isinstance(values, np.ndarray):
        return [harmless(value) for value in values]
    # NumPy writes the fewest digits that give the same float32 again.
    return ["" if word == "nan" else word for word in values.astype(np.str_).tolist()]


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows of RFC 4180, but with the line ends of Unix, as others publish theirs."""
    return "".join(",".join(map(_quoted, row)) + "\n" for row in rows).encode()


def _quoted(cell: str) -> str:
    # Python's csv would leave a lone carriage return bare, which ends the row for most readers.
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell
