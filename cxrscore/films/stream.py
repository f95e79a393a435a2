"""Films decoded ahead of their use, in order, in threads, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.films.decode import read_film
from cxrscore.films.film import Film, Pixels
from cxrscore.films.preprocess import Preprocessing, preprocess


@dataclass(frozen=True, kw_only=True)
class PreparedFilm:
    """What is known of a film (without its own pixels) and its square [S,S], None unless its status is OK."""

    film: Film
    pixels: Pixels | None


def prepare(path: Path, preprocessing: Preprocessing, *, any_modality: bool = False) -> PreparedFilm:
    """One film read and preprocessed; never raises for a bad film."""
    film = read_film(path, any_modality=any_modality)
    square = None if film.pixels is None else preprocess(film.pixels, preprocessing)
    return PreparedFilm(film=replace(film, pixels=None), pixels=square)


def stream_films(
    folder: Path,
    paths: Sequence[str],
    preprocessing: Preprocessing,
    *,
    workers: int,
    ahead: int = 32,
    any_modality: bool = False,
) -> Iterator[PreparedFilm]:
    """The films at `paths` below `folder`, in that order, each decoded by one of `workers` threads.

    At most `ahead` films are decoded or waiting besides the one in use, however many there are. A stream that is
    left before its end cancels what is not yet begun. Raises InputError unless workers and ahead are at least 1.
    """
    if workers < 1 or ahead < 1:
        raise InputError(f"workers {workers} and ahead {ahead}, wanted at least 1 of each")
    return _stream([folder / path for path in paths], preprocessing, workers, ahead, any_modality)


def _stream(
    files: Sequence[Path], preprocessing: Preprocessing, workers: int, ahead: int, any_modality: bool
) -> Iterator[PreparedFilm]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="films")
    try:
        begun = (pool.submit(prepare, file, preprocessing, any_modality=any_modality) for file in files)
        waiting: deque[Future[PreparedFilm]] = deque(islice(begun, ahead))
        while waiting:
            prepared = waiting.popleft().result()
            waiting.extend(islice(begun, 1))
            yield prepared
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
