"""The table of a queue: written by `cxrscore queue`, read by `cxrscore marks --queue`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrscore.io.csv_text import csv_lines, escape_formula
from cxrscore.labels import film_cell
from cxrscore.labels.table import read_table
from cxrscore.reading.queues import Queue

COLUMNS = ("rank", "film", "sha256", "rule", "drawn", "seed", "figure", "reason", "stratum", "weight")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class QueuedRow:
    """A film of the table: weight "" if the film was chosen and not drawn; stratum "" without strata; rule "" if the
    table does not say it."""

    drawn: str
    stratum: str
    weight: str
    rule: str = ""


def queue_csv(queue: Queue) -> bytes:
    """The queue as CSV, a film in each row."""
    rows = [list(COLUMNS)]
    for rank, film in enumerate(queue.films, 1):
        rows.append(
            [
                str(rank),
                film_cell(film.path),
                film.sha256,
                escape_formula(str(queue.rule)),
                queue.rule.drawn,
                str(queue.seed),
                "" if math.isnan(film.figure) else f"{film.figure:.6g}",
                escape_formula(film.reason),
                str(film.stratum or ""),
                "" if math.isnan(film.weight) else repr(film.weight),
            ]
        )
    return csv_lines(rows)


def is_queue(path: Path) -> bool:
    """Whether a file begins like the table of a queue."""
    head = csv_lines([COLUMNS])
    with path.open("rb") as file:
        return file.read(len(head)) == head


def read_queue(path: Path) -> Mapping[str, QueuedRow]:
    """The films of a queue by digest.

    InputError for another table, and for a weight that is no number above 0.
    """
    table = read_table(path)
    if missing := [name for name in ("sha256", "drawn", "stratum", "weight") if name not in table.columns]:
        raise table.table_error(f"has no column {missing[0]}, expected a table of `cxrscore queue`")
    found: dict[str, QueuedRow] = {}
    rules = table.column("rule") if "rule" in table.columns else [""] * len(table.column("sha256"))
    columns = (table.column(name) for name in ("sha256", "drawn", "stratum", "weight"))
    for row, (sha256, drawn, stratum, weight, rule) in enumerate(zip(*columns, rules, strict=True)):
        if not _SHA256.fullmatch(sha256):
            raise table.row_error(row, f"column sha256 has {sha256!r}, expected 64 hexadecimal digits")
        if weight and not _is_weight(weight):
            raise table.row_error(row, f"column weight has {weight!r}, expected a number above 0")
        found[sha256] = QueuedRow(drawn=drawn, stratum=stratum, weight=weight, rule=rule)
    return found


def _is_weight(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False
