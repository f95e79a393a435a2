"""Large files of web servers, by the standard library alone: a broken download is resumed, also by a later run."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cxrscore.errors import InputError, RemoteError, RemoteTooLargeError
from cxrscore.io.atomic import atomic_write_bytes, cannot_write, write_all
from cxrscore.remote.retry import CutShortError, with_retries
from cxrscore.remote.store import READ_TIMEOUT
from cxrscore.remote.transfer import SLOWEST
from cxrscore.remote.url import RemotePath

SILENCE = 60.0
"""Seconds without a byte after which a connection counts as broken."""
_READ = 1 << 20
_GAIN = 1 << 20
"""Bytes that a series of attempts must gain for another series."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def _no_start(total: int | None, received: int) -> None:
    """Tells nobody."""


def _no_bytes(received: int, total: int | None) -> None:
    """Tells nobody."""


@dataclass(frozen=True, kw_only=True)
class WebDownload:
    """A file of a web server, and the incomplete file on this disk that becomes it.

    where     its URL, http or https
    part      what has been received; ``PART.json`` beside it says of which version of the file
    most      largest accepted size in bytes
    started   called before the first byte of each request, with the size of the whole file (None if the server does
              not state it) and the bytes that are there already
    received  called with the bytes that are there, and the size of the whole file or None
    """

    where: RemotePath
    part: Path
    most: int
    started: Callable[[int | None, int], None] = field(default=_no_start)
    received: Callable[[int, int | None], None] = field(default=_no_bytes)

    def run(self) -> None:
        """Completes ``part``. What a stopped run received is kept if the server still has the same version of the file
        (by its ETag, else its date of change), and sends the rest of it; otherwise the download starts anew.

        RemoteError if it fails; what was received then stays, for another run. WriteError if the disk is full.
        """
        if not self.where.web:
            raise InputError(f"{self.where} cannot be downloaded: expected a URL that begins with https:// or http://")
        while True:
            before = self._size()
            try:
                with_retries(self.where, self._attempt)
            except RemoteError as error:
                if not error.passing or self._size() < before + _GAIN:
                    raise
            else:
                self.record.unlink(missing_ok=True)
                return

    def discard(self) -> None:
        """Removes what was received."""
        for path in (self.part, self.record):
            path.unlink(missing_ok=True)

    @property
    def record(self) -> Path:
        """Which version of the file the part is of."""
        return self.part.with_name(f"{self.part.name}.json")

    def _size(self) -> int:
        try:
            return self.part.stat().st_size
        except OSError:
            return 0

    def _validator(self) -> str:
        """The ETag or date by which the server knows the version of the part; "" if there is none for this URL."""
        try:
            record = json.loads(self.record.read_bytes())
            return str(record["validator"]) if record["url"] == str(self.where) else ""
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""

    def _attempt(self) -> None:
        headers = {"User-Agent": "cxrscore", "Accept-Encoding": "identity"}
        validator, there = self._validator(), self._size()
        if there and validator.isprintable() and validator:
            headers |= {"Range": f"bytes={there}-", "If-Range": validator}
        url, login = _without_login(self.where.url.partition("#")[0])
        request = urllib.request.Request(url, headers=headers)
        if login:  # for this server, and for none to which it redirects
            request.add_unredirected_header("Authorization", f"Basic {login}")
        with self._opened(request) as answer:
            first, total = self._extent(answer, there)
            if total is not None and total > self.most:
                raise RemoteTooLargeError(self.where, f"it has {total:,} bytes, expected at most {self.most:,}")
            if first == 0:
                self._remember(answer)
            self.started(total, first)
            self._copy(answer, first, total)

    @contextmanager
    def _opened(self, request: urllib.request.Request) -> Iterator[HTTPResponse]:
        try:
            with _opener(self.where).open(request, timeout=SILENCE) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # there is no such range: the part is not of this file
                self.discard()
                raise CutShortError from None
            if 300 <= error.code < 400:
                raise RemoteError(self.where, "it redirects endlessly, or to nothing that can be downloaded") from None
            raise
        except urllib.error.URLError as error:
            raise error.reason if isinstance(error.reason, Exception) else error from None

    def _extent(self, answer: HTTPResponse, there: int) -> tuple[int, int | None]:
        """Where the bytes of the answer begin, and the size of the whole file."""
        coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if coding != "identity":
            raise RemoteError(
                self.where, f"the server compresses it as {coding!r:.20}, although the request forbids it"
            )
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != there:
                self.discard()
                raise RemoteError(self.where, "the server sends another range than asked for", passing=True)
            return there, int(found[2])
        if answer.status != 200:
            raise RemoteError(self.where, f"the server answers with status {answer.status}")
        stated = answer.headers.get("Content-Length", "")
        return 0, int(stated) if stated.isdecimal() else None

    def _remember(self, answer: HTTPResponse) -> None:
        """Records the version of the file. A weak ETag (W/"...") does not say that the bytes are the same."""
        tag = answer.headers.get("ETag", "")
        validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
        record = {"url": str(self.where), "validator": validator}
        atomic_write_bytes(self.record, json.dumps(record).encode())

    def _copy(self, answer: HTTPResponse, first: int, total: int | None) -> None:
        start, received = time.monotonic(), first
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | (os.O_APPEND if first else os.O_TRUNC)
        try:
            descriptor = os.open(self.part, flags, 0o600)
        except OSError as error:
            raise cannot_write(self.part, error) from error
        try:
            while piece := answer.read1(_READ):  # what is there: waiting for all of a slow answer has no time limit
                received += len(piece)
                if received > (self.most if total is None else total):
                    raise RemoteTooLargeError(self.where, f"the server sends more than {received - len(piece):,} bytes")
                if received - first < SLOWEST * (time.monotonic() - start - READ_TIMEOUT):
                    raise RemoteError(self.where, f"it arrives at less than {SLOWEST} bytes per second", passing=True)
                self._write(descriptor, piece)
                self.received(received, total)
        finally:
            os.close(descriptor)
        if total is not None and received != total:
            raise CutShortError

    def _write(self, descriptor: int, piece: bytes) -> None:
        try:
            write_all(descriptor, piece)
        except OSError as error:
            with suppress(OSError):
                self.discard()
            raise cannot_write(self.part, error) from error


def _without_login(url: str) -> tuple[str, str]:
    """A URL without "user:password@", and these as HTTP sends them; "" if there are none. urllib takes them for a part
    of the name of the server."""
    scheme, _, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    login, at, host = server.rpartition("@")
    return f"{scheme}://{host}{slash}{path}", base64.b64encode(unquote(login).encode()).decode() if at else ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as urllib does, to web servers only, and never from https to http."""

    def __init__(self, where: RemotePath) -> None:
        self._where = where

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = newurl.partition(":")[0].lower()
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            fp.close()
            raise RemoteError(
                self._where, f"it redirects from {req.type}:// to {scheme[:20]}://, which is not followed"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(where: RemotePath) -> urllib.request.OpenerDirector:
    """For http and https only, with the proxies of the environment: no file:, ftp: or data: is ever opened."""
    opener = urllib.request.OpenerDirector()
    handlers = (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(where),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener
