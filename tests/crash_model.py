"""A file system in memory that knows what a disk owes: every state that a kill or a loss of power may leave.

Calls of os that change files below a folder are recorded while they are carried out. After a kill, all of them so far
hold, the last write perhaps in part. After a loss of power only what was synced holds for sure. Of the rest, each 4 KiB
page of a file may be new or old, and of the changes to each folder those up to some moment hold; a rename between two
folders holds in both or in neither. That is more than journalling file systems let happen.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = 4096


@dataclass
class Inode:
    """A file (``folder`` False) or a folder: what is in it now, and what of a file is on the disk for sure."""

    folder: bool
    now: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass
class Change:
    """Of folders: names of a folder are set to an inode, or removed (None). ``sure`` once one of them was synced."""

    names: tuple[tuple[Inode, str, Inode | None], ...]
    sure: bool = False


class Disk:
    """All changes so far, from an empty folder on."""

    def __init__(self) -> None:
        self.root = Inode(folder=True)
        self.changes: list[Change] = []
        self._entries: dict[int, dict[str, Inode]] = {id(self.root): {}}

    # --- what programs do

    def put(self, path: str, inode: Inode) -> None:
        self._change((*self._place(path), inode))
        if inode.folder:
            self._entries[id(inode)] = {}

    def remove(self, path: str) -> None:
        self._change((*self._place(path), None))

    def rename(self, source: str, target: str) -> None:
        moved = self.find(source)
        self._change((*self._place(source), None), (*self._place(target), moved))

    def sync(self, path: str) -> None:
        inode = self.find(path)
        inode.synced = bytes(inode.now)
        for change in self.changes:
            change.sure |= any(folder is inode for folder, _, _ in change.names)

    def find(self, path: str) -> Inode:
        at = self.root
        for part in Path(path).parts:
            at = self._entries[id(at)][part]
        return at

    def _place(self, path: str) -> tuple[Inode, str]:
        return self.find(str(Path(path).parent)), Path(path).name

    def _change(self, *names: tuple[Inode, str, Inode | None]) -> None:
        self.changes.append(Change(names))
        _apply(self._entries, self.changes[-1])

    # --- what is left

    def after_kill(self) -> dict[str, bytes | None]:
        """Content by path, None for folders."""
        return _tree(self.root, self._entries, lambda inode: bytes(inode.now))

    def after_power_loss(self, rng: random.Random) -> dict[str, bytes | None]:
        keeps = rng.choice((0.0, 0.3, 0.7, 0.95, 1.0))
        entries: dict[int, dict[str, Inode]] = {}
        lost: set[int] = set()  # folders of which a change is lost: all later ones are, unless synced
        for change in self.changes:
            folders = {id(folder) for folder, _, _ in change.names}
            if change.sure or (not folders & lost and rng.random() < keeps):
                _apply(entries, change)
            else:
                lost |= folders
        return _tree(self.root, entries, lambda inode: _torn(inode, rng))


def _apply(entries: dict[int, dict[str, Inode]], change: Change) -> None:
    for folder, name, inode in change.names:
        names = entries.setdefault(id(folder), {})
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _tree(
    folder: Inode, entries: dict[int, dict[str, Inode]], content: Callable[[Inode], bytes], above: str = ""
) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name, inode in entries.get(id(folder), {}).items():
        path = above + name
        found[path] = None if inode.folder else content(inode)
        found |= _tree(inode, entries, content, f"{path}/")
    return found


def _torn(inode: Inode, rng: random.Random) -> bytes:
    """Each page as it was synced or as it is now; the length likewise."""
    old, new = inode.synced, bytes(inode.now)
    if old == new:
        return new
    length = len(rng.choice((old, new)))
    pages = (rng.choice((old, new))[at : at + PAGE].ljust(PAGE, b"\0") for at in range(0, length, PAGE))
    return b"".join(pages)[:length]


# --- recording


@contextmanager
def recorded(folder: Path, seen: Callable[[Disk], None]) -> Iterator[Disk]:
    """Records what this process changes below a folder, which is empty; ``seen`` is called after each change, and
    in the middle of each write."""
    disk, real = Disk(), {name: getattr(os, name) for name in _CALLS}

    def below(path: Any, base: int | None = None) -> str | None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if base is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{base}"), path)
        path = os.path.abspath(path)
        return os.path.relpath(path, folder) if path.startswith(f"{folder}/") or path == str(folder) else None

    def call(name: str) -> Callable[..., Any]:
        def instead(*given: Any, **options: Any) -> Any:
            path = below(given[0], options.get("dir_fd"))
            if path is None:
                return real[name](*given, **options)
            done = _CALLS[name](disk, real[name], path, below, seen, given, options)
            seen(disk)
            return done

        return instead

    for name in _CALLS:
        setattr(os, name, call(name))
    try:
        yield disk
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def _open(disk: Disk, real: Any, path: str, below: Any, seen: Any, given: Any, options: Any) -> Any:
    new = given[1] & os.O_CREAT and not os.path.lexists(given[0])
    done = real(*given, **options)
    if new:
        disk.put(path, Inode(folder=False))
    return done


def _write(disk: Disk, real: Any, path: str, below: Any, seen: Any, given: Any, options: Any) -> Any:
    descriptor, data = given[0], bytes(given[1])
    place, inode = os.lseek(descriptor, 0, os.SEEK_CUR), disk.find(path)
    done = real(descriptor, data)
    for part in {len(data) // 2, len(data)}:
        inode.now.extend(bytes(max(0, place + part - len(inode.now))))
        inode.now[place : place + part] = data[:part]
        if part < len(data):
            seen(disk)
    return done


def _ftruncate(disk: Disk, real: Any, path: str, below: Any, seen: Any, given: Any, options: Any) -> Any:
    now, size = disk.find(path).now, given[1]
    now[:] = now[:size].ljust(size, b"\0")
    return real(*given)


def _fsync(disk: Disk, real: Any, path: str, below: Any, seen: Any, given: Any, options: Any) -> Any:
    disk.sync(path)
    return real(*given)


def _mkdir(disk: Disk, real: Any, path: str, below: Any, seen: Any, given: Any, options: Any) -> Any:
    done = real(*given, **options)
    disk.put(path, Inode(folder=True))
    return done


def _remove(disk: Disk, real: Any, path: str, below: Any, seen: Any, given: Any, options: Any) -> Any:
    done = real(*given, **options)
    disk.remove(path)
    return done


def _rename(disk: Disk, real: Any, path: str, below: Any, seen: Any, given: Any, options: Any) -> Any:
    done = real(*given)
    disk.rename(path, below(given[1]))
    return done


_CALLS: dict[str, Any] = {
    "open": _open,
    "write": _write,
    "ftruncate": _ftruncate,
    "fsync": _fsync,
    "mkdir": _mkdir,
    "unlink": _remove,
    "rmdir": _remove,
    "replace": _rename,
    "rename": _rename,
}
