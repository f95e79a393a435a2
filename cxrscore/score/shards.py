"""The shards of a run: films streamed from disk, scored in batches, written shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from cxrscore.contract import Floats
from cxrscore.films import Decoders, PreparedFilm, stream_films
from cxrscore.progress import Progress
from cxrscore.score.job import Job
from cxrscore.score.scorer import Scorer
from cxrscore.scores import HeatMaps, Run, Shard


def compute_shards(
    run: Run,
    scorer: Scorer,
    job: Job,
    progress: Progress,
    *,
    shards: Sequence[int] | None = None,
    decoders: Decoders | None = None,
) -> int:
    """Computes these shards, or those that are not there yet; returns the number of films in them.

    decoders  as of stream_films
    """
    wanted = [(k, run.shards[k]) for k in (run.pending if shards is None else shards)]
    paths = [job.paths[row] for _, rows in wanted for row in rows]
    stream = stream_films(
        job.options.films,
        paths,
        job.squares[0],
        also=job.squares[1:],
        workers=job.options.workers,
        any_modality=job.options.any_modality,
        decoders=decoders,
    )
    total, done = len(job.paths), len(job.paths) - len(paths)
    progress("scoring", done, total)
    for k, rows in wanted:

        def count(films: int) -> None:
            nonlocal done
            done += films
            progress("scoring", done, total)

        run.write(k, _shard(stream, rows, scorer, job, count))
    return len(paths)


def _shard(
    stream: Iterator[PreparedFilm], rows: range, scorer: Scorer, job: Job, count: Callable[[int], None]
) -> Shard:
    """The rows of one shard. Films that could not be read keep NaN; the others fill batches in order."""
    n = len(rows)
    logit = np.full((n, len(job.findings)), np.nan, np.float32)
    prob = np.full_like(logit, np.nan)
    films, kept = [], []
    batch: list[tuple[int, PreparedFilm]] = []

    def flush() -> None:
        places = [place for place, _ in batch]
        scored = scorer([film for _, film in batch])
        logit[places], prob[places] = scored.logit, scored.prob
        kept.extend(scorer.top(scored, [rows[place] for place in places]))
        count(len(batch))
        batch.clear()

    for place, prepared in enumerate(islice(stream, n)):
        films.append(prepared.film)
        if prepared.pixels is None:
            count(1)
            continue
        batch.append((place, prepared))
        if len(batch) == job.options.batch_size:
            flush()
    if batch:
        flush()
    return Shard(
        logit=logit,
        prob=prob,
        status=np.array([film.status for film in films], np.uint8),
        message=[film.message for film in films],
        kind=[film.kind for film in films],
        modality=[film.modality for film in films],
        view=[film.view for film in films],
        sha256=[film.sha256 for film in films],
        width=np.array([film.width for film in films], np.uint32),
        height=np.array([film.height for film in films], np.uint32),
        heat_maps=_heat_maps(kept),
    )


def _heat_maps(kept: list[tuple[int, int, Floats]]) -> HeatMaps:
    maps = np.stack([m for _, _, m in kept]) if kept else np.zeros((0, 1, 1))
    return HeatMaps(
        map=maps.astype(np.float16),
        film=np.array([row for row, _, _ in kept], np.int32),
        finding=np.array([finding for _, finding, _ in kept], np.int16),
    )
