"""A store that has ceased to answer ends a run, which can go on later, before it makes unreadable films of all."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from cxrscore.errors import InputError
from cxrscore.images.decode import NOT_RECEIVED
from cxrscore.images.loading import LoadedFilm
from cxrscore.remote import RemotePath

MAX_FAILED_IN_A_ROW = 32
"""Films in a row that a store may fail to give, each after several tries."""


def detect_outage(stream: Generator[LoadedFilm], folder: RemotePath) -> Generator[LoadedFilm]:
    """The same films. Those that were not received are held back until a later one is, so that the shards before an
    outage have none; InputError where too many in a row were not. Left before its end, it leaves the stream."""
    missed: list[LoadedFilm] = []
    with closing(stream):
        for prepared in stream:
            if prepared.film.message.startswith(NOT_RECEIVED):
                missed.append(prepared)
                if len(missed) == MAX_FAILED_IN_A_ROW:
                    raise InputError(
                        f"{MAX_FAILED_IN_A_ROW} films in a row were not received from {folder}, the last: "
                        f"{prepared.film.message}. "
                        "What was scored so far is kept: the same command goes on there."
                    )
                continue
            yield from missed
            missed.clear()
            yield prepared
        yield from missed
