"""A lock file that says who holds it: it works between processes, and between machines that share a folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.files.atomic import cannot_write, write_all


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file ``path`` during the block.

    A lock whose process on this host is gone is taken over. InputError, naming host and process, where another holds
    it; WriteError where the file cannot be written.
    """
    try:
        held = _create(path) or _take_over(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    if not held:
        raise InputError(f"{path} was given back just now; try again")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path) -> bool:
    """True if the file was not there: O_EXCL lets exactly one process make it."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    try:
        _sign(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return True


def _take_over(path: Path) -> bool:
    """Puts this process in place of one that is gone; False where the file is not there any more.

    The file is rewritten, never removed: a second process that also saw the old holder gone would otherwise remove
    the new lock of the first. flock lets one after the other look.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        holder = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        if not _gone(holder):
            words = holder.split()
            who = f"process {words[1]} on {words[0]}" if len(words) == 2 else "a process that left no name"
            raise InputError(f"{path} is held by {who}. Wait for it, or remove the file if it is gone.")
        if not _still_named(path, descriptor):
            return False
        os.ftruncate(descriptor, 0)
        _sign(descriptor)
    finally:
        os.close(descriptor)
    return True


def _sign(descriptor: int) -> None:
    """Writes into an empty lock file who holds it."""
    write_all(descriptor, f"{socket.gethostname()} {os.getpid()}\n".encode())


def _gone(holder: str) -> bool:
    """True only where it is certain: the process was on this host, and is not there any more."""
    words = holder.split()
    if len(words) != 2 or words[0] != socket.gethostname() or not words[1].isdecimal():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # it is there, of another user; or no number of a process
        return False
    return False


def _still_named(path: Path, descriptor: int) -> bool:
    """False where the file was removed while it was looked at."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
