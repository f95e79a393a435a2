"""The marks file as the pages need it: its log in memory, brought up to date before each page."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cxrscore.errors import InputError, WriteError
from cxrscore.marks import Event, FilmMarks, Kind, MarkedFilm, MarksFile, ReadingSession, current_marks


class MarksLog:
    """The log of a marks file, which other processes may write too; safe to use from several threads.

    Parameters
    ----------
    path : Path or None
        The file; it is created by the first event.
    reason : str
        Without a path: why there is none.
    """

    def __init__(self, path: Path | None, reason: str = "") -> None:
        self.path, self._reason = path, reason
        self._turn = threading.RLock()
        self._file: MarksFile | None = None
        self._identity: tuple[int, int] | None = None
        self._scores = ""
        self._films: Callable[[Iterable[str]], Iterable[MarkedFilm]] = lambda digests: ()
        self._forget()

    def use_films(self, scores: str, films: Callable[[Iterable[str]], Iterable[MarkedFilm]]) -> None:
        """Name the scores file by its fingerprint, with a function that gives its films by their digests.

        Numbers of patients are those of one scores file. So where the last event comes from another one, the next write
        first takes what the marks file says of all its films from this scores file.
        """
        with self._turn:
            self._scores, self._films = scores, films

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._forget()

    @property
    def version(self) -> int:
        """The number of the last event that is known."""
        return self._last

    def refresh(self) -> None:
        """Read what was added to the file. Errors as MarksFile, and InputError if there is no path."""
        with self._turn:
            file = self._opened(create=False)
            if file is not None:
                self._add(file.events_after(self._last))

    def write(self, change: Callable[[MarksFile], Event | None]) -> Event | None:
        """Let a function add an event; what it returns is on the disk. Errors as MarksFile, and InputError."""
        with self._turn:
            file = self._opened(create=True)
            assert file is not None
            self._add(file.events_after(self._last))
            if self._last and self._last_scores != self._scores:
                file.update_films(self._films(file.films()))
            event = change(file)
            self._add(file.events_after(self._last))
            return event

    def record_seen(self, session: ReadingSession, films: Iterable[MarkedFilm]) -> None:
        """Save that scores of these films were shown to the reader; errors as write."""
        with self._turn:
            known = self.seen(session.reader)
            new = [film for film in films if film.sha256 not in known]
            if new:
                self.write(lambda file: file.record_seen(session, new))

    def seen(self, reader: str) -> set[str]:
        """Digests of the films whose scores were shown to the reader."""
        return self._seen.get(reader, set())

    def events(self, sha256: str) -> Sequence[Event]:
        """The log of a film."""
        return self._events.get(sha256, ())

    def marks_of(self, sha256: str) -> tuple[FilmMarks, ...]:
        """The current marks on a film, by reader."""
        return self._current.get(sha256, ())

    def marks(self) -> Mapping[str, tuple[FilmMarks, ...]]:
        """The current marks by digest of the film."""
        with self._turn:
            return dict(self._current)

    def readers(self) -> list[str]:
        """Names of the readers who have marks, sorted."""
        return sorted({one.reader for marks in self.marks().values() for one in marks})

    def _opened(self, *, create: bool) -> MarksFile | None:
        """The open file; it is opened again if another one has taken its place."""
        if self.path is None:
            raise InputError(self._reason)
        identity = _identity(self.path)
        if self._file is not None and identity == self._identity:
            return self._file
        self._forget()
        if identity is None and not create:
            return None
        try:
            self._file = MarksFile(self.path, create=create)
        except WriteError as error:
            raise WriteError(f"{error}; name another place with --marks FILE") from error
        self._identity = _identity(self.path)
        return self._file

    def _forget(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        self._last, self._last_scores = 0, ""
        self._events: dict[str, list[Event]] = {}
        self._current: dict[str, tuple[FilmMarks, ...]] = {}
        self._seen: dict[str, set[str]] = {}

    def _add(self, events: Sequence[Event]) -> None:
        for event in events:
            self._events.setdefault(event.sha256, []).append(event)
            if event.kind is Kind.SEEN:
                self._seen.setdefault(event.session.reader, set()).add(event.sha256)
            self._last, self._last_scores = event.number, event.session.scores
        for sha256 in {event.sha256 for event in events if event.kind is not Kind.SEEN}:
            marks = current_marks(self._events[sha256])
            if marks:
                self._current[sha256] = marks
            else:
                self._current.pop(sha256, None)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
