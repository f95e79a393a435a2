"""Names that come from outside: URLs, archives, listings, manifests, tables. They are labels for people and rows, and
never become paths of files that are written."""

from __future__ import annotations

from pathlib import PurePosixPath

MAX_NAME_LENGTH = 120
"""Characters of a label."""
LONGEST_PATH = 4096
"""Characters of the path of a film below its folder; no file system and no bucket has more."""


def is_plain_relative_path(name: str) -> bool:
    """Whether the name is a plain path below a folder: its parts are what they are after joining, none leads elsewhere,
    and it is no longer than the path of a file can be."""
    plain = PurePosixPath(name)
    return (
        bool(plain.parts)
        and len(name) <= LONGEST_PATH
        and plain.as_posix() == name
        and not plain.is_absolute()
        and ".." not in plain.parts
        and "\0" not in name
    )


def safe_file_name(name: str) -> str:
    """A name from outside as the name of a file in one folder.

    Slashes of either kind and characters that do not print become ``_``, so does a dot that begins the name; what is
    longer than 120 characters loses its beginning, so that the suffix stays. Never empty, ``.`` or ``..``.
    """
    plain = "".join("_" if letter in "/\\" or not letter.isprintable() else letter for letter in name)[
        -MAX_NAME_LENGTH:
    ]
    return f"_{plain[1:]}" if plain.startswith(".") else plain or "_"
