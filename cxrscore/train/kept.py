"""What frozen layers made of films, kept on disk: they run once for each film and view, whatever is trained on it
afterwards.

A file holds the outputs of one network and one way of making views; its films are told apart by the SHA-256 of their
bytes, so films can be added, and splits and labels changed, at the cost of the new films alone. The outputs are read
through a memory map: a set may be larger than the memory.

Layout: float32 rows of one shape one after the other, then the index as JSON, its length as 8 bytes, a mark. A file is
written under another name and gets its own when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import WriteError
from cxrscore.files import make_folder, sha256_bytes, whole_file
from cxrscore.files.atomic import write_all

KEPT = 64 << 30
"""Bytes of all files together, and never more than half of what the disk then has free; those used longest ago go
first."""
IN_MEMORY = 1 << 30
"""Bytes of outputs that are kept in memory where the disk will not have them."""
BLOCKS = "blocks-"
"""How the names of folders begin in which other processes put outputs first."""

_MARK = b"cxrkept1"
_STALE = 24 * 3600
"""Seconds after which an unfinished file, or a folder of blocks (train.extract), is one that a killed run left."""

Compute = Callable[[Sequence[int]], Iterator[Floats]]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Outputs [N,...] of N films: ``places`` says where in ``rows`` each of them stands."""

    rows: NDArray[np.float32]
    places: NDArray[np.intp]

    def take(self, films: NDArray[np.intp]) -> Floats:
        """The outputs of these films, by their number among the N, float32 [n,...], in memory."""
        return np.array(self.rows[self.places[films]], np.float32)


def kept_outputs(
    folder: Path, key: Mapping[str, Any], films: Sequence[str], compute: Compute, *, sets: int = 1
) -> Kept | None:
    """Outputs of films, given by the SHA-256 of their bytes. None where neither disk nor memory has the room: they are
    then to be worked out whenever they are needed.

    key      JSON-ready, all that decides an output besides the film
    compute  the outputs of the films at these places, float32 [n,...] batch by batch; it is asked only for those not
             yet known
    sets     how many sets of these films the caller wants at a time, all of which must find room

    Outputs of other films stay in the file as long as there is room for them beside all these sets.
    """
    path = folder / f"outputs-{sha256_bytes(json.dumps(key, sort_keys=True).encode())[:32]}.rows"
    known = _read(path)
    missing = _missing(known, films)
    if not missing:
        return _chosen(known, films)
    batches = compute(missing)
    first = next(batches)
    one, wanted = first[0].nbytes, len(set(films))
    others = (sets - 1) * wanted
    whole = len(known.place) + len(missing)
    if (whole + others) * one > _room(folder):  # what other runs wanted of this file must not cost this one its room
        known, whole = _only(known, films), wanted
    batches = chain([first], batches)
    if (whole + others) * one <= _room(folder):
        with suppress(OSError, WriteError):
            _prune(folder, path, whole * one)
            return _chosen(_extended(path, known, _at(films, missing), batches), films)
        return kept_outputs(Path(os.devnull), key, films, compute, sets=sets)
    if wanted * sets * one > IN_MEMORY:
        return None
    return _chosen(_joined(_only(known, films), _at(films, missing), batches), films)


def _only(known: _Known, films: Sequence[str]) -> _Known:
    """What is known of these films."""
    return _Known(rows=known.rows, place={film: known.place[film] for film in films if film in known.place})


def _at(films: Sequence[str], places: Sequence[int]) -> list[str]:
    return [films[place] for place in places]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is taken of a file: its rows [M,...], and the place in them of each film that is wanted of it."""

    rows: NDArray[np.float32]
    place: dict[str, int]


_NOTHING = _Known(rows=np.empty(0, np.float32), place={})


def _missing(known: _Known, films: Sequence[str]) -> list[int]:
    """Places of the films that are not known, of equal ones the first."""
    first = {film: place for place, film in reversed(list(enumerate(films)))}
    return sorted(place for film, place in first.items() if film not in known.place)


def _chosen(known: _Known, films: Sequence[str]) -> Kept:
    return Kept(rows=known.rows, places=np.array([known.place[film] for film in films], np.intp))


def _joined(known: _Known, films: Sequence[str], batches: Iterator[Floats]) -> _Known:
    """What is known, and new films, in memory."""
    return _Known(rows=np.concatenate([*_blocks(known), *batches]), place=_numbered([*known.place, *films]))


def _extended(path: Path, known: _Known, films: Sequence[str], batches: Iterator[Floats]) -> _Known:
    """Writes what is known, and new films, into a new file of this name; returns it mapped."""
    names = [*known.place, *films]
    with whole_file(path) as part, part.open("w+b", buffering=0) as file:
        shape: list[int] = []
        for rows in chain(_blocks(known), batches):
            shape = list(rows.shape[1:])
            write_all(file.fileno(), np.ascontiguousarray(rows, np.float32).reshape(-1).view(np.uint8).data)
        index = json.dumps({"shape": shape, "films": names}).encode()
        write_all(file.fileno(), index + struct.pack("<Q", len(index)) + _MARK)
        return _mapped(file, shape, names)


def _numbered(films: Sequence[str]) -> dict[str, int]:
    return {film: place for place, film in enumerate(films)}


def _blocks(known: _Known) -> Iterator[Floats]:
    """The rows of the films, in their order, some at a time: a file may be larger than the memory."""
    places = np.array(list(known.place.values()), np.intp)
    step = max(1, (1 << 24) * len(known.rows) // max(known.rows.nbytes, 1))
    return (np.array(known.rows[places[start : start + step]]) for start in range(0, len(places), step))


def _read(path: Path) -> _Known:
    """What a file holds; nothing where there is none, or it is not whole."""
    try:
        with path.open("rb") as file:
            size = file.seek(-16, os.SEEK_END)
            length, mark = struct.unpack("<Q8s", file.read(16))
            if mark != _MARK:
                return _NOTHING
            file.seek(size - length)
            index = json.loads(file.read(length))
            if np.prod([len(index["films"]), *index["shape"]]) * 4 != size - length:
                return _NOTHING
            os.utime(path)  # used now, so pruned last
            return _mapped(file, index["shape"], index["films"])
    except (OSError, ValueError, KeyError, TypeError):
        return _NOTHING


def _mapped(file: IO[bytes] | FileIO, shape: Sequence[int], films: Sequence[str]) -> _Known:
    """The open file is mapped, so another run may take its name away meanwhile."""
    rows = np.memmap(file, np.float32, mode="r", shape=(len(films), *shape))
    return _Known(rows=rows, place=_numbered(films))


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """The files, those used last first."""
    found = [(path, path.stat()) for path in folder.glob("outputs-*.rows")]
    return sorted(found, key=lambda each: each[1].st_mtime, reverse=True)


def _room(folder: Path) -> int:
    """Bytes that all files together may have; 0 where there can be no folder."""
    try:
        make_folder(folder)
        used = sum(stat.st_size for _, stat in _files(folder))
        return min(KEPT, (used + shutil.disk_usage(folder).free) // 2)
    except (OSError, WriteError):
        return 0


def _prune(folder: Path, kept: Path, size: int) -> None:
    """Makes room for a file of this size: removes others, and what killed runs left."""
    room = _room(folder) - size
    for path, stat in _files(folder):
        if path != kept:
            room -= stat.st_size
            if room < 0:
                path.unlink(missing_ok=True)
    for left in (*folder.glob(".outputs-*.part"), *folder.glob(f"{BLOCKS}*")):
        with suppress(OSError):  # another run may remove it at the same moment
            if time.time() - left.stat().st_mtime > _STALE:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
