"""Films inside zip archives, read in place: nothing is unpacked to disk.

The path of a film in an archive is the path of the archive and then its own: ``export.zip/series 1/0001.dcm``.
"""

from __future__ import annotations

import errno
import functools
import lzma
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrscore.images.film import MAX_BYTES, FilmError, Status
from cxrscore.io.regular import open_regular
from cxrscore.io.untrusted_names import plain_relative_path

MAGIC = b"PK\x03\x04"
LARGEST_DIRECTORY = 1_000_000
"""Largest number of members; larger archives are not opened, because their directory would fill the memory."""
_ENTRY = 200
"""Average size in bytes of the directory entries of so many members; the minimum is 46 and the name."""

_DIRECTORY_BYTES = 5
"""Index of the directory size in what zipfile finds at the end of an archive."""
_RAISED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, LookupError),
)
"""Exceptions that zipfile raises for damaged, encrypted or unusual archives."""


class ArchiveError(Exception):
    """An archive cannot be listed. Raised and caught inside this package."""


def split_path(path: Path) -> tuple[Path, str]:
    """The file on disk, and the name of the member if the path leads into an archive, else ""."""
    if not _holds(path.exists):
        for parent in path.parents:
            if _holds(parent.is_file):
                return parent, path.relative_to(parent).as_posix()
    return path, ""


def _holds(question: Callable[[], bool]) -> bool:
    """The result of the test; False if the name is too long for a file, as the name of an archive member may be."""
    try:
        return question()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def members(archive: Path) -> tuple[list[str], list[str]]:
    """Paths of the files in an archive that are unique and stay below it, and names of the others; ArchiveError if the
    file is not an archive. A name such as ``./a.dcm`` or ``a//b.dcm`` means the path without the superfluous parts."""
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as opened:
            if len(opened.filelist) > LARGEST_DIRECTORY:
                raise ArchiveError(f"{len(opened.filelist):,} members, expected at most {LARGEST_DIRECTORY:,}")
            if sum(item.compress_size for item in opened.filelist) > archive.stat().st_size:
                raise ArchiveError("its members overlap: together they have more bytes than the archive")
            names = [item.filename for item in opened.filelist if not item.is_dir()]
    except _RAISED as error:
        raise ArchiveError(type(error).__name__) from None
    plain = _unique_paths(names)
    return sorted(plain), sorted(set(names) - set(plain.values()))


def _unique_paths(names: Iterable[str]) -> dict[str, str]:
    """The name of the member for each path that exactly one member has."""
    paths = [(plain_relative_path(name), name) for name in names]
    counted = Counter(path for path, _ in paths)
    return {path: name for path, name in paths if path and counted[path] == 1}


def _check_directory(archive: Path) -> None:
    """ArchiveError if the directory is longer than zipfile should read; it reads all of it at once."""
    with open_regular(archive) as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # zipfile itself finds the end record with it
    if end and end[_DIRECTORY_BYTES] > LARGEST_DIRECTORY * _ENTRY:
        raise ArchiveError(f"a directory of {end[_DIRECTORY_BYTES]:,} bytes")


def read_member(archive: Path, path: str, most: int = MAX_BYTES + 1) -> bytes:
    """Read at most the given number of bytes of the member at a path, whatever size it declares. FilmError if it cannot
    be read completely."""
    try:
        found = archive.stat()
        state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
        opened = _opened(str(archive), state)
        with opened.file.open(opened.renamed.get(path, path)) as file:
            return file.read(most)
    except _RAISED as error:
        kind = "is encrypted" if "encrypted" in str(error) else f"cannot be read ({type(error).__name__})"
        raise FilmError(Status.UNREADABLE, f"in the archive, it {kind}") from None


@dataclass(frozen=True, kw_only=True)
class _OpenArchive:
    """An open archive; renamed: the name of each member whose path differs from it."""

    file: zipfile.ZipFile
    renamed: dict[str, str]


@functools.lru_cache(maxsize=1)
def _opened(path: str, state: tuple[int, ...]) -> _OpenArchive:
    """The archive that was read last, open: its directory is read once and not for every film.

    state: of its file; another file with the same name, size and mtime has another inode or ctime.
    """
    file = zipfile.ZipFile(path)
    odd = [name for name in file.NameToInfo if plain_relative_path(name) != name]
    renamed = {} if not odd else _unique_paths(file.NameToInfo)
    return _OpenArchive(file=file, renamed={path: name for path, name in renamed.items() if path != name})
