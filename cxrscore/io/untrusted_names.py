"""Names from outside: URLs, archives, listings, manifests, tables. They are labels of rows, and never become paths of
files that are written."""

from __future__ import annotations

import re

MAX_NAME_LENGTH = 120
"""Largest number of characters of a label."""
LONGEST_PATH = 4096
"""Largest number of characters of the path of a film below its folder; no file system and no bucket allows more."""

_ODD_PARTS = frozenset(("", ".", ".."))
"""Parts of a path that change when they are joined, or leave the folder; "" is also before and after a slash."""


def is_plain_relative_path(name: str) -> bool:
    """Whether the name is a plain path below a folder: its parts do not change when they are joined, none leaves the
    folder, and it is no longer than a file path can be."""
    return len(name) <= LONGEST_PATH and "\0" not in name and _ODD_PARTS.isdisjoint(name.split("/"))


def plain_relative_path(name: str) -> str:
    """The plain path that the name of an archive member means: without parts that are ``.`` and repeated slashes.

    "" for a name that is absolute, leaves its folder or has no file at its end, on any operating system: ``../x``,
    ``/x``, ``C:\\x``, ``..\\x``.
    """
    parts = name.split("/")
    leaves = ".." in _SEPARATORS.split(name) or _ABSOLUTE.match(name) or parts[-1] in ("", ".")
    path = "/".join(part for part in parts if part not in ("", "."))
    return path if not leaves and len(name) <= LONGEST_PATH and is_plain_relative_path(path) else ""


_SEPARATORS = re.compile(r"[/\\]")
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


def safe_file_name(name: str) -> str:
    """Turn a name from outside into a file name in one folder.

    Slashes of either kind, unprintable characters, and a dot at the beginning become ``_``; a name with more than 120
    characters loses its beginning, so that the suffix remains. Never empty, ``.`` or ``..``.
    """
    plain = "".join("_" if letter in "/\\" or not letter.isprintable() else letter for letter in name)[
        -MAX_NAME_LENGTH:
    ]
    return f"_{plain[1:]}" if plain.startswith(".") else plain or "_"
