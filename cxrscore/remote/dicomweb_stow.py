"""STOW-RS: stores DICOM objects in an archive, and reads from its answer what became of each.

The requests are made here and not by dicomweb-client, which drops the answer to a request that fails in part: PS3.18
gives it the status 409, Orthanc 400, and the reasons are in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxrscore.io.strict_json import parse_json
from cxrscore.remote.dicomweb_session import DicomwebSession, errors_in_fixed_words, service_url
from cxrscore.remote.retry import TransferError, with_retries
from cxrscore.remote.url import RemotePath

MAX_ANSWER = 16 << 20
"""Largest number of bytes of an answer: some hundred for each object."""
STORED, THERE = "stored", "already there"
_REFERENCED, _FAILED = "00081199", "00081198"
_UID, _WARNING, _FAILURE = "00081155", "00081196", "00081197"
_ABOUT_OBJECTS = (400, 409, 413, 415, 422)
"""Statuses that are about the objects of a request: without them, others may be stored."""
_DUPLICATES = (0x0111, 45070)
"""Failure reasons for an object that is there: of PS3.7, and of Azure's DICOM service."""
_WARNINGS = {
    0xB000: "stored with changed elements",
    0xB006: "stored without some elements",
    0xB007: "stored, though not as its SOP class",
}
_FAILURES = {
    0x0110: "processing failed",
    0x0117: "its UID is not valid",
    0x0122: "this SOP class is not supported",
    0x0124: "this user is not allowed to store it",
    0xC122: "its transfer syntax is not supported",
}
_RANGES = {
    0xA700: "out of resources",
    0xA900: "it does not match its SOP class",
    0xC000: "it cannot be understood",
}
"""Reasons of PS3.4 by the first digits: 0xA7.., 0xA9.., 0xC..."""


@dataclass(frozen=True, kw_only=True)
class StoreOutcome:
    """What an archive did with an object.

    is_stored  whether it is there now
    text       what happened, or why it was refused, in fixed words
    """

    is_stored: bool
    text: str


def store_objects(session: DicomwebSession, where: RemotePath, objects: Mapping[str, bytes]) -> dict[str, StoreOutcome]:
    """Store objects in one request, which is repeated after temporary failures: an object that is already there is no
    failure, so this stores nothing twice.

    If the server refuses the request, or a part of it, without naming the object, those in question are sent again one
    by one.

    Parameters
    ----------
    session
        From ``open_session`` with MAX_ANSWER.
    where
        The URL of the service.
    objects
        Files by their SOP Instance UID.

    Returns
    -------
    dict
        The outcome of each object.

    Raises
    ------
    RemoteError
        If the server cannot be reached, refuses access, or does not answer as a DICOMweb server.
    """
    status, answer = with_retries(where, lambda: _post(session, where, objects))
    found = {uid: outcome for uid, outcome in _outcomes(answer).items() if uid in objects}
    unnamed = [uid for uid in objects if uid not in found]
    for uid in unnamed:
        if status in _ABOUT_OBJECTS and len(objects) > 1:
            found |= store_objects(session, where, {uid: objects[uid]})
        else:
            text = f"status {status}" if status in _ABOUT_OBJECTS else "its answer does not say that it is stored"
            found[uid] = StoreOutcome(is_stored=False, text=text)
    return found


def _post(session: DicomwebSession, where: RemotePath, objects: Mapping[str, bytes]) -> tuple[int, Any]:
    """The status and the answer to one request; {} if an answer to a refusal is not DICOM JSON."""
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(part for data in objects.values() for part in (head, data, b"\r\n"))
    with errors_in_fixed_words(session):
        response = session.post(
            f"{service_url(where)}/studies",
            data=body + f"--{boundary}--\r\n".encode(),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
            },
        )
        is_refusal = response.status_code in _ABOUT_OBJECTS
        if not is_refusal:
            response.raise_for_status()
        try:
            answer = parse_json(response.content)
        except ValueError:
            answer = None
        if isinstance(answer, list) and len(answer) == 1:  # as in answers to a search
            answer = answer[0]
        if not isinstance(answer, dict):
            if not is_refusal:
                raise TransferError("its answer is not that of a DICOMweb server (DICOM JSON)", passing=False)
            answer = {}
        return response.status_code, answer


def _outcomes(answer: Any) -> dict[str, StoreOutcome]:
    """What an answer says about objects, by UID; nothing in it is believed to have its form."""
    found: dict[str, StoreOutcome] = {}
    for item in _items(answer, _REFERENCED):
        code = _value(item, _WARNING)
        text = STORED if code is None else _warning(code)
        found[str(_value(item, _UID))] = StoreOutcome(is_stored=True, text=text)
    for item in _items(answer, _FAILED):
        code = _value(item, _FAILURE)
        is_there = code in _DUPLICATES
        found[str(_value(item, _UID))] = StoreOutcome(is_stored=is_there, text=THERE if is_there else _failure(code))
    return found


def _warning(code: Any) -> str:
    return _WARNINGS.get(code, f"stored with a warning ({_shown(code)})")


def _failure(code: Any) -> str:
    if not isinstance(code, int):
        return "without a reason"
    ranges = code & 0xFF00 if code >> 12 == 0xA else code & 0xF000
    return f"{_FAILURES.get(code) or _RANGES.get(ranges) or 'reason'} ({_shown(code)})"


def _shown(code: Any) -> str:
    return f"0x{code & 0xFFFF:04X}" if isinstance(code, int) else "without a reason"


def _items(answer: Any, tag: str) -> list[dict[str, Any]]:
    """The items of a sequence in DICOM JSON."""
    sequence = answer.get(tag)
    values = sequence.get("Value") if isinstance(sequence, dict) else None
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _value(item: dict[str, Any], tag: str) -> str | int | None:
    """The first value of an element in DICOM JSON."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else None
    return value if isinstance(value, str | int) else None
