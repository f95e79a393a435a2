"""Web servers, and all other file systems, through fsspec."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, suppress
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urljoin

from cxrscore.errors import RemoteError
from cxrscore.files import sha256_of
from cxrscore.remote.place import RemotePath
from cxrscore.remote.retry import CutShortError
from cxrscore.remote.store import PIECE, Entry
from cxrscore.remote.transfer import read_remote

_READ = 1 << 20
_PAGE = 64 << 20
"""Bytes of the longest page that is read as the list of a folder."""
_DEEPEST = 32
"""Folders below each other: on a web server a link may lead round in circles."""


class FileSystem:
    """A folder or file of any file system that fsspec knows."""

    def __init__(self, where: RemotePath) -> None:
        import fsspec

        self._where = where
        self._system: Any = fsspec.filesystem(where.scheme, **self._settings())
        self._path = str(self._system._strip_protocol(where.bare))

    def _settings(self) -> dict[str, Any]:
        return {}

    def _open(self, first: int | None) -> Any:
        return self._system.open(self._path, "rb")

    def entries(self, unreadable: list[str]) -> Iterator[Entry]:
        above = self._path.rstrip("/") + "/"
        self._system.invalidate_cache()
        found = self._system.find(self._path, detail=True)
        if not found and not self._system.exists(self._path):
            raise FileNotFoundError
        for path, info in found.items():
            yield Entry(path=path.removeprefix(above), size=info.get("size"))

    def pieces(self, first: int | None = None) -> Iterator[bytes]:
        received = 0
        with closing(self._open(first)) as file:
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
        """Under another name first, read again there, and then moved."""
        folder, _, name = self._path.rpartition("/")
        part = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
        with suppress(NotImplementedError):
            self._system.makedirs(folder, exist_ok=True)
        try:
            self._system.put_file(str(source), part)
            if self._digest(part) != sha256_of(source):
                raise CutShortError
            self._system.mv(part, self._path)
        finally:
            with suppress(Exception):  # it is gone after the move; and another error is more than this one
                self._system.rm_file(part)

    def _digest(self, path: str) -> str:
        digest = sha256()
        with self._system.open(path, "rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
        return digest.hexdigest()


class WebServer(FileSystem):
    """A file of a web server, or a folder of which it shows a page with links."""

    def _settings(self) -> dict[str, Any]:
        import aiohttp

        # Proxies and ~/.netrc are then as for other programs. Nothing is limited but silence: see transfer.read_remote.
        waits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=15)
        return {"client_kwargs": {"timeout": waits, "trust_env": True}, "params": dict(parse_qsl(self._where.query))}

    def _open(self, first: int | None) -> Any:
        headers = {**self._system.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
        if first is not None:
            headers["Range"] = f"bytes=0-{first - 1}"
        # A size, any but none, so that no request is made only to learn it.
        return self._system.open(self._path, "rb", block_size=0, size=1, headers=headers)

    def entries(self, unreadable: list[str]) -> Iterator[Entry]:
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                names = _linked(self._where / below)
            except RemoteError:
                if not below:
                    raise
                unreadable.append(below.rstrip("/"))
                continue
            for name in names:
                if not name.endswith("/"):
                    yield Entry(path=f"{below}{name}")
                elif below.count("/") < _DEEPEST:
                    waiting.append(f"{below}{name}")
                else:
                    unreadable.append(f"{below}{name}".rstrip("/"))

    def size(self) -> int:
        """Of the file as a whole; it is looked at and not received."""
        with closing(self._open(1)) as file:
            whole = file.r.headers.get("Content-Range", "").rpartition("/")[2]
            return int(whole if whole.isdecimal() else file.r.headers.get("Content-Length", "0"))

    def put(self, source: Path) -> None:
        raise NotImplementedError("web servers are only read")


def _linked(folder: RemotePath) -> list[str]:
    """What the page of a folder links to within it, each once: names, of folders with a slash at their end."""
    links = _Links()
    links.feed(read_remote(folder, _PAGE).decode("utf-8", "replace"))
    above = _plain(folder.bare)
    found = (_plain(urljoin(folder.bare, link)) for link in links.found if not set(link) & set("?#"))
    return sorted({link.removeprefix(above) for link in found if link.startswith(above)} - {""})


def _plain(url: str) -> str:
    """Without percent-encoding, which each server does in its own way; what is not UTF-8 stays seen as such."""
    return unquote(url, errors="surrogateescape")


class _Links(HTMLParser):
    """The addresses that a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
