"""Rows of a CSV file that spreadsheets can open safely."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_FORMULA = "=+-@\t\r\n＝＋－＠"
"""Characters that a spreadsheet interprets as the beginning of a formula, or skips to find one; the last four are the
full-width forms."""
_SPECIAL = re.compile(r'[,"\r\n]')
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def escape_formula(cell: str) -> str:
    """The cell with an apostrophe before it if a spreadsheet would run it as a formula; numbers are unchanged."""
    return f"'{cell}" if cell[:1] in _FORMULA and cell and not _NUMBER.fullmatch(cell) else cell


def csv_lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows of RFC 4180, but with Unix line ends, as in public data sets."""
    return "".join(",".join(map(_quote_cell, row)) + "\n" for row in rows).encode()


def _quote_cell(cell: str) -> str:
    # Python's csv would not quote a single carriage return, which ends the row for most readers.
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell
