"""Cache of decoded and resized films in one file, for the many passes of training.

A film is identified by the SHA-256 of its bytes, never by its name or times, and its square by a digest that is checked
whenever it is read. If a square is damaged or its film has changed, the film is decoded again.

The file is written through an ordinary file handle and gets its name only when it is complete: a full disk is then an
error and not a bus error, and every existing cache file is complete. See io.entries for the layout; an entry is the
square of a film, in its own bit depth (8-bit films take half the space of 16-bit ones).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import FileFormatError, InputError
from cxrscore.images.decode import LoadedFilm, decoder_versions
from cxrscore.images.digests import digest_column, film_states, remember_digests
from cxrscore.images.film import Film, Pixels, Status
from cxrscore.images.prefetch import stream_films
from cxrscore.images.preprocess import Preprocessing, to_unit
from cxrscore.io import atomic_write, make_folder, sha256_bytes
from cxrscore.io.atomic import cannot_write, remove_special, write_all
from cxrscore.io.entries import EntryFile, entry_digest, index_bytes
from cxrscore.types import Floats

_MARK = b"cxrfilm2"
_VERSION = 2
_MAX_STORES = 4
"""Number of image caches in a cache folder, the most recently used ones: a second run on the same films starts at once,
and the folder does not grow with every experiment."""
_STALE_S = 24 * 3600
"""Seconds after which an unfinished cache file counts as the remains of a killed run."""
_AGAIN = 1024
"""Number of films with damaged squares that are decoded again and then held in memory; further ones are decoded each
time."""


_TRANSIENT = {Status.UNREADABLE, Status.CRASHED, Status.TIMED_OUT}
"""Statuses that may change: such a film is read again."""


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Source of the films of a cache."""

    folder: Path
    paths: Sequence[str]
    preprocessing: Preprocessing
    any_modality: bool

    def key(self) -> str:
        """A digest of everything that decides the content of a cache besides the bytes of the films."""
        rules = [_VERSION, self.preprocessing.as_dict(), self.any_modality, decoder_versions()]
        return sha256_bytes(json.dumps([*rules, str(self.folder.resolve()), *self.paths]).encode())[:32]

    def stream(self, rows: Sequence[int], workers: int) -> Iterator[LoadedFilm]:
        """The films of these rows, decoded."""
        paths = [self.paths[row] for row in rows]
        rules: dict[str, Any] = {"workers": workers, "any_modality": self.any_modality}
        return stream_films(self.folder, paths, self.preprocessing, **rules)


class ImageCache:
    """Films as squares of side S, by their index in the given paths.

    path      of the file; another run may have removed it in the meantime
    films     metadata of each film, without pixels
    rows      indexes of the films with status OK, ascending; only these have pixels
    damaged   number of damaged squares, which were decoded again
    """

    def __init__(self, path: Path, file: EntryFile, source: _Source) -> None:
        index = file.index
        self.path = path
        self.films = tuple(Film(**{**film, "status": Status(film["status"])}) for film in index["films"])
        self.rows = tuple(i for i, film in enumerate(self.films) if film.status == Status.OK)
        self.damaged = 0
        self._file, self._source = file, source
        self._side = int(index["side"])
        self._places: list[int | None] = index["places"]
        self._bytes: list[int] = index["bytes"]
        self._digests: list[str] = index["digests"]
        self._again: dict[int, Pixels] = {}
        if {len(each) for each in (self._places, self._bytes, self._digests, source.paths)} != {len(self.films)}:
            raise FileFormatError("the index does not match the number of films")

    @classmethod
    def build(
        cls,
        folder: Path,
        paths: Sequence[str],
        preprocessing: Preprocessing,
        cache: Path,
        *,
        workers: int,
        progress: Callable[[int], None] | None = None,
        any_modality: bool = False,
    ) -> ImageCache:
        """Open the cache of these films in the folder `cache`, or create it.

        Squares are copied from an earlier cache if the SHA-256 of the film is the same and the square is intact.
        `progress` is called with the number of films done. Raises WriteError if `cache` cannot be written.
        """
        source = _Source(folder=folder, paths=paths, preprocessing=preprocessing, any_modality=any_modality)
        key = source.key()
        path = cache / f"films-{key}.store"
        earlier = cls._opened(path, source)
        usable, damaged = (set[int](), 0) if earlier is None else earlier._usable(workers, progress)
        if earlier is not None and len(usable) == len(paths):
            return earlier
        make_folder(cache)
        states = film_states(folder, paths)
        stream = _counted(_merged(earlier, usable, source, workers), progress)
        store = cls(path, _written(path, stream, preprocessing.size, key), source)
        store.damaged = damaged
        remember_digests(folder, paths, [film.sha256 for film in store.films], states=states)
        _prune(cache)
        return store

    @classmethod
    def open(cls, reference: dict[str, Any]) -> ImageCache:
        """Open a cache that another process has created, by its reference(); InputError if it is gone."""
        source = _Source(
            folder=Path(reference["folder"]),
            paths=tuple(reference["paths"]),
            preprocessing=Preprocessing.from_dict(reference["preprocessing"]),
            any_modality=reference["any_modality"],
        )
        path = Path(reference["path"])
        store = cls._opened(path, source)
        if store is None or store._file.identity != reference["identity"]:
            raise InputError(
                f"there is no complete image cache at {path}. Use a cache folder that all processes can reach "
                f"(CXRSCORE_CACHE). It holds the {_MAX_STORES} most recent ones: another run may have removed it, so "
                "start again."
            )
        return store

    def reference(self) -> dict[str, Any]:
        """JSON-ready reference by which another process opens this cache."""
        return {
            "path": str(self.path.absolute()),
            "identity": self._file.identity,
            "folder": str(self._source.folder.absolute()),
            "paths": list(self._source.paths),
            "preprocessing": self._source.preprocessing.as_dict(),
            "any_modality": self._source.any_modality,
        }

    @classmethod
    def _opened(cls, path: Path, source: _Source) -> ImageCache | None:
        """The cache at `path`; None if there is none, or if it holds other films or other settings."""
        try:
            file = EntryFile.open(path, _MARK)
            # The name alone is not enough: a file may have been moved or copied.
            if file.index["key"] != path.stem.removeprefix("films-") or file.index["side"] != source.preprocessing.size:
                return None
            return cls(path, file, source)
        except (OSError, FileFormatError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _usable(self, workers: int, progress: Callable[[int], None] | None) -> tuple[set[int], int]:
        """Rows of the films whose bytes are unchanged and whose squares are intact, and the number of damaged
        squares."""
        now = digest_column(self._source.folder, self._source.paths, workers=workers, progress=progress)
        same = [
            row
            for row, film in enumerate(self.films)
            if film.sha256 and film.sha256.encode() == now[row] and film.status not in _TRANSIENT
        ]
        pool = ThreadPoolExecutor(workers, thread_name_prefix="store")
        try:
            intact = {row for row, holds in zip(same, pool.map(self._is_intact, same), strict=True) if holds}
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return intact, len(same) - len(intact)

    def _is_intact(self, row: int) -> bool:
        return self._places[row] is None or self._read(row) is not None

    def _prepared(self, row: int) -> LoadedFilm:
        return LoadedFilm(film=self.films[row], pixels=None if self._places[row] is None else self.raw(row))

    def raw(self, index: int) -> Pixels:
        """The square [S,S] as stored, uint8 or uint16, read-only; InputError for a film without pixels, and if the
        square is damaged and the film has changed."""
        if self._places[index] is None:
            raise InputError(f"film {index} has no pixels: {self.films[index].message}")
        square = self._read(index)
        return self._decoded_again(index) if square is None else square

    def _read(self, row: int) -> Pixels | None:
        """The square of a film with pixels; None if it is damaged."""
        place, depth = self._places[row], self._bytes[row]
        data = self._file.read(place or 0, self._side**2 * depth)
        if entry_digest(data) != self._digests[row]:
            return None
        return cast(Pixels, np.frombuffer(data, f"u{depth}").reshape(self._side, self._side))

    def _decoded_again(self, row: int) -> Pixels:
        if row in self._again:
            return self._again[row]
        self.damaged += 1
        (prepared,) = self._source.stream([row], workers=1)
        path = self._source.folder / self._source.paths[row]
        if prepared.film.sha256 != self.films[row].sha256 or prepared.pixels is None:
            why = prepared.film.message if prepared.pixels is None else "its SHA-256 differs"
            raise InputError(
                f"the film {path} is damaged in the cache, and its file has changed since the run began ({why}). Start "
                "the run again, and do not change films during a run."
            )
        prepared.pixels.flags.writeable = False
        if len(self._again) < _AGAIN:
            self._again[row] = prepared.pixels
        return prepared.pixels

    def unit(self, index: int) -> Floats:
        """The film as float32 [S,S], 0 black..1 white."""
        return to_unit(self.raw(index))

    def batch(self, indexes: Sequence[int] | NDArray[np.integer[Any]]) -> Floats:
        """Films as float32 [n,S,S], 0 black..1 white, in the order of the indexes."""
        films = np.empty((len(indexes), self._side, self._side), np.float32)
        for place, index in enumerate(indexes):
            films[place] = self.unit(int(index))
        return films


def _merged(earlier: ImageCache | None, usable: set[int], source: _Source, workers: int) -> Iterator[LoadedFilm]:
    """All films in order, with squares of the earlier cache where possible."""
    decoded = source.stream([row for row in range(len(source.paths)) if row not in usable], workers)
    for row in range(len(source.paths)):
        yield earlier._prepared(row) if earlier is not None and row in usable else next(decoded)


def _counted(stream: Iterator[LoadedFilm], progress: Callable[[int], None] | None) -> Iterator[LoadedFilm]:
    for done, prepared in enumerate(stream, start=1):
        yield prepared
        if progress is not None:
            progress(done)


def _written(path: Path, stream: Iterator[LoadedFilm], side: int, key: str) -> EntryFile:
    """Write the cache and open it. The open file is used, because another run may remove its name in the meantime."""
    remove_special(path)
    with atomic_write(path) as part, part.open("w+b", buffering=0) as file:
        index = {"key": key, **_write_squares(file, path, stream, side)}
        _write(file, path, index_bytes(index, _MARK))
        return EntryFile(file, _MARK)


def _write(file: FileIO, path: Path, data: bytes) -> None:
    try:
        write_all(file.fileno(), data)
    except OSError as error:
        raise cannot_write(path, error) from error


def _write_squares(file: FileIO, path: Path, stream: Iterator[LoadedFilm], side: int) -> dict[str, Any]:
    films, places, depths, digests = [], [], [], []
    for prepared in stream:
        film = asdict(prepared.film)
        films.append({name: value for name, value in film.items() if name != "pixels"})
        data = b"" if prepared.pixels is None else prepared.pixels.tobytes()
        places.append(None if prepared.pixels is None else file.tell())
        depths.append(0 if prepared.pixels is None else prepared.pixels.itemsize)
        digests.append(entry_digest(data) if data else "")
        _write(file, path, data)
    return {"side": side, "films": films, "places": places, "bytes": depths, "digests": digests}


def _prune(cache: Path) -> None:
    """Remove all but the most recently used caches, and the remains of killed runs. Files that another run removes at
    the same moment are ignored."""
    with suppress(OSError):
        stores = sorted(cache.glob("films-*.store"), key=lambda store: store.stat().st_mtime, reverse=True)
        parts = [part for part in cache.glob(".films-*.part") if time.time() - part.stat().st_mtime > _STALE_S]
        for left in [*stores[_MAX_STORES:], *parts]:
            left.unlink(missing_ok=True)
