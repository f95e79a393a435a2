"""Tables of the page as CSV files to save: what the page shows, one cell of the table in one cell of the file."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from markupsafe import Markup, escape

from cxrscore.reporting.drawn import csv_uri, file_name

_TABLE = re.compile(
    r'<div class="scroll" role="region" aria-label="([^"]*)" tabindex="0">\s*(<table.*?</table>)\s*</div>'
    r'(?!\s*<p class="save">)',
    re.DOTALL,
)
_INTERVAL = re.compile(r"(\S+?)(?:–| to )(\S+)")
_NONE = "–"
_NO_INTERVAL = "no interval"


def add_table_links(html: str) -> Markup:
    """A section with a link below each of its tables, to save it as CSV; tables that have one already keep theirs.

    Parameters
    ----------
    html : str
        The section as rendered by a template, all values escaped.

    Returns
    -------
    Markup
        The same with the links. An interval below a number is in two columns of the CSV file, "low" and "high".
    """
    return Markup(_TABLE.sub(lambda found: f"{found[0]}\n{_link(found[1], found[2])}", html))


def _link(label: str, table: str) -> str:
    name = file_name(str(Markup(label).unescape()))
    uri = csv_uri(table_rows(table))
    return (
        f'<p class="save"><a href="{uri}" download="{escape(name)}.csv" aria-label="Save as CSV: {label}">Save as '
        "CSV</a></p>"
    )


def table_rows(html: str) -> list[list[str]]:
    """The rows of a table, header first, with columns "low" and "high" after each column with intervals.

    >>> table_rows("<tr><th>AUC</th></tr><tr><td>0.70<small>0.51–0.85</small></td></tr>")
    [['AUC', 'AUC low', 'AUC high'], ['0.70', '0.51', '0.85']]
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    width = max(map(len, reader.rows), default=0)
    rows = [[*row, *[("", "")] * (width - len(row))] for row in reader.rows]
    wide = [any(_INTERVAL.fullmatch(row[column][1]) for row in rows[1:]) for column in range(width)]
    return [_cells(row, wide, is_header=place == 0) for place, row in enumerate(rows)]


def _cells(row: list[tuple[str, str]], wide: list[bool], *, is_header: bool) -> list[str]:
    """The cells of a row; those of columns with intervals are three."""
    cells = []
    for (text, small), has_interval in zip(row, wide, strict=True):
        if not has_interval:
            cells.append(f"{text} ({small})" if small and small != _NO_INTERVAL else text)
        elif is_header:
            cells += [text, f"{text} low", f"{text} high"]
        else:
            found = _INTERVAL.fullmatch(small)
            cells += [text, *(map(_number, found.groups()) if found else ("", ""))]
    return ["" if cell == _NONE else _number(cell) for cell in cells]


def _number(text: str) -> str:
    """A number as programs read it, with a hyphen for minus; other text as it is."""
    number = text.replace("−", "-")
    return number if re.fullmatch(r"[+-]?[\d.,]+", number) else text


class _Reader(HTMLParser):
    """The cells of a table as (text, small text below it), by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, str]]] = []
        self._is_small = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(("", ""))
        elif tag == "small":
            self._is_small = True
        elif tag in ("br", "li"):
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        self._is_small = self._is_small and tag != "small"

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            text, small = self.rows[-1][-1]
            added = (text, small + data) if self._is_small else (text + data, small)
            self.rows[-1][-1] = (" ".join(added[0].split()) + " " * added[0].endswith(" "), added[1].strip())
