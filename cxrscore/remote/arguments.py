"""Paths as callers pass them: the one place where ``str | os.PathLike`` becomes a path or a URL."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

from cxrscore.errors import InputError
from cxrscore.remote.url import PathOrUrl, RemotePath, parse_location

StrPath: TypeAlias = str | os.PathLike[str]
"""A path on this machine."""
Location: TypeAlias = StrPath | RemotePath
"""A path on this machine, or a URL such as s3://bucket/films."""


def location(given: Location, name: str = "the path") -> PathOrUrl:
    """A path or a URL.

    Parameters
    ----------
    given : str, os.PathLike or RemotePath
        As the caller passed it.
    name : str
        Name of the argument, for the error.

    Raises
    ------
    InputError
        If it is of another type.

    Examples
    --------
    >>> location("films").name
    'films'
    >>> location("s3://bucket/films")
    s3://bucket/films
    >>> location(3, "films")
    Traceback (most recent call last):
    cxrscore.errors.InputError: films is of type int, expected a path: str or os.PathLike
    """
    if isinstance(given, RemotePath):
        return given
    if not isinstance(given, str | bytes | os.PathLike) or not isinstance(os.fspath(given), str):
        raise InputError(f"{name} is of type {type(given).__name__}, expected a path: str or os.PathLike")
    if os.fspath(given) == "":
        raise InputError(f"{name} is an empty text, expected a path; the current folder is '.'")
    if "\0" in os.fspath(given):
        raise InputError(f"{name} has a zero character, which no path has")
    return parse_location(given)


def local_path(given: StrPath, name: str = "the path") -> Path:
    """A path on this machine.

    Parameters
    ----------
    given : str or os.PathLike
        As the caller passed it.
    name : str
        Name of the argument, for the error.

    Raises
    ------
    InputError
        If it is of another type, or a URL. The error does not repeat the URL, which may hold a password.

    Examples
    --------
    >>> local_path("model.safetensors").suffix
    '.safetensors'
    >>> local_path("https://host/model.safetensors", "model")
    Traceback (most recent call last):
    cxrscore.errors.InputError: model is a URL, expected a path on this machine: download the file first
    """
    found = location(given, name)
    if isinstance(found, RemotePath):
        raise InputError(f"{name} is a URL, expected a path on this machine: download the file first")
    return found


def local_paths(given: StrPath | Iterable[StrPath], name: str = "the path") -> tuple[Path, ...]:
    """One path, or several; a single string is one path.

    Examples
    --------
    >>> len(local_paths("model.safetensors")), len(local_paths(["a.safetensors", "b.safetensors"]))
    (1, 2)
    """
    return tuple(local_path(one, name) for one in one_or_several(given))


def locations(given: Location | Iterable[Location], name: str = "the path") -> tuple[PathOrUrl, ...]:
    """One path or URL, or several; a single string is one.

    Examples
    --------
    >>> len(locations("a.h5")), len(locations(["a.h5", "s3://bucket/b.h5"]))
    (1, 2)
    """
    return tuple(location(one, name) for one in one_or_several(given))


def one_or_several(given: Any) -> Iterable[Any]:
    """The items of an argument that may be a single one."""
    return [given] if isinstance(given, str | bytes | os.PathLike) or not isinstance(given, Iterable) else given


def convert_paths(options: Any, *, local: Iterable[str] = (), anywhere: Iterable[str] = ()) -> None:
    """Replaces fields of a frozen dataclass by the paths that they name; called from ``__post_init__``.

    Parameters
    ----------
    options : dataclass instance
        Its fields may hold str or os.PathLike, and None if that is their default.
    local : iterable of str
        Fields that name a path on this machine.
    anywhere : iterable of str
        Fields that name a path or a URL.
    """
    optional = {field.name for field in fields(options) if field.default is None}
    for convert, names in ((local_path, local), (location, anywhere)):
        for name in names:
            if (given := getattr(options, name)) is not None or name not in optional:
                object.__setattr__(options, name, convert(given, name))
