"""Status codes of films, and the films that have no scores, by reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """Why a film has scores (OK) or has none. Files store the number, so a number never changes its meaning."""

    NOT_WRITTEN = 0
    OK = 1
    EMPTY = 2
    NOT_AN_IMAGE = 3
    DAMAGED = 4
    BLANK = 5
    TOO_LARGE = 6
    TOO_SMALL = 7
    SEVERAL_FRAMES = 8
    NOT_CHEST = 9
    UNSUPPORTED = 10
    UNREADABLE = 11
    CRASHED = 12
    TIMED_OUT = 13
    MODEL_FAILED = 14


def status_name(code: int) -> str:
    """The name of a status; its number if this version has no name for it."""
    known = {status.value: status.name for status in Status}
    return known.get(code, f"status {code}")


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Films that failed for one reason.

    status  name of their status, "" if it is not known
    films   each film with its message; the messages are equal but for numbers and modalities in them
    """

    status: str
    films: tuple[tuple[str, str], ...]


def group_failures(failed: Iterable[tuple[str, str, str]]) -> tuple[FailureGroup, ...]:
    """Films that failed by reason, the most frequent first; ``failed``: film, name of the status, and message."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for film, status, message in failed:
        groups.setdefault((status, _VARIABLE.sub("#", message)), []).append((film, message))
    found = [FailureGroup(status=status, films=tuple(films)) for (status, _), films in groups.items()]
    return tuple(sorted(found, key=lambda group: -len(group.films)))


_VARIABLE = re.compile(r"[0-9][0-9,.]*|(?<=\bmodality )[A-Z]+")
"""Parts of messages that differ between films which fail for the same reason: reports, annotations and key images of
one folder are one group."""
