"""One scoring run: films and a model in, one HDF5 file out. Killed and started again, it goes on where it was."""

from __future__ import annotations

import time

import numpy as np

from cxrscore.films import Status
from cxrscore.progress import Progress, silent
from cxrscore.score.closing import merge_shards, provenance_of, unread
from cxrscore.score.job import Job, prepare_job
from cxrscore.score.options import ScoreOptions, ScoreResult
from cxrscore.score.scorer import Scorer, golden_difference
from cxrscore.score.shards import compute_shards
from cxrscore.scores import open_run, open_scores

__all__ = ["ScoreOptions", "ScoreResult", "score_films"]


def score_films(options: ScoreOptions, progress: Progress = silent) -> ScoreResult:
    """Scores every film below a folder, into one file that is written whole or not at all."""
    started = time.monotonic()
    job = prepare_job(options)
    run = open_run(
        options.output, job.found.paths, job.file.spec.findings, job.fingerprint, overwrite=options.overwrite
    )
    computed = 0
    if not run.complete:
        difference, scorer = golden_difference(job), Scorer(job)
        computed = compute_shards(run, scorer, job, progress)
        provenance = provenance_of(
            job,
            tap=scorer.tap(),
            golden_difference=difference,
            computed=computed,
            seconds=time.monotonic() - started,
        )
        merge_shards(run, job, provenance)
    return _result(options, computed, time.monotonic() - started, job)


def _result(options: ScoreOptions, computed: int, seconds: float, job: Job) -> ScoreResult:
    scores = open_scores(options.output)
    bad = np.flatnonzero(scores.films.status != Status.OK)
    failed = {scores.films.path[i]: scores.films.message[i] for i in bad}
    return ScoreResult(
        output=options.output,
        found=len(scores.films.path),
        scored=len(scores.films.path) - len(bad),
        failed=failed,
        computed=computed,
        seconds=seconds,
        backend=job.backend,
        unread=tuple(unread(job)),
    )
