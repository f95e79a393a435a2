"""HTTP sessions with a DICOMweb server: credentials, limits of every answer, and errors in fixed words.

Credentials go to the server of the URL only. No message quotes a URL's query, a credential or an answer.
"""

from __future__ import annotations

import base64
import http.client
import io
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import get_netrc_auth

from cxrscore.errors import InputError, RemoteError, RemoteTooLargeError
from cxrscore.remote.retry import CutShortError, TransferError
from cxrscore.remote.store import READ_TIMEOUT
from cxrscore.remote.url import RemotePath

USER, PASSWORD, TOKEN = "CXRSCORE_DICOMWEB_USER", "CXRSCORE_DICOMWEB_PASSWORD", "CXRSCORE_DICOMWEB_TOKEN"
"""Environment variables with the credentials."""
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables with the certificates of authorities; the first that is set counts."""
CONNECT_SECONDS = 10.0
SILENCE = 30.0
"""Seconds without a byte after which a connection counts as broken."""
_REDIRECTS = 5
_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}
_HOW = f"set {USER} and {PASSWORD}, or {TOKEN}, or write the host into ~/.netrc"


def service_url(where: RemotePath) -> str:
    """The http:// or https:// URL of a DICOMweb service or of a resource below it, without user, password, query and a
    slash at its end.

    Raises
    ------
    InputError
        If the URL names no host.

    Examples
    --------
    >>> service_url(RemotePath("dicomweb+https://user:secret@pacs:8443/dicom-web/?Modality=DX"))
    'https://pacs:8443/dicom-web'
    """
    url = where.bare.rstrip("/")
    scheme, _, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    found = f"{scheme.lower().removeprefix('dicomweb+')}://{server.rpartition('@')[2]}{slash}{path}"
    try:
        _origin(found)
    except ValueError:
        raise InputError(f"{where} is not valid, expected a URL such as dicomweb+https://host/dicom-web/") from None
    return found


def open_session(where: RemotePath, *, max_bytes: int, seconds: float = READ_TIMEOUT) -> DicomwebSession:
    """A session for requests to the DICOMweb server of a URL.

    Parameters
    ----------
    where
        A dicomweb+http:// or dicomweb+https:// URL.
    max_bytes
        Largest number of bytes of an answer that is accepted.
    seconds
        Time limit of an answer, from the end of the request to the last byte.

    Returns
    -------
    DicomwebSession
        To be closed after use. It takes URLs of ``service_url``. Make requests within ``errors_in_fixed_words``.

    Raises
    ------
    InputError
        If the credentials in the environment are not valid.
    """
    return DicomwebSession(where, max_bytes, seconds)


class DicomwebSession(requests.Session):
    """A session whose answers have limits, and that sends credentials to one server only.

    seconds       time limit of an answer; it may be set for the next request
    received      number of bytes of all answers
    more_results  whether the last answer said that there are more results than it has (HTTP warning 299)
    states_end    whether the end of the last body is known, so that a broken connection is not taken for it
    has_login     whether it sends credentials
    """

    def __init__(self, where: RemotePath, max_bytes: int, seconds: float) -> None:
        super().__init__()
        self._where, self._server = where, _origin(service_url(where))
        self.seconds, self.received, self.more_results, self.states_end = seconds, 0, False, True
        self.headers.update({"User-Agent": "cxrscore", "Accept-Encoding": "identity"})
        login = credentials(where)
        self.has_login = bool(login)
        self.auth = _Login(self._server, login)
        self.max_redirects = _REDIRECTS
        self.verify = os.environ.get(_CERTIFICATES[-1]) or True  # requests takes the others, which come first
        if self._server[0] == "https":
            _check_certificates()
        for scheme in _PORTS:
            self.mount(f"{scheme}://", _Adapter(where, max_bytes, self))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """As requests does. The host is that of the URL whatever the caller set, also after a redirect."""
        request.headers.pop("Host", None)
        request.url = _sparsely_encoded(str(request.url))
        response = super().send(request, **options)
        self.more_results = response.headers.pop("Warning", "").startswith("299")  # its text is not logged
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """As requests does; RemoteError for a target that is not followed: no URL of a server, from https to http, or
        for an upload, which would become a download."""
        try:
            target = super().get_redirect_target(resp)
            if target is None:
                return None
            after = _origin(urljoin(resp.url, target))[0]
        except ValueError:
            target, after = "", ""
        if after not in _PORTS:
            reason = "the URL that it redirects to is not valid"
        elif urlsplit(resp.url).scheme == "https" and after != "https":
            reason = "it redirects from https:// to another scheme, which is not followed"
        elif resp.request.method not in ("GET", "HEAD") and resp.status_code not in (307, 308):
            reason = f"it redirects an upload (status {resp.status_code}): give the final URL"
        else:
            return target
        resp.close()
        raise RemoteError(self._where, reason)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """After a redirect: no credentials for any other server."""
        if _origin(str(prepared_request.url)) != self._server:
            prepared_request.headers.pop("Authorization", None)


def _check_certificates() -> None:
    """InputError if the file or folder with certificates of authorities that the environment names is not usable."""
    name = next((name for name in _CERTIFICATES if os.environ.get(name)), None)
    if name is None:
        return
    place = os.environ[name]
    try:
        # A context of its own: what is loaded here has no effect on connections.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            **{"capath" if os.path.isdir(place) else "cafile": place}
        )
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise InputError(
            f"{name} does not name a readable file with certificates in PEM format, or a folder of them"
        ) from None


def _sparsely_encoded(url: str) -> str:
    """The URL with what a query may have as it is (RFC 3986, 3.4) not percent-encoded: dicomweb-client encodes the
    wildcard, the comma between UIDs and the colon, which some servers, such as Orthanc 1.10, do not decode."""
    start, mark, query = url.partition("?")
    return f"{start}{mark}{_NEEDLESS.sub(lambda found: unquote(found[0]), query).replace('+', '%20')}"


_NEEDLESS = re.compile("%(2A|2C|3A|2F|3F|40)", re.IGNORECASE)


class _Login(AuthBase):
    """Adds the credentials to requests to one server."""

    def __init__(self, server: tuple[str, str, int], header: str) -> None:
        self._server, self._header = server, header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header and _origin(str(request.url)) == self._server:
            request.headers["Authorization"] = self._header
        return request


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; ValueError if there is no host, or the port is none."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("no host")
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)


def credentials(where: RemotePath) -> str:
    """The value of the Authorization header: from the environment, ~/.netrc or the URL; "" if there are none."""
    user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
    if token and user:
        raise InputError(f"{USER} and {TOKEN} are both set, expected one of them")
    if bool(user) != bool(password):
        raise InputError(f"only one of {USER} and {PASSWORD} is set, expected both")
    if token:
        if not token.isascii() or not token.isprintable():
            raise InputError(f"{TOKEN} has a character that is not printable ASCII: set it to the token alone")
        return f"Bearer {token}"
    login = (user, password) if user else get_netrc_auth(service_url(where)) or _in_url(where)
    if not login:
        return ""
    return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"


def _in_url(where: RemotePath) -> tuple[str, str] | None:
    """User and password of a URL."""
    login, at, _ = where.bare.partition("://")[2].partition("/")[0].rpartition("@")
    user, _, password = login.partition(":")
    return (unquote(user), unquote(password)) if at else None


class _Adapter(HTTPAdapter):
    """Sends requests as requests does; every answer has limits on its time and bytes."""

    def __init__(self, where: RemotePath, max_bytes: int, session: DicomwebSession) -> None:
        self._where, self._max_bytes, self._session = where, max_bytes, session
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._limit_time(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if urlsplit(proxy).scheme in _PORTS:  # other proxies have connections of their own
            self._limit_time(manager)
        return manager

    def _limit_time(self, manager: Any) -> None:
        response = staticmethod(partial(_TimedResponse, session=self._session))
        timed = {"response_class": response}
        http_connection = type("TimedConnection", (urllib3.connection.HTTPConnection,), timed)
        https_connection = type("TimedTlsConnection", (urllib3.connection.HTTPSConnection,), timed)
        manager.pool_classes_by_scheme = {
            "http": type("TimedPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": http_connection}),
            "https": type("TimedTlsPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": https_connection}),
        }

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = (CONNECT_SECONDS, min(SILENCE, self._session.seconds))
        response = super().send(request, *args, **options)
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding != "identity":
            response.close()
            raise RemoteError(self._where, f"it compresses an answer as {coding!r:.20}, which the request forbids")
        response.raw = _Body(response, self._where, self._max_bytes, self._session)
        return response


class _Body:
    """The body of an answer: RemoteTooLargeError if it is too large, CutShortError if it ends before its stated end.
    All else is urllib3's."""

    def __init__(
        self, response: requests.Response, where: RemotePath, max_bytes: int, session: DicomwebSession
    ) -> None:
        self._raw: Any = response.raw
        self._where, self._max_bytes, self._session = where, max_bytes, session
        stated = response.headers.get("Content-Length", "")
        self._stated = int(stated) if stated.isdecimal() and len(stated) < 20 else None
        session.states_end = self._stated is not None or self._raw.chunked or response.status_code in (204, 304)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, amt: int = _PIECE, decode_content: bool | None = None) -> Iterator[bytes]:
        """The body in pieces; ``requests`` reads it with this."""
        if self._stated is not None and self._stated > self._max_bytes:
            raise self._too_large()
        received = 0
        for piece in self._raw.stream(min(amt, _PIECE), decode_content=decode_content):
            received += len(piece)
            self._session.received += len(piece)
            if received > self._max_bytes:
                self._raw.close()
                raise self._too_large()
            yield piece
        if self._stated is not None and not self._raw.chunked and received != self._stated:
            raise CutShortError

    def _too_large(self) -> RemoteTooLargeError:
        return RemoteTooLargeError(self._where, f"an answer has more than {self._max_bytes:,} bytes")


class _TimedResponse(http.client.HTTPResponse):
    """An answer that has to be complete, headers and body, within a number of seconds: a time limit of a socket is one
    for each of its bytes only."""

    def __init__(self, sock: socket.socket, *args: Any, session: DicomwebSession, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self._reader = _TimedReader(sock, time.monotonic() + session.seconds)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """As http.client, which takes the end of the connection for that of the headers: an answer without a body,
        such as an empty list."""
        self._reader.in_headers = True
        super().begin()
        self._reader.in_headers = False


class _TimedReader(io.RawIOBase):
    """What a socket receives before a deadline, as ``time.monotonic`` counts; TimeoutError after it.

    in_headers  whether the headers are being read: if the connection then ends after their start, ConnectionError
    """

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._socket, self._end = sock, end
        self.in_headers = self._started = False
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open for as long as it is

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this answer is over")
        self._socket.settimeout(min(SILENCE, left))
        count = self._file.readinto(buffer)
        if count == 0 and self.in_headers and self._started:
            raise ConnectionResetError("the connection ended within the headers")
        self._started = True
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def errors_in_fixed_words(session: DicomwebSession) -> Iterator[None]:
    """Turns errors of requests, of status codes (``Response.raise_for_status``) and of JSON in the block into
    TransferError, which retry.with_retries understands."""
    try:
        yield
    except requests.RequestException as error:
        failure = _failure(error, session)
    except urllib3.exceptions.HTTPError as error:
        failure = TransferError(f"the transfer failed ({type(error).__name__})", passing=True)
    except (ValueError, RecursionError):  # numbers or nesting beyond those that JSON may have here
        failure = TransferError("its answer is not valid", passing=False)
    else:
        return
    raise failure


def _failure(error: requests.RequestException, session: DicomwebSession) -> Exception:
    """An error of requests in fixed words."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _by_status(error.response, session)
    if isinstance(error, requests.exceptions.JSONDecodeError) and not session.states_end:
        return TransferError("the transfer ended early", passing=True)
    for kinds, reason, passing in _REASONS:
        if isinstance(error, kinds):
            return TransferError(reason, passing=passing)
    causes = _causes(error)
    if isinstance(error, requests.exceptions.SSLError):
        return _by_tls(causes)
    unknown = next((one for one in causes if isinstance(one, socket.gaierror)), None)
    if unknown is not None:
        return TransferError("the name of its host is unknown", passing=unknown.errno == socket.EAI_AGAIN)
    if any(isinstance(one, ConnectionRefusedError) for one in causes):
        return TransferError("no server answers there (connection refused)", passing=True)
    if any(isinstance(one, TimeoutError) for one in causes):
        return TransferError("no answer in time", passing=True)
    return TransferError(f"the transfer failed ({type(error).__name__})", passing=True)


_WRONG_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_REASONS: tuple[tuple[Any, str, bool], ...] = (
    (requests.exceptions.JSONDecodeError, "its answer is not JSON, as that of a DICOMweb server is", False),
    (requests.TooManyRedirects, "it redirects endlessly", False),
    (requests.exceptions.ChunkedEncodingError, "the transfer ended early", True),
    (requests.exceptions.ContentDecodingError, "the transfer ended early", True),
    (requests.Timeout, "no answer in time", True),
    (requests.exceptions.ProxyError, "the proxy does not pass it on", True),
    (requests.exceptions.InvalidHeader, "the headers of its answer contradict each other", False),
    (_WRONG_URL, "the URL, or that of a proxy in the environment, is not valid", False),
)


def _by_status(response: requests.Response, session: DicomwebSession) -> TransferError:
    status = response.status_code
    if status == 401:
        refused = "it refuses the user and password, or the token (status 401)"
        reason = refused if session.has_login else f"it asks for a user and password (status 401): {_HOW}"
    elif status == 400:
        reason = "it does not accept the request (status 400): check the URL and the query"
    elif status == 403:
        reason = "this user has no right to it (status 403): ask whoever runs the server"
    elif status in (404, 405, 410):
        reason = f"there is no DICOMweb service at this URL, or not this object in it (status {status})"
    else:
        reason = f"the server answers with status {status}"
    passing = status >= 500 or status in (408, 429)
    return TransferError(reason, passing=passing, status=status, headers=response.headers)


def _by_tls(causes: list[BaseException]) -> TransferError:
    invalid = next((one for one in causes if isinstance(one, ssl.SSLCertVerificationError)), None)
    if invalid is None:
        return TransferError("TLS fails: the server may be one for http://", passing=False)
    return TransferError(
        f"its certificate is not valid ({invalid.verify_message:.100}): REQUESTS_CA_BUNDLE names a file with the "
        "certificates of your own authority",
        passing=False,
    )


def _causes(error: BaseException) -> list[BaseException]:
    """The error and those that led to it, however a library keeps them."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 50:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found
