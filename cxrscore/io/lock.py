"""A lock file that says who holds it: it works between processes, and between machines that share a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.io.atomic import cannot_write, write_all

_NO_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


_BEGUN = re.compile(r"(\S{1,255}( \d*)?)?")
"""A signature, as far as it was written. A file that begins otherwise is somebody else's."""


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds the lock file ``path`` during the block.

    A lock whose process on this host is gone is taken over. InputError, naming host and process, where another holds
    it; WriteError where the file cannot be written.

    The holder also has the file flocked. The system gives that back however a process ends, so what is left of one
    that was killed is told from what is held; the name in the file is for other hosts, and for people.
    """
    try:
        descriptor = _take(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path) -> int:
    """An open, flocked and signed lock file."""
    descriptor, made = _open(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError(f"{path} is no regular file, so it cannot be a lock. Remove it, or name another output.")
        alone = _flock(descriptor)
        holder = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        if not _free(holder, made, alone):
            words = holder.split()
            who = f"process {words[1]} on {words[0]}" if len(words) == 2 else "a process that left no name"
            raise InputError(f"{path} is held by {who}. Wait for it, or remove the file if it is gone.")
        if named := _still_named(path, descriptor):
            _sign(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if named:
        return descriptor
    os.close(descriptor)  # given back since it was opened: try again
    return _take(path)


def _sign(path: Path, descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        write_all(descriptor, f"{socket.gethostname()} {os.getpid()}\n".encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _open(path: Path) -> tuple[int, bool]:
    """The descriptor, and whether this process made the file."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        try:
            return os.open(path, flags), False
        except FileNotFoundError:  # given back in between
            return _open(path)


def _flock(descriptor: int) -> bool | None:
    """Whether no other process has it flocked; None on file systems that cannot tell."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return None
        raise
    return True


def _free(holder: str, made: bool, alone: bool | None) -> bool:
    """Whether a lock file, with what is written in it, is nobody's."""
    if alone is False:
        return False
    if not holder.endswith("\n"):  # not signed, or not to the end: its process was stopped there, or is about to
        return made or (alone is True and _BEGUN.fullmatch(holder) is not None)
    host, _, pid = holder.strip().partition(" ")
    return host == socket.gethostname() and pid.isdecimal() and (alone is True or not _runs(int(pid)))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of another user; or no number of a process, so nothing is known
        return True
    return True


def _still_named(path: Path, descriptor: int) -> bool:
    """False where the file was removed while it was looked at."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
