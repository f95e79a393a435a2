"""What films are called, and what is said of patients, in one form for all layouts."""

from __future__ import annotations

import re

MAX_AGE = 120
"""Years; the first NIH table has ages above 400, which are slips of the pen."""

_AGE = re.compile(r"0*(\d{1,3})(?:\.\d*)?([YMWD]?)", re.IGNORECASE)
_PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}


def clean_age(cell: str) -> str:
    """Whole years of an age such as "61", "061Y", "018M"; "" where it is none or above 120 years."""
    found = _AGE.fullmatch(cell)
    if not found:
        return ""
    years = int(found[1]) // _PER_YEAR[found[2].upper() or "Y"]
    return str(years) if years <= MAX_AGE else ""


def clean_sex(cell: str) -> str:
    """ "F" or "M", however spelt; "" for others."""
    return {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}.get(cell.upper(), "")


def film_key(name: str) -> str:
    """A film's name as a POSIX path: without a leading "./", with / for \\."""
    return name.replace("\\", "/").removeprefix("./")
