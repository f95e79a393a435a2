"""SHA-256 digests of many films, and records of them, so that an unchanged film is not read again.

A record is used only if the file has the same size, mtime, ctime, inode and device as when it was read, and both times
were older than that moment by a margin: a file that changes within the resolution of its file system's clock keeps its
times. Programs can set an mtime, but not a ctime.

The records of a films folder are one file in the cache folder: the SHA-256 of the rest, a line feed, and JSON. A file
that is damaged, or holds the records of another folder, is ignored. It holds no path, only digests of paths.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cxrscore.errors import InputError, RemoteError, RemoteTooLargeError, WriteError
from cxrscore.images.archive import split_path
from cxrscore.images.decode import LARGEST_HASHED, film_digest
from cxrscore.images.film import MAX_BYTES
from cxrscore.images.prefetch import MAX_FAILED_IN_A_ROW
from cxrscore.io import atomic_write_bytes, make_folder, sha256_bytes
from cxrscore.io.entries import cache_folder
from cxrscore.io.regular import open_regular
from cxrscore.remote import PathOrUrl, RemotePath, read_remote

MARGIN_NS = 2_000_000_000
"""Minimum age of the times of a file at the moment of reading, in nanoseconds."""
_COARSE_NS = 10_000_000
"""Resolution of file systems without a separate ctime (FAT, exFAT), where the ctime can be set with the mtime: a ctime
that is a multiple of this is not trusted."""
_VERSION = 1
_FOLDERS = 16
"""Largest number of films folders whose records are stored, the most recently used ones."""
_LARGEST = 256 << 20
"""Largest file of records in bytes: those of more than a million films."""
_STALE_S = 24 * 3600
_LOOKERS = 8
_DIGEST = re.compile("[0-9a-f]{64}")


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
    states    None if the film is not on disk, or its file cannot be opened
    """

    taken_ns: int
    states: tuple[FileState | None, ...]


class _Record(NamedTuple):
    state: FileState
    digest: str


def film_digests(
    folder: PathOrUrl,
    paths: Sequence[str],
    *,
    workers: int,
    rehash: bool = False,
    records: bool = True,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
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

    Returns
    -------
    list[str]
        For each path the digest in hex, as ``film_digest`` computes it; "" if the film cannot be read. Films on disk
        whose digest is recorded, and whose state has not changed, are not read. Remote films always are.

    Raises
    ------
    InputError
        If a remote store has stopped answering.
    """
    recorded = {} if isinstance(folder, RemotePath) or not records else _load(folder)
    keys = [_key(path) for path in paths]
    new: dict[str, _Record | None] = {}
    digests: list[str] = []
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="digests")
    found: Iterator[tuple[str, _Record | None]]
    try:
        if isinstance(folder, RemotePath):
            found = _digests_or_outage(folder, pool.map(lambda path: _remote(folder / path), paths))
        else:
            known = {} if rehash else recorded
            found = pool.map(lambda path, key: _on_disk(folder / path, known.get(key)), paths, keys)
        for key, (digest, record) in zip(keys, found, strict=True):
            digests.append(digest)
            new[key] = record
            if progress is not None:
                progress(len(digests))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if records and not isinstance(folder, RemotePath):
        _update(folder, recorded, new)
    return digests


def film_states(folder: PathOrUrl, paths: Sequence[str]) -> FilmStates:
    """Read the states of film files for ``remember_digests``, before a run reads the first film.

    Parameters
    ----------
    folder, paths
        As for ``film_digests``.

    Returns
    -------
    FilmStates
        Their states now.
    """
    taken = time.time_ns()
    if isinstance(folder, RemotePath):
        return FilmStates(taken, (None,) * len(paths))
    with ThreadPoolExecutor(_LOOKERS, thread_name_prefix="states") as pool:  # on a network disk each query has latency
        return FilmStates(taken, tuple(pool.map(lambda path: _state(folder / path), paths)))


def remember_digests(folder: PathOrUrl, paths: Sequence[str], digests: Sequence[str], *, states: FilmStates) -> None:
    """Record digests that a run has computed, for films that have not changed since before it read them.

    Parameters
    ----------
    folder, paths
        As for ``film_digests``.
    digests
        SHA-256 of each film, hex; "" is not recorded.
    states
        What ``film_states`` returned for the same paths before the run read any film. A film is recorded only if its
        state is still the same, and old enough: then its bytes did not change in between.
    """
    if isinstance(folder, RemotePath):
        return
    new: dict[str, _Record | None] = {}
    for path, digest, before in zip(paths, digests, states.states, strict=True):
        usable = before is not None and before.settled(states.taken_ns) and _DIGEST.fullmatch(digest)
        if before is not None and usable and _state(folder / path) == before:
            new[_key(path)] = _Record(before, digest)
    _update(folder, _load(folder), new)


def _remote(where: RemotePath) -> tuple[str, bool]:
    """The digest, and whether the store may deliver the film later."""
    try:
        return hashlib.sha256(read_remote(where, MAX_BYTES)).hexdigest(), False
    except RemoteTooLargeError:
        return "", False
    except RemoteError as error:
        return "", error.passing
    except MemoryError:
        return "", False


def _digests_or_outage(folder: RemotePath, found: Iterator[tuple[str, bool]]) -> Iterator[tuple[str, None]]:
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
        yield digest, None


def _on_disk(where: Path, known: _Record | None) -> tuple[str, _Record | None]:
    """The digest of a film, and its record; None if it must not be recorded."""
    try:
        path, member = split_path(where)
        with open_regular(path) as file:
            before, began = FileState.of(os.fstat(file.fileno())), time.time_ns()
            if known is not None and known.state == before:
                return known.digest, known
            if member:
                digest = film_digest(where)  # it opens the archive by its name, so check the state again
                after = FileState.of(os.stat(path))
            elif before.size > LARGEST_HASHED:
                return "", None
            else:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                after = FileState.of(os.fstat(file.fileno()))
    except (OSError, MemoryError):
        return "", None
    same = bool(digest) and before == after and before.settled(began)
    return digest, _Record(before, digest) if same else None


def _state(where: Path) -> FileState | None:
    """The state of a film's file, or of its archive. The file is opened, because only then do network file systems
    return current values."""
    try:
        with open_regular(split_path(where)[0]) as file:
            return FileState.of(os.fstat(file.fileno()))
    except OSError:
        return None


def _key(path: str | Path) -> str:
    """The key of a path in the records."""
    return sha256_bytes(os.fsencode(path))[:32]


def _record_file(folder: Path) -> Path:
    return cache_folder() / "digests" / f"{_key(folder.resolve())}.digests"


def _load(folder: Path) -> dict[str, _Record]:
    """The records of a films folder, by the keys of their paths; empty if there is no valid file of them."""
    try:
        path = _record_file(folder)
        with open_regular(path) as file:
            data = file.read(_LARGEST + 1)
        checksum, _, text = data.partition(b"\n")
        if len(data) > _LARGEST or checksum != sha256_bytes(text).encode():
            return {}
        document = json.loads(text)
        if document["version"] != _VERSION or document["folder"] != path.stem:
            return {}
        records = {key: _Record(FileState(*map(int, state)), digest) for key, (*state, digest) in document["films"]}
        with suppress(OSError):
            os.utime(path)  # mark as used, so that it is removed last
    except (OSError, RuntimeError, ValueError, TypeError, KeyError):  # RuntimeError: a loop of links
        return {}
    return {key: record for key, record in records.items() if _DIGEST.fullmatch(record.digest)}


def _update(folder: Path, recorded: dict[str, _Record], new: dict[str, _Record | None]) -> None:
    """Add records, and remove those of paths that have none any more. If the cache folder cannot be written, nothing is
    written and no error is raised."""
    records = {key: record for key, record in {**recorded, **new}.items() if record is not None}
    if records == recorded:
        return
    with suppress(WriteError, OSError, RuntimeError):
        path = _record_file(folder)
        data = _encoded(path.stem, records)
        if len(data) > _LARGEST:
            data = _encoded(path.stem, {key: record for key, record in new.items() if record is not None})
        if len(data) <= _LARGEST:
            make_folder(path.parent)
            atomic_write_bytes(path, data)
            _prune(path.parent)


def _encoded(folder: str, records: dict[str, _Record]) -> bytes:
    films = [[key, [*record.state, record.digest]] for key, record in sorted(records.items())]
    document = {"version": _VERSION, "folder": folder, "films": films}
    text = json.dumps(document, separators=(",", ":")).encode()
    return sha256_bytes(text).encode() + b"\n" + text


def _prune(folder: Path) -> None:
    """Remove all but the most recently used records, and the remains of killed runs."""
    with suppress(OSError):
        files = sorted(folder.glob("*.digests"), key=lambda file: file.stat().st_mtime, reverse=True)
        parts = [part for part in folder.glob(".*.part") if time.time() - part.stat().st_mtime > _STALE_S]
        for file in [*files[_FOLDERS:], *parts]:
            file.unlink(missing_ok=True)
