"""Reads the files that a user names, their first bytes and their SHA-256. Only regular files are opened, so that no
program waits for a pipe, device or socket."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import os
import stat
from pathlib import Path

from cxrscore.errors import InputError

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_KERNEL = ("/proc", "/sys")
"""Mount points of file systems whose files the kernel makes while they are read: their sizes say nothing."""


def open_regular(path: Path) -> io.BufferedReader:
    """Opens a regular file for reading, without ever waiting.

    Parameters
    ----------
    path
        The file; symbolic links are followed.

    Returns
    -------
    io.BufferedReader
        The open file. The caller closes it.

    Raises
    ------
    OSError
        As ``open`` raises it. Also, with words for people in ``strerror``, for a pipe, socket, device or folder, and
        for a file of /proc or /sys. What was opened is looked at again, so replacing the file meanwhile helps nobody.
    """
    if "\0" in str(path):  # for which the system's functions raise a ValueError
        raise OSError(errno.EINVAL, "its name has a zero character", str(path))
    _check(os.stat(path), path)  # before it is opened: opening a device may do something
    return open(path, "rb", opener=_opened)


def read_regular(path: Path, most: int) -> bytes | None:
    """The bytes of a regular file; None, mostly without reading it, where there are more than ``most``.

    Memory is taken for as many bytes as the file has, and not for ``most``. OSError as open_regular.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1) if size <= most else None  # one more: it may grow
    return data if data is not None and len(data) <= most else None


def _opened(path: str, flags: int) -> int:
    # O_NONBLOCK: opening a pipe does not wait for somebody who writes. Regular files ignore it.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(found: os.stat_result, path: Path | str) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "it is a folder, wanted a file", str(path))
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "no regular file")
        raise OSError(errno.EINVAL, f"it is {what}, wanted a file: save its content to a file first", str(path))
    if found.st_dev in _kernel_devices():
        raise OSError(errno.EINVAL, "it is a file of the kernel, wanted a file on a disk", str(path))


@functools.cache
def _kernel_devices() -> set[int]:
    """Numbers of the devices that /proc and /sys are, where they are mounted; never that of the root."""
    devices = {os.stat(place).st_dev for place in _KERNEL if os.path.ismount(place)}
    return devices - {os.stat("/").st_dev}


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """OSError as io.regular.open_regular."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


HDF5 = b"\x89HDF\r\n\x1a\n"
"""How every HDF5 file begins, so every scores file."""


def is_hdf5(path: Path) -> bool:
    """Whether the file is HDF5; errors as read_first_bytes."""
    return read_first_bytes(path, len(HDF5)) == HDF5


def read_first_bytes(path: Path, count: int) -> bytes:
    """So many bytes of a file, fewer where it ends before. InputError where there is none, or it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(count)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"there is no file at {path}. Name a scores file (.h5) or a model (.safetensors).") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
