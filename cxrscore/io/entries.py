"""Cache files with many entries, each with a digest that detects damage when the entry is read.

Layout: the entries one after the other, then the index as JSON, then the SHA-256 of the index, its length and a mark
that names the file type. Entries are read through an ordinary file descriptor, not a memory map: if another program
truncates a mapped file, the process crashes.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import weakref
from io import BufferedIOBase, FileIO
from pathlib import Path
from typing import Any

import platformdirs

from cxrscore.errors import FileFormatError
from cxrscore.io.regular import open_regular

_END = struct.Struct("<32sQ8s")


def entry_digest(data: bytes | bytearray | memoryview) -> str:
    """The digest of an entry as stored in the index: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:32]


def index_bytes(index: Any, mark: bytes) -> bytes:
    """Build the end of a file.

    Parameters
    ----------
    index
        JSON-ready.
    mark
        8 bytes that name the file type.

    Returns
    -------
    bytes
        The index, its SHA-256, its length and the mark.
    """
    text = json.dumps(index).encode()
    return text + _END.pack(hashlib.sha256(text).digest(), len(text), mark)


class EntryFile:
    """A complete cache file, open for reading; it remains readable when another process replaces or removes it.

    index     the index
    size      bytes of all entries together
    identity  SHA-256 of the index, hex
    """

    def __init__(self, file: BufferedIOBase | FileIO, mark: bytes) -> None:
        """Take an open file, which the caller may close afterwards. OSError, and FileFormatError for a file that is
        truncated, damaged in its index, or of another type."""
        end = file.seek(0, os.SEEK_END) - _END.size
        if end < 0:
            raise FileFormatError("the file is too short")
        file.seek(end)
        digest, length, found = _END.unpack(_exactly(file, _END.size))
        if found != mark or length > end:
            raise FileFormatError("the file is of another kind, or cut short")
        file.seek(end - length)
        text = _exactly(file, length)
        if hashlib.sha256(text).digest() != digest:
            raise FileFormatError("the file has another type, or is truncated")
        try:
            self.index: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FileFormatError("the index is not JSON") from error
        self.size, self.identity = end - length, digest.hex()
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    @classmethod
    def open(cls, path: Path, mark: bytes) -> EntryFile:
        """Open the file at a path and mark it as used now. Raises the same errors as the constructor."""
        with open_regular(path) as file:
            opened = cls(file, mark)
            try:
                os.utime(file.fileno())
            except OSError:  # the file of another user: it is then removed earlier
                return opened
        return opened

    def read(self, place: int, size: int) -> bytes:
        """The bytes of an entry, to be compared with its digest; fewer than ``size``, or none, if they cannot be
        read."""
        try:
            return os.pread(self._descriptor, size, place)
        except (OSError, ValueError, OverflowError):
            return b""


def _exactly(file: BufferedIOBase | FileIO, size: int) -> bytes:
    data = file.read(size)
    if data is None or len(data) != size:
        raise FileFormatError("the file is truncated")
    return data


def cache_folder() -> Path:
    """CXRSCORE_CACHE, else the platform's cache folder of the user."""
    return Path(os.environ.get("CXRSCORE_CACHE") or platformdirs.user_cache_dir("cxrscore"))
