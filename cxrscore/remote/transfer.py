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
"""Bytes of a scores file that is brought here to be read; what it may declare within is held to limits of its own."""
COPY = "copy"
"""Name of a file that is brought here. It never comes from the address, which may hold any path."""
SLOWEST = 1000
"""Bytes a second that a file to be brought here must come with, on the average after the first READ_TIMEOUT."""
_OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az")
_DAY = 86_400.0
"""Seconds in which it must be here."""


def open_store(where: RemotePath) -> Store:
    """The store for an address; InputError, with the install command, if no library for it is installed.

    The libraries are of the extra ``remote`` and are imported when first needed.
    """
    try:
        return _store_for(where)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - each file system raises its own, and may quote what is secret
        kind = type(error).__name__
    raise InputError(
        f"{where} cannot be opened ({kind}): look at the credentials and the endpoint in the environment. "
        "docs/remote.md names the variables."
    )


def _store_for(where: RemotePath) -> Store:
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
            f"{where.scheme}:// is of no kind that fsspec knows; wanted one such as s3://, gs://, az://, https://"
        ) from None


def list_remote(folder: RemotePath, unreadable: list[str]) -> list[Entry]:
    """The files below a folder, each once; adds to ``unreadable`` folders that cannot be listed. RemoteError where it
    itself cannot, or where more is listed than any archive has (see bounds); InputError where no library knows its
    address."""
    store, end = open_store(folder), time.monotonic() + MAX_SECONDS

    def listed() -> list[Entry]:
        del unreadable[:]
        found: dict[str, Entry] = {}
        for entry in store.entries(unreadable, ListingBounds(folder, end)):
            found.setdefault(entry.path, entry)
        return list(found.values())

    return with_retries(folder, listed)


def read_remote(file: RemotePath, most: int, *, first: int | None = None, seconds: float | None = None) -> bytes:
    """The bytes of a file: all of them or, with ``first``, only the first ones.

    ``most`` is the largest accepted size in bytes; ``seconds`` is the time limit (None: READ_TIMEOUT). Errors as
    read_store.
    """
    return read_store(open_store(file), file, most, first=first, seconds=READ_TIMEOUT if seconds is None else seconds)


def remote_exists(file: RemotePath) -> bool:
    """Whether there is such a file; RemoteError where nobody tells."""
    try:
        with_retries(file, open_store(file).size)
    except RemoteMissingError:
        return False
    return True


def download(file: RemotePath, target: Path, most: int = LARGEST) -> None:
    """Writes a file of at most so many bytes to ``target``; errors as read_remote, and WriteError."""
    store = open_store(file)

    def attempt() -> None:
        received, start = 0, time.monotonic()
        with open(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as out:
            for piece in store.pieces(seconds=_DAY):
                received += len(piece)
                if received > most:
                    raise RemoteTooLargeError(file, f"more than {most:,} bytes")
                if received < SLOWEST * (time.monotonic() - start - READ_TIMEOUT):
                    raise RemoteError(file, f"it comes with less than {SLOWEST} bytes a second", passing=True)
                _write(out.fileno(), piece, target)

    with_retries(file, attempt)


def _write(descriptor: int, piece: bytes, target: Path) -> None:
    from cxrscore.io.atomic import cannot_write, write_all

    try:
        write_all(descriptor, piece)
    except OSError as error:
        raise cannot_write(target, error) from error


def upload(source: Path, target: RemotePath) -> None:
    """Makes the file ``target`` of one on disk, whole or not at all; WriteError where that fails."""
    try:
        check_writable(target)
        store = open_store(target)
        with_retries(target, lambda: store.put(source))
        size = with_retries(target, store.size)
    except RemoteError as error:
        raise WriteError(f"cannot write {target}: {error.reason}. Nothing was left half-written.") from None
    if size != source.stat().st_size:
        raise WriteError(f"{target} has {size:,} bytes after it was written, wanted {source.stat().st_size:,}")


def check_writable(target: RemotePath) -> None:
    """InputError for what nothing can be written to, whoever asks."""
    if target.web:
        raise InputError(
            f"{target} is on a web server, which is only read; name a file, or one such as s3://bucket/out.h5"
        )


@contextmanager
def as_local_path(given: Location, most: int = LARGEST) -> Iterator[Path]:
    """A file on disk as it is; one elsewhere, of at most so many bytes, as a private copy, which is gone after the
    block. Errors of the block name the address and not the copy; errors as download."""
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
    """Errors of the block name the address where they named its copy."""
    try:
        yield
    except CxrscoreError as error:
        error.args = tuple(str(part).replace(str(copy), str(where)) for part in error.args)
        raise
