"""Films of a PACS: found by QIDO-RS with dicomweb-client, received by WADO-RS as they are stored there."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cxrscore.errors import RemoteError
from cxrscore.remote.bounds import DicomAttributes, Entry, ListingBounds
from cxrscore.remote.dicomweb_query import optional_library, search_filters
from cxrscore.remote.retry import CutShortError, TransferError, with_retries
from cxrscore.remote.store import PIECE, READ_TIMEOUT
from cxrscore.remote.url import RemotePath

PAGE = 1000
"""Number of objects of a page that is asked for."""
STEPS_BACK = 20
"""Largest number of pages that are asked for again because objects before them are gone."""
PAGE_BYTES = 64 << 20
"""Largest page in bytes."""
LARGEST = 257 << 20
"""Largest answer in bytes with an object: a little more than images.film.MAX_BYTES, the limit of a film."""
PAGE_SECONDS = 600.0
"""Time limit of a page: some servers search for minutes."""
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""The object in the transfer syntax in which it is stored."""
STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
_SOP_CLASS, _MODALITY, _VIEW, _MANUFACTURER = "00080016", "00080060", "00185101", "00080070"
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_UID_LENGTH = 64
_BOUNDARY_LENGTH = 70
_PART_HEADERS = 8192
"""Largest number of bytes of the headers of a part."""
_WITH_IDENTIFIERS = 1 << 16
"""The first bytes of an object that hold its SOP Instance UID."""


def valid_uid(text: object) -> bool:
    """Whether this is a DICOM UID: PS3.5 chapter 9, but with leading zeros, which some devices write."""
    return isinstance(text, str) and len(text) <= _UID_LENGTH and _UID.fullmatch(text) is not None


class DicomwebStore:
    """A DICOMweb service, or one film in it, whose path is STUDY/SERIES/INSTANCE."""

    def __init__(self, where: RemotePath) -> None:
        optional_library("requests")
        from cxrscore.remote.dicomweb_session import service_url

        self._where, self._url = where, service_url(where)

    def entries(self, unreadable: list[str], bounds: ListingBounds) -> Iterator[Entry]:
        """The objects that match the query, each once, with what the server says of them."""
        from cxrscore.remote.dicomweb_session import open_session

        client_class, filters = optional_library("dicomweb_client").DICOMwebClient, search_filters(self._where)
        known: set[str] = set()
        overlaps = False
        with open_session(self._where, max_bytes=PAGE_BYTES, seconds=PAGE_SECONDS) as session:
            client = client_class(self._url, session=session)
            client.set_http_retry_params(retry=False)
            offset = steps_back = 0
            while page := self._page(client, session, filters, offset, bounds):
                bounds.add_names(len(page))
                if known and page[0].path not in known and overlaps:
                    steps_back = self._step_back(steps_back)
                    offset = max(offset - PAGE, 0)
                    continue
                new = [entry for entry in page if entry.path not in known]
                known.update(entry.path for entry in new)
                yield from self._valid(new, unreadable)
                if not new:
                    self._check_repetition(len(page), more=session.more_results)
                    return
                overlaps = len(page) > 1  # the next page then begins with an object that is known
                offset += len(page) - overlaps

    def _step_back(self, steps: int) -> int:
        """Number of steps back in the list, after a page that does not go on where the last one ended: objects before
        it are gone from the PACS, and others took their places. RemoteError after too many."""
        if steps >= STEPS_BACK:
            raise RemoteError(
                self._where,
                "its list changes while it is read, so some films would be missing: run the command again, or narrow "
                "the query",
            )
        return steps + 1

    def _page(
        self, client: Any, session: Any, filters: Mapping[str, str], offset: int, bounds: ListingBounds
    ) -> list[Entry]:
        """The objects from this one on; an empty list after the last one."""
        from cxrscore.remote.dicomweb_session import errors_in_fixed_words

        fields = [_SOP_CLASS, _MODALITY, _VIEW, _MANUFACTURER]

        def attempt() -> list[Entry]:
            session.seconds = max(min(PAGE_SECONDS, bounds.seconds_left()), 1)
            before = session.received
            with errors_in_fixed_words(session):
                found = client.search_for_instances(limit=PAGE, offset=offset, fields=fields, search_filters=filters)
            if session.received == before and not session.states_end:
                raise CutShortError  # not the end of the list
            bounds.add_bytes(session.received - before)
            return _entries(found)

        return with_retries(self._where, attempt, bounds.seconds_left())

    def _check_repetition(self, count: int, *, more: bool) -> None:
        """RemoteError after a page of known objects alone, unless it may be all that the server has: some servers
        ignore the paging, and always send everything."""
        if count == PAGE or more:
            raise RemoteError(
                self._where,
                f"it sends the same {count:,} objects again when asked for the next ones, so some would be missing: "
                "narrow the query, for example to fewer days",
            )

    @staticmethod
    def _valid(entries: Sequence[Entry], unreadable: list[str]) -> Iterator[Entry]:
        for entry in entries:
            if all(map(valid_uid, entry.path.split("/"))):
                yield entry
            else:
                unreadable.append("an object in the PACS whose UIDs are not valid")

    def pieces(self, first: int | None = None, seconds: float | None = None) -> Iterator[bytes]:
        """The bytes of a film. They are complete before the first piece is returned, which only a whole answer is."""
        from cxrscore.remote.dicomweb_session import errors_in_fixed_words, service_url

        service, study, series, instance = self._film()
        session = _session(service)
        session.seconds = READ_TIMEOUT if seconds is None else seconds
        url = f"{service_url(service)}/studies/{study}/series/{series}/instances/{instance}"
        with errors_in_fixed_words(session), session.get(url, headers={"Accept": ACCEPT}, stream=True) as answer:
            if answer.status_code == 401:  # a token may expire in the middle of a run: then the run has to end
                raise RemoteError(self._where, "it refuses the credentials (status 401)", passing=True, status=401)
            answer.raise_for_status()
            content = bytes(answer.content)
            data = self._object(answer.headers.get("Content-Type", ""), content, complete=session.states_end)
        if not re.search(rf"(?<![0-9.]){re.escape(instance)}(?![0-9.])".encode(), data[:_WITH_IDENTIFIERS]):
            raise RemoteError(self._where, "the server sends another object than the one asked for")
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]

    def _object(self, kind: str, body: bytes, *, complete: bool) -> bytes:
        """The object in an answer; CutShortError unless its end is there.

        complete: whether the answer states its own end.
        """
        header = Message()
        header["Content-Type"] = kind
        name, boundary = header.get_content_type(), header.get_param("boundary")
        if name == "application/dicom":
            if not complete:
                raise RemoteError(self._where, "an object alone without its length, so that half of it may be missing")
            return body
        if name != "multipart/related":
            raise RemoteError(self._where, f"an answer of type {name!r:.40}, expected 'multipart/related'")
        if not isinstance(boundary, str) or not 0 < len(boundary) <= _BOUNDARY_LENGTH:
            raise RemoteError(self._where, "an answer of several parts that does not state what stands between them")
        parts = _parts(body, boundary.encode())
        if len(parts) != 1:
            raise RemoteError(self._where, f"an answer with {len(parts)} objects, expected one")
        return parts[0]

    def size(self) -> int:
        """Not known before a film is received."""
        raise NotImplementedError("a DICOMweb service states no sizes")

    def put(self, source: Path) -> None:
        raise NotImplementedError("a DICOMweb service takes DICOM objects only")

    def _film(self) -> tuple[RemotePath, str, str, str]:
        """The service and the three UIDs; RemoteError if this is not the URL of a film."""
        root, *uids = self._where.bare.rstrip("/").rsplit("/", 3)
        if len(uids) != 3 or not all(valid_uid(unquote(uid)) for uid in uids):
            raise RemoteError(self._where, "a DICOMweb service holds films only, below it as STUDY/SERIES/INSTANCE")
        study, series, instance = uids
        return RemotePath(root), study, series, instance


def _entries(found: Any) -> list[Entry]:
    """The objects of a page; TransferError if it is not a list of objects in DICOM JSON."""
    with suppress(TypeError, AttributeError, KeyError, IndexError):
        return [_entry(one) for one in found]
    raise TransferError("its answer is not a list in DICOM JSON, as that of a DICOMweb server is", passing=False)


def _entry(found: Mapping[str, Any]) -> Entry:
    """One object of a page; KeyError if it is not one at all."""
    _ = found[INSTANCE]
    path = "/".join(_value(found, tag) for tag in (STUDY, SERIES, INSTANCE))
    stated = DicomAttributes(
        sop_class=_value(found, _SOP_CLASS),
        modality=_value(found, _MODALITY),
        view=_value(found, _VIEW),
        manufacturer=_value(found, _MANUFACTURER),
    )
    return Entry(path=path, dicom=stated)


def _value(found: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute if it is a text; "" otherwise."""
    values = found.get(tag, {}).get("Value") or [""]
    return values[0].strip("\0 ") if isinstance(values[0], str) else ""


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """The contents of the parts of a multipart body (RFC 2046, 5.1.1); CutShortError unless it is complete."""
    marker = b"\r\n--" + boundary
    first = body.find(marker[2:])
    if first < 0 or (first > 0 and body[first - 2 : first] != b"\r\n"):
        raise CutShortError
    start = first + len(marker) - 2
    parts: list[bytes] = []
    while body[start : start + 2] != b"--":  # which closes the last part
        content = body.find(b"\r\n\r\n", start, start + _PART_HEADERS) + 4
        end = body.find(marker, content)
        if content < 4 or end < 0:
            raise CutShortError
        parts.append(body[content:end])
        start = end + len(marker)
    return parts


_OF_THREAD = threading.local()


def _session(service: RemotePath) -> Any:
    """The session of this thread with a service: a connection serves many films, and a session one thread only. Another
    service, or other credentials, replace it."""
    from cxrscore.remote.dicomweb_session import credentials, open_session

    key = service.url, credentials(service)
    if getattr(_OF_THREAD, "key", None) != key:
        if hasattr(_OF_THREAD, "session"):
            _OF_THREAD.session.close()
        _OF_THREAD.session, _OF_THREAD.key = open_session(service, max_bytes=LARGEST), key
    return _OF_THREAD.session
