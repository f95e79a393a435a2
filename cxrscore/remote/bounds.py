"""Limits of a remote listing: a server may list without end, by a loop of links or on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from cxrscore.errors import RemoteError
from cxrscore.remote.url import RemotePath

MAX_DEPTH = 32
"""Largest depth of folders. An endless tree is detected here: folders are listed depth first, so this takes about as
many requests as there are levels, however many links a page has."""
MAX_REPEATED_LISTINGS = 8
"""Number of nested folders that may list the same names, including folders. Archives that spread films over folders 0/
to 9/ within folders 0/ to 9/ have a few such levels."""
MAX_FOLDERS = 5_000_000
MAX_NAMES = 10_000_000
"""Largest total number of files and folders."""
MAX_BYTES = 4 << 30
"""Largest total number of bytes of the pages of a web server."""
MAX_SECONDS = 12 * 3600.0
"""Time limit of a listing. A million folders take eleven hours at 40 ms each."""
_SHOWN = 80
_LOOP = "A link probably leads back to a folder above it. Choose a subfolder that has no such link"


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomAttributes:
    """What a DICOMweb server states about an object; "" for what it does not state. Nothing of it is checked.

    sop_class     SOP Class UID
    modality      Modality
    view          View Position
    manufacturer  Manufacturer
    """

    sop_class: str = ""
    modality: str = ""
    view: str = ""
    manufacturer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file below a folder.

    path   its POSIX path there; in a DICOMweb service STUDY/SERIES/INSTANCE, by their UIDs
    size   in bytes, if the listing states it
    dicom  None except in a DICOMweb service
    """

    path: str
    size: int | None = None
    dicom: DicomAttributes | None = None


class ListingBounds:
    """Counts the results of one listing; RemoteError that names the limit and the remedy if a limit is exceeded.

    Parameters
    ----------
    where
        The folder that is listed, for messages.
    end
        Deadline of the listing, as ``time.monotonic`` counts.
    """

    def __init__(self, where: RemotePath, end: float) -> None:
        self._where, self._end = where, end
        self._folders = self._names = self._bytes = 0

    def add_folder(self, path: str) -> None:
        """Count a folder to be listed, given by its path below the top folder ("" is the top folder itself)."""
        self._folders += 1
        if path.count("/") > MAX_DEPTH:
            raise self._error(f"its folders are nested more than {MAX_DEPTH} deep, such as {_short(path)}. {_LOOP}")
        if self._folders > MAX_FOLDERS:
            raise self._error(f"it has more than {MAX_FOLDERS:,} folders. Choose a subfolder")
        self._check_time()

    def add_listing(self, path: str, listing: int, above: Sequence[int]) -> None:
        """A hash of the names in a folder, and the hashes of the folders above it."""
        if above.count(listing) >= MAX_REPEATED_LISTINGS:
            raise self._error(
                f"{_short(path)} lists the same names as {MAX_REPEATED_LISTINGS} of the folders above it. {_LOOP}"
            )

    def add_names(self, count: int) -> None:
        """Count names of files and folders."""
        self._names += count
        if self._names > MAX_NAMES:
            raise self._error(f"it lists more than {MAX_NAMES:,} names. Choose a subfolder")
        self._check_time()

    def add_bytes(self, count: int) -> None:
        """Count bytes of pages."""
        self._bytes += count
        if self._bytes > MAX_BYTES:
            raise self._error(f"its pages have more than {MAX_BYTES:,} bytes in all. Choose a subfolder")

    def seconds_left(self) -> float:
        """Time left until the deadline."""
        return self._end - time.monotonic()

    def _check_time(self) -> None:
        if self.seconds_left() < 0:
            raise self._error(f"listing it takes over {MAX_SECONDS / 3600:g} hours. Choose a subfolder")

    def _error(self, reason: str) -> RemoteError:
        return RemoteError(self._where, reason)


def walk(
    list_folder: Callable[[str], Sequence[Entry]], unreadable: list[str], bounds: ListingBounds
) -> Iterator[Entry]:
    """Yield the files below a folder, folder by folder; each folder is listed once.

    Parameters
    ----------
    list_folder
        Lists one folder. It takes the folder's path below the top, "" or with a slash at its end, and returns paths
        below that folder, those of folders with a slash at their end. RemoteError if it cannot be listed.
    unreadable
        Receives the paths of folders that cannot be listed, and of those with invalid names: they leave the top folder,
        or are not UTF-8.
    bounds
        Ends the walk if a limit is exceeded.

    Raises
    ------
    RemoteError
        If the top cannot be listed, or a limit is exceeded.
    """
    nothing: tuple[int, ...] = ()
    waiting, known = [("", nothing)], {""}
    while waiting:
        below, above = waiting.pop()
        bounds.add_folder(below)
        try:
            entries = list_folder(below)
        except RemoteError:
            if not below:
                raise
            unreadable.append(below.rstrip("/"))
            continue
        bounds.add_names(len(entries))
        listing = hash(frozenset(entry.path for entry in entries))
        folders = [f"{below}{entry.path}" for entry in entries if entry.path.endswith("/")]
        if folders:
            bounds.add_listing(below, listing, above)
        yield from (replace(entry, path=f"{below}{entry.path}") for entry in entries if not entry.path.endswith("/"))
        for path in folders:
            if path not in known:
                known.add(path)
                if _is_plain(path):
                    waiting.append((path, (*above, listing)))
                else:
                    unreadable.append(path.rstrip("/").encode(errors="backslashreplace").decode())


def _short(path: str) -> str:
    return path if len(path) <= _SHOWN else f"{path[:_SHOWN]}..."


def _is_plain(path: str) -> bool:
    """Whether the path of a folder, with a slash at its end, is UTF-8 and stays below the top folder."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path and not {"", ".", ".."} & set(path[:-1].split("/"))
