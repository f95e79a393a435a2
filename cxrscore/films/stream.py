"""Films decoded ahead of their use, in order, in processes of their own, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.films.decoders import Decoders
from cxrscore.films.prepared import PreparedFilm
from cxrscore.films.preprocess import Preprocessing


def stream_films(
    folder: Path,
    paths: Sequence[str],
    preprocessing: Preprocessing,
    *,
    also: Sequence[Preprocessing] = (),
    workers: int,
    ahead: int = 32,
    any_modality: bool = False,
    decoders: Decoders | None = None,
) -> Iterator[PreparedFilm]:
    """The films at `paths` below `folder`, in that order, each decoded once, by one of `workers` processes; `also`
    are further preprocessings that squares are wanted by.

    At most `ahead` films are decoded or waiting besides the one in use, however many there are. A stream that is
    left before its end cancels what is not yet begun. `decoders`, made for the same preprocessings, are used and left
    open, so that streams one after the other start no processes of their own. Raises InputError unless workers and
    ahead are at least 1.
    """
    if workers < 1 or ahead < 1:
        raise InputError(f"workers {workers} and ahead {ahead}, wanted at least 1 of each")
    files = [folder / path for path in paths]
    if decoders is not None:
        return _stream(files, decoders, workers, ahead)
    own = Decoders(min(workers, len(paths)), preprocessing, also=also, any_modality=any_modality)
    return _closing(own, _stream(files, own, workers, ahead))


def _closing(decoders: Decoders, stream: Iterator[PreparedFilm]) -> Iterator[PreparedFilm]:
    try:
        yield from stream
    finally:
        decoders.close()


def _stream(files: Sequence[Path], decoders: Decoders, workers: int, ahead: int) -> Iterator[PreparedFilm]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="films")
    try:
        begun = (pool.submit(decoders.prepare, file) for file in files)
        waiting: deque[Future[PreparedFilm]] = deque(islice(begun, ahead))
        while waiting:
            prepared = waiting.popleft().result()
            waiting.extend(islice(begun, 1))
            yield prepared
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
