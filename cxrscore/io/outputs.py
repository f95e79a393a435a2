"""Which existing file a command may replace: one rule for all commands.

An existing output is replaced if it is recognisably an earlier output of the same command, or, with ``--overwrite``, if
it is any regular file. It is never replaced if it is an input of the command, under any name, or if it is a folder, a
device, a pipe or a socket.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.io.atomic import atomic_write_bytes, make_folder

RULE = "Replace any existing file. Without it, only an earlier output of this command is replaced."
"""The rule, for ``--help``."""
HEAD = 1 << 16
"""Number of bytes of a file that are searched for a mark."""


@dataclass(frozen=True, kw_only=True)
class OutputKind:
    """A type of file that a command writes.

    Parameters
    ----------
    name : str
        With its article, as in "a report of cxrscore".
    recognises : callable
        Whether the regular file at a path has this type. A read error means no.
    """

    name: str
    recognises: Callable[[Path], bool]


def output_kind_with_marks(name: str, *marks: bytes) -> OutputKind:
    """A type whose files have all of these marks in their first 64 KiB."""

    def recognises(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(HEAD)
        return all(mark in head for mark in marks)

    return OutputKind(name=name, recognises=recognises)


def check_output(path: Path, kind: OutputKind, *, inputs: Iterable[Path | None] = (), overwrite: bool = False) -> None:
    """Raise an InputError for an output that must not be replaced. Called before any work is done.

    Parameters
    ----------
    path : Path
        The output.
    kind : OutputKind
        Type of file that the command writes there.
    inputs : iterable of Path or None
        All files that the command reads.
    overwrite : bool
        Whether the user allows to replace a file of another type.

    Raises
    ------
    InputError
        For a folder, a device, a pipe, a link; for an input, also under another name or link; and for a
        file of another type, unless ``overwrite``.
    """
    found = _existing(path)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is {_kind_of(found)}, expected the name of a file to write")
    for each in inputs:
        if each is not None and is_same_file(each, found):
            named = "" if each == path else f" (named {each})"
            raise InputError(f"{path} is an input of this command{named} and is not replaced. Choose another output.")
    if path.is_symlink():
        raise InputError(
            f"{path} is a link, which would be replaced. Give the file that it points to: {path.resolve()}"
        )
    if not overwrite and not _is_recognised(path, kind):
        raise InputError(
            f"{path} exists and is not {kind.name}, so it is not replaced. Choose another output, or add --overwrite."
        )


def check_distinct(paths: Iterable[Path]) -> None:
    """InputError if two outputs of one command are the same file."""
    seen: dict[Path, Path] = {}
    for path in paths:
        other = seen.setdefault(path.resolve(), path)
        if other is not path:
            raise InputError(f"two outputs of this command have the same path, {path}. Choose different paths.")


def mark_folder(folder: Path, kind: str) -> None:
    """Create a folder for the files of one command, and mark it as such.

    Parameters
    ----------
    folder : Path
        A new or empty folder, or one that was claimed before for the same purpose.
    kind : str
        A word, such as "demo", for the name of the marker file.

    Raises
    ------
    InputError
        For a folder that contains other files: they might be replaced.
    WriteError
        If the folder cannot be created.
    """
    mark = folder / f".cxrscore-{kind}"
    try:
        foreign = folder.exists() and not mark.is_file() and any(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot list the folder {folder}: {error.strerror}") from error
    if foreign:
        raise InputError(f"{folder} is not empty and does not contain an earlier {kind}. Choose a new folder.")
    make_folder(folder)
    atomic_write_bytes(mark, b"")


def is_same_file(path: Path, found: os.stat_result) -> bool:
    """Whether a path leads to this file, under any name."""
    try:
        return os.path.samestat(path.stat(), found)
    except OSError:
        return False


def _existing(path: Path) -> os.stat_result | None:
    """Status of the file at a path, links followed; None if there is nothing."""
    try:
        return path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise InputError(f"{path} is a broken link. Remove it, or choose another output.") from None
        return None
    except OSError:  # such as a folder of its path that is a file: the function that writes reports it
        return None


def _is_recognised(path: Path, kind: OutputKind) -> bool:
    try:
        return kind.recognises(path)
    except (OSError, InputError):
        return False


def _kind_of(found: os.stat_result) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(found.st_mode), "not a regular file")
