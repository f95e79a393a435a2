"""The table in an Excel workbook (.xlsx, .xlsm), as rows of text. Needs the extra "excel"."""

from __future__ import annotations

import datetime
import importlib.util
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cxrscore.errors import InputError

_LOOKED_AT = 1000
"""Number of rows in which a further sheet is searched for content."""
_NO_VALUE = re.compile(
    rb"</f>\s*(?:<v\s*/>\s*)?</c>|<f\b[^>]*/>\s*(?:<v\s*/>\s*)?</c>"
    rb"|<c\b(?![^>]*\st=[\"']str[\"'])[^>]*>\s*<f\b[^>]*>[^<]*</f>\s*<v>\s*</v>\s*</c>"
)
"""A formula without a value. A text that is empty has one, <v></v>; of any other type this is none, as openpyxl writes
it where lxml is installed."""
_BLOCK, _OVERLAP = 1024**2, 1 << 14
"""Bytes that are searched at a time; a formula has at most 8,192 characters."""
_MOST = 1_048_576
"""Rows of the largest sheet."""


def open_sheet(path: Path, data: io.BytesIO) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """The name of the sheet that has content, and its rows of text with their numbers, from 1. Hidden sheets do not
    count. InputError without the extra, for a damaged workbook, and if there is none or more than one."""
    if importlib.util.find_spec("openpyxl") is None:
        raise InputError(
            f'{path} is an Excel workbook: pip install "cxrscore[excel]" to read it, or save it as CSV in UTF-8'
        )
    sheets = [sheet for sheet in _workbook(path, data).worksheets if sheet.sheet_state == "visible"]
    filled = [sheet for sheet in sheets if any(any(row) for _, row in islice(_rows(path, sheet), _LOOKED_AT))]
    if not filled:
        raise InputError(f"{path} is an Excel workbook without content; expected one sheet with a table")
    if len(filled) > 1:
        names = ", ".join(repr(sheet.title) for sheet in filled[:5]) + (", ..." if len(filled) > 5 else "")
        raise InputError(
            f"{path} is an Excel workbook of {len(filled)} sheets with content ({names}), expected one: remove or hide "
            "the others, or save the sheet of the table as CSV"
        )
    if _has_formula_without_value(data):
        raise InputError(
            f"{path} is an Excel workbook with formulas whose values are not stored, as programs write it: open and "
            "save it in Excel, or save it as CSV"
        )
    return filled[0].title, _rows(path, filled[0])


def _has_formula_without_value(data: io.BytesIO) -> bool:
    """Whether a sheet has a formula that nothing has calculated."""
    with zipfile.ZipFile(data) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/"):
                with archive.open(name) as part:
                    end = b""
                    while block := part.read(_BLOCK):
                        if _NO_VALUE.search(end + block):
                            return True
                        end = block[-_OVERLAP:]
    return False


def _workbook(path: Path, data: io.BytesIO) -> Any:
    import openpyxl

    with warnings.catch_warnings():  # of parts that are not read, such as styles
        warnings.simplefilter("ignore")
        try:
            return openpyxl.load_workbook(data, read_only=True, data_only=True, keep_links=False)
        except Exception as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    what = f"{type(error).__name__}: {str(error)[:200]}".rstrip(": ")
    return InputError(f"{path} is an Excel workbook that cannot be read ({what}); save it again as .xlsx or CSV")


def _rows(path: Path, sheet: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows of a sheet, read piece by piece: its stated size, which may be false, is ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sheet.reset_dimensions()
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                if number > _MOST:
                    raise InputError(f"{path}: the sheet {sheet.title!r} has more than {_MOST:,} rows")
                yield number, [_text(cell) for cell in cells]
        except InputError:
            raise
        except Exception as error:
            raise _damaged(path, error) from error


def _text(cell: Any) -> str:
    """A cell as a CSV file would have it: whole numbers without a point, dates as 2024-01-31."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell).replace("\0", "")
