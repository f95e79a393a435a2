"""Atomic file writing, digests, and a lock."""

from cxrscore.io.atomic import atomic_write, atomic_write_bytes, atomic_write_pieces, make_folder
from cxrscore.io.lock import file_lock
from cxrscore.io.regular import sha256_bytes, sha256_file

__all__ = [
    "atomic_write",
    "atomic_write_bytes",
    "atomic_write_pieces",
    "file_lock",
    "make_folder",
    "sha256_bytes",
    "sha256_file",
]
