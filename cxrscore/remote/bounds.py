"""Limits of a remote listing: a server may list without end, by a loop of links or on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from cxrscore.errors import RemoteError
from cxrscore.remote.url import RemotePath

MAX_DEPTH = 32
"""Folders below each other. A tree without end is noticed here: folders are listed depth first, so that it takes about
as many requests as it has levels, however many links a page has."""
MAX_REPEATED_LISTINGS = 8
"""Folders that lie within each other and list the same names, some of them of folders. Archives that spread films over
folders 0/ to 9/ within folders 0/ to 9/ have a few such levels."""
MAX_FOLDERS = 5_000_000
MAX_NAMES = 10_000_000
"""Files and folders, all together."""
MAX_BYTES = 4 << 30
"""Of the pages of a web server, all together."""
MAX_SECONDS = 12 * 3600.0
"""For all of a listing. A million folders take eleven hours at 40 ms each."""
_SHOWN = 80
_LOOP = "A link probably leads back to a folder above it. Name a folder further down, which has no such link"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file below a folder: its POSIX path there, and its size in bytes if the listing states it."""

    path: str
    size: int | None = None


class ListingBounds:
    """Counts what one listing has given so far; RemoteError, saying which bound and what to do, where it is too much.

    Parameters
    ----------
    where
        The folder that is listed, for messages.
    end
        When the listing must be done, as ``time.monotonic`` counts.
    """

    def __init__(self, where: RemotePath, end: float) -> None:
        self._where, self._end = where, end
        self._folders = self._names = self._bytes = 0

    def add_folder(self, path: str) -> None:
        """A folder, by its path below the listed one ("" is that itself), which is to be listed."""
        self._folders += 1
        if path.count("/") > MAX_DEPTH:
            raise self._error(f"its folders lie more than {MAX_DEPTH} deep, as {_short(path)} does. {_LOOP}")
        if self._folders > MAX_FOLDERS:
            raise self._error(f"it has more than {MAX_FOLDERS:,} folders. Name a folder further down")
        self._check_time()

    def add_listing(self, path: str, listing: int, above: Sequence[int]) -> None:
        """What a folder lists, as one number, and what the folders above it do."""
        if above.count(listing) >= MAX_REPEATED_LISTINGS:
            raise self._error(
                f"{_short(path)} lists the same names as {MAX_REPEATED_LISTINGS} of the folders above it. {_LOOP}"
            )

    def add_names(self, count: int) -> None:
        """So many names of files and folders."""
        self._names += count
        if self._names > MAX_NAMES:
            raise self._error(f"it lists more than {MAX_NAMES:,} names. Name a folder further down")
        self._check_time()

    def add_bytes(self, count: int) -> None:
        """So many bytes of pages."""
        self._bytes += count
        if self._bytes > MAX_BYTES:
            raise self._error(f"its pages have more than {MAX_BYTES:,} bytes in all. Name a folder further down")

    def seconds_left(self) -> float:
        """Until the listing must be done."""
        return self._end - time.monotonic()

    def _check_time(self) -> None:
        if self.seconds_left() < 0:
            raise self._error(f"listing it takes over {MAX_SECONDS / 3600:g} hours. Name a folder further down")

    def _error(self, reason: str) -> RemoteError:
        return RemoteError(self._where, reason)


def walk(
    list_folder: Callable[[str], Sequence[Entry]], unreadable: list[str], bounds: ListingBounds
) -> Iterator[Entry]:
    """The files below a folder, folder by folder, each folder asked once.

    Parameters
    ----------
    list_folder
        Gives what a folder holds. It takes the folder's path below the top, "" or with a slash at its end, and returns
        paths below that folder, those of folders with a slash at their end. RemoteError where it cannot be listed.
    unreadable
        Takes the paths of folders that cannot be listed, and of those whose names are no names: they lead elsewhere,
        or are not UTF-8.
    bounds
        Ends the walk where there is too much.

    Raises
    ------
    RemoteError
        Where the top cannot be listed, or a bound is reached.
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
    """Whether the path of a folder, with a slash at its end, is UTF-8 and leads nowhere else."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path and not {"", ".", ".."} & set(path[:-1].split("/"))
