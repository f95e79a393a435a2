"""Web servers, and all other file systems, through fsspec."""

from __future__ import annotations

import gzip
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urljoin

from cxrscore.errors import RemoteError
from cxrscore.io import sha256_file
from cxrscore.remote.bounds import Entry, ListingBounds, walk
from cxrscore.remote.retry import CutShortError, with_retries
from cxrscore.remote.store import PIECE, READ_TIMEOUT, read_store
from cxrscore.remote.url import RemotePath

_READ = 1 << 20
_PAGE = 64 << 20
"""Largest page in bytes that is read as the list of a folder."""
_UNQUESTIONED = 64 << 20
"""Number of bytes that a compressed response may unpack to, however small it is."""
_RATIO = 100
"""Beyond that, the largest ratio of unpacked to sent bytes. Pages and tables of text reach a third of it."""


class FileSystem:
    """A folder or file of any file system that fsspec supports."""

    def __init__(self, where: RemotePath) -> None:
        import fsspec

        self._where = where
        self._system: Any = fsspec.filesystem(where.scheme, **self._settings())
        self._path = str(self._system._strip_protocol(where.bare))

    def _settings(self) -> dict[str, Any]:
        return {}

    def entries(self, unreadable: list[str], bounds: ListingBounds) -> Iterator[Entry]:
        self._system.invalidate_cache()
        yield from walk(self._folder, unreadable, bounds)

    def _folder(self, below: str) -> Sequence[Entry]:
        """List one folder, for bounds.walk."""
        above = self._path.rstrip("/") + "/"
        folder = f"{above}{below}".rstrip("/") or "/"
        found = with_retries(
            self._where / below if below else self._where, lambda: self._system.ls(folder, detail=True)
        )
        entries = []
        for info in found:
            name = str(info["name"]).rstrip("/").removeprefix(f"{above}{below}")
            if name == folder and info["type"] != "directory":
                raise RemoteError(self._where, "it is a file, expected a folder")
            if name != folder:  # some stores list the folder itself as well
                is_folder = info["type"] == "directory"
                entries.append(Entry(path=f"{name}/" if is_folder else name, size=info.get("size")))
        return entries

    def _open(self, first: int | None, seconds: float | None) -> Any:
        return self._system.open(self._path, "rb")

    def pieces(self, first: int | None = None, seconds: float | None = None) -> Iterator[bytes]:
        received = 0
        with closing(self._open(first, seconds)) as file:
            while piece := file.read(_READ):
                received += len(piece)
                yield piece
            size = getattr(file, "size", None)
        if first is None and isinstance(size, int) and received != size:
            raise CutShortError

    def size(self) -> int:
        self._system.invalidate_cache()
        return int(self._system.info(self._path)["size"])

    def put(self, source: Path) -> None:
        """Upload under a temporary name, check by reading, then move."""
        folder, _, name = self._path.rpartition("/")
        part = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
        with suppress(NotImplementedError):
            self._system.makedirs(folder, exist_ok=True)
        try:
            self._system.put_file(str(source), part)
            if self._digest(part) != sha256_file(source):
                raise CutShortError
            self._system.mv(part, self._path)
        finally:
            with suppress(Exception):  # it is gone after the move; and another error matters more than this one
                self._system.rm_file(part)

    def _digest(self, path: str) -> str:
        digest = sha256()
        with self._system.open(path, "rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
        return digest.hexdigest()


class WebServer(FileSystem):
    """A file on a web server, or a folder whose page with links the server shows."""

    def _settings(self) -> dict[str, Any]:
        # Proxies and ~/.netrc apply as for other programs. Compressed responses are unpacked piece by piece, within
        # limits.
        client = {"timeout": self._waits(None), "trust_env": True, "auto_decompress": False}
        return {"client_kwargs": client, "params": dict(parse_qsl(self._where.query))}

    @staticmethod
    def _waits(seconds: float | None) -> Any:
        """Time limits of a connection, of silence, and of the complete request."""
        import aiohttp

        return aiohttp.ClientTimeout(total=seconds, sock_connect=10, sock_read=15)

    def _open(self, first: int | None, seconds: float | None) -> Any:
        headers = {**self._system.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
        if first is not None:
            headers["Range"] = f"bytes=0-{first - 1}"
        # A size, any except none, so that no request is made only to learn it.
        return self._system.open(self._path, "rb", block_size=0, size=1, headers=headers, timeout=self._waits(seconds))

    def pieces(self, first: int | None = None, seconds: float | None = None) -> Iterator[bytes]:
        with closing(self._open(first, seconds)) as file:
            coding = file.r.headers.get("Content-Encoding", "").strip().lower()
            if coding in ("", "identity"):
                yield from iter(lambda: file.read(_READ), b"")
            elif coding in ("gzip", "x-gzip"):
                yield from self._unpacked(_Counted(file))
            else:
                raise RemoteError(
                    self._where, f"the server compresses it as {coding!r:.20}, although the request forbids it"
                )

    def _unpacked(self, packed: _Counted) -> Iterator[bytes]:
        """RemoteError for a decompression bomb: a ratio far above that of compressed text."""
        unpacked = 0
        with gzip.GzipFile(fileobj=packed) as file:  # type: ignore[call-overload]  # it only needs to read
            while piece := file.read(_READ):
                unpacked += len(piece)
                if unpacked > max(_UNQUESTIONED, _RATIO * packed.count):
                    raise RemoteError(self._where, f"it unpacks to over {_RATIO} times the bytes that the server sends")
                yield piece

    def entries(self, unreadable: list[str], bounds: ListingBounds) -> Iterator[Entry]:
        yield from walk(lambda below: _linked(self._where / below, bounds), unreadable, bounds)

    def size(self) -> int:
        """Size of the complete file; only the headers are requested."""
        with closing(self._open(1, READ_TIMEOUT)) as file:
            total = file.r.headers.get("Content-Range", "").rpartition("/")[2]
            return int(total if total.isdecimal() else file.r.headers.get("Content-Length", "0"))

    def put(self, source: Path) -> None:
        raise NotImplementedError("web servers are read-only")


class _Counted:
    """A file to be read, and the number of bytes read so far."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.count += len(data)
        return data


def _linked(folder: RemotePath, bounds: ListingBounds) -> list[Entry]:
    """The links on the page of a folder that stay below it, each once."""
    page = read_store(WebServer(folder), folder, _PAGE, seconds=min(READ_TIMEOUT, bounds.seconds_left()))
    bounds.add_bytes(len(page))
    links = _Links()
    try:
        links.feed(page.decode("utf-8", "replace"))
    except AssertionError:  # html.parser raises these for some invalid markup
        raise RemoteError(folder, "its page is not valid HTML") from None
    above = _plain(folder.bare)
    found = (_join_url(folder.bare, link) for link in links.found if not set(link) & set("?#"))
    return [
        Entry(path=name) for name in sorted({url.removeprefix(above) for url in found if url.startswith(above)} - {""})
    ]


def _join_url(page: str, link: str) -> str:
    """Target of a link on a page, normalised by _plain; "" if it is not a URL."""
    try:
        return _plain(urljoin(page, link))
    except ValueError:
        return ""


def _plain(url: str) -> str:
    """Without percent-encoding, which differs between servers; bytes that are not UTF-8 remain visible as such."""
    return unquote(url, errors="surrogateescape")


class _Links(HTMLParser):
    """The URLs that a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
