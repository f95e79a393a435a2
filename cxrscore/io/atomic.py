"""Atomic file writing: a temporary file in the same folder, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from cxrscore.errors import WriteError

_FOLDER = 0o700


@contextmanager
def atomic_write(path: Path, *, mode: int = 0o600) -> Iterator[Path]:
    """Yield a new, empty temporary file next to ``path``; it becomes ``path`` when the block ends without an error.

    Otherwise the temporary file is removed and ``path`` is unchanged. WriteError if the file cannot be written; other
    errors of the block pass through.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        try:
            os.fchmod(descriptor, mode)  # independent of the umask
        finally:
            os.close(descriptor)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield part
        atomic_replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def atomic_replace(part: Path, path: Path) -> None:
    """Give a finished file of the same file system its name, after its data is on the disk; WriteError if that fails,
    and if the name is that of a device, a pipe or a folder."""
    try:
        if _is_special(path):
            raise WriteError(f"cannot write {path}: it is not a regular file. No partial file remains.")
        sync(part)
        os.replace(part, path)
        sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_special(path: Path) -> None:
    """Remove whatever has the name of a cache file and is not a file, such as a pipe; WriteError if that fails."""
    try:
        if _is_special(path):
            path.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def _is_special(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode))


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk; OSError if that fails."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write ``data`` to ``path``, completely or not at all; WriteError if that fails."""
    atomic_write_pieces(path, (data,), mode=mode)


def atomic_write_pieces(path: Path, pieces: Iterable[bytes | memoryview], *, mode: int = 0o600) -> None:
    """As atomic_write_bytes, of data that is made piece by piece."""
    with atomic_write(path, mode=mode) as part:
        try:
            with part.open("wb", buffering=0) as file:
                for piece in pieces:
                    write_all(file.fileno(), piece)
        except OSError as error:
            raise cannot_write(path, error) from error


def make_folder(folder: Path) -> None:
    """Create a folder, and the folders above it, if they are missing.

    Each new folder has mode 0700, independent of the umask; the mode of an existing folder does not change.

    Raises
    ------
    WriteError
        If a folder cannot be created, or something else has its name.
    """
    try:
        for missing in reversed(list(takewhile(lambda one: not one.is_dir(), (folder, *folder.parents)))):
            _make_private(missing)
    except OSError as error:
        raise WriteError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=_FOLDER)
    except FileExistsError:
        if not folder.is_dir():  # else another process created it first
            raise
    else:
        folder.chmod(folder.stat().st_mode | _FOLDER)  # a umask may have removed the owner's rights


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all bytes, in as many calls as needed; OSError if the system accepts none."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def cannot_write(path: Path, error: OSError) -> WriteError:
    """The error for a file that cannot be written; no partial file remains."""
    return WriteError(f"cannot write {path}: {error.strerror or error}. No partial file remains.")
