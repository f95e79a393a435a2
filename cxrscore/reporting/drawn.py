"""Figures and tables of the page as data URIs, to show and to save without a script."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from cxrscore.io.csv_text import csv_lines, escape_formula
from cxrscore.io.strict_json import unicode_text
from cxrscore.reporting.figures import encode

LONGEST_NAME = 60
"""Maximum number of characters of the name of a saved file."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure that the page shows, and that its reader can save.

    name  of the saved file, without suffix
    alt   what the figure shows, for readers who do not see it
    png   data URI of the image that the page shows
    svg   data URI of the same figure as SVG
    """

    name: str
    alt: str
    png: str
    svg: str


def drawn(name: str, figure: Figure, alt: str) -> Drawn:
    """A plot for the macro ``figure`` of macros.html.j2.

    Parameters
    ----------
    name : str
        Name of the saved file without suffix, such as "roc-Mass"; characters that file names should not have are
        replaced (file_name).
    figure : Figure
        The plot.
    alt : str
        What it shows, with the numbers that matter.

    Returns
    -------
    Drawn
        The plot as PNG and SVG; equal figures give equal bytes.
    """
    return Drawn(
        name=file_name(name),
        alt=alt,
        png=uri(encode(figure, "png"), "image/png"),
        svg=uri(encode(figure, "svg"), "image/svg+xml"),
    )


def csv_uri(rows: Iterable[Sequence[object]]) -> str:
    """A table for the macro ``table_links`` of macros.html.j2.

    Parameters
    ----------
    rows : iterable of rows of cells
        The first row has the names of the columns. None and NaN are empty cells; text that a spreadsheet would run as
        a formula gets an apostrophe.

    Returns
    -------
    str
        The table as CSV (UTF-8) in a data URI.
    """
    return uri(csv_lines([[_cell(cell) for cell in row] for row in rows]), "text/csv;charset=utf-8")


def uri(data: bytes, media_type: str) -> str:
    """A file as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def file_name(text: str) -> str:
    """The text as a file name without suffix: letters, digits, "-" and "_", LONGEST_NAME at most.

    >>> file_name("roc-Pleural Thickening/left")
    'roc-Pleural-Thickening-left'
    """
    return re.sub(r"[^\w]+", "-", unicode_text(text)).strip("-")[:LONGEST_NAME] or "figure"


def _cell(value: object) -> str:
    """A cell of a CSV table."""
    if value is None or value != value:  # NaN is the only value that differs from itself
        return ""
    return repr(float(value)) if isinstance(value, float) else escape_formula(unicode_text(str(value)))
