"""The query of a DICOMweb URL: which attributes it may name, and what of it may be shown and stored.

A query often names a patient. Its keys are shown, and the values of a fixed list of attributes; all other values are
replaced by "...". The query of a URL of another kind is never shown.
"""

from __future__ import annotations

import datetime
import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_plus, urlencode

from cxrscore.errors import InputError
from cxrscore.remote.arguments import one_or_several
from cxrscore.remote.url import DICOMWEB, PathOrUrl, RemotePath, is_url, without_secrets

INSTALL = 'pip install "cxrscore[dicom]"'
OPTION = "--query"
HARMLESS = {
    "00080016": "SOPClassUID",
    "00080020": "StudyDate",
    "00080021": "SeriesDate",
    "00080060": "Modality",
    "00080061": "ModalitiesInStudy",
    "00080068": "PresentationIntentType",
    "00080070": "Manufacturer",
    "00180015": "BodyPartExamined",
    "00185101": "ViewPosition",
    "00200060": "Laterality",
    "00200062": "ImageLaterality",
}
"""Attributes whose values are shown and stored: of many patients each, and of no text that a person types."""
_SHOWN = frozenset((*HARMLESS, *(name.lower() for name in HARMLESS.values()), "fuzzymatching"))
_PLAIN = re.compile(r"[A-Za-z0-9.,*?\\ -]{1,200}")
"""Values of these attributes; any other may be a name that was written into the wrong place."""
_KEY = re.compile(r"[A-Za-z0-9.]{1,200}")
_DATES = re.compile(r"[0-9]{8}|[0-9]{8}-|-[0-9]{8}|[0-9]{8}-[0-9]{8}")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_OWN = ("limit", "offset", "includefield")
_LONGEST = 4096
_HIDDEN = "..."


def optional_library(name: str) -> Any:
    """A module that films of a PACS need; InputError if its package is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"films of a PACS need dicomweb-client and pydicom: {INSTALL}") from None


def with_query(where: PathOrUrl, query: str | Sequence[str]) -> RemotePath:
    """The URL of a DICOMweb service with more conditions.

    Parameters
    ----------
    where
        A dicomweb+http:// or dicomweb+https:// URL, perhaps with a query.
    query
        Conditions such as "Modality=DX", not percent-encoded.

    Returns
    -------
    RemotePath
        The URL with all conditions.

    Raises
    ------
    InputError
        If it is another kind of URL, or a condition is not valid.
    """
    if not isinstance(where, RemotePath) or not where.dicomweb:
        raise InputError(f"{OPTION} chooses films of a PACS, expected a URL such as dicomweb+https://host/dicom-web/")
    pairs = [_split(one) for one in one_or_several(query)]
    given = "&".join(filter(None, [where.query, urlencode(pairs, quote_via=quote)]))
    found = RemotePath(f"{where.bare}?{given}")
    search_filters(found)
    return found


def _split(condition: object) -> tuple[str, str]:
    key, equals, value = condition.partition("=") if isinstance(condition, str) else ("", "", "")
    if not equals:
        raise InputError(f"a condition of {OPTION} has no '=', expected KEY=VALUE such as Modality=DX")
    return key.strip(), value.strip()


def search_filters(where: RemotePath) -> dict[str, str]:
    """The conditions in the query of a URL, checked before any request.

    Parameters
    ----------
    where
        A dicomweb+http:// or dicomweb+https:// URL.

    Returns
    -------
    dict of str to str
        Value by key. A key is a DICOM keyword, a tag of 8 hexadecimal digits in capitals, several of them with dots
        between for an attribute in a sequence, or "fuzzymatching".

    Raises
    ------
    InputError
        If a key is unknown, stands twice, or belongs to the paging; or if a value is empty or has control characters.

    Examples
    --------
    >>> search_filters(RemotePath("dicomweb+https://host/dicom-web/?Modality=DX&StudyDate=20260101-"))
    {'Modality': 'DX', 'StudyDate': '20260101-'}
    """
    if len(where.query) > _LONGEST:
        raise InputError(f"the query of {where} has {len(where.query):,} characters, expected at most {_LONGEST:,}")
    try:
        pairs = parse_qsl(where.query, keep_blank_values=True, strict_parsing=bool(where.query), errors="strict")
    except ValueError:
        raise InputError(f"the query of {where} is not valid, expected KEY=VALUE&KEY=VALUE after the '?'") from None
    found: dict[str, str] = {}
    tags: set[str] = set()
    for key, value in pairs:
        tag = _checked_key(key)
        if tag in tags:
            raise InputError(f"{key} stands twice in the query: QIDO-RS takes each attribute once")
        tags.add(tag)
        if not value or not value.isprintable():
            raise InputError(f"the value of {key} in the query is empty or has control characters, expected a text")
        _check_date(key, tag, value)
        found[key.upper() if _TAG.fullmatch(key) else key] = value
    return found


def _checked_key(key: str) -> str:
    """The tags of a key; InputError if it is none. A key that may be anything else is not repeated in the message."""
    if not _KEY.fullmatch(key):
        raise InputError("a key of the query is not valid, expected a DICOM keyword such as StudyDate, or 8 digits")
    if key.lower() == "fuzzymatching":
        return "fuzzymatching"
    if key.lower() in _OWN:
        raise InputError(f"{key.lower()} cannot be in the query: all films that match are listed, page by page")
    return ".".join(_tag(part) for part in key.split("."))


def _check_date(key: str, tag: str, value: str) -> None:
    """InputError if the attribute is a date and the value is none: a server would find nothing and not say why."""
    last = tag.rpartition(".")[2]
    dictionary = optional_library("pydicom.datadict")
    if not _TAG.fullmatch(last) or not dictionary.dictionary_has_tag(last) or dictionary.dictionary_VR(last) != "DA":
        return
    dates = [date for date in value.split("-") if date]
    try:
        valid = _DATES.fullmatch(value) is not None and all(datetime.date.fromisoformat(date) for date in dates)
    except ValueError:
        valid = False
    if not valid or dates != sorted(dates):
        raise InputError(
            f"the value of {key} in the query is not a date or range of dates, expected one such as 20260131, "
            "20260101-20260131 or 20260101-"
        )


def _tag(name: str) -> str:
    """The tag of an attribute in 8 digits."""
    if _TAG.fullmatch(name):
        return name.upper()
    dictionary = optional_library("pydicom.datadict")
    tag = dictionary.tag_for_keyword(name)
    if tag is None:
        near = {one.lower(): one for one in dictionary.keyword_dict}.get(name.lower())
        hint = f"did you mean {near}?" if near else "expected one such as StudyDate, or a tag of 8 hexadecimal digits"
        raise InputError(f"{name!r} in the query is no DICOM keyword: {hint}")
    return f"{int(tag):08X}"


def shown_query(where: RemotePath) -> str:
    """The query as it may be shown and stored: with its keys, and the values of HARMLESS attributes; "" without one.

    Examples
    --------
    >>> shown_query(RemotePath("dicomweb+https://host/dicom-web/?Modality=DX&PatientName=Doe*"))
    'Modality=DX&PatientName=...'
    """
    parts = (part.partition("=") for part in where.query.split("&") if part)
    return "&".join(_shown(unquote_plus(key), unquote_plus(value)) for key, _, value in parts)


def _shown(key: str, value: str) -> str:
    """A condition as it may be shown."""
    if not _KEY.fullmatch(key) or not value:
        return _HIDDEN
    return f"{key}={value if key.lower() in _SHOWN and _PLAIN.fullmatch(value) else _HIDDEN}"


def command_without_secrets(words: Sequence[str]) -> list[str]:
    """The words of a command line as they may be stored: URLs without credentials, queries as ``shown_query``.

    Examples
    --------
    >>> command_without_secrets(["score", "dicomweb+http://me:x@host/?PatientID=7", "--query", "Modality=DX"])
    ['score', 'dicomweb+http://host/?PatientID=...', '--query', 'Modality=DX']
    """
    stored: list[str] = []
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if place and words[place - 1] == OPTION:
            stored.append(_condition(word))
        elif option == OPTION and equals:
            stored.append(f"{OPTION}={_condition(value)}")
        else:
            stored.append(_url_or_word(word))
    return stored


def _condition(text: str) -> str:
    key, _, value = text.partition("=")
    return _shown(key.strip(), value.strip())


def _url_or_word(word: str) -> str:
    shown = without_secrets(word)
    if word.partition("://")[0].lower() not in DICOMWEB or not is_url(word):
        return shown
    try:
        query = shown_query(RemotePath(word))
    except InputError:
        return shown
    return f"{shown}?{query}" if query and not shown.endswith(_HIDDEN) else shown


def harmless_query(where: PathOrUrl) -> Mapping[str, str]:
    """The conditions of a query for the provenance: value by key, "..." for values that are not stored."""
    if not isinstance(where, RemotePath) or not where.dicomweb:
        return {}
    pairs = (part.partition("=") for part in shown_query(where).split("&") if part)
    return {key: value for key, _, value in pairs}
