"""Which files below a folder are films."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from cxrscore.errors import InputError
from cxrscore.films.sniff import HEAD, sniff

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")


@dataclass(frozen=True, kw_only=True)
class FoundFilms:
    """What lies below a folder.

    paths       films as POSIX paths below the folder, sorted
    others      how many other files there are
    unreadable  folders and files that could not be looked at or whose names are not UTF-8, sorted
    """

    paths: tuple[str, ...]
    others: int
    unreadable: tuple[str, ...]


def find_films(folder: Path) -> FoundFilms:
    """Films below a folder: files named .png .jpg .jpeg .dcm .dicom in any case, and files without a suffix that
    begin like one of these. Links to files are followed, links to folders are not.

    Raises InputError if the folder is none or cannot be listed.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; wanted the folder with the films")
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


def require_films(folder: Path) -> FoundFilms:
    """find_films, and an InputError where there is none."""
    found = find_films(folder)
    if not found.paths:
        raise InputError(f"there is no film ({' '.join(SUFFIXES)}) below {folder}")
    return found


def _walk(folder: Path, unreadable: list[str]) -> Iterator[tuple[str, bool]]:
    """Each file's path below the folder and whether it is a film; adds to `unreadable` what cannot be told."""
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
                else:
                    yield path, entry.is_file() and _is_film(entry)
            except OSError:
                unreadable.append(path)
            except UnicodeEncodeError:  # such a name fits neither a table nor a scores file
                unreadable.append(path.encode(errors="backslashreplace").decode())


def _is_film(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("._") or entry.name.upper() == "DICOMDIR":  # what macOS and DICOM discs leave
        return False
    suffix = PurePath(entry.name).suffix
    if suffix:
        return suffix.lower() in SUFFIXES
    with open(entry.path, "rb") as file:
        return sniff(file.read(HEAD)) != ""
