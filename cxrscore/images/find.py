"""Find the films below a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cxrscore.errors import InputError, RemoteError, RemoteMissingError
from cxrscore.images.archive import MAGIC, ArchiveError, members, read_member, split_path
from cxrscore.images.dicom import known_modality, known_view
from cxrscore.images.dicom_selection import kind_by_attributes
from cxrscore.images.file_signatures import SIGNATURE_BYTES, detect_format
from cxrscore.images.film import FilmError
from cxrscore.images.other_files import (
    HEAD_BYTES,
    OtherFiles,
    OtherFilesCounter,
    is_other_container,
    kind_by_name,
    suffix_of,
)
from cxrscore.io.outputs import is_same_file
from cxrscore.io.regular import open_regular
from cxrscore.io.untrusted_names import is_plain_relative_path
from cxrscore.remote import Entry, PathOrUrl, RemotePath, list_remote, read_remote
from cxrscore.remote.bounds import DicomAttributes
from cxrscore.system_resources import bounded_map

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
"""A file with one of these is a film whatever its bytes are, so that a damaged one has a status."""
SNIFFERS = 16
"""Number of remote files whose content is checked at the same time."""


@dataclass(frozen=True, kw_only=True)
class FoundFilms:
    """The content of a folder.

    paths       films as POSIX paths below the folder, sorted
    others      number of the other files by kind
    unreadable  folders and files that could not be read or whose names are not UTF-8, broken links, and archive members
                with a path outside of the archive or with a duplicate path; sorted
    stated      (modality, view) of films by path, as a PACS states them, "" for unknown; empty for folders
    """

    paths: tuple[str, ...]
    others: OtherFiles = field(default_factory=OtherFiles)
    unreadable: tuple[str, ...] = ()
    stated: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def find_films(folder: PathOrUrl, *, any_modality: bool = False) -> FoundFilms:
    """Find films below a folder: files named .png .jpg .jpeg .dcm .dicom in upper or lower case, and files under any
    other name that begin like one of these, unless their suffix is that of a text, table, model or the like
    (other_files.NON_IMAGE_SUFFIXES); also inside zip archives, which are files named .zip and other files that begin
    like one. Links to files are followed, links to folders are not, which avoids loops. In remote folders, archives
    count as other files.

    In a PACS, films are the objects that match the query and are images of CR, DX, RG or an unknown modality, or of any
    with ``any_modality``, by what the server states; all others are other files, and are never received.

    Raises InputError if the folder is not a folder or cannot be listed.
    """
    if isinstance(folder, RemotePath):
        return _find_in_pacs(folder, any_modality=any_modality) if folder.dicomweb else _find_remote(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected the folder with the films")
    found = _Collected()
    _walk(folder, found)
    if "." in found.unreadable:
        raise InputError(f"{folder} cannot be listed: check its permissions")
    return found.result()


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


def require_films(folder: PathOrUrl, *, any_modality: bool = False) -> FoundFilms:
    """find_films, with an InputError if it finds nothing."""
    found = find_films(folder, any_modality=any_modality)
    if not found.paths:
        others = found.others.sentence()
        if isinstance(folder, RemotePath) and folder.dicomweb:
            raise InputError(
                f"no object in {folder} is a film that matches the query; `cxrscore score --dry-run` counts what does"
                f"{f'. It has {others}' if others else ''}"
            )
        raise InputError(
            f"there is no film ({' '.join(SUFFIXES)}, or a file that begins like one) below {folder}"
            f"{f'. It has {others}' if others else ''}"
        )
    return found


class _Collected:
    """What was found so far."""

    def __init__(self) -> None:
        self.films: list[str] = []
        self.unreadable: list[str] = []
        self.others = OtherFilesCounter()
        self.stated: dict[str, tuple[str, str]] = {}

    def result(self) -> FoundFilms:
        return FoundFilms(
            paths=tuple(sorted(self.films)),
            others=self.others.result(),
            unreadable=tuple(sorted(self.unreadable)),
            stated=self.stated,
        )

    def add_by_name(self, path: str) -> _Name:
        """Adds a film or an other file if its name tells that it is one; "zip" and "unknown" are left to the caller."""
        name = path.rpartition("/")[2]
        kind, suffix = kind_by_name(name), suffix_of(name)
        if kind:
            self.others.add("not_opened", kind)
            return "done"
        if suffix in SUFFIXES:
            self.films.append(path)
            return "done"
        return "zip" if suffix == ".zip" else "unknown"

    def add_by_head(self, path: str, head: bytes) -> None:
        """Adds a file of which only the first bytes tell what it is."""
        if detect_format(head):
            self.films.append(path)
        else:
            self.others.add_head(path.rpartition("/")[2], head)


_Name = Literal["done", "zip", "unknown"]


def _walk(folder: Path, found: _Collected) -> None:
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as listed:
                entries = list(listed)
        except OSError:
            found.unreadable.append(below or ".")
            continue
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            try:
                path.encode()
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    _add_file(entry, path, found)
            except FileNotFoundError:  # a broken link; any other file is gone since the folder was listed
                if entry.is_symlink():
                    found.unreadable.append(path)
            except (OSError, ArchiveError):
                found.unreadable.append(path)
            except UnicodeEncodeError:  # such a name is not allowed in tables and scores files
                found.unreadable.append(path.encode(errors="backslashreplace").decode())


def _add_file(entry: os.DirEntry[str], path: str, found: _Collected) -> None:
    """Adds a file, or the films of an archive; OSError or ArchiveError if it cannot be read."""
    if entry.is_symlink():
        entry.stat()  # an error for a broken link: it does not count as another file
    if not entry.is_file():
        found.others.add("not_opened", "folder link" if entry.is_dir() else "pipe, socket or device file")
        return
    told = found.add_by_name(path)
    if told == "done":
        return
    with open_regular(Path(entry.path)) as file:
        head = file.read(HEAD_BYTES)
    if (told == "zip" or head.startswith(MAGIC)) and not detect_format(head):
        _add_members(Path(entry.path), path, found, is_named_so=told == "zip")
    else:
        found.add_by_head(path, head)


def _add_members(archive: Path, path: str, found: _Collected, *, is_named_so: bool) -> None:
    """Adds the members of an archive; one that cannot be read becomes a film with that status."""
    names, odd = members(archive)
    if not is_named_so and is_other_container(names):
        found.others.add("not_supported", "document or model that is a zip archive")
        return
    if not names and not odd:
        found.others.add("no_film", "empty archive")
    found.unreadable.extend(f"{path}/{name}" for name in odd)
    for name in names:
        inner = f"{path}/{name}"
        told = found.add_by_name(inner)
        if told == "zip":
            found.others.add("not_opened", _ARCHIVE_WITHIN)
        elif told == "unknown":
            _add_member(archive, name, inner, found)


def _add_member(archive: Path, name: str, path: str, found: _Collected) -> None:
    try:
        head = read_member(archive, name, HEAD_BYTES)
    except FilmError:
        found.films.append(path)
        return
    if head.startswith(MAGIC) and not detect_format(head):
        found.others.add("not_opened", _ARCHIVE_WITHIN)
    else:
        found.add_by_head(path, head)


_ARCHIVE_WITHIN = "zip archive in an archive"
_REMOTE_ARCHIVE = "zip archive in a remote folder"


def _listed(folder: RemotePath, unreadable: list[str]) -> list[Entry]:
    """As list_remote; if there is no such folder on a web server, the error says how a PACS is named."""
    try:
        return list_remote(folder, unreadable)
    except RemoteMissingError as error:
        if not folder.web:
            raise
        hint = f"; the URL of a PACS begins with dicomweb+{folder.scheme}://"
        raise RemoteMissingError(folder, f"{error.reason}{hint}", status=error.status) from None


def _find_remote(folder: RemotePath) -> FoundFilms:
    found, unknown = _Collected(), []
    for entry in _listed(folder, found.unreadable):
        if not _is_allowed(entry.path):
            found.unreadable.append(entry.path.encode(errors="backslashreplace").decode())
            continue
        told = found.add_by_name(entry.path)
        if told == "zip":
            found.others.add("not_opened", _REMOTE_ARCHIVE)
        elif told == "unknown" and entry.size == 0:
            found.add_by_head(entry.path, b"")
        elif told == "unknown":
            unknown.append(entry.path)
    with ThreadPoolExecutor(SNIFFERS) as pool:
        heads = bounded_map(pool, lambda path: _remote_head(folder / path), unknown)
        for path, head in zip(unknown, heads, strict=True):
            if head is None:
                found.unreadable.append(path)
            elif head.startswith(MAGIC) and not detect_format(head):
                found.others.add("not_opened", _REMOTE_ARCHIVE)
            else:
                found.add_by_head(path, head)
    return found.result()


def _find_in_pacs(service: RemotePath, *, any_modality: bool) -> FoundFilms:
    found = _Collected()
    for entry in list_remote(service, found.unreadable):
        stated = entry.dicom or DicomAttributes()
        modality, view = known_modality(stated.modality), known_view(stated.view)
        if kind := kind_by_attributes(stated, modality, any_modality=any_modality):
            found.others.add("not_opened", kind)
        else:
            found.films.append(entry.path)
            found.stated[entry.path] = modality, view
    return found.result()


def _is_allowed(path: str) -> bool:
    """False for a path that is not allowed in tables and scores files, or that leads outside of the folder."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return is_plain_relative_path(path)


def _remote_head(file: RemotePath) -> bytes | None:
    """The first bytes of a file; None if it cannot be read."""
    try:
        return read_remote(file, HEAD_BYTES, first=HEAD_BYTES)
    except RemoteError:
        return None
