"""One film of the corpus, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass

from cxrscore.images import Status

UNDECODED = "damaged: it cannot be decoded"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file and what must come of it.

    words    part of the message; of a film that is scored, the note or nothing
    cause    for the page, in a few words
    strict   the status with simplejpeg (extra "strict")
    """

    name: str
    cause: str
    data: bytes
    status: Status
    words: str
    strict: Status


def refused(status: Status, name: str, cause: str, data: bytes, words: str) -> Case:
    return Case(name=name, cause=cause, data=data, status=status, words=words, strict=status)


def fine(name: str, cause: str, data: bytes, note: str = "") -> Case:
    return refused(Status.OK, name, cause, data, note)


def damaged(name: str, cause: str, data: bytes, words: str = UNDECODED) -> Case:
    return refused(Status.DAMAGED, name, cause, data, words)


def unseen(name: str, cause: str, data: bytes) -> Case:
    """Damage that only simplejpeg sees."""
    return Case(name=name, cause=cause, data=data, status=Status.OK, words="", strict=Status.DAMAGED)
