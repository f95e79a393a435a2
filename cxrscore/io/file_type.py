"""What kind of file lies somewhere, told by its first bytes."""

from __future__ import annotations

from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.io.regular import open_regular

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
