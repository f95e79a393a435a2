"""URLs of remote files: s3://bucket/films, https://host/films/, dicomweb+https://host/dicom-web/, and all others that
fsspec supports."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, unquote

from cxrscore.errors import InputError
from cxrscore.io.untrusted_names import safe_file_name

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_FROM_A_SCHEME_ON = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.*", re.DOTALL)
_WEB = ("http", "https")
DICOMWEB = ("dicomweb+http", "dicomweb+https")
"""Schemes of a DICOMweb service."""
_LOCAL = ("file", "local")
"""Schemes that mean a path on this machine: it is handled as a path, with all checks of paths."""
_WRAPPERS = ("asyncwrapper", "blockcache", "cached", "dir", "filecache", "generic", "reference", "simplecache")
"""Schemes of fsspec that lead to another file system, which could be the local one."""


@dataclass(frozen=True)
class RemotePath:
    """A remote folder or file. Its text, wherever it is shown, omits what may be secret: user and password before the
    host, and everything from the first "?" or "#".

    url: complete, with the secret parts.
    """

    url: str

    def __post_init__(self) -> None:
        # "::" chains file systems of fsspec; a DICOMweb service has none, and may have a host such as [::1].
        if not is_url(self.url) or ("::" in self.url and not self.dicomweb):
            raise InputError(
                "this is not a plain URL; expected one without ::, such as s3://bucket/films"
            )  # it may hold a password
        if self.scheme in _LOCAL:
            raise InputError(f"{self} is on this machine: give the path, without {self.scheme}://")
        if self.scheme in _WRAPPERS:
            raise InputError(f"{self.scheme}:// leads to another file system: give the URL of that one")
        if self.scheme.startswith("dicomweb") and not self.dicomweb:
            raise InputError(f"{self.scheme}:// is unknown, expected dicomweb+https:// or dicomweb+http://")

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0].lower()

    @property
    def web(self) -> bool:
        """Whether it is a file or folder of a web server."""
        return self.scheme in _WEB

    @property
    def dicomweb(self) -> bool:
        """Whether it is a DICOMweb service, or a film in it."""
        return self.scheme in DICOMWEB

    @property
    def _encoded(self) -> bool:
        """Whether the URL is percent-encoded, and may have a query."""
        return self.web or self.dicomweb

    @property
    def bare(self) -> str:
        """The URL without its query, which is sent with every request to a web server."""
        return re.split("[?#]", self.url, maxsplit=1)[0] if self._encoded else self.url

    @property
    def query(self) -> str:
        return self.url.partition("#")[0].partition("?")[2] if self._encoded else ""

    @property
    def name(self) -> str:
        """The last part, such as out.h5, normalised by io.untrusted_names.safe_file_name: for messages, and for the
        name of an output in the current folder. However it is encoded, it never leads into another folder."""
        last = str(self).rstrip("/").rpartition("/")[2]
        return safe_file_name(unquote(last) if self._encoded else last)

    def __truediv__(self, below: str) -> RemotePath:
        """The file or folder with this POSIX path below this one."""
        tail = quote(below) if self._encoded else below
        query = "" if self.dicomweb else self.query  # it chooses films, and is no part of the path of one
        return RemotePath(f"{self.bare.rstrip('/')}/{tail}{'?' * bool(query)}{query}")

    def __str__(self) -> str:
        return _redacted(self.url)

    __repr__ = __str__


PathOrUrl: TypeAlias = Path | RemotePath
"""The location of a folder or file: local or remote."""


def is_url(text: str) -> bool:
    return _SCHEME.match(text) is not None


def parse_location(given: str | os.PathLike[str] | RemotePath) -> PathOrUrl:
    """Parse a text: a URL, or a path on disk, which may be written as file:///a/path."""
    if isinstance(given, RemotePath):
        return given
    text = os.fspath(given)
    scheme, _, path = text.partition("://")
    if scheme.lower() in _LOCAL and path:
        return Path(path)
    return RemotePath(text) if isinstance(given, str) and is_url(text) else Path(given)


def location_text(where: PathOrUrl) -> str:
    """The text from which parse_location() returns the same location: for another process, never for people."""
    return where.url if isinstance(where, RemotePath) else str(where)


def without_secrets(text: str) -> str:
    """The text with any URL in it as it is shown; everything after a URL counts as part of it."""
    return _FROM_A_SCHEME_ON.sub(lambda found: _redacted(found[0]), text)


def _redacted(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    name, *query = re.split("[?#]", host, maxsplit=1)
    login, _, server = name.rpartition("@")
    port = server.rpartition("]")[2].partition(":")[2]
    # An @ that follows, or a port that is none, may be of a password with an unescaped "/", "?" or "#".
    if (port and not port.isdecimal()) or ("@" in rest[len(name) :] and (login or query)):
        return f"{scheme}://..."
    if query:
        return f"{scheme}://{server}"
    return f"{scheme}://{server}{slash}{re.split('[?#]', path, maxsplit=1)[0]}"
