"""Servers on the loopback for tests of what lies elsewhere: a web server that fails if told to, and stand-ins for S3
and for a PACS.

None says anything of real clouds or PACS: what is tested is what the client does with these answers.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Server(ThreadingHTTPServer):
    """Any of them: ``faults`` maps the end of a path, or of "METHOD path", to what goes wrong there. Counts what was
    asked, and what with which headers."""

    daemon_threads = True

    def __init__(self, handler) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.faults: dict[str, Iterator[str] | str] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """Clients that go away are what is tested."""

    def fault(self, line: str) -> str:
        """What goes wrong with this request; "" where nothing does."""
        with self.guard:
            self.asked[line] += 1
            fault = next((fault for end, fault in self.faults.items() if line.endswith(end)), "")
            return fault if isinstance(fault, str) else next(fault, "")


def at_first(*faults: str) -> Iterator[str]:
    """Goes wrong so the first times, and then no more."""
    return iter(faults)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Failing:
    """What goes wrong, by name: "503" and the like, "drop", "cut" (half of what was announced, then nothing), "half"
    (as "cut", of the file itself, from a server of files), "to URL" (a redirect)."""

    server: Server
    protocol_version = "HTTP/1.1"
    half = False

    def log_message(self, format, *args) -> None:
        """Quiet."""

    def fails(self) -> bool:
        with self.server.guard:
            self.server.headers.append(dict(self.headers))
        fault = self.server.fault(f"{self.command} {unquote(urlsplit(self.path).path)}")
        self.close_connection = bool(fault)
        if fault == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "cut":
            self.reply(200, b"half of it", {"Content-Length": "1000"})
        elif fault == "endless":
            self.send_response(200)
            self.end_headers()
            for _ in itertools.repeat(None):
                self.wfile.write(bytes(1 << 20))
        elif fault == "half":
            self.half = True
            return False
        elif fault.startswith("to "):
            self.reply(302, b"", {"Location": fault.removeprefix("to ")})
        elif fault:
            self.reply(int(fault), b"", {})
        return bool(fault)

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Web(_Failing, SimpleHTTPRequestHandler):
    """A folder as the standard library serves it, ranges included."""

    def do_GET(self) -> None:
        if self.fails():
            return
        file = Path(self.translate_path(self.path))
        wanted = self.headers.get("Range", "")
        if not wanted or not file.is_file():
            super().do_GET()
            return
        data = file.read_bytes()
        first, last = wanted.removeprefix("bytes=").split("-")
        piece = data[int(first) : int(last) + 1]
        if not piece:
            self.reply(416, b"", {})
            return
        stop = int(first) + len(piece) - 1
        self.reply(206, piece, {"Content-Range": f"bytes {first}-{stop}/{len(data)}"})


def web(folder: Path):
    """A running web server of a folder."""
    return running(Server(partial(_Web, directory=str(folder))))


class Files(Server):
    """Files by path, as a release page or a hub serves them: with a version, and open ranges under a condition.

    version  "etag", "weak", "date", or "" for none
    ranges   whether ranges are served
    about    further headers
    """

    def __init__(self) -> None:
        super().__init__(_Files)
        self.files: dict[str, bytes] = {}
        self.version, self.ranges = "etag", True
        self.about: dict[str, str] = {}


def files():
    """A running server of files, empty."""
    return running(Files())


class _Files(_Failing, BaseHTTPRequestHandler):
    server: Files

    def do_GET(self) -> None:
        if self.fails():
            return
        data = self.server.files.get(unquote(urlsplit(self.path).path))
        if data is None:
            self.reply(404, b"", {})
            return
        digest = hashlib.md5(data).hexdigest()
        versions = {
            "etag": {"ETag": f'"{digest}"'},
            "weak": {"ETag": f'W/"{digest}"'},
            "date": {"Last-Modified": f"Mon, 02 Jan 2023 03:04:{int(digest[:2], 16) % 60:02} GMT"},
        }
        about = {**versions.get(self.server.version, {}), **self.server.about}
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if not self.server.ranges or self.headers.get("If-Range") not in about.values():
            first = 0
        if first and first >= len(data):
            self.reply(416, b"", {})
            return
        piece, status = data[first:], 206 if first else 200
        about["Content-Length"] = str(len(piece))
        if first:
            about["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        self.reply(status, piece[: len(piece) // 2] if self.half else piece, about)


class Bucket(Server):
    """As much of S3 as a client needs that reads, lists and uploads: objects by "bucket/key"."""

    def __init__(self) -> None:
        super().__init__(_Objects)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}

    def environment(self) -> dict[str, str]:
        """By which a client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "canary-key",
            "AWS_SECRET_ACCESS_KEY": "canary-secret",
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }


def bucket():
    """A running stand-in for S3, empty."""
    return running(Bucket())


class _Objects(_Failing, BaseHTTPRequestHandler):
    server: Bucket

    def do_GET(self) -> None:
        if self.fails():
            return
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if "list-type" in query:
            self._list(unquote(url.path).strip("/"), query)
            return
        data = self.server.objects.get(unquote(url.path)[1:])
        if data is None:
            self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
            return
        about = {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Last-Modified": "Mon, 02 Jan 2023 03:04:05 GMT"}
        wanted = self.headers.get("Range")
        if wanted is None:
            self.reply(200, data, about)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        piece = data[int(first) : int(last) + 1]
        if not piece:
            self.reply(416, b"", {})
            return
        stop = int(first) + len(piece) - 1
        self.reply(206, piece, {**about, "Content-Range": f"bytes {first}-{stop}/{len(data)}"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _list(self, name: str, query: dict[str, list[str]]) -> None:
        """Three keys a page, so that several are asked for."""
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(key.removeprefix(f"{name}/") for key in self.server.objects if key.startswith(f"{name}/{prefix}"))
        page = [key for key in keys if key > after]
        more = len(page) > 3
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2023-01-02T03:04:05.000Z</LastModified>"
            f"<ETag>&quot;x&quot;</ETag><Size>{len(self.server.objects[f'{name}/{key}'])}</Size></Contents>"
            for key in page[:3]
        )
        token = f"<NextContinuationToken>{escape(page[2])}</NextContinuationToken>" if more else ""
        told = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}"
        self.reply(200, f"<ListBucketResult>{told}</ListBucketResult>".encode(), {"Content-Type": "application/xml"})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.fails():
            return
        claimed = self.headers.get("x-amz-checksum-sha256", "")
        if claimed != base64.b64encode(hashlib.sha256(body).digest()).decode():
            self.reply(400, b"<Error><Code>BadDigest</Code></Error>", {})
            return
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if "uploadId" in query:
            self.server.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
        else:
            self.server.objects[unquote(url.path)[1:]] = body
        self.reply(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "x-amz-checksum-sha256": claimed})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.fails():
            return
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        key = unquote(url.path)[1:]
        if "uploads" in query:
            number = str(len(self.server.uploads))
            self.server.uploads[number] = {}
            xml = f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
        else:
            parts = self.server.uploads.pop(query["uploadId"][0])
            self.server.objects[key] = b"".join(parts[part] for part in sorted(parts))
            xml = '<CompleteMultipartUploadResult><ETag>"x-2"</ETag></CompleteMultipartUploadResult>'
        self.reply(200, xml.encode(), {"Content-Type": "application/xml"})

    def do_DELETE(self) -> None:
        if not self.fails():
            self.server.uploads.pop(parse_qs(urlsplit(self.path).query).get("uploadId", [""])[0], None)
            self.reply(204, b"", {})


class Pacs(Server):
    """As much of DICOMweb as a client needs that searches and retrieves; its root is /dicom-web.

    films    DICOM files by "STUDY/SERIES/INSTANCE"
    stated   further attributes of these in DICOM JSON, by the same keys
    login    the Authorization header that it asks for; "" for none
    paging   whether it follows "both" limit and offset, the "limit" alone, or "none"
    closed   whether multipart bodies end with their closing boundary
    """

    def __init__(self) -> None:
        super().__init__(_Pacs)
        self.films: dict[str, bytes] = {}
        self.stated: dict[str, dict[str, str]] = {}
        self.login, self.paging, self.closed = "", "both", True
        self.queries: list[dict[str, list[str]]] = []

    @property
    def dicomweb(self) -> str:
        return f"dicomweb+{self.url}/dicom-web"


def pacs():
    """A running stand-in for a PACS, empty."""
    return running(Pacs())


class _Pacs(_Failing, BaseHTTPRequestHandler):
    """Further faults: "html" (a page), "type" (a picture), "odd" (JSON of another form), "other" (another film)."""

    server: Pacs

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        closing = {"Connection": "close"} if self.close_connection else {}
        super().reply(status, body, {**headers, **closing})

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        fault = self.server.faults.get(path.rpartition("/")[2])
        odd = {"html": ("text/html", b"<html>Welcome</html>"), "type": ("image/png", b"x"), "odd": ("", b'{"a": [1]}')}
        if isinstance(fault, str) and fault in odd:
            self.reply(200, odd[fault][1], {"Content-Type": odd[fault][0]})
        elif self.server.login and self.headers.get("Authorization") != self.server.login:
            self.reply(401, b"", {})
        elif fault != "other" and self.fails():
            pass
        elif path == "/dicom-web/instances":
            self._search(parse_qs(urlsplit(self.path).query))
        else:
            _, study, _, series, _, instance = path.removeprefix("/dicom-web/").split("/")
            found = self.server.films.get(f"{study}/{series}/{instance}")
            self._retrieve(b"another film" if fault == "other" else found)

    def _search(self, query: dict[str, list[str]]) -> None:
        self.server.queries.append(query)
        keys = sorted(self.server.films)
        limit, offset = int(query["limit"][0]), int(query["offset"][0])
        first = offset if self.server.paging == "both" else 0
        last = None if self.server.paging == "none" else first + limit
        found = [self._stated(key) for key in keys[first:last]]
        self.reply(200, json.dumps(found).encode(), {"Content-Type": "application/dicom+json"})

    def _stated(self, key: str) -> dict[str, object]:
        uids = dict(zip(("0020000D", "0020000E", "00080018"), key.split("/"), strict=True))
        values = {**uids, "00080060": "DX", "00080016": "1.2.840.10008.5.1.4.1.1.1", **self.server.stated.get(key, {})}
        return {tag: {"vr": "UI", "Value": [value]} if value else {"vr": "UI"} for tag, value in values.items()}

    def _retrieve(self, film: bytes | None) -> None:
        if film is None:
            self.reply(404, b"", {})
            return
        end = b"\r\n--limit--\r\n" if self.server.closed else b""
        body = b"--limit\r\nContent-Type: application/dicom\r\n\r\n" + film + end
        kind = 'multipart/related; type="application/dicom"; boundary=limit'
        self.reply(200, body[: len(body) // 2] if self.half else body, {"Content-Type": kind})
