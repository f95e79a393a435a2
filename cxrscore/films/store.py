"""Films decoded and resized once, kept in one memory-mapped file, for the many passes of training.

The file is written through an ordinary file handle and gets its name only when it is whole: a full disk is then an
error and not a bus error, and a store that exists is complete. Layout: the squares one after the other, each in its
own depth (8-bit films take half the room of 16-bit ones), then the index as JSON, its length as 8 bytes, a mark.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.files import make_folder, sha256_bytes, whole_file
from cxrscore.files.atomic import cannot_write, write_all
from cxrscore.films.archive import split_path
from cxrscore.films.film import Film, Pixels, Status
from cxrscore.films.prepared import PreparedFilm
from cxrscore.films.preprocess import Preprocessing, to_unit
from cxrscore.films.stream import stream_films

_MARK = b"cxrfilms"
_VERSION = 1
_KEPT = 4
"""Stores that stay in a cache folder, the last used ones: a second run on the same films starts at once, and the
folder does not grow with every experiment."""


_TRANSIENT = {Status.UNREADABLE, Status.CRASHED, Status.TIMED_OUT}
"""What may be otherwise next time: a store with such a film is made anew."""


class FilmStore:
    """Films as squares of side S, by their index among the paths given.

    path   of the file; another run may have taken its name away since
    films  what is known of each film, without pixels
    rows   indexes of the films with status OK, rising; only these have pixels
    """

    def __init__(self, path: Path, data: NDArray[np.uint8], index: dict[str, Any]) -> None:
        self.path = path
        self.films = tuple(Film(**{**film, "status": Status(film["status"])}) for film in index["films"])
        self.rows = tuple(i for i, film in enumerate(self.films) if film.status == Status.OK)
        self._data = data
        self._side = int(index["side"])
        self._places: list[int | None] = index["places"]
        self._bytes: list[int] = index["bytes"]

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
    ) -> FilmStore:
        """The store of these films in the folder `cache`, made unless it is there already.

        It is there if path, size and time of change of every film, the preprocessing and the version agree.
        `progress` is called with the number of films done. Raises WriteError if `cache` cannot be written.
        """
        key = _key(folder, paths, preprocessing, any_modality)
        path = cache / f"films-{key}.store"
        store = _reopened(cls, path)
        if store and not {film.status for film in store.films} & _TRANSIENT:
            return store
        make_folder(cache)
        stream = stream_films(folder, paths, preprocessing, workers=workers, any_modality=any_modality)
        data, index = _written(path, _counted(stream, progress), preprocessing.size)
        _prune(cache)
        return cls(path, data, index)

    @classmethod
    def open(cls, path: Path) -> FilmStore:
        """A store that another process has made, and told the path of; InputError where it is gone."""
        store = _reopened(cls, path)
        if store is None:
            raise InputError(
                f"there is no whole store of films at {path}, wanted in a cache folder that all processes reach "
                f"(CXRSCORE_CACHE). It keeps the {_KEPT} used last: another run may have removed it, so start again."
            )
        return store

    def raw(self, index: int) -> Pixels:
        """The square [S,S] as stored, uint8 or uint16, read-only; InputError for a film without pixels."""
        place = self._places[index]
        if place is None:
            raise InputError(f"film {index} has no pixels: {self.films[index].message}")
        flat = self._data[place : place + self._side**2 * self._bytes[index]]
        return cast(Pixels, flat.view(f"u{self._bytes[index]}").reshape(self._side, self._side))

    def unit(self, index: int) -> Floats:
        """The film as float32 [S,S], 0 black..1 white."""
        return to_unit(self.raw(index))

    def batch(self, indexes: Sequence[int] | NDArray[np.integer[Any]]) -> Floats:
        """Films as float32 [n,S,S], 0 black..1 white, in the order of the indexes."""
        films = np.empty((len(indexes), self._side, self._side), np.float32)
        for place, index in enumerate(indexes):
            films[place] = self.unit(int(index))
        return films


def _key(folder: Path, paths: Sequence[str], preprocessing: Preprocessing, any_modality: bool) -> str:
    """What decides the content of a store, as a short digest."""
    lines = [json.dumps([_VERSION, preprocessing.as_dict(), any_modality, str(folder.resolve())])]
    for path in paths:
        try:
            found = split_path(folder / path)[0].stat()
            lines.append(json.dumps([path, found.st_size, found.st_mtime_ns]))
        except OSError:  # gone or forbidden: it becomes a film with that status
            lines.append(json.dumps([path]))
    return sha256_bytes("\n".join(lines).encode())[:32]


def _counted(stream: Iterator[PreparedFilm], progress: Callable[[int], None] | None) -> Iterator[PreparedFilm]:
    for done, prepared in enumerate(stream, start=1):
        yield prepared
        if progress is not None:
            progress(done)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def _written(path: Path, stream: Iterator[PreparedFilm], side: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Writes the store and maps it. The open file is mapped, so another run may prune its name meanwhile."""
    with whole_file(path) as part, part.open("w+b", buffering=0) as file:
        index = _write_squares(file, path, stream, side)
        text = json.dumps(index).encode()
        _write(file, path, text + struct.pack("<Q", len(text)) + _MARK)
        return _mapped(file), index


def _write(file: FileIO, path: Path, data: bytes) -> None:
    with _writing(path):
        write_all(file.fileno(), data)


def _write_squares(file: FileIO, path: Path, stream: Iterator[PreparedFilm], side: int) -> dict[str, Any]:
    films, places, depths = [], [], []
    for prepared in stream:
        film = asdict(prepared.film)
        films.append({name: value for name, value in film.items() if name != "pixels"})
        places.append(None if prepared.pixels is None else file.tell())
        depths.append(0 if prepared.pixels is None else prepared.pixels.itemsize)
        if prepared.pixels is not None:
            _write(file, path, prepared.pixels.tobytes())
    return {"side": side, "films": films, "places": places, "bytes": depths}


def _reopened(cls: type[FilmStore], path: Path) -> FilmStore | None:
    """The store at `path`, or None where there is none or it is not whole."""
    try:
        with path.open("rb") as file:
            file.seek(-16, os.SEEK_END)
            length, mark = struct.unpack("<Q8s", file.read(16))
            if mark != _MARK:
                return None
            file.seek(-16 - length, os.SEEK_END)
            index = json.loads(file.read(length))
            os.utime(path)  # used now, so pruned last
            return cls(path, _mapped(file), index)
    except (OSError, ValueError):
        return None


def _mapped(file: IO[bytes] | FileIO) -> NDArray[np.uint8]:
    return np.memmap(file, np.uint8, mode="r")


def _prune(cache: Path) -> None:
    """Removes all but the last used stores. What another run removes at the same moment need not be removed."""
    with suppress(OSError):
        stores = sorted(cache.glob("films-*.store"), key=lambda store: store.stat().st_mtime, reverse=True)
        for store in stores[_KEPT:]:
            store.unlink(missing_ok=True)
