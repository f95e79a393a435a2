"""The pixels of films: decoded on demand in worker processes with the limits of scoring. A film is named by its row."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import CxrscoreError, InputError
from cxrscore.images import DecoderPool, LoadedFilm, Preprocessing, Status, thumbnail
from cxrscore.images.codecs import cv2
from cxrscore.images.film import Pixels
from cxrscore.io.untrusted_names import is_plain_relative_path
from cxrscore.remote import PathOrUrl, RemotePath
from cxrscore.scorefile.by_row import ScoresByRow
from cxrscore.viewer.film_index import Recent

LONGEST_SIDE = 4096
"""Longer side of a film that is sent, pixels."""
PICTURE_SIDE = 1024
"""Longer side of a film in a browser without JavaScript, pixels."""
THUMBNAIL_SIDE = 96
WORKERS = 2
WAITING = 32
"""Requests for films at a time."""
WAITING_TO_DECODE = 24
"""Of these, films that may wait for a worker; of more, the one that waits for the longest time is refused."""
KEPT_BYTES = 48 << 20
"""Bytes of the films that are kept after they were decoded."""
KEPT_THUMBNAILS = 2000
LOOKED_FOR = 5
"""Films that are looked for, to say that --films is another folder."""
_HASHED = re.compile(r"[0-9a-f]{64}|row \d+")


class NoFilmError(Exception):
    """There is no picture of a film; the text says why, and what to do."""


OTHER_FILE = "This is not the file that was scored: its SHA-256 differs from the one in the scores file."


class BusyError(Exception):
    """Too many films are asked for at a time."""


class NewestFirst:
    """Turns for what takes long: a few at once, and of those who wait the newest first. Whoever pages quickly through
    films waits for the last one only, and not for all that were passed.

    at_once  number of turns at a time
    waiting  number that may wait; of more, the oldest gets a BusyError
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free, self._most = at_once, waiting
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A turn; BusyError if more than ``waiting`` newer ones came in the meantime."""
        own = object()
        with self._changed:
            self._queue.append(own)
            del self._queue[: -(self._most + self._free)]
            self._changed.notify_all()
            self._changed.wait_for(lambda: own not in self._queue or (self._free and self._queue[-1] is own))
            if own not in self._queue:
                raise BusyError
            self._queue.remove(own)
            self._free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()


@dataclass(frozen=True, kw_only=True)
class FilmPixels:
    """A decoded film [H,W], black 0, and whether its file has the SHA-256 that the scores file says."""

    pixels: Pixels
    same_bytes: bool


class FilmFiles:
    """The films of a scores file in a folder, an archive or a bucket; safe to use from several threads.

    Parameters
    ----------
    scores : ScoresByRow
        Paths and digests of the films.
    films : path, URL or None
        The folder that was scored, or an archive with the same paths; None: only thumbnails of the file are shown.
    """

    def __init__(self, scores: ScoresByRow, films: PathOrUrl | None) -> None:
        self._scores, self._films = scores, films
        self._is_archive = isinstance(films, Path) and films.is_file()
        # Whatever the run that made the scores refused by its modality can be looked at.
        self._pool = DecoderPool(WORKERS, Preprocessing(size=THUMBNAIL_SIDE), any_modality=True)
        self._places = threading.BoundedSemaphore(WAITING)
        self._turns = NewestFirst(WORKERS, WAITING_TO_DECODE)
        self._thumbnails: Recent[int, bytes] = Recent(KEPT_THUMBNAILS)
        self._films_kept: dict[int, FilmPixels] = {}
        self._others: set[int] = set()
        self._turn = threading.Lock()
        # Two requests for one film: the second waits, and finds it decoded.
        self._of_row = [threading.Lock() for _ in range(16)]

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    @property
    def are_named(self) -> bool:
        """Whether it is known where the films are."""
        return self._films is not None

    @functools.cached_property
    def fault(self) -> str:
        """Why no film will be found, if the folder has none of the first films with scores; else ""."""
        first = np.flatnonzero(self._scores.status == Status.OK)[:LOOKED_FOR].tolist()
        paths = [path for path in (self._scores.path[row] for row in first) if is_plain_relative_path(path)]
        if not isinstance(self._films, Path) or self._is_archive or not paths or _HASHED.fullmatch(paths[0]):
            return ""
        if any(is_reached(self._films / path) for path in paths):
            return ""
        return (
            f"None of the first {len(paths)} films with scores is in the folder of --films. Expected the folder that "
            "was scored: the path of a film in this list begins there."
        )

    def location(self, row: int) -> PathOrUrl:
        """Where the film of a row is. NoFilmError if that is not known."""
        path = self._scores.path[row]
        if self._films is None:
            raise NoFilmError("The films are not named. Start the command with --films, the folder that was scored.")
        if _HASHED.fullmatch(path):
            raise NoFilmError("The scores were made with --anonymize-paths: the file does not say where the film is.")
        if not is_plain_relative_path(path):
            raise NoFilmError("Its path in the scores file leads out of the folder. It is not opened.")
        if self._is_archive and isinstance(self._films, Path):
            return self._films.parent / path if path.startswith(f"{self._films.name}/") else self._films / path
        return self._films / path

    def has_thumbnail(self, row: int) -> bool:
        """Whether there may be a thumbnail of a film."""
        return self._scores.has_thumbnail(row) or (self._films is not None and self._scores.status[row] == Status.OK)

    def thumbnail(self, row: int) -> bytes:
        """A small picture of a film as JPEG: from the scores file, else from the film. NoFilmError, BusyError."""
        kept = self._thumbnails.recall(row)
        if kept is not None:
            return kept
        stored = self._scores.thumbnail(row)
        if stored is None:
            with self._place(), self._turns.turn():
                found = self._pool.prepare(self.location(row))
            pixels = _pixels(found)
            if not self._is_scored(row, found):
                raise NoFilmError(OTHER_FILE)
            stored = thumbnail(pixels, THUMBNAIL_SIDE)
        else:
            stored = thumbnail(stored, THUMBNAIL_SIDE)
        return self._thumbnails.keep(row, encoded(stored))

    def film(self, row: int) -> FilmPixels:
        """A film, reduced to LONGEST_SIDE. NoFilmError, BusyError."""
        with self._place(), self._of_row[row % len(self._of_row)]:
            return self._kept(row) or self._keep(row, self._decoded(row))

    def _decoded(self, row: int) -> FilmPixels:
        location = self.location(row)
        with self._turns.turn():
            found = self._pool.load_whole(location, LONGEST_SIDE)
        pixels = _pixels(found)
        return FilmPixels(pixels=pixels, same_bytes=self._is_scored(row, found))

    def _is_scored(self, row: int, found: LoadedFilm) -> bool:
        """Whether the file of a film has the bytes that were scored; remembered for is_other."""
        same = self._scores.sha256(row) in ("", found.film.sha256)
        (self._others.discard if same else self._others.add)(row)
        return same

    def is_other(self, row: int) -> bool:
        """Whether the file that was last decoded for a film is not the one that was scored."""
        return row in self._others

    def picture(self, row: int) -> bytes:
        """A film as JPEG of 8 bits: the film itself, else the thumbnail of the scores file. NoFilmError, also for
        another file than the scored one, because a picture has no room for a warning; BusyError."""
        stored = self._scores.thumbnail(row)
        try:
            film = self.film(row)
            if not film.same_bytes:
                raise NoFilmError(OTHER_FILE)
            pixels = film.pixels
        except NoFilmError:
            if stored is None:
                raise
            pixels = stored
        return encoded(eight_bits(pixels, PICTURE_SIDE))

    def _kept(self, row: int) -> FilmPixels | None:
        with self._turn:
            found = self._films_kept.pop(row, None)
            if found is not None:
                self._films_kept[row] = found
            return found

    def _keep(self, row: int, film: FilmPixels) -> FilmPixels:
        with self._turn:
            self._films_kept[row] = film
            while sum(one.pixels.nbytes for one in self._films_kept.values()) > KEPT_BYTES:
                self._films_kept.pop(next(iter(self._films_kept)))
        return film

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError
        try:
            yield
        finally:
            self._places.release()


def check_films(films: PathOrUrl) -> None:
    """InputError unless films are a folder, an archive or a URL."""
    if not isinstance(films, RemotePath) and not films.exists():
        raise InputError(f"there is no folder or archive {films}; expected the folder that was scored")


def is_reached(path: Path) -> bool:
    """Whether there is a file at a path, or in an archive on the way to it."""
    return any(one.is_file() for one in (path, *path.parents))


def _pixels(found: LoadedFilm) -> Pixels:
    if found.pixels is None:
        missing = found.film.status == Status.UNREADABLE
        advice = " Is --films the folder that was scored?" if missing else ""
        raise NoFilmError(f"The film cannot be shown: {found.film.message}.{advice}")
    return found.pixels


def eight_bits(pixels: Pixels, longest: int) -> NDArray[np.uint8]:
    """A film [H,W] with 8 bits, its longer side at most this many pixels."""
    height, width = pixels.shape
    share = min(1.0, longest / max(height, width))
    small = cv2.resize(
        pixels, (max(1, round(width * share)), max(1, round(height * share))), interpolation=cv2.INTER_AREA
    )
    return np.asarray((small.astype(np.uint32) + 128) // 257 if small.dtype == np.uint16 else small, np.uint8)


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """A grey picture as JPEG."""
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise CxrscoreError("a picture could not be encoded")
    return bytes(data)
