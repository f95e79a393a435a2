"""Writing a file whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from cxrscore.errors import WriteError

_FOLDER = 0o700


@contextmanager
def atomic_write(path: Path, *, mode: int = 0o600) -> Iterator[Path]:
    """Yields a new, empty temporary file beside ``path``, which becomes ``path`` when the block ends well.

    When it does not, the temporary file is removed and ``path`` stays as it was. WriteError where the disk or
    the folder refuses; other errors of the block pass through.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        try:
            os.fchmod(descriptor, mode)  # whatever the umask
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
    """Gives a finished file of the same file system its name, once it is on the disk; WriteError where that fails, and
    where the name is that of a device, a pipe or a folder."""
    try:
        if _is_special(path):
            raise WriteError(f"cannot write {path}: it is no regular file. Nothing was left half-written.")
        sync(part)
        os.replace(part, path)
        sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_special(path: Path) -> None:
    """Removes what is in the place of a file of a cache and is no file, such as a pipe; WriteError where that fails."""
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
    """Waits until a file's content, or a folder's list of names, is on the disk; OSError where that fails."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Writes ``data`` to ``path``, whole or not at all; WriteError where the disk is full or refuses."""
    with atomic_write(path, mode=mode) as part:
        try:
            with part.open("wb", buffering=0) as file:
                write_all(file.fileno(), data)
        except OSError as error:
            raise cannot_write(path, error) from error


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, where they are missing.

    Each folder that it makes has mode 0700, whatever the umask; one that is there keeps its mode.

    Raises
    ------
    WriteError
        Where a folder cannot be made, or something else has its name.
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
        if not folder.is_dir():  # else another process was faster
            raise
    else:
        folder.chmod(folder.stat().st_mode | _FOLDER)  # a umask may have taken the owner's own rights


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all bytes, however few the system takes at a time; OSError where it takes none."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def cannot_write(path: Path, error: OSError) -> WriteError:
    """The error for a file that the disk or the folder refused; nothing of it was left."""
    return WriteError(f"cannot write {path}: {error.strerror or error}. Nothing was left half-written.")
