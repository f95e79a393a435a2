"""The scoring pipeline: decoding, inference and writing of shards run concurrently.

    processes       decode films and make them square (images.prefetch)
    this thread     builds arrays batch by batch, and assigns results to rows of a shard
    network         one thread for each lane of the model: scores, heat maps
    writer          one thread: compresses a shard and writes it

Queues are bounded: one batch and one shard may wait besides those in progress. So memory is bounded, and a slow disk
or network slows the decoding (back-pressure).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeAlias

import numpy as np

from cxrscore.errors import PluginError
from cxrscore.images import DecoderPool, Film, LoadedFilm, Pixels, Status, stream_films
from cxrscore.progress import Progress
from cxrscore.scorefile import HeatMaps, Run, Shard
from cxrscore.scoring.inference import BatchScores, Scorer
from cxrscore.scoring.run_context import RunContext
from cxrscore.scoring.thumbnails import ThumbnailCollector
from cxrscore.system_resources import one_blas_thread

Count: TypeAlias = Callable[[int], None]
_RESUME_HINT = "Finished shards are saved: rerun the same command to resume."
AHEAD = 32
"""Minimum number of films that are decoded ahead of the batch that is being built."""


def make_decoder_pool(job: RunContext) -> DecoderPool:
    """The decoder processes of a run, no more than it has films; they start at first use, or with start().

    A network on the CPU computes on the same cores: one process starts, which is enough for most networks, and
    compute_shards starts further ones when the network waits for films.
    """
    options = job.options
    workers = max(1, min(options.workers, len(job.paths)))
    on_cpu = any(model.device == "cpu" for model in job.models)
    return DecoderPool(
        workers, job.squares[0], also=job.squares[1:], any_modality=options.any_modality, one_first=on_cpu
    )


def stream_missing(
    run: Run, job: RunContext, decoders: DecoderPool | None, shards: Sequence[int] | None = None
) -> Generator[LoadedFilm]:
    """The films of these shards, or of all missing ones; given ``decoders`` begin at once."""
    return stream_films(
        job.options.films,
        [job.paths[row] for k in (run.pending if shards is None else shards) for row in run.shards[k]],
        job.squares[0],
        also=job.squares[1:],
        workers=job.options.workers,
        ahead=max(AHEAD, 2 * job.options.workers, job.options.batch_size),
        any_modality=job.options.any_modality,
        decoders=decoders,
    )


def compute_shards(
    run: Run,
    scorer: Scorer,
    job: RunContext,
    progress: Progress,
    *,
    shards: Sequence[int] | None = None,
    decoders: DecoderPool | None = None,
    small: ThumbnailCollector | None = None,
    stream: Generator[LoadedFilm] | None = None,
) -> int:
    """Computes these shards, or all missing ones; returns the number of films in them.

    decoders  as of stream_films
    small     receives each scored film
    stream    of stream_missing, if it has begun already

    An interrupted run first writes the completed shard, then ends its threads and processes.
    """
    wanted = [(k, run.shards[k]) for k in (run.pending if shards is None else shards)]
    films = sum(len(rows) for _, rows in wanted)
    stream = stream_missing(run, job, decoders, shards) if stream is None else stream
    total, done = len(job.paths), len(job.paths) - films
    progress("scoring", done, total)

    def count(films: int) -> None:
        nonlocal done
        done += films
        progress("scoring", done, total)

    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        write = stack.enter_context(_writer(run))
        network = stack.enter_context(_threads(scorer.lanes, "network"))
        stack.enter_context(closing(stream))
        waiting: deque[_Batch] = deque()
        for batch in _batches(stream, wanted, job, count):
            if decoders is not None and waiting and all(one.scored is None or one.scored.done() for one in waiting):
                decoders.start_more()  # the network had nothing to do
            while len(waiting) > scorer.lanes:
                _finish_batch(waiting.popleft(), job, write, count, small)
            waiting.append(batch)
            if batch.films:
                batch.scored = network.submit(scorer, scorer.prepare(batch.films))
                batch.squares = [film.pixels for film in batch.films if film.pixels is not None]
                batch.films = []  # their squares are copied into the arrays: free them
        while waiting:
            _finish_batch(waiting.popleft(), job, write, count, small)
    return films


class _ShardBuilder:
    """A shard that is being filled. Unreadable films keep NaN."""

    def __init__(self, number: int, rows: range, findings: int) -> None:
        self.number = number
        self.rows = rows
        self.films: list[Film] = []
        self._logit = np.full((len(rows), findings), np.nan, np.float32)
        self._prob = np.full_like(self._logit, np.nan)
        self._uncalibrated = np.full_like(self._logit, np.nan)
        self._maps: list[HeatMaps] = []

    def fill(self, places: Sequence[int], scored: BatchScores) -> None:
        """Stores the scores of the films at these rows of the shard. Films without a score keep NaN and have no heat
        maps."""
        for place, why in zip(places, scored.failed, strict=True):
            if why:
                self.films[place] = replace(self.films[place], status=Status.MODEL_FAILED, message=why)
        there = scored.scored
        own = np.array(places, np.intp)[there]
        self._logit[own], self._prob[own] = scored.logit[there], scored.prob[there]
        self._uncalibrated[own] = scored.prob_uncalibrated[there]
        maps = scored.maps[there]
        n, count, *side = maps.shape
        self._maps.append(
            HeatMaps(
                map=maps.reshape(n * count, *side),
                film=np.repeat(own.astype(np.int32) + self.rows.start, count),
                finding=scored.findings[there].reshape(n * count),
            )
        )

    def shard(self) -> Shard:
        """The completed shard; every row must be present."""
        films = self.films
        return Shard(
            logit=self._logit,
            prob=self._prob,
            prob_uncalibrated=self._uncalibrated,
            status=np.array([film.status for film in films], np.uint8),
            message=[film.message for film in films],
            kind=[film.kind for film in films],
            modality=[film.modality for film in films],
            view=[film.view for film in films],
            sha256=[film.sha256 for film in films],
            width=np.array([film.width for film in films], np.uint32),
            height=np.array([film.height for film in films], np.uint32),
            heat_maps=_concatenate_maps(self._maps),
        )


def _concatenate_maps(maps: Sequence[HeatMaps]) -> HeatMaps:
    if not maps:
        return HeatMaps(map=np.zeros((0, 1, 1), np.float16), film=np.zeros(0, np.int32), finding=np.zeros(0, np.int16))
    return HeatMaps(
        map=np.concatenate([one.map for one in maps]),
        film=np.concatenate([one.film for one in maps]),
        finding=np.concatenate([one.finding for one in maps]),
    )


@dataclass(kw_only=True)
class _Batch:
    """Films of one shard that form one batch.

    films    the readable films, in order
    places   their rows in the shard
    squares  their square images for the first network, set when inference starts
    last     whether this is the last batch of the shard; only that may be empty
    scored   future of its scores, None for an empty batch
    """

    shard: _ShardBuilder
    films: list[LoadedFilm] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    squares: list[Pixels] = field(default_factory=list)
    last: bool = False
    scored: Future[BatchScores] | None = None


def _batches(
    stream: Iterator[LoadedFilm], wanted: Sequence[tuple[int, range]], job: RunContext, count: Count
) -> Iterator[_Batch]:
    """A batch has the readable ones among ``batch_size`` films in a row, so the batch of a film depends neither on the
    films that cannot be read before it, nor on which shards exist already, nor on the partition."""
    size = job.options.batch_size
    for number, rows in wanted:
        shard = _ShardBuilder(number, rows, len(job.findings))
        batch = _Batch(shard=shard)
        for place, prepared in enumerate(islice(stream, len(rows))):
            if place % size == 0 and batch.films:
                yield batch
                batch = _Batch(shard=shard)
            shard.films.append(prepared.film)
            if prepared.pixels is None:
                count(1)
                continue
            batch.films.append(prepared)
            batch.places.append(place)
        batch.last = True
        yield batch


def _finish_batch(
    batch: _Batch, job: RunContext, write: Callable[[int, Shard], None], count: Count, small: ThumbnailCollector | None
) -> None:
    """Waits for the scores of a batch; after the last batch, passes the shard to the writer."""
    if batch.scored is not None:
        rows = [batch.shard.rows[place] for place in batch.places]
        try:
            scored = batch.scored.result()
        except PluginError as error:
            names = () if job.options.anonymize_paths else [job.paths[row] for row in rows]
            raise error.during(names, len(rows), _RESUME_HINT) from error
        batch.shard.fill(batch.places, scored)
        if small is not None:
            there = np.flatnonzero(scored.scored)
            hashes = [batch.shard.films[batch.places[k]].sha256 for k in there]
            small.add([rows[k] for k in there], hashes, scored.prob[there], [batch.squares[k] for k in there])
        count(len(batch.places))
    if batch.last:
        write(batch.shard.number, batch.shard.shard())


@contextmanager
def _writer(run: Run) -> Iterator[Callable[[int, Shard], None]]:
    """Runs Run.write in a separate thread. It accepts a shard when the previous one is written; a write error is
    raised with the next shard, or at the end."""
    last: Future[None] | None = None

    def write(number: int, content: Shard) -> None:
        nonlocal last
        if last is not None:
            last.result()
        last = pool.submit(run.write, number, content)

    with ThreadPoolExecutor(1, "writer") as pool:
        yield write
        if last is not None:
            last.result()


@contextmanager
def _threads(number: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A thread pool that finishes running tasks at the end and cancels waiting ones."""
    pool = ThreadPoolExecutor(number, name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
