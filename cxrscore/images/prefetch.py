"""Decode films ahead of their use, in order, in worker processes and bounded memory. If a remote store stops answering,
the run ends instead of marking all films as unreadable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from itertools import islice
from typing import TypeVar

from cxrscore.errors import InputError
from cxrscore.images.decode import NOT_RECEIVED, LoadedFilm
from cxrscore.images.decoder_pool import DecoderPool
from cxrscore.images.preprocess import Preprocessing
from cxrscore.remote import PathOrUrl, RemotePath

_Item = TypeVar("_Item")


def stream_films(
    folder: PathOrUrl,
    paths: Sequence[str],
    preprocessing: Preprocessing,
    *,
    also: Sequence[Preprocessing] = (),
    workers: int,
    ahead: int = 32,
    any_modality: bool = False,
    decoders: DecoderPool | None = None,
) -> Generator[LoadedFilm]:
    """Yield the films at `paths` below `folder` in this order, each decoded once by one of `workers` processes; `also`
    are further preprocessings for which squares are returned.

    At most `ahead` films are decoded or waiting besides the one in use. Closing the generator early cancels films that
    are not started. `decoders`, made for the same preprocessings, are used and left open, so that consecutive streams
    start no processes; they begin at once, not with the first film that is taken. Raises InputError unless workers and
    ahead are at least 1, and if a remote store has stopped answering.
    """
    if workers < 1 or ahead < 1:
        raise InputError(f"workers {workers} and ahead {ahead}, expected at least 1 of each")
    files = [folder / path for path in paths]
    if decoders is not None:
        stream = load_ahead(decoders.submit, files, ahead)
    else:
        own = DecoderPool(min(workers, len(paths)), preprocessing, also=also, any_modality=any_modality)
        stream = _load_and_close(own, files, ahead)
    return detect_outage(stream, folder) if isinstance(folder, RemotePath) else stream


def _load_and_close(decoders: DecoderPool, files: Sequence[PathOrUrl], ahead: int) -> Generator[LoadedFilm]:
    try:
        with closing(load_ahead(decoders.submit, files, ahead)) as stream:
            yield from stream
    finally:
        decoders.close()


def load_ahead(
    begin: Callable[[_Item], Future[LoadedFilm]], items: Iterable[_Item], ahead: int
) -> Generator[LoadedFilm]:
    """The films whose loading ``begin`` starts, in the order of the items; at most ``ahead`` of them are begun before
    they are used, the first ones at once. The others are cancelled if the generator is closed early."""
    begun = map(begin, items)
    return _in_order(deque(islice(begun, ahead)), begun)


def _in_order(waiting: deque[Future[LoadedFilm]], begun: Iterator[Future[LoadedFilm]]) -> Generator[LoadedFilm]:
    try:
        while waiting:
            prepared = waiting.popleft().result()
            waiting.extend(islice(begun, 1))
            yield prepared
    finally:
        for future in waiting:
            future.cancel()


MAX_FAILED_IN_A_ROW = 32
"""Number of consecutive films that a store may fail to deliver, each after several attempts."""


def detect_outage(stream: Generator[LoadedFilm], folder: RemotePath) -> Generator[LoadedFilm]:
    """The same films. Films that were not received are held back until a later one is received, so that shards written
    before an outage contain none of them; InputError if too many consecutive films were not received. Closing the
    generator early closes the stream."""
    missed: list[LoadedFilm] = []
    with closing(stream):
        for prepared in stream:
            if prepared.film.message.startswith(NOT_RECEIVED):
                missed.append(prepared)
                if len(missed) == MAX_FAILED_IN_A_ROW:
                    raise InputError(
                        f"{MAX_FAILED_IN_A_ROW} consecutive films were not received from {folder}, the last one: "
                        f"{prepared.film.message}. "
                        "The scores so far are saved: rerun the same command to resume."
                    )
                continue
            yield from missed
            missed.clear()
            yield prepared
        yield from missed
