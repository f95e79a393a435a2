"""The marks file: an SQLite database beside a scores file, with an append-only log of what readers say of films.

Each event is one transaction, on the disk before the call returns. The journal is a rollback journal and not a
write-ahead log: a crash leaves one file and its journal, network folders with locks work, and readers are people, whose
events are rare.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxrscore.errors import CxrscoreError, FileFormatError, InputError, WriteError
from cxrscore.escape_control_chars import error_words, escape_control_characters
from cxrscore.io.regular import open_regular
from cxrscore.marks.log import (
    MAX_BOXES,
    MAX_FINDING,
    Answer,
    Event,
    FilmMarks,
    Kind,
    MarkedFilm,
    ReadingSession,
    check_comment,
    check_sides,
    check_text,
    current_marks,
)

SUFFIX = ".marks.sqlite"
VERSION = 1
_APPLICATION = 0x63787273
"""The application number of the database, "cxrs"."""
_SQLITE = b"SQLite format 3\0"
_AT_APPLICATION = 68
"""Place of the application number in the header of a database, 4 bytes, big-endian."""
_HEADER = 100
"""Bytes of the header of a database."""
MAX_BYTES = 512 * 1024**2
MAX_EVENTS = 1_000_000
_MAX_VALUE = 64 * 1024
"""Largest number of bytes of a value or row of the database."""
_FAULTS = (sqlite3.Error, UnicodeError)
"""What the library raises; the second for messages that quote a damaged table."""
_WAIT_S = 20.0
"""How long a call waits for other processes that write."""

_SCHEMA = (
    "CREATE TABLE film (id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, path TEXT NOT NULL, "
    "width INTEGER NOT NULL, height INTEGER NOT NULL, patient INTEGER NOT NULL)",
    "CREATE TABLE session (id INTEGER PRIMARY KEY, reader TEXT NOT NULL, blinded INTEGER NOT NULL, "
    "scores TEXT NOT NULL, UNIQUE (reader, blinded, scores))",
    "CREATE TABLE event (id INTEGER PRIMARY KEY, film INTEGER NOT NULL REFERENCES film, "
    "session INTEGER NOT NULL REFERENCES session, time TEXT NOT NULL, kind TEXT NOT NULL, finding TEXT NOT NULL, "
    "answer TEXT NOT NULL, text TEXT NOT NULL, x REAL, y REAL, width REAL, height REAL, "
    "target INTEGER REFERENCES event)",
    "CREATE INDEX event_film ON event (film)",
    "CREATE INDEX event_session ON event (session)",
    "CREATE TRIGGER event_is_final BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
    "CREATE TRIGGER event_stays BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
)
_EVENTS = (
    "SELECT event.id, film.sha256, session.reader, session.blinded, session.scores, event.time, event.kind, "
    "event.finding, event.answer, event.text, event.x, event.y, event.width, event.height, event.target "
    "FROM event JOIN film ON film.id = event.film JOIN session ON session.id = event.session"
)
_LAST = (
    "SELECT max(event.id) FROM event JOIN session ON session.id = event.session WHERE reader = ? "
    "AND kind NOT IN ('undo', 'seen') AND event.id NOT IN (SELECT target FROM event WHERE kind = 'undo')"
)
"""The last event of a reader that is not undone."""
_STATEMENTS = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite~_%' ESCAPE '~' LIMIT 100"
_FILMS = "SELECT sha256, path, width, height, patient FROM film"


def marks_path(scores: Path) -> Path:
    """The path of the marks file of a scores file: out.marks.sqlite beside out.h5."""
    return scores.with_name(scores.name.removesuffix(".h5") + SUFFIX)


def scores_path(marks: Path) -> Path:
    """The path of the scores file of a marks file: out.h5 beside out.marks.sqlite."""
    return marks.with_name(marks.name.removesuffix(SUFFIX) + ".h5")


def is_marks_file(path: Path) -> bool:
    """Whether the file at a path is a marks file, of any version; False if it cannot be read."""
    try:
        with open_regular(path) as file:
            return _is_marks(file.read(_HEADER))
    except OSError:
        return False


def _is_marks(head: bytes) -> bool:
    number = head[_AT_APPLICATION : _AT_APPLICATION + 4]
    return head.startswith(_SQLITE) and number == _APPLICATION.to_bytes(4, "big")


def _nothing() -> None:
    pass


class MarksFile:
    """An open marks file. Several threads may use one object, and several processes may have one file open.

    Parameters
    ----------
    path
        The file.
    create
        Whether to create it, with mode 0600, if it is missing.

    Raises
    ------
    InputError
        If there is no file, or it cannot be read.
    FileFormatError
        If it is no marks file, of a newer version, or damaged.
    WriteError
        If it cannot be created.

    Examples
    --------
    >>> with MarksFile(Path("out.marks.sqlite"), create=True) as marks:  # doctest: +SKIP
    ...     marks.answer(ReadingSession(reader="AB"), MarkedFilm(sha256=digest), "Effusion", Answer.YES)
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        if create:
            _create(path)
        _check_header(path, create)
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=_WAIT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        try:
            self._prepare(create)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> MarksFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; every event is on the disk already."""
        with self._lock:
            self._connection.close()

    # --- what readers do

    def answer(self, session: ReadingSession, film: MarkedFilm, finding: str, answer: Answer | None) -> Event:
        """Save an answer for a finding; None takes the answer of this reader back.

        InputError for an invalid finding, WriteError if the file cannot be written.
        """
        check_text("the finding", finding, MAX_FINDING)
        return self._append(session, film, Kind.ANSWER, finding=finding, answer=answer)

    def comment(self, session: ReadingSession, film: MarkedFilm, text: str) -> Event:
        """Save the comment of this reader on the film in place of an earlier one; "" removes it. Errors as answer."""
        check_comment(text)
        return self._append(session, film, Kind.COMMENT, text=text)

    def add_box(
        self, session: ReadingSession, film: MarkedFilm, finding: str, sides: tuple[float, float, float, float]
    ) -> Event:
        """Save a box: x, y, width and height in pixels of the stored film. Errors as answer, and InputError for a box
        outside the film and for too many boxes."""
        check_text("the finding", finding, MAX_FINDING)
        check_sides(sides, film.width, film.height)

        def check() -> None:
            own = [one for one in self.marks_of(film.sha256) if one.reader == session.reader]
            if any(len(one.boxes) >= MAX_BOXES for one in own):
                raise InputError(f"the film has {MAX_BOXES} boxes of this reader, expected no more")

        return self._append(session, film, Kind.BOX, finding=finding, sides=sides, check=check)

    def remove_box(self, session: ReadingSession, film: MarkedFilm, number: int) -> Event:
        """Remove the box that was added by the event of this number; InputError unless this reader has it there."""

        def check() -> None:
            own = [one for one in self.marks_of(film.sha256) if one.reader == session.reader]
            if not any(box.number == number for one in own for box in one.boxes):
                raise InputError(f"the film has no box {number} of this reader")

        return self._append(session, film, Kind.REMOVE_BOX, target=number, check=check)

    def record_seen(self, session: ReadingSession, films: Iterable[MarkedFilm]) -> None:
        """Save that scores, labels or answers of others were shown to the reader, once for each film. Errors as
        answer."""
        sql = (
            "SELECT 1 FROM event JOIN film ON film.id = event.film JOIN session ON session.id = event.session "
            "WHERE film.sha256 = ? AND reader = ? AND kind = 'seen' LIMIT 1"
        )
        with self._writing() as connection:
            for film in films:
                if connection.execute(sql, (film.sha256, session.reader)).fetchone() is None:
                    self._insert(session, film, Kind.SEEN)

    def undo(self, session: ReadingSession) -> Event | None:
        """Undo the last event of the reader that is not undone yet.

        Returns
        -------
        Event or None
            The event that is undone; None if there is none.
        """
        with self._writing() as connection:
            (number,) = connection.execute(_LAST, (session.reader,)).fetchone()
            if number is None:
                return None
            (last,) = self._events("WHERE event.id = ?", number)
            self._insert(session, MarkedFilm(sha256=last.sha256), Kind.UNDO, target=last.number)
        return last

    # --- what the file says

    def events(self, sha256: str | None = None) -> tuple[Event, ...]:
        """The log, or its part on one film, in the order of time."""
        if sha256 is None:
            return tuple(self._events(""))
        return tuple(self._events("WHERE film.sha256 = ?", sha256))

    def events_after(self, number: int) -> tuple[Event, ...]:
        """The log after the event of this number."""
        return tuple(self._events("WHERE event.id > ?", int(number)))

    def marks_of(self, *sha256: str) -> tuple[FilmMarks, ...]:
        """The current marks on these films, sorted by film and reader."""
        return current_marks(event for one in sorted(set(sha256)) for event in self.events(one))

    def marks(self) -> tuple[FilmMarks, ...]:
        """The current marks on all films, sorted by film and reader."""
        return current_marks(self.events())

    def films(self) -> dict[str, MarkedFilm]:
        """The films of the log, by digest."""
        with self._reading() as connection:
            rows = connection.execute(f"{_FILMS} ORDER BY sha256 LIMIT ?", (MAX_EVENTS,)).fetchall()
        return {film.sha256: film for film in map(self._film, rows)}

    def readers(self) -> tuple[str, ...]:
        """Names of all readers, sorted."""
        with self._reading() as connection:
            rows = connection.execute("SELECT DISTINCT reader FROM session ORDER BY reader LIMIT 10000").fetchall()
        return tuple(str(name) for (name,) in rows)

    def update_films(self, films: Iterable[MarkedFilm]) -> None:
        """Take paths, sizes and patients of marked films from a scores file, for example after films were renamed or
        scored again. Patients of other films become unknown, because their numbers are those of another scores file."""
        given = {film.sha256: film for film in films}
        with self._writing() as connection:
            for row in connection.execute(_FILMS).fetchall():
                old = self._film(row)
                new = given.get(old.sha256) or MarkedFilm(
                    sha256=old.sha256, path=old.path, width=old.width, height=old.height
                )
                if new != old:
                    connection.execute(
                        "UPDATE film SET path = ?, width = ?, height = ?, patient = ? WHERE sha256 = ?",
                        (*_about(new), new.sha256),
                    )

    # --- the database

    def _prepare(self, create: bool) -> None:
        connection = self._connection
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        with self._reading():
            for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA synchronous = EXTRA")
            if create and not self._number("application_id") and not self._names():
                with self._writing():
                    self._make_tables()
            self._check_tables()

    def _make_tables(self) -> None:
        """Make the tables of a new file, unless another process has done so since."""
        if not self._names():
            for statement in (
                *_SCHEMA,
                f"PRAGMA application_id = {_APPLICATION}",
                f"PRAGMA user_version = {VERSION}",
            ):
                self._connection.execute(statement)

    def _check_tables(self) -> None:
        if self._number("application_id") != _APPLICATION:
            raise FileFormatError(_not_marks(self.path))
        if (version := self._number("user_version")) != VERSION:
            raise FileFormatError(
                f"{self.path} is a marks file of version {version}, this cxrscore reads {VERSION}. Use the one that "
                "wrote it."
            )
        if self._names() != set(_SCHEMA):
            raise FileFormatError(
                f"{self.path} is a marks file with other tables than cxrscore makes. Use a copy of it."
            )
        if (fault := self._connection.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
            raise self._damaged(str(fault[0]) if fault else "")

    def _names(self) -> set[str]:
        """The statements that made the tables, indexes and triggers; not those that SQLite makes itself."""
        rows = self._connection.execute(_STATEMENTS).fetchall()
        return {str(sql) for (sql,) in rows}

    def _number(self, pragma: str) -> int:
        return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except _FAULTS as error:
                raise self._unreadable(error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, committed at the end, rolled back on any error."""
        with self._lock:
            connection = self._connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except _FAULTS as error:
                raise self._unwritable(error) from error

    def _append(
        self,
        session: ReadingSession,
        film: MarkedFilm,
        kind: Kind,
        *,
        check: Callable[[], None] = _nothing,
        **of: Any,
    ) -> Event:
        with self._writing():
            check()
            number = self._insert(session, film, kind, **of)
            (event,) = self._events("WHERE event.id = ?", number)
        return event

    def _insert(
        self,
        session: ReadingSession,
        film: MarkedFilm,
        kind: Kind,
        *,
        finding: str = "",
        answer: Answer | None = None,
        text: str = "",
        sides: tuple[float, float, float, float] | None = None,
        target: int | None = None,
    ) -> int:
        (count,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()
        if count >= MAX_EVENTS:
            raise WriteError(f"{self.path} has {count:,} events, expected at most {MAX_EVENTS:,}. Begin a new file.")
        values = (
            self._film_number(film),
            self._session_number(session),
            _now(),
            kind.value,
            finding,
            answer.value if answer else "",
            text,
            *(map(float, sides) if sides else [None] * 4),
            target,
        )
        marks = ", ".join("?" * len(values))
        names = "film, session, time, kind, finding, answer, text, x, y, width, height, target"
        number = self._connection.execute(f"INSERT INTO event ({names}) VALUES ({marks})", values).lastrowid
        return int(number or 0)

    def _film_number(self, film: MarkedFilm) -> int:
        """The row of the film, which is new, or has what is known of it now."""
        connection = self._connection
        row = connection.execute("SELECT id, path FROM film WHERE sha256 = ?", (film.sha256,)).fetchone()
        known = _about(film)
        if row is None:
            sql = "INSERT INTO film (path, width, height, patient, sha256) VALUES (?, ?, ?, ?, ?)"
            return int(connection.execute(sql, (*known, film.sha256)).lastrowid or 0)
        if film != MarkedFilm(sha256=film.sha256):
            sql = "UPDATE film SET path = ?, width = ?, height = ?, patient = ? WHERE id = ?"
            connection.execute(sql, (*known, row[0]))
        return int(row[0])

    def _session_number(self, session: ReadingSession) -> int:
        values = (session.reader, int(session.blinded), session.scores)
        connection = self._connection
        connection.execute("INSERT OR IGNORE INTO session (reader, blinded, scores) VALUES (?, ?, ?)", values)
        sql = "SELECT id FROM session WHERE reader = ? AND blinded = ? AND scores = ?"
        return int(connection.execute(sql, values).fetchone()[0])

    def _events(self, where: str, *values: object) -> list[Event]:
        with self._reading() as connection:
            rows = connection.execute(f"{_EVENTS} {where} ORDER BY event.id LIMIT ?", (*values, MAX_EVENTS)).fetchall()
        return [self._event(row) for row in rows]

    def _event(self, row: Sequence[Any]) -> Event:
        """A row as an event; FileFormatError for values that this class does not write."""
        number, sha256, reader, blinded, scores, time, kind, finding, answer, text, *sides, target = row
        try:
            event = Event(
                number=int(number),
                sha256=MarkedFilm(sha256=_text(sha256)).sha256,
                session=ReadingSession(reader=_text(reader), blinded=blinded == 1, scores=_text(scores)),
                time=datetime.datetime.fromisoformat(_text(time)).isoformat(timespec="milliseconds"),
                kind=Kind(kind),
                finding=_text(finding),
                answer=Answer(answer) if answer else None,
                text=_text(text),
                sides=None if None in sides else (float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3])),
                target=None if target is None else int(target),
            )
            _check_event(event)
        except (ValueError, TypeError, CxrscoreError) as error:
            raise self._damaged(f"event {number}: {error}") from error
        return event

    def _film(self, row: Sequence[Any]) -> MarkedFilm:
        sha256, path, width, height, patient = row
        try:
            return MarkedFilm(
                sha256=_text(sha256), path=_text(path), width=int(width), height=int(height), patient=int(patient)
            )
        except (ValueError, TypeError, InputError) as error:
            raise self._damaged(f"a film: {error}") from error

    def _damaged(self, what: str) -> FileFormatError:
        words = f" ({escape_control_characters(what[:200])})" if what else ""
        return FileFormatError(f"{self.path} is a damaged marks file{words}. Use a backup of it.")

    def _unreadable(self, error: Exception) -> CxrscoreError:
        if isinstance(error, sqlite3.OperationalError):
            return InputError(f"cannot read {self.path}: {error_words(error)}")
        return self._damaged(error_words(error))

    def _unwritable(self, error: Exception) -> CxrscoreError:
        if isinstance(error, sqlite3.OperationalError):
            return WriteError(
                f"cannot write {self.path}: {error_words(error)}. The last mark is not saved; the others are."
            )
        return self._damaged(error_words(error))


def _check_event(event: Event) -> None:
    if event.kind in (Kind.ANSWER, Kind.BOX):
        check_text("the finding", event.finding, MAX_FINDING)
    if event.kind is Kind.BOX:
        check_sides(event.sides or (0, 0, 0, 0))
    if event.kind in (Kind.UNDO, Kind.REMOVE_BOX) and (event.target is None or event.target >= event.number):
        raise ValueError("its target is not an earlier event")
    check_comment(event.text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text is expected")
    return value


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _create(path: Path) -> None:
    """An empty file of the owner, unless there is one."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        os.fchmod(descriptor, 0o600)  # independent of the umask
    finally:
        os.close(descriptor)


def _check_header(path: Path, create: bool) -> None:
    """InputError unless the path is a regular file of no more than MAX_BYTES that can be a marks file. It is empty
    while it is created; if there is a journal, its first bytes may be of an interrupted write, which SQLite undoes."""
    try:
        with open_regular(path) as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(_HEADER)
    except FileNotFoundError:
        raise InputError(f"there is no marks file at {path}; `cxrscore view` makes it with the first mark") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if size > MAX_BYTES:
        raise InputError(f"{path} has {size:,} bytes, expected at most {MAX_BYTES:,}")
    if not head and create:
        return
    if not _is_marks(head) and not path.with_name(f"{path.name}-journal").exists():
        raise FileFormatError(_not_marks(path))


def _about(film: MarkedFilm) -> tuple[str, int, int, int]:
    return film.path, int(film.width), int(film.height), int(film.patient)


def _not_marks(path: Path) -> str:
    return f"{path} is not a marks file of cxrscore. Give the file NAME{SUFFIX} beside a scores file."
