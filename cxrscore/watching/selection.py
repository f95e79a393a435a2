"""Which of the films that are listed now are to be scored: the new ones, and those whose bytes are new.

On disk, a film is known by its path and the time of its last change: a known path that has not changed since it was
scored is not read. A changed film is read, and is new if its bytes are. At a URL, the path alone decides, unless the
scores files hide paths that the index does not know.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cxrscore.images import film_digest
from cxrscore.images.archive import split_path
from cxrscore.remote import PathOrUrl, RemotePath
from cxrscore.status import Status
from cxrscore.watching.known_films import KnownFilm, KnownFilms

MARGIN = 2.0
"""Seconds by which the clock of a file system may be coarse."""
READERS = 8
"""Threads that read films."""


class _State(NamedTuple):
    """Size and last change of a file; ``changed`` is in Unix seconds."""

    size: int
    mtime: int
    changed: float


@dataclass
class Counts:
    """What a round met.

    listed      films that are listed
    waiting     of them, those that are too young: still being copied, perhaps
    duplicates  films with the bytes of a film that has been scored under another path
    gone        films that were listed, and could not be read any more
    given_up    films that could not be read, and are not tried again
    """

    listed: int = 0
    waiting: int = 0
    duplicates: int = 0
    gone: int = 0
    given_up: int = 0


@dataclass
class Selection:
    """Chooses films, round after round.

    min_age   seconds since the last change after which a film is complete; a younger one must have the size and the
              time that it had in the round before
    interval  seconds between rounds: a film that could not be read is tried again after 2, 4, 8 ... of them
    retries   how often it is tried again
    compares  whether the bytes of films at a URL are compared, too, which receives each new film twice
    """

    known: KnownFilms
    min_age: float
    interval: float
    retries: int
    compares: bool = False
    clock: Callable[[], float] = time.time
    _seen: dict[str, _State] = field(default_factory=dict)

    def candidates(self, folder: PathOrUrl, paths: Sequence[str], counts: Counts) -> list[str]:
        """The films that may have to be scored: new, changed, or to be tried again."""
        counts.listed = len(paths)
        now, young, found = self.clock(), {}, []
        states = _States(folder, now)
        for path, known in self.known.find(paths):
            state = states.of(path)
            if not self._is_wanted(known, state, now, counts):
                continue
            if state is not None and not self._is_complete(path, state, now):
                young[path] = state
            else:
                found.append(path)
        self._seen = young
        counts.waiting = len(young)
        return found

    def _is_wanted(self, known: KnownFilm | None, state: _State | None, now: float, counts: Counts) -> bool:
        if known is None or (state is not None and state.changed > known.checked / 1e9 - MARGIN):
            return True
        if known.status != Status.UNREADABLE:
            return False
        if known.tries > self.retries:
            counts.given_up += 1
            return False
        return now >= known.checked / 1e9 + self.interval * float(2**known.tries)

    def _is_complete(self, path: str, state: _State, now: float) -> bool:
        return now - state.changed >= self.min_age or self._seen.get(path) == state

    def new_films(self, folder: PathOrUrl, candidates: Sequence[str], most: int, counts: Counts) -> Iterator[list[str]]:
        """The candidates whose bytes are in no scores file, at most so many at a time. The caller scores each list
        before it asks for the next one."""
        if isinstance(folder, RemotePath) and not self.compares:
            yield from (list(candidates[start : start + most]) for start in range(0, len(candidates), most))
            return
        for start in range(0, len(candidates), most):
            began, some = int(self.clock() * 1e9), candidates[start : start + most]
            digests = _digests(folder, some)
            if fresh := self._unknown(folder, digests, counts):
                yield fresh
            self._note_duplicates(digests, began, counts)

    def _unknown(self, folder: PathOrUrl, digests: Mapping[str, str], counts: Counts) -> list[str]:
        """The films whose bytes are in no scores file, each content once; also those that cannot be read, which get a
        status, unless they are gone or have been tried too often."""
        fresh: dict[str, str] = {}
        for path, known in self.known.find(digests):
            digest = digests[path]
            if digest:
                if not self.known.has(digest):
                    fresh.setdefault(digest, path)
            elif not _exists(folder / path):
                counts.gone += 1
            elif known is not None and known.tries > self.retries:
                counts.given_up += 1
            else:
                fresh[path] = path
        return sorted(fresh.values())

    def _note_duplicates(self, digests: Mapping[str, str], began: int, counts: Counts) -> None:
        """Notes the contents of films that are now in a scores file under another path, or that were so before."""
        noted: dict[str, str] = {}
        for path, known in self.known.find(digests):
            digest = digests[path]
            if self.known.has(digest) and (known is None or known.sha256 != digest or known.checked < began):
                noted[path] = digest
                counts.duplicates += known is None or known.sha256 != digest
        self.known.note(noted, began)


def _digests(folder: PathOrUrl, paths: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the films by path; "" for one that cannot be read."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="digests") as pool:
        return dict(zip(paths, pool.map(lambda path: film_digest(folder / path), paths), strict=True))


class _States:
    """The states of files on disk; None for a film at a URL, and for one that is gone. A film in an archive has the
    state of the archive."""

    def __init__(self, folder: PathOrUrl, now: float) -> None:
        self._folder, self._now = folder, now
        self._archives: dict[Path, _State | None] = {}

    def of(self, path: str) -> _State | None:
        if isinstance(self._folder, RemotePath):
            return None
        place = os.path.join(self._folder, path)
        try:
            return self._state(os.stat(place))
        except NotADirectoryError:
            return self._of_archive(Path(place))
        except OSError:
            return None

    def _of_archive(self, place: Path) -> _State | None:
        parent = next((one for one in self._archives if place.is_relative_to(one)), None)
        try:
            if parent is None:
                parent = split_path(place)[0]
                self._archives[parent] = self._state(parent.stat())
        except OSError:
            return None
        return self._archives[parent]

    def _state(self, found: os.stat_result) -> _State:
        """A time of modification in the future says nothing: programs can set it."""
        modified = found.st_mtime if found.st_mtime <= self._now else 0.0
        return _State(found.st_size, found.st_mtime_ns, max(found.st_ctime, modified))


def _exists(place: PathOrUrl) -> bool:
    """Whether a film, or its archive, is still there; at a URL that is not asked."""
    try:
        return isinstance(place, RemotePath) or split_path(place)[0].exists()
    except OSError:
        return False
