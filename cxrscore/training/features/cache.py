"""The feature cache on disk: frozen layers run once for each film and augmentation, whatever is trained afterwards.

A file holds the features of one network and one augmentation. Films are identified by the SHA-256 of their bytes, so
films can be added, and splits and labels changed, and only new films are computed. Each entry has a digest, which is
checked on every read; a damaged entry is computed again.

See io.entries for the layout; an entry is the float32 features of a film. A file is written under a temporary name and
renamed when it is complete. A set that does not fit into memory is read from disk film by film.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import FileFormatError, WriteError
from cxrscore.io import atomic_write, make_folder, sha256_bytes
from cxrscore.io.atomic import remove_special, write_all
from cxrscore.io.entries import EntryFile, cache_folder, entry_digest, index_bytes

MAX_DISK_BYTES = 64 << 30
"""Maximum size of all files in bytes, and at most half of the free space of the disk; the least recently used files
are removed first."""
MAX_MEMORY_BYTES = 1 << 30
"""Bytes of features that are held in memory if the disk has no space for them."""
BLOCKS = "blocks-"
"""Prefix of the folders in which worker processes store features."""

_MARK = b"cxrkept2"
_STALE = 24 * 3600
"""Seconds after which an unfinished file, or a folder of blocks (see distributed), is one that a killed
run left."""

Compute = Callable[[Sequence[int]], Iterator[Floats]]
Read = Callable[[str], Floats | None]


class _FeatureFile:
    """The features in a file, by the SHA-256 of their films."""

    def __init__(self, file: EntryFile) -> None:
        """FileFormatError, ValueError, TypeError or KeyError for an invalid index."""
        self.shape = tuple(int(side) for side in file.index["shape"])
        self.digests: dict[str, str] = dict(zip(file.index["films"], file.index["digests"], strict=True))
        self.bytes = 4 * math.prod(self.shape)
        self._place = {film: number * self.bytes for number, film in enumerate(self.digests)}
        self._file = file
        if self.bytes * len(self.digests) != file.size:
            raise FileFormatError("the index is that of another number of films")

    def raw(self, film: str) -> bytes:
        """The bytes of an entry, unchecked."""
        return self._file.read(self._place[film], self.bytes)

    def read(self, film: str) -> Floats | None:
        """The features of a film; None if they are damaged or missing."""
        if film not in self.digests:
            return None
        data = self.raw(film)
        if entry_digest(data) != self.digests[film]:
            return None
        return np.frombuffer(data, np.float32).reshape(self.shape)


class FeatureCache:
    """Features of N films.

    read     by the SHA-256 of a film: its output, or None where it is damaged
    bytes    of an output
    damaged  how many outputs were found damaged, and computed again
    rows     float32 [M,...] of the M different films, in the order in which they first come; None: read when taken
    """

    def __init__(self, films: Sequence[str], compute: Compute, read: Read, one: int, damaged: int = 0) -> None:
        self.bytes, self.damaged = one, damaged
        self.rows: NDArray[np.float32] | None = None
        self._films, self._compute, self._read = films, compute, read
        row = {film: number for number, film in enumerate(_first_places(films))}
        self._places = np.array([row[film] for film in films], np.intp)

    def take(self, films: NDArray[np.intp]) -> Floats:
        """The features of these films, by index, float32 [n,...], in memory."""
        if self.rows is not None:
            return self.rows[self._places[films]]
        return np.stack([self._output(int(film)) for film in films])

    def load(self) -> FeatureCache:
        """A copy with all features in memory."""
        places = list(_first_places(self._films).values())
        first = self._output(places[0])
        rows = np.empty((len(places), *first.shape), np.float32)
        for row, place in enumerate(places):
            rows[row] = first if row == 0 else self._output(place)
        self.rows = rows
        return self

    def _output(self, place: int) -> Floats:
        found = self._read(self._films[place])
        if found is None:
            self.damaged += 1
            (found,) = next(self._compute([place]))
        return found


def feature_cache_folder() -> Path:
    """The folder of the feature cache."""
    return cache_folder() / "outputs"


def cached_features(
    folder: Path, key: Mapping[str, Any], films: Sequence[str], compute: Compute, *, sets: int = 1
) -> FeatureCache | None:
    """Features of films, given by the SHA-256 of their bytes. None if neither disk nor memory has enough space: then
    they are computed at each use.

    key      JSON-ready, all inputs of the features except the film
    compute  the outputs of the films at these places, float32 [n,...] batch by batch; it is asked only for those not
             yet known, and for those that are damaged
    sets     how many sets of these films the caller wants at a time, all of which must find room

    Outputs of other films stay in the file as long as there is room for them beside all these sets.
    """
    name = sha256_bytes(json.dumps(key, sort_keys=True).encode())[:32]
    path = folder / f"outputs-{name}.rows"
    stored, wanted = _opened(path, name), _first_places(films)
    missing = [film for film in wanted if stored is None or stored.read(film) is None]
    damaged = 0 if stored is None else sum(film in stored.digests for film in missing)
    if stored is not None and not missing:
        return _load_if_it_fits(FeatureCache(films, compute, stored.read, stored.bytes), len(wanted) * sets)
    batches = compute([wanted[film] for film in missing])
    first = next(batches)
    one, batches = first[0].nbytes, chain([first], batches)
    others = (sets - 1) * len(wanted) * one
    budget = _disk_budget(folder) - others - len(missing) * one
    known = _known(stored, first[0].shape, set(missing))
    if len(known) * one > budget:  # features for other runs must not displace those of this run
        known = [film for film in known if film in wanted]
    if len(known) * one <= budget:
        with suppress(OSError, WriteError):
            _prune(folder, path, (len(known) + len(missing)) * one)
            extended = _append_on_disk(path, name, stored, known, missing, batches)
            return _load_if_it_fits(FeatureCache(films, compute, extended.read, one, damaged), len(wanted) * sets)
        return cached_features(Path(os.devnull), key, films, compute, sets=sets)
    if len(wanted) * sets * one > MAX_MEMORY_BYTES:
        return None
    new = dict(zip(missing, chain.from_iterable(batches), strict=True))

    def read(film: str) -> Floats | None:
        return new[film] if film in new or stored is None else stored.read(film)

    return FeatureCache(films, compute, read, one, damaged).load()


def _first_places(films: Sequence[str]) -> dict[str, int]:
    """By film, in the order in which they first come, the place where that is."""
    places: dict[str, int] = {}
    for place, film in enumerate(films):
        places.setdefault(film, place)
    return places


def _known(stored: _FeatureFile | None, shape: tuple[int, ...], missing: set[str]) -> list[str]:
    """The films whose outputs are taken over."""
    if stored is None or stored.shape != shape:
        return []
    return [film for film in stored.digests if film not in missing]


def _load_if_it_fits(features: FeatureCache, most: int) -> FeatureCache:
    """In memory if so many features fit: their digests are then checked once, not in each epoch."""
    return features.load() if most * features.bytes <= MAX_MEMORY_BYTES else features


def _append_on_disk(
    path: Path,
    name: str,
    stored: _FeatureFile | None,
    known: Sequence[str],
    films: Sequence[str],
    batches: Iterator[Floats],
) -> _FeatureFile:
    """Writes known entries and the features of new films into a new file of this name; returns it open.

    Known entries are copied with their digests, so that later damage is still detected.
    """
    digests = {film: stored.digests[film] for film in known} if stored is not None else {}
    shape: list[int] = []
    remove_special(path)
    with atomic_write(path) as part, part.open("w+b", buffering=0) as file:
        for film in digests:
            assert stored is not None
            write_all(file.fileno(), stored.raw(film).ljust(stored.bytes, b"\0"))
        for film, row in zip(films, chain.from_iterable(batches), strict=True):
            shape, data = list(row.shape), np.ascontiguousarray(row, np.float32).tobytes()
            digests[film] = entry_digest(data)
            write_all(file.fileno(), data)
        index = {"key": name, "shape": shape, "films": list(digests), "digests": list(digests.values())}
        write_all(file.fileno(), index_bytes(index, _MARK))
        return _FeatureFile(EntryFile(file, _MARK))


def _opened(path: Path, name: str) -> _FeatureFile | None:
    """The file at a path; None if it is missing, incomplete, or of other content."""
    try:
        file = EntryFile.open(path, _MARK)
        return _FeatureFile(file) if file.index["key"] == name else None
    except (OSError, FileFormatError, ValueError, KeyError, TypeError):
        return None


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """The files, the most recently used first."""
    found = [(path, path.stat()) for path in folder.glob("outputs-*.rows")]
    return sorted(found, key=lambda each: each[1].st_mtime, reverse=True)


def _disk_budget(folder: Path) -> int:
    """Maximum size of all files in bytes; 0 if the folder cannot be created."""
    try:
        make_folder(folder)
        used = sum(stat.st_size for _, stat in _files(folder))
        return min(MAX_DISK_BYTES, (used + shutil.disk_usage(folder).free) // 2)
    except (OSError, WriteError):
        return 0


def _prune(folder: Path, current: Path, size: int) -> None:
    """Frees space for a file of this size: removes other files, and what killed runs left."""
    budget = _disk_budget(folder) - size
    for path, stat in _files(folder):
        if path != current:
            budget -= stat.st_size
            if budget < 0:
                path.unlink(missing_ok=True)
    for left in (*folder.glob(".outputs-*.part"), *folder.glob(f"{BLOCKS}*")):
        with suppress(OSError):  # another run may remove it at the same moment
            if time.time() - left.stat().st_mtime > _STALE:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
