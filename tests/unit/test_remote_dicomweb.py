"""A DICOMweb server that fails: what is asked, with which credentials, how much is received, and what is told."""

import base64
import json
import shutil
import ssl
import subprocess
import sys
import threading

import pytest

pytest.importorskip("dicomweb_client")
from corpus_bytes import dicom
from servers import at_first, pacs, web

from cxrscore.errors import InputError, RemoteError, RemoteMissingError, RemoteTooLargeError
from cxrscore.images import Status, read_film
from cxrscore.remote import (
    RemotePath,
    check_writable,
    dicomweb_session,
    dicomweb_store,
    list_remote,
    read_remote,
    retry,
)

UID = "1.2.3"
FILM = f"1.2/1.2.1/{UID}"
DATA = dicom(SOPInstanceUID=UID)
LIMIT = 1 << 20


@pytest.fixture(autouse=True)
def hasty(monkeypatch, tmp_path):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"CXRSCORE_DICOMWEB_{name}", raising=False)


@pytest.fixture
def server():
    with pacs() as one:
        one.films[FILM] = DATA
        yield one


def basic(user, password):
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def listed(where):
    unreadable = []
    return [entry.path for entry in list_remote(RemotePath(where), unreadable)], unreadable


def film(server):
    return RemotePath(server.dicomweb) / FILM


def sent(server):
    return [headers.get("Authorization", "") for headers in server.headers]


def test_films_are_listed_with_what_the_server_states(server):
    server.stated[FILM] = {"00185101": "PA", "00080070": "Maker"}
    (entry,) = list_remote(RemotePath(f"{server.dicomweb}/?StudyDate=20260101-&Modality=DX"), [])
    assert (entry.path, entry.dicom.modality, entry.dicom.view, entry.dicom.manufacturer) == (FILM, "DX", "PA", "Maker")
    first, last = server.queries
    assert (first["StudyDate"], first["Modality"], first["offset"], last["offset"]) == (
        ["20260101-"],
        ["DX"],
        ["0"],
        ["1"],
    )
    assert sorted(first["includefield"]) == ["00080016", "00080060", "00080070", "00185101"]


def test_a_query_is_percent_encoded_where_it_must_be_alone(server, monkeypatch):
    lines = []
    do_get = server.RequestHandlerClass.do_GET
    monkeypatch.setattr(
        server.RequestHandlerClass, "do_GET", lambda handler: (lines.append(handler.path), do_get(handler))
    )
    listed(f"{server.dicomweb}?PatientName=A*&StudyDescription=a%20%26b+c&StudyInstanceUID=1.2,1.3&StudyTime=10:00")
    assert "PatientName=A*&StudyDescription=a%20%26b%20c&StudyInstanceUID=1.2,1.3&StudyTime=10:00" in lines[0]


def test_a_film_is_received_as_it_is_stored(server):
    assert read_remote(film(server), LIMIT) == DATA
    assert server.headers[-1]["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert server.headers[-1]["Host"] == f"127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("page", [1, 3, 7, 1000])
def test_pages_are_asked_for_until_one_is_empty(server, monkeypatch, page):
    monkeypatch.setattr(dicomweb_store, "PAGE", page)
    server.films = {f"1.2/1.2.1/1.2.3.{number}": b"" for number in range(7)}
    assert sorted(listed(server.dicomweb)[0]) == sorted(server.films)
    assert len(server.queries) == -(-7 // page) + 1


def test_a_server_without_paging_is_listed_once(server):
    server.films = {f"1.2/1.2.1/1.2.3.{number}": b"" for number in range(7)}
    server.paging = "none"
    assert len(listed(server.dicomweb)[0]) == 7
    assert len(server.queries) == 2


def test_a_server_that_repeats_its_first_page_is_an_error_because_films_would_be_missing(server, monkeypatch):
    monkeypatch.setattr(dicomweb_store, "PAGE", 3)
    server.films = {f"1.2/1.2.1/1.2.3.{number}": b"" for number in range(7)}
    server.paging = "limit"
    with pytest.raises(RemoteError, match="the same 3 objects again when asked for the next ones"):
        listed(server.dicomweb)
    assert len(server.queries) == 2


@pytest.mark.parametrize("uid", ["1.2.x", "../../etc", "1..2", "7", "1." + "2" * 63, ""])
def test_an_object_without_valid_uids_is_told_and_not_asked_for(server, uid):
    server.stated[FILM] = {"00080018": uid}
    assert listed(server.dicomweb) == ([], ["an object in the PACS whose UIDs are not valid"])


@pytest.mark.parametrize("deleted", [1, 2, 3])
def test_objects_that_are_deleted_while_the_list_is_read_hide_no_others(server, monkeypatch, deleted):
    monkeypatch.setattr(dicomweb_store, "PAGE", 4)
    films = [f"1.2/1.2.1/1.2.3.{number:02}" for number in range(15)]
    server.films = dict.fromkeys(films, b"")
    answer = server.RequestHandlerClass._search

    def search(handler, query):
        answer(handler, query)
        if len(server.queries) in (1, 3):  # after the answer, before the next one
            for film in sorted(server.films)[:deleted]:
                del server.films[film]

    monkeypatch.setattr(server.RequestHandlerClass, "_search", search)
    assert set(listed(server.dicomweb)[0]) >= set(server.films)
    assert len(server.queries) < 12


def test_a_list_without_order_is_an_error_because_films_would_be_missing(server, monkeypatch):
    monkeypatch.setattr(dicomweb_store, "PAGE", 4)
    numbers = iter(range(1000))

    def search(handler, query):
        server.films = {f"1.2/1.2.1/1.2.3.{next(numbers)}": b"" for _ in range(20)}
        found = [handler._stated(key) for key in server.films][:4]
        handler.reply(200, json.dumps(found).encode(), {})

    monkeypatch.setattr(server.RequestHandlerClass, "_search", search)
    with pytest.raises(RemoteError, match="its list changes while it is read"):
        listed(server.dicomweb)


CREDENTIALS = {
    "basic": ({"USER": "me", "PASSWORD": "canary é"}, basic("me", "canary é")),
    "token": ({"TOKEN": "canary"}, "Bearer canary"),
    "none": ({}, ""),
}


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_credentials_of_the_environment_are_sent(server, monkeypatch, kind):
    variables, server.login = CREDENTIALS[kind]
    for name, value in variables.items():
        monkeypatch.setenv(f"CXRSCORE_DICOMWEB_{name}", value)
    assert listed(server.dicomweb)[0] == [FILM]
    assert read_remote(film(server), LIMIT) == DATA
    assert set(sent(server)) == {server.login}


def test_credentials_of_netrc_come_before_those_of_the_url(server, tmp_path):
    where = RemotePath(server.dicomweb.replace("//", "//me:can%40ary@"))
    server.login = basic("me", "can@ary")
    assert listed(where.url)[0] == [FILM]
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password canary\n")
    server.login = basic("other", "canary")
    assert read_remote(where / FILM, LIMIT) == DATA


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"USER": "me", "PASSWORD": "x", "TOKEN": "y"}, "both set"),
        ({"USER": "me"}, "only one of"),
        ({"TOKEN": "canary\nX: y"}, "not printable"),
    ],
)
def test_credentials_that_contradict_each_other_are_an_error(server, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(f"CXRSCORE_DICOMWEB_{name}", value)
    with pytest.raises(InputError, match=message) as caught:
        listed(server.dicomweb)
    assert (server.queries, "canary" in str(caught.value)) == ([], False)


def test_no_other_server_gets_credentials(server, monkeypatch, tmp_path):
    monkeypatch.setenv("CXRSCORE_DICOMWEB_TOKEN", "canary")
    (tmp_path / "netrc").write_text("default login other password canary\n")
    with pacs() as other:
        other.films[FILM] = DATA
        server.faults[UID] = f"to {other.url}/dicom-web/studies/1.2/series/1.2.1/instances/{UID}"
        assert read_remote(film(server), LIMIT) == DATA
        assert (sent(server), sent(other)) == (["Bearer canary"], [""])


def test_no_redirect_leads_from_https_to_http(server, certificate):
    server.socket = certificate.wrap_socket(server.socket, server_side=True)
    server.faults["instances"] = f"to {server.url}/elsewhere"
    with pytest.raises(RemoteError, match="redirects from https:// to another scheme"):
        listed(server.dicomweb.replace("http", "https").replace("127.0.0.1", "localhost"))


@pytest.mark.parametrize(("status", "stored"), [(302, False), (307, True)])
def test_an_upload_never_becomes_a_download(server, monkeypatch, status, stored):
    def redirect(handler):
        handler.rfile.read(int(handler.headers["Content-Length"]))
        if handler.path == "/final":
            handler.reply(200, b"stored", {})
        else:
            handler.reply(status, b"", {"Location": "/final"})

    monkeypatch.setattr(server.RequestHandlerClass, "do_POST", redirect, raising=False)
    where = RemotePath(server.dicomweb)
    with dicomweb_session.open_session(where, max_bytes=LIMIT) as session:
        if stored:
            assert session.post(dicomweb_session.service_url(where), data=DATA).content == b"stored"
        else:
            with pytest.raises(RemoteError, match=r"redirects an upload \(status 302\)"):
                session.post(dicomweb_session.service_url(where), data=DATA)


def test_a_missing_package_is_named_with_how_to_install_it(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "dicomweb_client", None)
    with pytest.raises(InputError, match=r'pip install "cxrscore\[dicom\]"'):
        listed(server.dicomweb)


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """For localhost, which REQUESTS_CA_BUNDLE names."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed: it makes a certificate")
    key, own = tmp_path / "key.pem", tmp_path / "own.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", own)
    subprocess.run([program, *words.split(" "), *files], check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    return context


def test_a_certificate_of_an_unknown_authority_is_refused(server, certificate, monkeypatch):
    server.socket = certificate.wrap_socket(server.socket, server_side=True)
    where = server.dicomweb.replace("http", "https").replace("127.0.0.1", "localhost")
    assert listed(where)[0] == [FILM]
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(RemoteError, match=r"certificate is not valid \(self-signed certificate\): REQUESTS_CA_BUNDLE"):
        listed(where)


@pytest.mark.parametrize(
    ("fault", "message", "requests"),
    [
        ("401", "refuses the user and password, or the token", 1),
        ("403", "no right to it", 1),
        ("404", "no DICOMweb service at this URL", 1),
        ("html", "not JSON, as that of a DICOMweb server is", 0),
        ("odd", "not a list in DICOM JSON", 0),
        ("500", "status 500, 6 times", 6),
        ("drop", "the transfer failed", 6),
        ("cut", "the transfer ended early, 6 times", 6),
        ("to /dicom-web/instances", "redirects endlessly", 0),
    ],
)
def test_a_list_that_cannot_be_had_is_one_clear_line(server, fault, message, requests):
    server.faults["instances"] = fault
    with pytest.raises(RemoteError, match=message) as caught:
        listed(f"{server.dicomweb.replace('//', '//me:canary@')}?PatientName=canary")
    if requests:
        assert sum(server.asked.values()) == requests
    assert "canary" not in f"{caught.value}{caught.value.__context__}{caught.value.__cause__}"


@pytest.mark.parametrize("where", ["http://127.0.0.1:1", "http://nobody.invalid"])
def test_a_server_that_is_not_there_is_told(where):
    with pytest.raises(RemoteError, match=r"connection refused\), 6 times|name of its host is unknown"):
        listed(f"dicomweb+{where}/dicom-web")


@pytest.mark.parametrize("fault", ["503", "drop", "cut", "half"])
def test_what_passes_is_tried_again(server, fault):
    server.faults[UID] = at_first(fault, fault)
    assert read_remote(film(server), LIMIT) == DATA
    assert sum(server.asked.values()) == 3


def test_half_a_film_is_never_returned(server):
    server.faults[UID] = "half"
    with pytest.raises(RemoteError, match="ended early, 6 times") as caught:
        read_remote(film(server), LIMIT)
    assert caught.value.passing
    unread = read_film(film(server))
    assert (unread.status, unread.sha256, unread.pixels) == (Status.UNREADABLE, "", None)
    assert unread.message == "not received: the transfer ended early, 6 times"
    server.faults.clear()
    server.closed = False  # whole by its length, without the closing boundary
    with pytest.raises(RemoteError, match="ended early, 6 times"):
        read_remote(film(server), LIMIT)


@pytest.mark.parametrize(
    ("fault", "message", "kind"),
    [
        ("404", "not this object in it", RemoteMissingError),
        ("403", "no right", RemoteError),
        ("type", "an answer of type 'image/png', expected 'multipart/related'", RemoteError),
        ("other", "another object than the one asked for", RemoteError),
    ],
)
def test_a_film_that_cannot_be_had_is_not_asked_for_again(server, fault, message, kind):
    server.faults[UID] = fault
    with pytest.raises(RemoteError, match=message) as caught:
        read_remote(film(server), LIMIT)
    assert (caught.value.passing, type(caught.value)) == (False, kind)


def test_credentials_that_expire_are_an_outage(server):
    server.login = "Bearer new"
    with pytest.raises(RemoteError, match="refuses the credentials") as caught:
        read_remote(film(server), LIMIT)
    assert caught.value.passing


def test_an_endless_answer_ends_at_its_limit(server, monkeypatch):
    monkeypatch.setattr(dicomweb_store, "PAGE_BYTES", LIMIT)
    monkeypatch.setattr(dicomweb_store, "LARGEST", LIMIT)
    server.faults = {"instances": "endless", UID: "endless"}
    for attempt in (lambda: listed(server.dicomweb), lambda: read_remote(film(server), LIMIT)):
        with pytest.raises(RemoteTooLargeError, match="more than 1,048,576 bytes"):
            attempt()
    assert sum(server.asked.values()) == 2


def test_an_answer_that_trickles_ends_at_its_deadline(server, monkeypatch):
    ended = threading.Event()

    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not ended.wait(0.01):
            handler.wfile.write(b" ")

    monkeypatch.setattr(server.RequestHandlerClass, "do_GET", trickle)
    where = RemotePath(server.dicomweb)
    try:
        with (
            dicomweb_session.open_session(where, max_bytes=LIMIT, seconds=0.2) as session,
            pytest.raises(retry.TransferError, match="no answer in time"),
            dicomweb_session.errors_in_fixed_words(session),
        ):
            session.get(dicomweb_session.service_url(where))
    finally:
        ended.set()


def test_compressed_answers_are_refused(server, monkeypatch):
    monkeypatch.setattr(
        server.RequestHandlerClass, "do_GET", lambda handler: handler.reply(200, b"x", {"Content-Encoding": "gzip"})
    )
    with pytest.raises(RemoteError, match="'gzip', which the request forbids"):
        listed(server.dicomweb)
    assert server.headers == []


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("dicomweb://host/x", "expected dicomweb\\+https"),
        ("dicomweb+ftp://host/x", "expected dicomweb\\+https"),
        ("dicomweb+http:///x", "is not valid, expected a URL such as"),
        ("dicomweb+http://host:99999/x", "is not valid, expected a URL such as"),
    ],
)
def test_a_url_that_is_none_is_an_error(where, message):
    with pytest.raises(InputError, match=message):
        listed(where)


def test_a_service_is_no_file(server):
    with pytest.raises(RemoteError, match="STUDY/SERIES/INSTANCE"):
        read_remote(RemotePath(server.dicomweb), LIMIT)
    with pytest.raises(InputError, match="stores DICOM objects only"):
        check_writable(RemotePath(server.dicomweb))


def test_a_web_server_of_files_is_no_dicomweb_service(tmp_path):
    with web(tmp_path) as server, pytest.raises(RemoteError, match="no DICOMweb service at this URL"):
        listed(f"dicomweb+{server.url}/dicom-web")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b\r\nX: y\r\n\r\nabc",
        b"--b\r\nX: y\r\n\r\nabc\r\n--b",
        b"x--b\r\n\r\nabc\r\n--b--",
        b"--b\r\nno end of headers\r\n--b--",
    ],
)
def test_a_multipart_body_without_its_end_is_cut_short(body):
    with pytest.raises(retry.CutShortError):
        dicomweb_store._parts(body, b"b")


def test_a_multipart_body_by_hand():
    body = b"preamble\r\n--b\r\nX: y\r\n\r\none\r\n\r\n--c\r\n--b \r\n\r\n\r\n--b--\r\nrest"
    assert dicomweb_store._parts(body, b"b") == [b"one\r\n\r\n--c", b""]


def answer_raw(server, monkeypatch, *answers):
    """Sends these bytes, the last of them from then on, and closes the connection."""
    left = [answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) for answer in answers]

    def send(handler):
        handler.close_connection = True
        server.asked["raw"] += 1
        handler.wfile.write(left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(server.RequestHandlerClass, "do_GET", send)


EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
PAGE = (
    b'[{"0020000D": {"Value": ["1.2"]}, "0020000E": {"Value": ["1.2.1"]}, "00080018": {"Value": ["1.2.3"]}, '
    b'"00080060": {"Value": ["DX"]}, "00080016": {"Value": ["1.2.840.10008.5.1.4.1.1.1"]}}]'
)


@pytest.mark.parametrize("length", [f"Content-Length: {len(PAGE)}\r\n", ""], ids=["with length", "without length"])
@pytest.mark.parametrize("bytes_left", [0, 10, 30, 60], ids=lambda left: f"{left} bytes")
def test_a_connection_that_ends_is_never_the_end_of_the_list(server, monkeypatch, length, bytes_left):
    headers = f"HTTP/1.1 200 OK\r\n{length}Content-Type: application/dicom+json\r\n\r\n".encode()
    cut = [headers[: len(headers) - bytes_left], headers + PAGE[:bytes_left]]
    answer_raw(server, monkeypatch, *cut, headers + PAGE, *cut, EMPTY)
    assert listed(server.dicomweb) == ([FILM], [])
    assert server.asked["raw"] == 6


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" * 100_000, "its answer is not valid"),
        (b"[" + b"9" * 10_000 + b"]", "its answer is not valid"),
        (b"\xef\xbb\xbf[]", "not JSON"),
    ],
    ids=["deep", "large number", "byte order mark"],
)
def test_json_that_cannot_be_read_is_told_at_once(server, monkeypatch, body, message):
    answer_raw(server, monkeypatch, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(RemoteError, match=message):
        listed(server.dicomweb)
    assert server.asked["raw"] == 1


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://host/", "http://127.0.0.1:99999/", "http://[::1", "\xff\xfe\xff"]
)
def test_a_redirect_that_leads_to_no_server_is_told_at_once(server, monkeypatch, target):
    answer = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {target}\r\n\r\n"
    answer_raw(server, monkeypatch, answer.encode("latin-1"))
    with pytest.raises(RemoteError, match="the URL that it redirects to is not valid"):
        listed(server.dicomweb)
    assert server.asked["raw"] == 1


def answer_with(server, monkeypatch, kind, body, *, length=True):
    stated = f"Content-Length: {len(body)}\r\n" * length
    answer_raw(server, monkeypatch, f"HTTP/1.1 200 OK\r\n{stated}Content-Type: {kind}\r\n\r\n".encode() + body)


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("Multipart/Related; BOUNDARY=x", b"x"),
        ('multipart/related; boundary="a;b c"; type="application/dicom"', b"a;b c"),
        ('multipart/related; type="application/dicom; boundary=y"; boundary=x', b"x"),
        ('multipart/related; boundary="a\\"b"', b'a"b'),
    ],
)
def test_the_boundary_is_read_as_mime_says(server, monkeypatch, kind, boundary):
    body = b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n--%b--\r\n" % (boundary, DATA, boundary)
    answer_with(server, monkeypatch, kind, body)
    assert read_remote(film(server), LIMIT) == DATA


@pytest.mark.parametrize("kind", ["multipart/related", f"multipart/related; boundary={'b' * 71}"])
def test_a_boundary_that_is_none_is_told(server, monkeypatch, kind):
    answer_with(server, monkeypatch, kind, b"--b")
    with pytest.raises(RemoteError, match="does not state what stands between them"):
        read_remote(film(server), LIMIT)


def test_an_object_alone_is_taken_with_its_length_only(server, monkeypatch):
    answer_with(server, monkeypatch, "application/dicom", DATA)
    assert read_remote(film(server), LIMIT) == DATA
    answer_with(server, monkeypatch, "application/dicom", DATA, length=False)
    with pytest.raises(RemoteError, match="half of it may be missing"):
        read_remote(film(server), LIMIT)


@pytest.mark.parametrize("uid", [f"{UID}4", f"{UID}.4", f"9{UID}", f"9.{UID}"])
def test_an_object_whose_uid_contains_that_of_the_film_is_another(server, uid):
    server.films[FILM] = dicom(SOPInstanceUID=uid)
    with pytest.raises(RemoteError, match="another object than the one asked for"):
        read_remote(film(server), LIMIT)


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        ("7", 7),
        ("3600", 60),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 60),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 0),
        ("-5", 0),
        ("soon", 0),
        ("9" * 400, 0),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_server_is_asked_again_after_the_pause_that_it_asks_for(server, monkeypatch, asked, pause):
    pauses = []
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    busy = f"HTTP/1.1 429 Too Many\r\nRetry-After: {asked}\r\nContent-Length: 0\r\n\r\n".encode()
    answer_raw(server, monkeypatch, busy, EMPTY)
    assert listed(server.dicomweb) == ([], [])
    assert pauses == [pytest.approx(pause, abs=0.01)]


@pytest.mark.parametrize("login", ["", "me:can%40ary@"])
def test_a_host_can_be_an_ipv6_address(login):
    where = RemotePath(f"dicomweb+https://{login}[::1]:8443/dicom-web/?Modality=DX")
    assert dicomweb_session.service_url(where) == "https://[::1]:8443/dicom-web"
    assert str(where / FILM) == f"dicomweb+https://[::1]:8443/dicom-web/{FILM}"
    assert dicomweb_session.credentials(where) == (basic("me", "can@ary") if login else "")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, "canary"])
def test_certificates_of_the_environment_that_cannot_be_read_are_named(monkeypatch, tmp_path, name, content):
    file = tmp_path / "canary.pem"
    if content is not None:
        file.write_text(content)
    for other in dicomweb_session._CERTIFICATES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, str(file))
    with pytest.raises(InputError, match=f"{name} does not name a readable file") as caught:
        listed("dicomweb+https://127.0.0.1:1/dicom-web")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["gopher://u:canary@127.0.0.1:1", "http://u:canary@[bad"])
def test_a_proxy_that_is_none_is_told(monkeypatch, proxy):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(RemoteError, match="the URL, or that of a proxy in the environment, is not valid") as caught:
        listed("dicomweb+http://host.invalid/dicom-web")
    assert "canary" not in str(caught.value)
