"""One scoring run: films and models in, one HDF5 file out. Killed and started again, it goes on where it was."""

from __future__ import annotations

import contextlib
import time

import numpy as np

from cxrscore.films import Decoders, FoundFilms, Status, require_films
from cxrscore.models.bundle import ModelFile
from cxrscore.progress import Progress, silent
from cxrscore.remote import RemotePath
from cxrscore.score.closing import merge_shards, provenance_of, unread
from cxrscore.score.elsewhere import score_elsewhere
from cxrscore.score.job import LEFT_OPEN, Job, Told, known_inputs, load_models, prepare_job
from cxrscore.score.listing import new_listing
from cxrscore.score.options import ScoreOptions, ScoreResult
from cxrscore.score.scorer import Scorer, golden_difference, told_of
from cxrscore.score.shards import compute_shards, decoders_of
from cxrscore.score.small import SmallFilms
from cxrscore.score.team import ask_worker, hand_out
from cxrscore.scores import Manifest, Run, Share, finished_claim, open_run, read_films

__all__ = ["ScoreOptions", "ScoreResult", "Share", "score_films"]


def score_films(options: ScoreOptions, progress: Progress = silent) -> ScoreResult:
    """Scores every film below a folder, into one file that is written whole or not at all."""
    if isinstance(options.output, RemotePath):
        return score_elsewhere(options, options.output, score_films, progress)
    started = time.monotonic()
    files, found = load_models(options), require_films(options.films)
    if options.share and not options.share.rows(len(found.paths)):
        return _nothing(options, files, options.share, len(found.paths))
    if backend := _finished_by(options, files, found):
        return _result(options, files, found, 0, started, backend)
    job = prepare_job(options, files, found, None if options.alone else ask_worker(options, files))
    files = job.files  # the tensors are the backend's now, and are not kept twice
    run = open_run(options.file, job.paths, job.findings, job.fingerprint, overwrite=options.overwrite)
    computed = 0
    if not run.complete:
        with contextlib.closing(decoders_of(job)) as decoders:
            small = SmallFilms(job, decoders)
            computed, told = _computed(run, job, decoders, small, progress)
            provenance = provenance_of(job, told, computed=computed, seconds=time.monotonic() - started)
            merge_shards(run, job, provenance, small)
    return _result(options, files, found, computed, started, job.backend, job.notes)


def _computed(run: Run, job: Job, decoders: Decoders, small: SmallFilms, progress: Progress) -> tuple[int, Told]:
    """Computes all shards that are not done; returns the number of films in them, and by whom."""
    if job.told:
        return hand_out(run, job, progress), job.told
    difference, scorer = golden_difference(job), Scorer(job)
    computed = compute_shards(run, scorer, job, progress, decoders=decoders, small=small)
    return computed, told_of(job, scorer, difference)


def _finished_by(options: ScoreOptions, files: tuple[ModelFile, ...], found: FoundFilms) -> str | None:
    """The backend that has made the output of just this call, None where it is still to be made. No framework is
    loaded for this answer; what the call leaves open, the output has settled."""
    if options.overwrite:
        return None
    listing = new_listing(options, found)
    findings, known = files[0].spec.findings, {**known_inputs(options, files), **listing.inputs}
    claim = finished_claim(options.file, listing.paths, findings, known, LEFT_OPEN)
    if claim is None:
        return None
    backend, device = str(claim.inputs.get("backend")), str(claim.inputs.get("device"))
    wanted = {"auto": device, "cuda": "cuda:0"}.get(options.device, options.device)
    return backend if options.backend in (None, backend) and wanted == device else None


def _result(
    options: ScoreOptions,
    files: tuple[ModelFile, ...],
    found: FoundFilms,
    computed: int,
    started: float,
    backend: str,
    notes: tuple[str, ...] = (),
) -> ScoreResult:
    films = read_films(options.file)
    bad = np.flatnonzero(films.status != Status.OK)
    return ScoreResult(
        output=options.output,
        found=len(films.path),
        scored=len(films.path) - len(bad),
        failed=tuple((films.path[row], films.message[row]) for row in bad),
        computed=computed,
        seconds=time.monotonic() - started,
        backend=backend,
        models=tuple(file.sha256 for file in files),
        views=max(1, options.views),
        notes=notes,
        leaked=any(file.document["training"]["leaked"] for file in files),
        unread=tuple(unread(found, options)),
        share=str(options.share or ""),
    )


def _nothing(options: ScoreOptions, files: tuple[ModelFile, ...], share: Share, films: int) -> ScoreResult:
    """The answer where there are more shares than shards, and none for this one: nothing is written, nor missing."""
    shards = len(Manifest(paths=("",) * films, findings=(), given={}).shards)
    note = (
        f"share {share} has no film: {films} films are divided into {shards} shards, so that only {shards} shares have "
        "any. The parts of the others are the whole run."
    )
    return ScoreResult(
        output=options.output,
        found=0,
        scored=0,
        failed=(),
        computed=0,
        seconds=0.0,
        backend=options.backend or "",
        models=tuple(file.sha256 for file in files),
        views=max(1, options.views),
        notes=(note,),
        unread=(),
        share=str(share),
        written=False,
    )
