"""SHA-256 digests of many films, and records of them, so that an unchanged film is not read again.

A record is used only if the file has the same size, mtime, ctime, inode and device as when it was read, and both times
were older than that moment by a margin: a file that changes within the resolution of its file system's clock keeps its
times. Programs can set an mtime, but not a ctime.

The records of a films folder are one file in the cache folder: the SHA-256 of the rest, a line feed, one line of JSON,
and an array of fixed-size records, sorted by key. A file that is damaged, or holds the records of another folder, is
ignored. It holds no path, only digests of paths. In memory, too, states and records are arrays: of a million films,
objects would take gigabytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import InputError, RemoteError, RemoteTooLargeError, WriteError
from cxrscore.images.archive import split_path
from cxrscore.images.decode import LARGEST_HASHED, film_digest
from cxrscore.images.film import MAX_BYTES
from cxrscore.images.prefetch import MAX_FAILED_IN_A_ROW
from cxrscore.io import atomic_write_bytes, make_folder, sha256_bytes
from cxrscore.io.entries import cache_folder
from cxrscore.io.regular import open_regular, stat_opened
from cxrscore.remote import PathOrUrl, RemotePath, read_remote
from cxrscore.system_resources import bounded_map

MARGIN_NS = 2_000_000_000
"""Minimum age of the times of a file at the moment of reading, in nanoseconds."""
_COARSE_NS = 10_000_000
"""Resolution of file systems without a separate ctime (FAT, exFAT), where the ctime can be set with the mtime: a ctime
that is a multiple of this is not trusted."""
_VERSION = 2
_FOLDERS = 16
"""Largest number of films folders whose records are stored, the most recently used ones."""
_LARGEST = 256 << 20
"""Largest file of records in bytes: those of three million films."""
_STALE_S = 24 * 3600
_LOOKERS = 8
_DIGEST = re.compile(b"[0-9a-f]{64}")
_FIRST_LINES = 1000
"""Largest length of the lines before the records, bytes."""
_TOGETHER = 16
"""Films that a thread looks at in one task: a task for each would take more memory than the film's record."""
_STATE = np.dtype([("size", "<i8"), ("mtime_ns", "<i8"), ("ctime_ns", "<i8"), ("inode", "<u8"), ("device", "<u8")])
"""A FileState; of a film that is not there, all are zero but the size, which is -1."""
_RECORD = np.dtype([("key", "S16"), ("state", _STATE), ("digest", "S32")])

Records = NDArray[np.void]


class FileState(NamedTuple):
    """File system metadata of a file on disk. It changes whenever the bytes change."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileState:
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)

    def settled(self, at_ns: int) -> bool:
        """Whether a change at or after ``at_ns`` (Unix time, nanoseconds) must change this state."""
        return max(self.mtime_ns, self.ctime_ns) < at_ns - MARGIN_NS and self.ctime_ns % _COARSE_NS != 0


class FilmStates(NamedTuple):
    """The states of films at one moment, in the order of their paths.

    taken_ns  Unix time before the first state was read, nanoseconds
    states    of dtype _STATE [N]; size -1 if the film is not on disk, or its file cannot be opened
    """

    taken_ns: int
    states: Records

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Films on disk of which any change since ``taken_ns`` must change the state, bool [N]."""
        states = self.states
        changed = np.maximum(states["mtime_ns"], states["ctime_ns"])
        old = (changed < self.taken_ns - MARGIN_NS) & (states["ctime_ns"] % _COARSE_NS != 0)
        return np.asarray(old & (states["size"] >= 0), np.bool_)

    def of_rows(self, rows: NDArray[np.intp]) -> FilmStates:
        """Those of some films."""
        return FilmStates(self.taken_ns, self.states[rows])

    def unchanged(self, now: FilmStates) -> NDArray[np.bool_]:
        """Films whose bytes are certainly those of this moment, bool [N], by their states now."""
        return np.asarray(self.settled & (self.states == now.states), np.bool_)


def digest_column(
    folder: PathOrUrl,
    paths: Sequence[str],
    *,
    workers: int,
    rehash: bool = False,
    records: bool = True,
    progress: Callable[[int], None] | None = None,
    before: FilmStates | None = None,
) -> NDArray[np.bytes_]:
    """Compute the SHA-256 digests of films as they are now, and record them.

    Parameters
    ----------
    folder
        Folder of the films, on disk or remote.
    paths
        Films, as POSIX paths below the folder; they may lead into zip archives.
    workers
        Number of threads.
    rehash
        Read every film, whatever is recorded.
    records
        Use and keep records. Without them every film is read, and nothing is written to the cache.
    progress
        Called with the number of films done, after each.
    before
        What ``film_states`` returned for the same paths. A film whose digest is recorded for that state is not opened
        again: the result is its digest at that time.

    Returns
    -------
    array S64 [N]
        For each path the digest in hex, as ``film_digest`` computes it; empty if the film cannot be read. Films on disk
        whose digest is recorded, and whose state has not changed, are not read. Remote films always are.

    Raises
    ------
    InputError
        If a remote store has stopped answering.
    """
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="digests")
    try:
        if isinstance(folder, RemotePath):
            received = bounded_map(pool, lambda path: _remote(folder / path), paths)
            return _counted(_digests_or_outage(folder, received), len(paths), progress)
        recorded = _load(folder) if records else _no_records()
        looks = _Looks(folder, paths, recorded, rehash=rehash, before=before)
        found = chain.from_iterable(bounded_map(pool, looks.look, _tasks(len(paths))))
        digests = _counted(found, len(paths), progress)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if records:
        _update(folder, recorded, looks.keys, looks.states, digests)
    return digests


def _counted(found: Iterable[bytes], films: int, progress: Callable[[int], None] | None) -> NDArray[np.bytes_]:
    """Digests as an array S64 [N]; progress is called after each."""
    digests = np.zeros(films, "S64")
    for row, digest in enumerate(found):
        digests[row] = digest
        if progress is not None:
            progress(row + 1)
    return digests


class _Looks:
    """Looks at films on disk, several at a time: their digests, and the states to record with them."""

    def __init__(
        self, folder: Path, paths: Sequence[str], recorded: Records, *, rehash: bool, before: FilmStates | None
    ) -> None:
        self._folder, self._paths, self._recorded = folder, paths, recorded
        self.keys, self.states = _keys(paths), _no_states(len(paths))
        self._known = np.full(len(paths), -1) if rehash else _places(recorded, self.keys)
        if before is not None:
            same = np.flatnonzero(self._known >= 0)
            same = same[recorded["state"][self._known[same]] == before.states[same]]
            self.states[same] = before.states[same]

    def look(self, rows: range) -> list[bytes]:
        """The digests in hex."""
        return [self._digest(row, place) for row, place in zip(rows, self._known[rows.start : rows.stop], strict=True)]

    def _digest(self, row: int, place: int) -> bytes:
        known = None if place < 0 else self._recorded[place]
        if known is not None and self.states[row]["size"] >= 0:
            return _hex(known)
        digest, state = _on_disk(self._folder, self._paths[row], known)
        if state is not None:
            self.states[row] = state
        return digest


def film_states(folder: PathOrUrl, paths: Sequence[str]) -> FilmStates:
    """Read the states of film files for ``remember_digests``, before a run reads the first film.

    Parameters
    ----------
    folder, paths
        As for ``digest_column``.

    Returns
    -------
    FilmStates
        Their states now.
    """
    taken, states = time.time_ns(), _no_states(len(paths))
    if isinstance(folder, RemotePath):
        return FilmStates(taken, states)

    def some(rows: range) -> None:
        for row in rows:
            if (state := _state(folder, paths[row])) is not None:
                states[row] = state

    with ThreadPoolExecutor(_LOOKERS, thread_name_prefix="states") as pool:  # on a network disk each query has latency
        for _ in bounded_map(pool, some, _tasks(len(paths))):
            pass
    return FilmStates(taken, states)


def remember_digests(
    folder: PathOrUrl,
    paths: Sequence[str],
    digests: Sequence[str] | NDArray[np.bytes_],
    *,
    states: FilmStates,
    now: FilmStates | None = None,
) -> None:
    """Record digests that a run has computed, for films that have not changed since before it read them.

    Parameters
    ----------
    folder, paths
        As for ``digest_column``.
    digests
        SHA-256 of each film, hex, as texts or as an array S64 [N]; "" is not recorded.
    states
        What ``film_states`` returned for the same paths before the run read any film. A film is recorded only if its
        state is still the same, and old enough: then its bytes did not change in between.
    now
        The states now; None: they are read.
    """
    if isinstance(folder, RemotePath):
        return
    column = np.asarray(digests, "S64")
    blocks = (column[rows.start : rows.stop].tolist() for rows in _tasks(len(column)))
    valid = (_DIGEST.fullmatch(digest) is not None for digest in chain.from_iterable(blocks))
    now = film_states(folder, paths) if now is None else now
    rows = np.flatnonzero(states.unchanged(now) & np.fromiter(valid, np.bool_, len(column)))
    _update(folder, _load(folder), _keys([paths[row] for row in rows.tolist()]), states.states[rows], column[rows])


def _tasks(films: int) -> Iterator[range]:
    """The rows of each task."""
    return (range(start, min(start + _TOGETHER, films)) for start in range(0, films, _TOGETHER))


def _remote(where: RemotePath) -> tuple[bytes, bool]:
    """The digest, and whether the store may deliver the film later."""
    try:
        return hashlib.sha256(read_remote(where, MAX_BYTES)).hexdigest().encode(), False
    except RemoteTooLargeError:
        return b"", False
    except RemoteError as error:
        return b"", error.passing
    except MemoryError:
        return b"", False


def _digests_or_outage(folder: RemotePath, found: Iterator[tuple[bytes, bool]]) -> Iterator[bytes]:
    """The digests; InputError if too many consecutive films were not received."""
    missed = 0
    for digest, passing in found:
        missed = missed + 1 if passing else 0
        if missed == MAX_FAILED_IN_A_ROW:
            raise InputError(
                f"{MAX_FAILED_IN_A_ROW} consecutive films were not received from {folder}, so it is not known whether "
                f"they have changed. "
                "Check the connection and rerun the same command."
            )
        yield digest


def _on_disk(folder: Path, film: str, known: np.void | None) -> tuple[bytes, FileState | None]:
    """The digest of a film, and the state to record with it; None if it must not be recorded. known: its record."""
    try:
        path, member = _split(folder, film)
        with open_regular(path) as file:
            before, began = FileState.of(os.fstat(file.fileno())), time.time_ns()
            if known is not None and known["state"].item() == before:
                return _hex(known), before
            if member:
                digest = film_digest(
                    folder / film
                ).encode()  # it opens the archive by its name, so check the state again
                after = FileState.of(os.stat(path))
            elif before.size > LARGEST_HASHED:
                return b"", None
            else:
                digest = hashlib.file_digest(file, "sha256").hexdigest().encode()
                after = FileState.of(os.fstat(file.fileno()))
    except (OSError, MemoryError):
        return b"", None
    same = bool(digest) and before == after and before.settled(began)
    return digest, before if same else None


def _state(folder: Path, film: str) -> FileState | None:
    """The state of a film's file, or of its archive."""
    try:
        return FileState.of(stat_opened(os.path.join(folder, film)))
    except NotADirectoryError:
        return _state_of_archive(folder / film)
    except OSError as error:
        return _state_of_archive(folder / film) if error.errno == errno.ENAMETOOLONG else None


def _state_of_archive(where: Path) -> FileState | None:
    try:
        return FileState.of(stat_opened(str(split_path(where)[0])))
    except OSError:
        return None


def _split(folder: Path, film: str) -> tuple[str, str]:
    """As split_path, which takes much longer than a look at a file that is there: few films are in archives."""
    path = os.path.join(folder, film)
    if os.path.isfile(path):
        return path, ""
    archive, member = split_path(Path(path))
    return str(archive), member


def _key(path: str | Path) -> str:
    """The key of a path in the records, hex."""
    return sha256_bytes(os.fsencode(path))[:32]


def _keys(paths: Sequence[str]) -> NDArray[np.bytes_]:
    """The keys of paths, S16 [N]."""
    found = bytearray()
    for path in paths:
        found += hashlib.sha256(os.fsencode(path)).digest()[:16]
    return np.frombuffer(bytes(found), "S16")


def _no_states(films: int) -> Records:
    """States of films that are not there."""
    states = np.zeros(films, _STATE)
    states["size"] = -1
    return states


def _hex(record: np.void) -> bytes:
    """The digest of a record. NumPy removes zero bytes at the end."""
    digest: bytes = record["digest"]
    return digest.ljust(32, b"\0").hex().encode()


def _no_records() -> Records:
    return np.zeros(0, _RECORD)


def _places(records: Records, keys: NDArray[np.bytes_]) -> NDArray[np.intp]:
    """For each key its place in the records, which are sorted; -1 if there is none."""
    if not len(records):
        return np.full(len(keys), -1)
    known = np.ascontiguousarray(records["key"])
    found = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[found] == keys, found, -1)


def _record_file(folder: Path) -> Path:
    return cache_folder() / "digests" / f"{_key(folder.resolve())}.digests"


def _load(folder: Path) -> Records:
    """The records of a films folder, sorted by the keys of their paths; empty if there is no valid file of them."""
    try:
        path = _record_file(folder)
        with open_regular(path) as file:
            data = file.read(_LARGEST + 1)
        checksum, line, start = _lines(data)
        if len(data) > _LARGEST or checksum != _checksum(line, memoryview(data)[start:]):
            return _no_records()
        document = json.loads(line)
        if document["version"] != _VERSION or document["folder"] != path.stem:
            return _no_records()
        records = np.frombuffer(data, _RECORD, offset=start)
        keys = np.ascontiguousarray(records["key"])
        if not (keys[1:] > keys[:-1]).all():
            return _no_records()
        with suppress(OSError):
            os.utime(path)  # mark as used, so that it is removed last
    except (OSError, RuntimeError, ValueError, TypeError, KeyError):  # RuntimeError: a loop of links
        return _no_records()
    return records


def _lines(data: bytes) -> tuple[bytes, bytes, int]:
    """The two lines before the records, and where these begin."""
    first = data.find(b"\n", 0, _FIRST_LINES) + 1
    second = data.find(b"\n", first, _FIRST_LINES) + 1
    return data[: max(first - 1, 0)], data[first:second], second


def _checksum(line: bytes, records: memoryview[Any] | bytes) -> bytes:
    digest = hashlib.sha256(line)
    digest.update(records)
    return digest.hexdigest().encode()


def _update(
    folder: Path,
    recorded: Records,
    keys: NDArray[np.bytes_],
    states: Records,
    digests: NDArray[np.bytes_],
) -> None:
    """Record the films with a state, and remove the records of the others with these keys. If the cache folder cannot
    be written, nothing is written and no error is raised."""
    there = states["size"] >= 0
    new = np.zeros(int(there.sum()), _RECORD)
    new["key"], new["state"] = keys[there], states[there]
    new["digest"] = np.frombuffer(bytes.fromhex(digests[there].tobytes().decode("ascii")), "S32")
    new = _by_key(new)
    records = _by_key(np.concatenate([recorded[~np.isin(recorded["key"], keys)], new]))
    if np.array_equal(records, recorded):
        return
    with suppress(WriteError, OSError, RuntimeError):
        path = _record_file(folder)
        data = _encoded(path.stem, records)
        if len(data) > _LARGEST:
            data = _encoded(path.stem, new)
        if len(data) <= _LARGEST:
            make_folder(path.parent)
            atomic_write_bytes(path, data)
            _prune(path.parent)


def _by_key(records: Records) -> Records:
    """The records sorted by key, the last one of each."""
    keys = np.ascontiguousarray(records["key"])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    return records[order[np.append(keys[1:] != keys[:-1], True)]] if len(keys) else records


def _encoded(folder: str, records: Records) -> bytes:
    line = json.dumps({"version": _VERSION, "folder": folder}, separators=(",", ":")).encode() + b"\n"
    data = records.tobytes()
    return b"".join((_checksum(line, data), b"\n", line, data))


def _prune(folder: Path) -> None:
    """Remove all but the most recently used records, and the remains of killed runs."""
    with suppress(OSError):
        files = sorted(folder.glob("*.digests"), key=lambda file: file.stat().st_mtime, reverse=True)
        parts = [part for part in folder.glob(".*.part") if time.time() - part.stat().st_mtime > _STALE_S]
        for file in [*files[_FOLDERS:], *parts]:
            file.unlink(missing_ok=True)
