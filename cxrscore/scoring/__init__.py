"""One scoring run: films and models in, one HDF5 file out. Rerun the same command to resume an interrupted run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cxrscore.errors import InputError
from cxrscore.images import DecoderPool, FoundFilms, Status, count_notes, find_same_file, require_films
from cxrscore.io.outputs import OutputKind, check_output
from cxrscore.io.regular import is_hdf5
from cxrscore.io.strict_json import get_nested, get_text
from cxrscore.labels import find_labels
from cxrscore.labels.public_sets import describe_not_held_out
from cxrscore.models.ensemble_file import with_members
from cxrscore.models.model_file import ModelFile
from cxrscore.progress import Progress, no_progress
from cxrscore.remote import RemotePath
from cxrscore.scorefile import Partition, Run, may_replace, open_run, read_notes, read_provenance
from cxrscore.scoring.distributed import dispatch_shards, probe_worker
from cxrscore.scoring.file_list import FileList
from cxrscore.scoring.finalize import make_provenance, merge_shards, other_files, unreadable_messages
from cxrscore.scoring.inference import Scorer, golden_difference, runtime_info
from cxrscore.scoring.options import AUTO, ScoreOptions, ScoreResult
from cxrscore.scoring.pipeline import compute_shards, make_decoder_pool, stream_missing
from cxrscore.scoring.remote_output import score_to_remote
from cxrscore.scoring.reuse import FilmWatch, check_same_films, finished_run, update_labels
from cxrscore.scoring.run_context import (
    LoadedModels,
    RunContext,
    RuntimeInfo,
    known_inputs,
    load_models,
    prepare_run,
    prepare_worker,
)
from cxrscore.scoring.thumbnails import ThumbnailCollector
from cxrscore.status import status_name

ROUNDS = 3
"""Maximum number of rounds in which films that changed during scoring are scored again."""
SCORES = OutputKind(name="a scores file of cxrscore", recognises=is_hdf5)
"""The fingerprints of both runs decide whether an existing output is of another run."""

__all__ = [
    "LoadedModels",
    "Partition",
    "ScoreOptions",
    "ScoreResult",
    "build_models",
    "known_inputs",
    "score_films",
    "score_listed",
]


def score_films(options: ScoreOptions, progress: Progress = no_progress) -> ScoreResult:
    """Scores every film below a folder into one file, which is written atomically."""
    if isinstance(options.output, RemotePath):
        return score_to_remote(options, options.output, score_films, progress)
    started = time.monotonic()
    _check_output(options)
    files, found = load_models(options), require_films(options.films, any_modality=options.any_modality)
    if finished := finished_run(options, files, found):
        check_same_films(options, finished)
        notes, told = update_labels(options, files, found, finished)
        joined = bool(notes)
        kept = [f"precision: {finished.precision}, as in the finished file"] if options.precision == AUTO else []
        said = [*told, *notes, *kept]
        return _result(options, files, found, 0, started, finished.backend, said, labels_joined=joined)
    job = prepare_run(options, files, found, None if options.alone else probe_worker(options, files))
    del files  # the backend holds the tensors now: free this copy
    return _run(job, progress, started)


def build_models(options: ScoreOptions) -> LoadedModels:
    """Reads the models, builds them, and compares them with their golden logits, for any number of runs of score_listed
    with these options. Errors as score_films."""
    context = prepare_worker(options, FileList(paths=(), run_paths=(), partition=None))
    return LoadedModels(
        files=context.files,
        backend=context.backend,
        precision=context.precision,
        precision_note=context.precision_note,
        models=context.models,
        golden_difference=golden_difference(context),
    )


def score_listed(
    options: ScoreOptions, found: FoundFilms, loaded: LoadedModels, progress: Progress = no_progress
) -> ScoreResult:
    """Scores films that the caller has chosen, with models that it has loaded, into one file on disk.

    An unfinished run of this output resumes if ``found`` are the films of its manifest. No digest of a film is recorded
    in the cache, so the time that this takes depends on these films only, however many others are in their folder.
    """
    started = time.monotonic()
    _check_output(options)
    return _run(prepare_run(options, loaded.files, found, loaded=loaded), progress, started)


def _run(job: RunContext, progress: Progress, started: float) -> ScoreResult:
    """Computes what is missing of a run that began at ``started``."""
    options = job.options
    run = open_run(options.file, job.paths, job.findings, job.fingerprint, overwrite=options.overwrite)
    computed = 0
    notes = list(dict.fromkeys(filter(None, (*job.label_notes, *job.notes, job.precision_note))))
    if not run.complete:
        computed, rescored = _computed(run, job, progress, started)
        notes += rescored
    changed = bool(job.changes)
    return _result(options, job.files, job.found, computed, started, job.backend, notes, list_changed=changed)


def _check_output(options: ScoreOptions) -> None:
    """InputError if the output is one of the inputs, or a file that must not be replaced."""
    films, labels = options.films, options.labels
    local = None if isinstance(films, RemotePath) else find_labels(films)
    members = [file for path in options.models for file in with_members(path)]
    inputs = [*members, None if isinstance(labels, RemotePath) else labels or local]
    inputs.append(find_same_file(options.file, films))
    inputs.append(options.target_prevalence.file if options.target_prevalence else None)
    overwrite = options.overwrite or may_replace(options.file)
    check_output(options.file, SCORES, inputs=inputs, overwrite=overwrite)


def _computed(run: Run, job: RunContext, progress: Progress, started: float) -> tuple[int, list[str]]:
    """Computes all missing shards and merges; returns the number of films computed, and notes on films that were
    scored again. InputError if films keep changing."""
    computed, watch = 0, FilmWatch.begin(job)
    notes = [watch.discard_stale(run)]
    with contextlib.closing(make_decoder_pool(job)) as decoders:
        if not job.runtime:
            decoders.start()  # they import their libraries while the network is compiled
        for _ in range(ROUNDS):
            small = ThumbnailCollector(job, decoders)
            films, runtime = _computed_once(run, job, decoders, small, progress)
            computed += films
            notes.append(watch.discard_touched(run))
            if not notes[-1]:
                break
        else:
            raise InputError(
                f"films are being changed while they are scored: {notes[-1]}, {ROUNDS} times. Wait until nothing "
                "writes to the folder, then rerun the same command."
            )
        provenance = make_provenance(job, runtime, computed=computed, seconds=time.monotonic() - started)
        merge_shards(run, job, provenance, small)
    return computed, [note for note in notes if note]


def _computed_once(
    run: Run, job: RunContext, decoders: DecoderPool, small: ThumbnailCollector, progress: Progress
) -> tuple[int, RuntimeInfo]:
    """Computes all missing shards; returns the number of films in them, and what computed them."""
    if job.runtime:
        return dispatch_shards(run, job, progress), job.runtime
    stream = stream_missing(run, job, decoders)  # the first films are decoded while the network is compiled
    difference = golden_difference(job) if job.loaded is None else job.loaded.golden_difference
    scorer = Scorer(job)
    computed = compute_shards(run, scorer, job, progress, decoders=decoders, small=small, stream=stream)
    return computed, runtime_info(job, scorer, difference)


def _result(
    options: ScoreOptions,
    files: tuple[ModelFile, ...],
    found: FoundFilms,
    computed: int,
    started: float,
    backend: str,
    notes: Sequence[str] = (),
    *,
    labels_joined: bool = False,
    list_changed: bool = False,
) -> ScoreResult:
    (status, noted), provenance = read_notes(options.file), read_provenance(options.file)
    bad = [(row, path, message) for row, path, message in noted if status[row] != Status.OK]
    read = count_notes((path, message) for row, path, message in noted if status[row] == Status.OK)
    return ScoreResult(
        output=options.output,
        n_films=len(status),
        scored=len(status) - len(bad),
        failed=tuple((path, message) for _, path, message in bad),
        computed=computed,
        seconds=time.monotonic() - started,
        backend=backend,
        precision=get_text(provenance, "backend", "precision"),
        models=tuple(file.sha256 for file in files),
        tta=max(1, options.tta),
        notes=tuple(notes),
        noted_films=read.films,
        film_notes={one.kind: one.films for one in read.kinds},
        labels_joined=labels_joined,
        film_list_changed=list_changed,
        has_leakage=any(file.document["training"]["has_leakage"] for file in files),
        not_held_out=_not_held_out(provenance, len(status)),
        label_match=dict(get_nested(provenance, "labels", "match") or {}),
        unreadable_paths=tuple(unreadable_messages(found, anonymize_paths=options.anonymize_paths)),
        other_files=other_files(found, anonymize_paths=options.anonymize_paths).as_dict(),
        failed_statuses=tuple(status_name(int(status[row])) for row, _, _ in bad),
        partition=str(options.partition or ""),
    )


def _not_held_out(provenance: Mapping[str, Any], films: int) -> tuple[str, ...]:
    """Sentences on the films that the output says the models were trained on."""
    records = get_nested(provenance, "not_held_out")
    return tuple(describe_not_held_out(one, films) for one in records) if isinstance(records, list) else ()
