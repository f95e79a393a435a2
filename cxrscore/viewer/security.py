"""Who may ask: a layer around the application that lets through only the browser of the user who started it.

Each request needs the cookie that the first address was exchanged for, and a Host header of this server, so that no
other page can reach it under a name of its own (DNS rebinding). What changes something must be a POST from a page of
this server. All answers forbid scripts, frames and requests from elsewhere, and are not stored.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; img-src 'self' data:; style-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers send forms without an Origin, which is checked. No other server gets a referrer.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store, private",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LONGEST_ADDRESS = 2000
"""Bytes of path and query."""
LONGEST_HEADERS = 64 << 10
"""Bytes of the headers of a request; browsers send up to 180 cookies of a host, of whatever port."""
LARGEST_BODY = 64 << 10
"""Bytes of the body of a request."""
_ELSEWHERE = ("cross-site", "same-site")
"""Pages of other servers. Those of other ports of this machine are same-site: they get the cookie."""
_READING, _CHANGING = ("GET", "HEAD"), "POST"
_LEAD_ON = (
    '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/">'
    '<link rel="icon" href="data:,">'
    '<title>cxrscore view</title><p><a href="/">Open the films</a></p></html>'
)
_NO_COOKIE = "This page needs the address that `cxrscore view` printed. Open that address in this browser."


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a request must have.

    Attributes
    ----------
    hosts : sequence of str
        Allowed values of the Host header, such as "127.0.0.1:8000", lower case.
    scheme : str
        "http" or "https".
    cookie : str
        Name of the cookie; the cookies of a host are shared by all its ports.
    token : str
        Random text in the first address.
    session : str
        Random value of the cookie.
    """

    hosts: Sequence[str]
    scheme: str = "http"
    cookie: str = "cxrscore_view"
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


class RefusedError(Exception):
    """A request is refused with this status, for this reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """The layer around an application.

    log  called with method, the route that answered and the status of each request; never with an address
    """

    def __init__(self, app: ASGIApp, access: Access, log: Callable[[str], None] | None = None) -> None:
        self._app, self._access, self._log = app, access, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websocket is accepted
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(send, scope, self._log)
        try:
            response = self._check(scope)
            if response is None:
                await self._app(scope, _Bounded(receive).receive, answer.send)
                return
        except RefusedError as error:
            response = PlainTextResponse(f"{error}\n", error.status)
        except Exception as error:  # noqa: BLE001 - its text may name a film, so that nothing but its type is told
            if answer.begun:
                raise ConnectionError("an answer could not be completed") from None
            if self._log:
                self._log(f"internal error {type(error).__name__}")
            response = PlainTextResponse("Internal error. The terminal of `cxrscore view -v` names its type.\n", 500)
        await response(scope, receive, answer.send)

    def _check(self, scope: Scope) -> Response | None:
        """RefusedError, or an answer to the first address; None if the application may answer."""
        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._access.hosts:
            raise RefusedError(421, "Wrong Host header: this server answers only under the address that it printed.")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_ADDRESS:
            raise RefusedError(414, f"The address is too long, expected at most {LONGEST_ADDRESS} bytes.")
        if scope["method"] not in (*_READING, _CHANGING):
            raise RefusedError(405, "Wrong method, expected GET, HEAD or POST.")
        if scope["method"] == _CHANGING:
            self._check_origin(headers)
        elif headers.get("sec-fetch-site") in _ELSEWHERE and headers.get("sec-fetch-mode") != "navigate":
            raise RefusedError(403, "Pages of other servers may not load anything of this one.")
        if (response := self._exchange(scope)) is not None:
            return response
        if not hmac.compare_digest(self._cookie(headers).encode(), self._access.session.encode()):
            raise RefusedError(403, _NO_COOKIE)
        return None

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """RefusedError unless a page of this server sends the request."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        same = {f"{self._access.scheme}://{host}" for host in self._access.hosts}
        if (origin is None and site is None) or site not in (None, "same-origin"):
            raise RefusedError(403, "The request does not come from a page of this server.")
        if origin is not None and origin.lower() not in same:
            raise RefusedError(403, "The request comes from a page of another server.")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length[:9]) > LARGEST_BODY:
            raise RefusedError(413, f"The request is too large, expected at most {LARGEST_BODY} bytes.")

    def _exchange(self, scope: Scope) -> Response | None:
        """The answer to the first address: the cookie, and a page that leads to the address without the token."""
        if scope["path"] != "/" or scope["method"] != "GET" or b"token=" not in scope["query_string"]:
            return None
        try:
            given = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=20).get("token", [""])[0]
        except ValueError:
            raise RefusedError(403, _NO_COOKIE) from None
        if not hmac.compare_digest(given.encode(), self._access.token.encode()):
            raise RefusedError(403, _NO_COOKIE)
        # Not an answer 303: a browser that comes from elsewhere, such as a link in a terminal, would follow it without
        # a SameSite cookie. A page of this server leads on instead, and takes the place of this address in the history.
        response = HTMLResponse(_LEAD_ON)
        response.set_cookie(
            self._access.cookie,
            self._access.session,
            httponly=True,
            samesite="strict",
            secure=self._access.scheme == "https",
        )
        return response

    def _cookie(self, headers: Mapping[str, str]) -> str:
        """The value of the cookie. Programs at other ports of this host have cookies here, too, of whatever form: a
        parser that stops at an odd one would lock the user out."""
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._access.cookie:
                return value
        return ""


class _Answer:
    """Adds the headers, and tells the log."""

    def __init__(self, send: Send, scope: Scope, log: Callable[[str], None] | None) -> None:
        self._send, self._scope, self._log = send, scope, log
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if self._log:
                method = self._scope["method"] if self._scope["method"] in (*_READING, _CHANGING) else "other"
                self._log(f"{method} {self._route()} {message['status']}")
        await self._send(message)

    def _route(self) -> str:
        """The pattern of the address, never the address itself."""
        return str(getattr(self._scope.get("endpoint"), "__qualname__", "-").rpartition(".<locals>.")[2])


class _Bounded:
    """The body of a request, not more than LARGEST_BODY whatever its header says."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._rest = receive, LARGEST_BODY

    async def receive(self) -> Message:
        message = await self._receive()
        self._rest -= len(message.get("body", b""))
        if self._rest < 0:
            raise RefusedError(413, f"The request is too large, expected at most {LARGEST_BODY} bytes.")
        return message
