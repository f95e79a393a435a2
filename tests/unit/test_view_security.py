"""`cxrscore view` answers nobody but the browser of its user, and nothing it says or opens comes from an address."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_view import CANARY, MadeView, made_view

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from cxrscore.errors import InputError
from cxrscore.viewer import server
from cxrscore.viewer.app import create_app
from cxrscore.viewer.security import HEADERS, LARGEST_BODY, Access
from cxrscore.viewer.server import ViewOptions, allowed_hosts, check_host, open_viewer
from cxrscore.viewer.viewer import Viewer

HOST = "127.0.0.1:8123"
ORIGIN = {"Origin": f"http://{HOST}"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    return made_view(tmp_path_factory.mktemp("guard"))


@pytest.fixture(scope="module")
def viewer(made: MadeView) -> Iterator[Viewer]:
    with open_viewer(ViewOptions(scores=[made.scores], films=made.films)) as found:
        yield found


@pytest.fixture
def access() -> Access:
    return Access(hosts=allowed_hosts("127.0.0.1", 8123))


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def stranger(viewer: Viewer, access: Access, lines: list[str]) -> TestClient:
    """A browser without the cookie."""
    app = create_app(viewer, access, lines.append)
    return TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)


@pytest.fixture
def user(stranger: TestClient, access: Access) -> TestClient:
    stranger.get(f"/?token={access.token}")
    return stranger


ADDRESSES = ["/", "/film/1", "/film/1/pixels", "/film/1/map/1", "/film/2/thumbnail", "/view.js", "/view.css", "/scale"]


@pytest.mark.parametrize("address", [*ADDRESSES, "/nothing"])
def test_without_the_cookie_nothing_is_answered(stranger: TestClient, address: str) -> None:
    answer = stranger.get(address)
    assert answer.status_code == 403
    assert "film" not in answer.text.lower().replace("cxrscore view", "")


def test_the_token_gives_a_cookie_that_scripts_and_other_sites_do_not_get(stranger: TestClient, access: Access) -> None:
    answer = stranger.get(f"/?token={access.token}")
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert access.token not in cookie
    assert access.token not in answer.text
    assert 'content="0; url=/"' in answer.text
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "é", "%00", "token=1", "a" * 1500], ids=range(6))
def test_a_wrong_token_gives_nothing(stranger: TestClient, token: str) -> None:
    answer = stranger.get("/", params={"token": token})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_the_token_is_no_cookie_and_the_cookie_is_no_token(stranger: TestClient, access: Access) -> None:
    assert stranger.get("/", headers={"Cookie": f"{access.cookie}={access.token}"}).status_code == 403
    assert stranger.get(f"/?token={access.session}").status_code == 403
    assert stranger.get("/", headers={"Cookie": f"{access.cookie}={access.session}"}).status_code == 200
    assert stranger.get("/", headers={"Cookie": f'{access.cookie}="\\777"; ' * 900}).status_code == 403


def test_cookies_of_other_servers_on_this_machine_do_not_lock_out(user: TestClient, access: Access) -> None:
    others = "; ".join(f"cxrscore_view_{port}={'x' * 60}" for port in range(8200, 8380))
    assert user.get("/", headers={"Cookie": f"{others}; {access.cookie}={access.session}"}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:80", "evil.example:8123", "", "127.0.0.1:8123.x"]
)
def test_another_name_of_this_server_is_refused(user: TestClient, access: Access, host: str) -> None:
    for address in ("/", f"/?token={access.token}", "/film/1/pixels"):
        answer = user.get(address, headers={"Host": host})
        assert answer.status_code == 421
        assert "set-cookie" not in answer.headers


ODD = [
    'other={"a": [1, 2]}',
    'x="no end',
    "a b c",
    "=",
    "b@d=1",
    f"long={'a' * 9000}",
    "é=ü".encode().decode("latin-1"),
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_cookies_of_other_programs_lock_nobody_out(stranger: TestClient, access: Access, odd: str) -> None:
    own = f"{access.cookie}={access.session}"
    for text in (f"{odd}; {own}", f"{own}; {odd}"):
        assert stranger.get("/", headers={"Cookie": text.encode("latin-1")}).status_code == 200
    assert stranger.get("/", headers={"Cookie": odd.encode("latin-1")}).status_code == 403


def test_a_connection_that_asks_nothing_is_closed(
    viewer: Viewer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrscore.viewer.connections.SILENT_SECONDS", 0.02)
    running = server.make_server(create_app(viewer, access), ViewOptions(scores=[]))
    with server._listening("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            for begun in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"):
                with socket.create_connection(listening.getsockname(), timeout=60) as silent:
                    silent.sendall(begun)
                    received = b"".join(iter(lambda: silent.recv(4096), b""))  # ends when the server closes
                    assert received.startswith(b"HTTP/1.1 421") == (b"Host" in begun)
        finally:
            running.should_exit = True
            thread.join()


def test_localhost_is_a_name_of_this_server(user: TestClient) -> None:
    assert user.get("/", headers={"Host": "LOCALHOST:8123"}).status_code == 200


FOREIGN: list[dict[str, str]] = [
    {},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "https://127.0.0.1:8123"},
    {"Origin": "http://127.0.0.1:9"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {**ORIGIN, "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=range(len(FOREIGN)))
def test_a_post_comes_from_a_page_of_this_server(user: TestClient, headers: dict[str, str]) -> None:
    assert user.post("/search", data={"text": "a"}, headers=headers).status_code == 403
    assert user.post("/search", data={"text": "a"}, headers=ORIGIN).status_code == 303
    assert user.post("/search", data={"text": "a"}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_server_or_port_loads_nothing(user: TestClient, site: str) -> None:
    for mode in ("no-cors", "cors", "websocket"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
        assert user.get("/film/2/thumbnail", headers=headers).status_code == 403
    assert user.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert user.get("/film/2/thumbnail", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "X"])
def test_other_methods_are_refused(user: TestClient, method: str) -> None:
    answer = user.request(method, "/", headers=ORIGIN)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_has_the_headers(user: TestClient, stranger: TestClient) -> None:
    answers = [user.get(address) for address in (*ADDRESSES, "/nothing", "/film/999999999999999999999", "/?finding=x")]
    answers += [user.get("/", headers={"Host": "x"}), user.post("/search", headers=ORIGIN), user.head("/")]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
    assert {answer.status_code for answer in answers} == {200, 404, 400, 421, 303}


TRAVERSALS = [
    "/../../etc/passwd",
    "/film/../../../etc/passwd",
    "/film/%2e%2e%2fetc%2fpasswd",
    "/film/1%2f..%2f2",
    "/film//etc/passwd",
    "/film/1/../../etc",
    "/view.css/../../server.py",
    "/%2e%2e/view.js",
    "/film/-1",
    "/film/1e3",
    "/film/0x1",
    "/film/%201",
    "/film/999999999",
    "/film/1/map/-1",
    "/film/1/map/999",
    "/film/1/pixels/../../x",
    "/film/1;/pixels",
    "/search",
    "/film/%D9%A1",
]
TRAVERSALS.append(f"/film/{'9' * 400}")


@pytest.mark.parametrize("address", TRAVERSALS, ids=range(len(TRAVERSALS)))
def test_no_path_of_an_address_is_opened(
    user: TestClient, address: str, monkeypatch: pytest.MonkeyPatch, made: MadeView
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("cxrscore.viewer.film_files.DecoderPool.load_whole", lambda *given: opened.append("film"))
    before = os.open

    def spied(path: Any, *given: Any, **options: Any) -> int:
        opened.append(os.fspath(path))
        return before(path, *given, **options)

    monkeypatch.setattr(os, "open", spied)
    answer = user.get(address)
    assert answer.status_code in (404, 405)
    assert "passwd" not in answer.text
    assert opened == []


@pytest.mark.parametrize(
    "query", ["finding=" + "9" * 5000, "x" * 3000, "a=1&" * 600, "status=%ff%fe", "page=1e9", "search=x"]
)
def test_huge_and_odd_parameters_are_refused(user: TestClient, query: str) -> None:
    assert user.get(f"/?{query}").status_code in (400, 414)


def test_a_large_body_is_refused_whatever_its_header_says(user: TestClient, viewer: Viewer, access: Access) -> None:
    assert user.post("/search", content=b"x" * (LARGEST_BODY + 1), headers=ORIGIN).status_code == 413
    assert user.post("/search", content=b"", headers={**ORIGIN, "Content-Length": "9" * 30}).status_code == 413
    assert user.post("/search", content=b"", headers={**ORIGIN, "Content-Length": b"\xb2"}).status_code == 413
    # A body in pieces has no length in its header.
    sent: list[Any] = []
    headers = [
        *((b"host", HOST.encode()), (b"origin", ORIGIN["Origin"].encode())),
        (b"cookie", f"{access.cookie}={access.session}".encode()),
    ]
    scope = {"type": "http", "method": "POST", "path": "/search", "raw_path": b"/search", "query_string": b""}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"a" * 10_000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(create_app(viewer, access)(scope, receive, send))
    assert sent[0]["status"] == 413


def test_form_values_that_no_page_makes_are_refused(user: TestClient) -> None:
    for data in ({"finding": "x"}, {"sort": "../x"}, {f"a{n}": "1" for n in range(200)}):
        assert user.post("/search", data=data, headers=ORIGIN).status_code == 400
    assert user.post("/search", content=b"text=\xff\xfe", headers=ORIGIN).status_code == 400


def test_the_log_has_no_address_no_name_and_no_token(user: TestClient, lines: list[str], access: Access) -> None:
    user.get(f"/film/1?x={CANARY}")
    user.get(f"/{CANARY}")
    user.get(f"/?token={CANARY}")
    user.post("/search", data={"text": CANARY}, headers=ORIGIN)
    for row in range(10):
        user.get(f"/film/{row}/pixels")
    text = "\n".join(lines)
    assert "GET FilmPage.show 200" in lines
    assert "GET - 404" in lines
    for secret in (CANARY, access.token, access.session, "ward", "/film", "?"):
        assert secret not in text


def test_an_internal_error_tells_its_type_only(
    user: TestClient, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr("cxrscore.viewer.film_files.FilmFiles.film", broken)
    answer = user.get("/film/1/pixels")
    assert answer.status_code == 500
    assert CANARY not in answer.text
    assert "internal error RuntimeError" in lines
    assert CANARY not in "".join(lines)


def test_no_file_is_changed(user: TestClient, made: MadeView) -> None:
    before = made.scores.read_bytes(), made.scores.stat().st_mtime_ns
    files = sorted(path for path in made.scores.parent.rglob("*"))
    for address in ADDRESSES:
        user.get(address)
    assert (made.scores.read_bytes(), made.scores.stat().st_mtime_ns) == before
    assert sorted(path for path in made.scores.parent.rglob("*")) == files


REFUSED = {
    "lets other machines": {"host": "192.0.2.1"},
    "belong together": {"certificate": Path("a.pem")},
    "stands for all addresses": {"host": "0.0.0.0", "insecure": True},
    "all addresses": {"host": "::", "insecure": True},
}


@pytest.mark.parametrize("words", REFUSED)
def test_other_machines_need_tls_or_an_explicit_flag(words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_host(ViewOptions(scores=[], **REFUSED[words]))  # type: ignore[arg-type]


def test_this_machine_and_what_is_asked_for_are_served() -> None:
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        check_host(ViewOptions(scores=[], host=host))
    check_host(ViewOptions(scores=[], host="192.0.2.1", insecure=True))
    check_host(ViewOptions(scores=[], host="192.0.2.1", certificate=Path("a"), key=Path("b")))
    assert allowed_hosts("127.0.0.1", 80) == ["127.0.0.1:80", "localhost:80", "127.0.0.1", "localhost"]
    assert allowed_hosts("::1", 8000)[0] == "[::1]:8000"
    assert allowed_hosts("Ward.example", 8000) == ["ward.example:8000"]
