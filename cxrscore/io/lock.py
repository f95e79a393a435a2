"""A lock file that names its holder: it works between processes, and between machines that share a folder."""

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
"""A signature, possibly incomplete. A file that begins otherwise belongs to another program."""


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` during the block.

    A lock whose process on this host has ended is taken over. InputError, naming host and process, if another process
    holds it; WriteError if the file cannot be written.

    The holder also locks the file with flock. The system releases that however a process ends, so the lock of a killed
    process is recognised; the name in the file is for other hosts, and for people.
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
            raise InputError(
                f"{path} is not a regular file, so it cannot be a lock. Remove it, or choose another output."
            )
        alone = _flock(descriptor)
        holder = os.pread(descriptor, 4096, 0).decode("utf-8", "replace")
        if not _free(holder, made, alone):
            words = holder.split()
            who = f"process {words[1]} on {words[0]}" if len(words) == 2 else "an unnamed process"
            raise InputError(
                f"{path} is held by {who}. Wait until that process ends, or remove the file if it no longer runs."
            )
        if named := _still_named(path, descriptor):
            _sign(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if named:
        return descriptor
    os.close(descriptor)  # released since it was opened: try again
    return _take(path)


def _sign(path: Path, descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        write_all(descriptor, f"{socket.gethostname()} {os.getpid()}\n".encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _open(path: Path) -> tuple[int, bool]:
    """The descriptor, and whether this process created the file."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        try:
            return os.open(path, flags), False
        except FileNotFoundError:  # released in between
            return _open(path)


def _flock(descriptor: int) -> bool | None:
    """Whether no other process has it flocked; None on file systems that do not support flock."""
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
    """Whether a lock file with this content has no holder."""
    if alone is False:
        return False
    if not holder.endswith("\n"):  # not signed, or incompletely: its process was stopped there, or is about to write
        return made or (alone is True and _BEGUN.fullmatch(holder) is not None)
    host, _, pid = holder.strip().partition(" ")
    return host == socket.gethostname() and pid.isdecimal() and (alone is True or not _runs(int(pid)))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of another user; or not a process number, so nothing is known
        return True
    return True


def _still_named(path: Path, descriptor: int) -> bool:
    """False if the file was removed while it was read."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
