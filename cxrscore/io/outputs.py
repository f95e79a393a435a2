"""Which existing file a command may replace: one rule for all commands.

An existing output is replaced if it is recognisably an earlier output of the same command, or, with ``--overwrite``, if
it is any regular file. It is never replaced if it is one of the command's own inputs, under whatever name, nor if it is
a folder, a device, a pipe or a socket.
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
"""The rule, as ``--help`` says it."""
HEAD = 1 << 16
"""Bytes of a file in which a mark is looked for."""


@dataclass(frozen=True, kw_only=True)
class OutputKind:
    """A kind of file that a command writes.

    Parameters
    ----------
    name : str
        With its article, as in "a report of cxrscore".
    recognises : callable
        Whether the file at a path, which is a regular one, is of this kind. An error of reading it means no.
    """

    name: str
    recognises: Callable[[Path], bool]


def output_kind_with_marks(name: str, *marks: bytes) -> OutputKind:
    """A kind whose files have all of these marks in their first 64 KiB."""

    def recognises(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(HEAD)
        return all(mark in head for mark in marks)

    return OutputKind(name=name, recognises=recognises)


def check_output(path: Path, kind: OutputKind, *, inputs: Iterable[Path | None] = (), overwrite: bool = False) -> None:
    """Refuses an output that must not be replaced. It is called before any work is done.

    Parameters
    ----------
    path : Path
        The output.
    kind : OutputKind
        What the command writes there.
    inputs : iterable of Path or None
        Every file that the command reads.
    overwrite : bool
        Whether the user allows to replace a file of another kind.

    Raises
    ------
    InputError
        For a folder, a device, a pipe, a link; for an input, also by another name or link; and for a
        file of another kind, unless ``overwrite``.
    """
    found = _existing(path)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is {_kind_of(found)}, wanted the name of a file to write")
    for each in inputs:
        if each is not None and is_same_file(each, found):
            named = "" if each == path else f" (named {each})"
            raise InputError(f"{path} is an input of this command{named} and is not replaced. Name another output.")
    if path.is_symlink():
        raise InputError(f"{path} is a link, which would be replaced. Name the file that it leads to: {path.resolve()}")
    if not overwrite and not _is_recognised(path, kind):
        raise InputError(
            f"{path} exists and is not {kind.name}, so it is not replaced. Name another output, or add --overwrite."
        )


def check_distinct(paths: Iterable[Path]) -> None:
    """InputError where two outputs of one command are one file."""
    seen: dict[Path, Path] = {}
    for path in paths:
        other = seen.setdefault(path.resolve(), path)
        if other is not path:
            raise InputError(f"two outputs of this command have the same name, {path}. Name them differently.")


def mark_folder(folder: Path, kind: str) -> None:
    """Makes a folder for the many files of one command, and marks it as such.

    Parameters
    ----------
    folder : Path
        A new or empty folder, or one that was claimed before for the same kind.
    kind : str
        A word, such as "demo", for the name of the marking file.

    Raises
    ------
    InputError
        For a folder that holds anything else: its files might be replaced.
    WriteError
        Where the folder cannot be made.
    """
    mark = folder / f".cxrscore-{kind}"
    try:
        foreign = folder.exists() and not mark.is_file() and any(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot look into the folder {folder}: {error.strerror}") from error
    if foreign:
        raise InputError(f"{folder} is not empty and holds no earlier {kind}. Name a new folder.")
    make_folder(folder)
    atomic_write_bytes(mark, b"")


def is_same_file(path: Path, found: os.stat_result) -> bool:
    """Whether a path leads to this very file, by whatever name."""
    try:
        return os.path.samestat(path.stat(), found)
    except OSError:
        return False


def _existing(path: Path) -> os.stat_result | None:
    """What is at a path, links followed; None where there is nothing."""
    try:
        return path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise InputError(f"{path} is a link that leads nowhere. Remove it, or name another output.") from None
        return None
    except OSError:  # such as a folder of its path that is a file: who writes says so
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
    return kinds.get(stat.S_IFMT(found.st_mode), "no regular file")
