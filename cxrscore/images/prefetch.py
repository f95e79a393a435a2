"""Decodes films ahead of their use, in order, in worker processes and bounded memory. A run over a remote store that
stops answering ends, and does not mark all films as unreadable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    """The films at `paths` below `folder`, in that order, each decoded once, by one of `workers` processes; `also`
    are further preprocessings that squares are wanted by.

    At most `ahead` films are decoded or waiting besides the one in use, however many there are. A stream that is
    left before its end cancels what is not yet begun. `decoders`, made for the same preprocessings, are used and left
    open, so that streams one after the other start no processes of their own. Raises InputError unless workers and
    ahead are at least 1, and where a store elsewhere has ceased to answer.
    """
    if workers < 1 or ahead < 1:
        raise InputError(f"workers {workers} and ahead {ahead}, wanted at least 1 of each")
    files = [folder / path for path in paths]
    if decoders is not None:
        stream = _stream(files, decoders, workers, ahead)
    else:
        own = DecoderPool(min(workers, len(paths)), preprocessing, also=also, any_modality=any_modality)
        stream = _close_after(own, _stream(files, own, workers, ahead))
    return detect_outage(stream, folder) if isinstance(folder, RemotePath) else stream


def _close_after(decoders: DecoderPool, stream: Generator[LoadedFilm]) -> Generator[LoadedFilm]:
    try:
        with closing(stream):
            yield from stream
    finally:
        decoders.close()


def _stream(files: Sequence[PathOrUrl], decoders: DecoderPool, workers: int, ahead: int) -> Generator[LoadedFilm]:
    return load_ahead(decoders.prepare, files, workers, ahead)


def load_ahead(
    load: Callable[[_Item], LoadedFilm], items: Iterable[_Item], workers: int, ahead: int
) -> Generator[LoadedFilm]:
    """Loads items in so many threads, at most ``ahead`` of them before they are used; yields films in order."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="films")
    try:
        begun = (pool.submit(load, item) for item in items)
        waiting: deque[Future[LoadedFilm]] = deque(islice(begun, ahead))
        while waiting:
            prepared = waiting.popleft().result()
            waiting.extend(islice(begun, 1))
            yield prepared
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
                        "What was scored so far is kept: rerun the same command to resume."
                    )
                continue
            yield from missed
            missed.clear()
            yield prepared
        yield from missed
