"""Status codes of films."""

from __future__ import annotations

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
