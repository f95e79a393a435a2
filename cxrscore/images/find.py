"""Find the films below a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

from cxrscore.errors import InputError, RemoteError
from cxrscore.images.archive import MAGIC, ArchiveError, members, read_member, split_path
from cxrscore.images.file_signatures import SIGNATURE_BYTES, detect_format
from cxrscore.images.film import FilmError
from cxrscore.io.outputs import is_same_file
from cxrscore.io.regular import open_regular
from cxrscore.io.untrusted_names import is_plain_relative_path
from cxrscore.remote import Entry, PathOrUrl, RemotePath, list_remote, read_remote

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")


SNIFFERS = 16
"""Number of remote files whose content is checked at the same time."""


@dataclass(frozen=True, kw_only=True)
class FoundFilms:
    """The content of a folder.

    paths       films as POSIX paths below the folder, sorted
    others      number of other files
    unreadable  folders and files that could not be read or whose names are not UTF-8, broken links, and archive members
                with a path outside of the archive or with a duplicate name; sorted
    """

    paths: tuple[str, ...]
    others: int
    unreadable: tuple[str, ...]


def find_films(folder: PathOrUrl) -> FoundFilms:
    """Find films below a folder: files named .png .jpg .jpeg .dcm .dicom in upper or lower case, and files without a
    suffix that begin like one of these; also inside zip archives, which are files named .zip and files without a suffix
    that begin like one. Links to files are followed, links to folders are not, which avoids loops. In remote folders,
    archives count as other files.

    Raises InputError if the folder is not a folder or cannot be listed.
    """
    if isinstance(folder, RemotePath):
        return _find_remote(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected the folder with the films")
    films: list[str] = []
    unreadable: list[str] = []
    others = 0
    for path, is_film in _walk(folder, unreadable):
        if is_film:
            films.append(path)
        else:
            others += 1
    if "." in unreadable:
        raise InputError(f"{folder} cannot be listed: check its permissions")
    return FoundFilms(paths=tuple(sorted(films)), others=others, unreadable=tuple(sorted(unreadable)))


def find_same_file(output: Path, folder: PathOrUrl) -> Path | None:
    """The film below a folder, or the archive with films, that is the same file as ``output``; None if there is none.
    Files are compared only if the output begins like a film, has several names, or is in the folder."""
    try:
        found = output.stat()
        if isinstance(folder, RemotePath) or not stat.S_ISREG(found.st_mode):
            return None
        with output.open("rb") as file:
            head = file.read(SIGNATURE_BYTES)
    except OSError:
        return None
    inside = output.resolve().is_relative_to(folder.resolve())
    if not (inside or found.st_nlink > 1 or detect_format(head) or head.startswith(MAGIC)) or not folder.is_dir():
        return None
    files = dict.fromkeys(split_path(folder / path)[0] for path in find_films(folder).paths)
    return next((file for file in files if is_same_file(file, found)), None)


def require_films(folder: PathOrUrl) -> FoundFilms:
    """find_films, with an InputError if it finds nothing."""
    found = find_films(folder)
    if not found.paths:
        raise InputError(f"there is no film ({' '.join(SUFFIXES)}) below {folder}")
    return found


def _walk(folder: Path, unreadable: list[str]) -> Iterator[tuple[str, bool]]:
    """Each file's path below the folder and whether it is a film; adds files that cannot be read to `unreadable`."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as listed:
                entries = list(listed)
        except OSError:
            unreadable.append(below or ".")
            continue
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            try:
                path.encode()
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.is_file() and _is_archive(entry):
                    yield from _films_within(Path(entry.path), path, unreadable)
                else:
                    if entry.is_symlink():
                        entry.stat()  # an error for a broken link: it does not count as another file
                    yield path, entry.is_file() and _is_film(entry)
            except (OSError, ArchiveError):
                unreadable.append(path)
            except UnicodeEncodeError:  # such a name is not allowed in tables and scores files
                unreadable.append(path.encode(errors="backslashreplace").decode())


def _is_film(entry: os.DirEntry[str]) -> bool:
    return _matches_suffix(entry.name, SUFFIXES, lambda: detect_format(_head(entry)) != "")


def _is_archive(entry: os.DirEntry[str]) -> bool:
    return _matches_suffix(entry.name, (".zip",), lambda: _head(entry).startswith(MAGIC))


def _matches_suffix(name: str, suffixes: tuple[str, ...], begins_so: Callable[[], bool]) -> bool:
    """Whether a file has one of the suffixes or, without a suffix, begins like files of that type."""
    if name.startswith("._") or name.upper() == "DICOMDIR":  # created by macOS and DICOM discs
        return False
    suffix = PurePath(name).suffix
    return suffix.lower() in suffixes if suffix else begins_so()


def _head(entry: os.DirEntry[str]) -> bytes:
    with open_regular(Path(entry.path)) as file:
        return file.read(SIGNATURE_BYTES)


def _films_within(archive: Path, path: str, unreadable: list[str]) -> Iterator[tuple[str, bool]]:
    """Each member's path and whether it is a film; one that cannot be read becomes a film with that status."""
    names, odd = members(archive)
    unreadable.extend(f"{path}/{name}" for name in odd)
    for name in names:
        base = PurePath(name).name
        yield f"{path}/{name}", _matches_suffix(base, SUFFIXES, partial(_begins_like_film, archive, name))


def _begins_like_film(archive: Path, name: str) -> bool:
    try:
        return detect_format(read_member(archive, name, SIGNATURE_BYTES)) != ""
    except FilmError:
        return True


def _find_remote(folder: RemotePath) -> FoundFilms:
    unreadable: list[str] = []
    films, unsure, others = [], [], 0
    for entry in list_remote(folder, unreadable):
        kind = _kind(entry)
        if kind == "odd":
            unreadable.append(entry.path.encode(errors="backslashreplace").decode())
        elif kind == "film":
            films.append(entry.path)
        elif kind == "unsure":
            unsure.append(entry.path)
        else:
            others += 1
    with ThreadPoolExecutor(SNIFFERS) as pool:
        for path, is_film in zip(unsure, pool.map(lambda path: _begins_so(folder / path), unsure), strict=True):
            films.extend([path] * (is_film is True))
            unreadable.extend([path] * (is_film is None))
            others += is_film is False
    return FoundFilms(paths=tuple(sorted(films)), others=others, unreadable=tuple(sorted(unreadable)))


def _kind(entry: Entry) -> str:
    """ "film" or "other", by its name; "unsure" if only its bytes decide; "odd" for a name that is not allowed in
    tables and scores files, or that leads outside of the folder."""
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        return "odd"
    if not is_plain_relative_path(entry.path):
        return "odd"
    unsure = False

    def ask() -> bool:
        nonlocal unsure
        unsure = entry.size != 0
        return False

    if _matches_suffix(PurePath(entry.path).name, SUFFIXES, ask):
        return "film"
    return "unsure" if unsure else "other"


def _begins_so(file: RemotePath) -> bool | None:
    """Whether a file begins like a film; None if it cannot be read."""
    try:
        return detect_format(read_remote(file, SIGNATURE_BYTES, first=SIGNATURE_BYTES)) != ""
    except RemoteError:
        return None
