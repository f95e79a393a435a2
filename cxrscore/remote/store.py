"""The operations on a remote folder or file, independent of the library that implements them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from cxrscore.errors import RemoteError, RemoteTooLargeError
from cxrscore.remote.bounds import Entry, ListingBounds
from cxrscore.remote.retry import with_retries
from cxrscore.remote.url import RemotePath

PIECE = 16 << 20
"""Bytes that are received at a time from a larger file."""
READ_TIMEOUT = 90.0
"""Seconds within which one file must be received, all retries included."""


class Store(Protocol):
    """One remote folder or file. Errors of the underlying library pass through: retry.with_retries translates them."""

    def entries(self, unreadable: list[str], bounds: ListingBounds) -> Iterator[Entry]:
        """List the files below a folder, in any order; adds folders that cannot be listed to ``unreadable``. ``bounds``
        counts the results, and its errors pass through."""
        ...

    def pieces(self, first: int | None = None, seconds: float | None = None) -> Iterator[bytes]:
        """The bytes of a file in order, at most a PIECE at a time; with ``first``, at least its first so many bytes.
        CutShortError, or an error of the library, if the transfer ends before the announced length, or if the request
        takes longer than ``seconds``."""
        ...

    def size(self) -> int:
        """Size of a file in bytes; FileNotFoundError if it does not exist."""
        ...

    def put(self, source: Path) -> None:
        """Uploads a local file completely, or leaves nothing behind."""
        ...


def read_store(store: Store, file: RemotePath, max_bytes: int, *, first: int | None = None, seconds: float) -> bytes:
    """Read a file into memory, with retries.

    Parameters
    ----------
    store
        Opened for ``file``.
    file
        The address, for messages.
    max_bytes
        Largest size that is accepted.
    first
        Read only this many bytes from the start; None reads the complete file.
    seconds
        Time limit, all retries included.

    Raises
    ------
    RemoteError
        If the bytes cannot be received in time.
    RemoteTooLargeError
        If the file has more than ``max_bytes``; little more than these are ever received.
    """
    end = time.monotonic() + seconds

    def attempt() -> bytes:
        data = bytearray()
        # A request has one second more than the complete read, so that a slow transfer is reported as such below.
        for piece in store.pieces(first, max(end - time.monotonic(), 0) + 1):
            data += piece
            if first is not None and len(data) >= first:
                return bytes(data[:first])
            if len(data) > max_bytes:
                raise RemoteTooLargeError(file, f"more than {max_bytes:,} bytes")
            if time.monotonic() > end:
                raise RemoteError(file, f"it took longer than {seconds:g} s", passing=True)
        return bytes(data)

    try:
        return with_retries(file, attempt, seconds)
    except RemoteError as error:
        if first is not None and error.status == 416:  # an empty file has no first bytes
            return b""
        raise
