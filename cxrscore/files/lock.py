"""A lock file that says who holds it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrscore.errors import InputError, WriteError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file ``path`` during the block. A lock whose process on this host is gone is taken over;
    another is an InputError naming its host and process."""
    _take(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take(path: Path) -> None:
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            _refuse_if_held(path)
            path.unlink(missing_ok=True)
            continue
        except OSError as error:
            raise WriteError(f"cannot write {path}: {error.strerror}") from error
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}\n")
        return
    raise InputError(f"{path} is taken and given back by other processes all the time; try again")


def _refuse_if_held(path: Path) -> None:
    try:
        host, pid = path.read_text().split()
    except (OSError, ValueError):
        host, pid = "", "0"
    if host and (host != socket.gethostname() or _alive(int(pid))):
        raise InputError(f"{path} is held by process {pid} on {host}. Wait for it, or remove the file if it is gone.")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
