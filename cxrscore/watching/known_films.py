"""The films that have been scored: an index of the scores files of a folder, in which a film is found at once.

The scores files say what has been scored. The index is derived from them: it is compared with their names, sizes and
times when it is opened, and made anew if one is gone or has changed, or if it is damaged. It may be deleted while no
watch runs. It has digests of paths, and no path.

Scores files with anonymized paths have the SHA-256 of the films only. The path under which a film had these bytes is
then known to the index alone; without it, the films are read again, and found by their SHA-256.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from cxrscore.errors import WriteError
from cxrscore.io import sha256_bytes
from cxrscore.scorefile import FilmRows, read_file_provenance, read_films, read_provenance
from cxrscore.scorefile.manifest import canonical_json
from cxrscore.status import Status

INDEX = ".watch-index.sqlite3"
_VERSION = 1
_AT_ONCE = 500
"""Paths that one query looks up."""
_OF_THE_FILMS = ("films", "paths", "partition")
"""Inputs of a scores file that say which films it has, not how they were scored."""
_TABLES = """
    CREATE TABLE files (name TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, inode INTEGER, films INTEGER, inputs TEXT);
    CREATE TABLE contents (sha BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE paths (path BLOB PRIMARY KEY, sha BLOB, status INTEGER, tries INTEGER, checked INTEGER) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class KnownFilm:
    """What is known of a path.

    sha256   of its bytes; "" if they could not be read
    status   code of cxrscore.status.Status
    tries    how often in a row it could not be read
    checked  time at which it had these bytes, Unix nanoseconds
    """

    sha256: str
    status: int
    tries: int
    checked: int


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What opening the index found.

    files    scores files in the folder
    films    different films in them, by content
    rebuilt  why the index was made anew, "" if it was not
    inputs   the different inputs of the scores of these files, but for the films
    """

    files: int
    films: int
    rebuilt: str
    inputs: tuple[Mapping[str, Any], ...]


class KnownFilms:
    """The index of a folder of scores files. Its holder must be the only process that scores into the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / INDEX
        self._open: sqlite3.Connection | None = None

    def has_unlinked(self) -> bool:
        """Whether a scores file has a film of which no path is known: it hides the paths, and the index is new, or the
        watch was killed before it noted them."""
        with self._errors():
            row = self._database.execute(
                "SELECT (SELECT COUNT(*) FROM contents) > (SELECT COUNT(DISTINCT sha) FROM paths WHERE sha != x'')"
            ).fetchone()
        return bool(row[0])

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    def refresh(self) -> Refreshed:
        """Opens the index, and brings it up to date with the scores files.

        Raises
        ------
        FileFormatError
            If a scores file is damaged.
        WriteError
            If the index cannot be written.
        """
        try:
            return self._refresh("")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_damaged(error):
                self.close()
                raise self._cannot_write(error) from error
        self._remove()
        with self._errors():
            return self._refresh("it was damaged")

    def _refresh(self, rebuilt: str) -> Refreshed:
        found = {path.name: _state(path) for path in self._folder.glob("*.h5") if path.is_file()}
        known = {
            name: tuple(state) for name, *state in self._database.execute("SELECT name, size, mtime, inode FROM files")
        }
        if lost := [name for name, state in known.items() if found.get(name) != state]:
            rebuilt = f"{len(lost)} scores files are gone or have changed"
            with self._database as database:
                database.execute("DELETE FROM files")
                database.execute("DELETE FROM contents")
                if not self._only_paths_here():
                    database.execute("DELETE FROM paths")
            known = {}
        new = [self._folder / name for name in found if name not in known]
        for path in sorted(new, key=lambda path: (path.stat().st_mtime_ns, path.name)):
            self.add(path)
        if rebuilt:
            with self._database as database:
                database.execute("DELETE FROM paths WHERE sha != x'' AND sha NOT IN (SELECT sha FROM contents)")
        texts = self._database.execute("SELECT DISTINCT inputs FROM files").fetchall()
        counts = [
            self._database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("files", "contents")
        ]
        return Refreshed(
            files=counts[0], films=counts[1], rebuilt=rebuilt, inputs=tuple(_json(text) for (text,) in texts)
        )

    def _only_paths_here(self) -> bool:
        """Whether the scores files hide the paths, so that only the index relates them to contents, which stays true
        whatever files there are: a path counts only if its content is in one."""
        files = list(self._folder.glob("*.h5"))
        hidden = (read_file_provenance(path).inputs.get("anonymize_paths") is True for path in files)
        return bool(files) and all(hidden)

    def add(self, file: Path, paths: Sequence[str] | None = None) -> None:
        """Adds the films of a finished scores file; ``paths``: of its rows, which an anonymized file does not have."""
        films, provenance, inputs = read_films(file), read_provenance(file), read_file_provenance(file).inputs
        if paths is None and inputs.get("anonymize_paths") is not True:
            paths = films.path
        own = {key: value for key, value in inputs.items() if key not in _OF_THE_FILMS}
        with self._errors(), self._database as database:
            contents = ((bytes.fromhex(sha),) for sha in films.sha256 if sha)
            database.executemany("INSERT OR IGNORE INTO contents VALUES (?)", contents)
            if paths is not None:
                database.executemany(_UPSERT, _path_rows(films, paths, _begun(provenance)))
            state = (file.name, *_state(file), len(films.path), canonical_json(own))
            database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", state)

    def find(self, paths: Iterable[str]) -> Iterator[tuple[str, KnownFilm | None]]:
        """Each path with what is known of it; None for a path that is new."""
        rest = iter(paths)
        while some := list(islice(rest, _AT_ONCE)):
            keys = {_key(path): path for path in some}
            marks = ",".join("?" * len(keys))
            with self._errors():
                rows = self._database.execute(
                    f"SELECT path, sha, status, tries, checked FROM paths WHERE path IN ({marks})", list(keys)
                ).fetchall()
            found = {
                keys[row[0]]: KnownFilm(sha256=row[1].hex(), status=row[2], tries=row[3], checked=row[4])
                for row in rows
            }
            yield from ((path, found.get(path)) for path in some)

    def has(self, sha256: str) -> bool:
        """Whether a film with these bytes is in a scores file."""
        if not sha256:
            return False
        with self._errors():
            row = self._database.execute("SELECT 1 FROM contents WHERE sha = ?", (bytes.fromhex(sha256),)).fetchone()
        return row is not None

    def note(self, contents: Mapping[str, str], checked: int) -> None:
        """Notes that these paths had, at this time, the bytes with these SHA-256, of films that are in scores files."""
        rows = [(_key(path), bytes.fromhex(sha), int(Status.OK), 0, checked) for path, sha in contents.items()]
        if rows:
            with self._errors(), self._database as database:
                database.executemany(_UPSERT, rows)

    @property
    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            database = sqlite3.connect(self._file)
            self._open = database
            os.chmod(self._file, 0o600)
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                self._remove()
                self._open = database = sqlite3.connect(self._file)
                os.chmod(self._file, 0o600)
                database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        return self._open

    def _remove(self) -> None:
        self.close()
        try:
            for name in (INDEX, f"{INDEX}-journal"):
                (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns an error of the database into a WriteError. A damaged index is removed. In any case ``refresh`` opens
        the index again, and makes it anew if it is missing: the file may have been removed or replaced while it was
        open.
        """
        try:
            yield
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError) or _is_damaged(error):
                self._remove()
            self.close()
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: Exception) -> WriteError:
        return WriteError(f"cannot use the index {self._file}: {error}. The scores files are complete without it.")


_UPSERT = """
    INSERT INTO paths VALUES (?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET
    sha = excluded.sha, status = excluded.status, checked = excluded.checked,
    tries = CASE WHEN excluded.tries THEN tries + 1 ELSE 0 END WHERE excluded.checked >= checked
"""


def _path_rows(films: FilmRows, paths: Sequence[str], checked: int) -> Iterator[tuple[bytes, bytes, int, int, int]]:
    for path, sha, status in zip(paths, films.sha256, films.status.tolist(), strict=True):
        yield _key(path), bytes.fromhex(sha), status, int(status == Status.UNREADABLE), checked


def _key(path: str) -> bytes:
    """The key of a path: the first half of its SHA-256."""
    return bytes.fromhex(sha256_bytes(path.encode("utf-8", "surrogateescape"))[:32])


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _begun(provenance: Mapping[str, Any]) -> int:
    """When the process that finished a scores file began, Unix nanoseconds; 0 if that is unknown. It compared all films
    with their bytes after that."""
    created, seconds = provenance.get("created"), provenance.get("seconds")
    try:
        when = datetime.datetime.fromisoformat(str(created)).timestamp()
    except ValueError:
        return 0
    return int((when - (seconds if isinstance(seconds, int | float) else 0.0)) * 1e9)


def _json(text: str) -> Mapping[str, Any]:
    import json

    value = json.loads(text)
    return value if isinstance(value, dict) else {}


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is no database, or lacks a table: then it is made anew."""
    text = str(error)
    return "no such table" in text or "no such column" in text or "malformed" in text or "not a database" in text
