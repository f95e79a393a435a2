"""Values of others as JSON and terminals can hold them."""

from __future__ import annotations

import json
import sys
from typing import Any

from cxrscore.errors import FileFormatError


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text, which can be written, printed and stored again.

    Parameters
    ----------
    text
        The JSON document; bytes are UTF-8.

    Returns
    -------
    Any
        Its value.

    Raises
    ------
    ValueError
        Where it is no JSON, or nested too deep, or holds what Python reads and others do not: NaN and the infinities,
        numbers that no float64 holds, such as 1e999, and texts with half of a character (a lone surrogate), which
        UTF-8 cannot hold.
    """
    try:
        value = json.loads(text, parse_int=_parse_integer)
        check_unicode(json.dumps(value, allow_nan=False, ensure_ascii=False))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def check_unicode(text: str) -> None:
    """ValueError where the text has half of a character, a lone surrogate, which UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ord(text[error.start])
        raise ValueError(f"a text in it has half of a character (\\u{half:04x}), which UTF-8 cannot hold") from None


def _parse_integer(text: str) -> int:
    if abs(value := int(text)) > sys.float_info.max:
        raise ValueError(f"a number of {len(text)} digits")
    return value


def strict_json(value: Any, where: str) -> Any:
    """The JSON-ready value with null for NaN and the infinities, which Python writes and JSON does not have.

    where  names the value in the error; FileFormatError where it is nested deeper than can be written
    """
    try:
        return json.loads(json.dumps(value), parse_constant=lambda word: None)
    except RecursionError:
        raise FileFormatError(f"{where} is nested too deep to be written as JSON") from None


def unicode_text(text: str) -> str:
    """The text with bytes that were not UTF-8, which Python keeps as lone surrogates, written out: ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()
