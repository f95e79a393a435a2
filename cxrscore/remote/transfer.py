"""Opens, lists, reads, downloads and uploads remote files, with retries and limits on size and time."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrscore.errors import (
    CxrscoreError,
    InputError,
    RemoteError,
    RemoteMissingError,
    RemoteTooLargeError,
    WriteError,
)
from cxrscore.remote.arguments import Location, location
from cxrscore.remote.bounds import MAX_SECONDS, Entry, ListingBounds
from cxrscore.remote.retry import with_retries
from cxrscore.remote.store import READ_TIMEOUT, Store, read_store
from cxrscore.remote.url import RemotePath

INSTALL = 'pip install "cxrscore[remote]"'
LARGEST = 64 << 30
"""Size limit in bytes of a scores file that is downloaded to be read; its declared contents have their own limits."""
COPY = "copy"
"""Name of a downloaded file. It never comes from the URL, which may contain any path."""
SLOWEST = 1000
"""Minimum average speed of a download in bytes per second, after the first READ_TIMEOUT."""
_OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az")
_DAY = 86_400.0
"""Time limit of a download in seconds."""


def open_store(where: RemotePath) -> Store:
    """The store for a URL; InputError, with the install command, if no library for it is installed.

    The libraries belong to the extra ``remote`` and are imported when first needed.
    """
    try:
        return _store_for(where)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - each file system has its own exceptions, which may quote secrets
        kind = type(error).__name__
    raise InputError(
        f"{where} cannot be opened ({kind}): check the credentials and the endpoint in the environment. "
        "docs/remote.md names the variables."
    )


def _store_for(where: RemotePath) -> Store:
    if where.dicomweb:
        from cxrscore.remote.dicomweb_store import DicomwebStore

        return DicomwebStore(where)
    if where.scheme in _OBJECT_STORES and importlib.util.find_spec("obstore"):
        from cxrscore.remote.obstore_store import ObjectStore

        return ObjectStore(where)
    if not importlib.util.find_spec("fsspec"):
        raise InputError(f"{where} cannot be opened without fsspec: {INSTALL}")
    _check_scheme(where)
    from cxrscore.remote.fsspec_store import FileSystem, WebServer

    return WebServer(where) if where.web else FileSystem(where)


def _check_scheme(where: RemotePath) -> None:
    from fsspec.registry import get_filesystem_class, known_implementations

    try:
        get_filesystem_class(where.scheme)
    except ImportError:
        own = where.web or where.scheme in _OBJECT_STORES
        advice = INSTALL if own else str(known_implementations.get(where.scheme, {}).get("err", "install its package"))
        raise InputError(f"{where.scheme}:// cannot be opened: {advice}") from None
    except ValueError:
        raise InputError(
            f"{where.scheme}:// is not a protocol that fsspec supports; expected for example s3://, gs://, az://, https://"
        ) from None


def list_remote(folder: RemotePath, unreadable: list[str]) -> list[Entry]:
    """List the files below a folder, each once; adds folders that cannot be listed to ``unreadable``. RemoteError if
    the folder itself cannot be listed, or exceeds a limit (see bounds); InputError if no library supports its URL."""
    store, end = open_store(folder), time.monotonic() + MAX_SECONDS

    def listed() -> list[Entry]:
        del unreadable[:]
        found: dict[str, Entry] = {}
        for entry in store.entries(unreadable, ListingBounds(folder, end)):
            found.setdefault(entry.path, entry)
        return list(found.values())

    return with_retries(folder, listed)


def read_remote(file: RemotePath, most: int, *, first: int | None = None, seconds: float | None = None) -> bytes:
    """Read the bytes of a file: all of them or, with ``first``, only the first ones.

    ``most`` is the largest accepted size in bytes; ``seconds`` is the time limit (None: READ_TIMEOUT). Errors as
    read_store.
    """
    return read_store(open_store(file), file, most, first=first, seconds=READ_TIMEOUT if seconds is None else seconds)


def remote_exists(file: RemotePath) -> bool:
    """Whether there is such a file; RemoteError if this cannot be determined."""
    try:
        with_retries(file, open_store(file).size)
    except RemoteMissingError:
        return False
    return True


def download(file: RemotePath, target: Path, most: int = LARGEST) -> None:
    """Download a file of limited size to ``target``; errors as read_remote, and WriteError."""
    store = open_store(file)

    def attempt() -> None:
        received, start = 0, time.monotonic()
        with open(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as out:
            for piece in store.pieces(seconds=_DAY):
                received += len(piece)
                if received > most:
                    raise RemoteTooLargeError(file, f"more than {most:,} bytes")
                if received < SLOWEST * (time.monotonic() - start - READ_TIMEOUT):
                    raise RemoteError(file, f"it arrives at less than {SLOWEST} bytes per second", passing=True)
                _write(out.fileno(), piece, target)

    with_retries(file, attempt)


def _write(descriptor: int, piece: bytes, target: Path) -> None:
    from cxrscore.io.atomic import cannot_write, write_all

    try:
        write_all(descriptor, piece)
    except OSError as error:
        raise cannot_write(target, error) from error


def upload(source: Path, target: RemotePath) -> None:
    """Upload a file on disk to ``target``, completely or not at all; WriteError if that fails."""
    try:
        check_writable(target)
        store = open_store(target)
        with_retries(target, lambda: store.put(source))
        size = with_retries(target, store.size)
    except RemoteError as error:
        raise WriteError(f"cannot write {target}: {error.reason}. No partial file remains.") from None
    if size != source.stat().st_size:
        raise WriteError(f"{target} has {size:,} bytes after the upload, expected {source.stat().st_size:,}")


def check_writable(target: RemotePath) -> None:
    """InputError for a target that cannot be written."""
    if target.dicomweb:
        raise InputError(
            f"{target} is a DICOMweb service, which stores DICOM objects only; give a local path, or a URL such as "
            "s3://bucket/out.h5"
        )
    if target.web:
        raise InputError(
            f"{target} is on a web server, which is read-only; give a local path, or a URL such as s3://bucket/out.h5"
        )


@contextmanager
def as_local_path(given: Location, most: int = LARGEST) -> Iterator[Path]:
    """Yield a local file: a path on disk unchanged, a remote file of limited size as a private copy, which is removed
    after the block. Errors of the block contain the URL instead of the path of the copy; errors as download."""
    where = location(given)
    if isinstance(where, Path):
        yield where
        return
    with tempfile.TemporaryDirectory(prefix="cxrscore-") as folder:
        copy = Path(folder) / COPY
        download(where, copy, most)
        with rewrite_path_in_errors(copy, where):
            yield copy


@contextmanager
def rewrite_path_in_errors(copy: Path, where: RemotePath) -> Iterator[None]:
    """In errors of the block, replace the path of the copy by the URL."""
    try:
        yield
    except CxrscoreError as error:
        error.args = tuple(str(part).replace(str(copy), str(where)) for part in error.args)
        raise
