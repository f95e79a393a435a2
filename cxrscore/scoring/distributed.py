"""Scoring by worker processes through an executor: the driver that dispatches shards, and the task of a worker.

A worker writes its shards itself. It computes the fingerprint of the run from its own models and fails if the output
has another one, for example of another device: so the provenance in the run file is true for every shard.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from cxrscore import plugins
from cxrscore.contract import TaskBatch
from cxrscore.errors import InputError, WorkerError
from cxrscore.models.model_file import ModelFile
from cxrscore.progress import Progress, no_progress
from cxrscore.remote import PathOrUrl, RemotePath, location_text, parse_location
from cxrscore.scorefile import Run, manifest_films, manifest_partition, open_run
from cxrscore.scoring.backend_choice import chosen_backend
from cxrscore.scoring.file_list import FileList
from cxrscore.scoring.inference import Scorer, golden_difference, runtime_info
from cxrscore.scoring.options import AUTO, ScoreOptions
from cxrscore.scoring.pipeline import compute_shards, make_decoder_pool
from cxrscore.scoring.run_context import RunContext, RuntimeInfo, prepare_worker

Compute = Callable[[int], str]


def probe_worker(options: ScoreOptions, files: Sequence[ModelFile]) -> RuntimeInfo:
    """Lets one worker build the models, compare them with their golden logits, and report its runtime."""
    texts: list[str] = []
    work = _work(options, files, "probe_task", items=(0,))
    executor = plugins.get_executor(options.executor)
    executor.run(work, lambda _, text: texts.append(text), processes=1, address=options.address)
    try:
        return RuntimeInfo(**json.loads(texts[0]))
    except (ValueError, TypeError) as error:
        raise WorkerError(
            f"executor {options.executor!r} returned {texts[0]!r:.60}, expected runtime information as JSON"
        ) from error


def probe_task(options: Mapping[str, Any]) -> Compute:
    """The task of probe_worker: it computes no shard and returns a RuntimeInfo as JSON."""
    job = prepare_worker(_options_from_json(options), FileList(paths=(), run_paths=(), partition=None))

    def compute(item: int) -> str:
        return json.dumps(asdict(runtime_info(job, Scorer(job), golden_difference(job))))

    return compute


def dispatch_shards(run: Run, job: RunContext, progress: Progress) -> int:
    """Lets workers compute the missing shards; returns the number of films in them."""
    pending = run.pending
    films = sum(len(run.shards[shard]) for shard in pending)
    total, done = len(job.paths), len(job.paths) - films
    progress("scoring", done, total)

    def count(shard: int, digest: str) -> None:
        nonlocal done
        done += len(run.shards[shard])
        progress("scoring", done, total)

    work = replace(_work(job.options, job.files, "shard_task", items=pending), is_done=run.done)
    executor = plugins.get_executor(job.options.executor)
    executor.run(work, count, processes=job.options.processes, address=job.options.address)
    if left := run.pending:
        raise WorkerError(
            f"executor {job.options.executor!r} reported that {len(pending)} shards are done, but {len(left)} of them "
            "are missing. Rerun the same command to compute them."
        )
    return films


def shard_task(options: Mapping[str, Any]) -> Compute:
    """The task that computes shards; an item is a shard, its result the SHA-256 of the written shard."""
    own = _options_from_json(options)
    if not isinstance(own.films, RemotePath) and not own.films.is_dir():
        raise InputError(
            f"a worker finds no folder {own.films}: put films, models and output on a disk that all machines reach"
        )
    if (paths := manifest_films(own.file)) is None:
        raise InputError(
            f"a worker finds no run folder of {own.output}: put the output on a disk that all machines reach"
        )
    job = prepare_worker(own, FileList(paths=paths, run_paths=paths, partition=manifest_partition(own.file)))
    golden_difference(job)
    run, scorer = open_run(own.file, paths, job.findings, job.fingerprint), Scorer(job)
    decoders = make_decoder_pool(job)
    atexit.register(decoders.close)

    def compute(shard: int) -> str:
        compute_shards(run, scorer, job, no_progress, shards=(shard,), decoders=decoders)
        return run.digest(shard)

    return compute


def _work(options: ScoreOptions, files: Sequence[ModelFile], opener: str, items: tuple[int, ...]) -> TaskBatch:
    workers = options.workers if options.address else max(1, options.workers // options.processes)
    # Only the driver needs the options that decide how films are found, named or joined; the run's manifest records
    # the partition.
    # A worker chooses both where auto leaves them open: it may have another processor than this machine.
    own = replace(
        options,
        backend=options.backend if options.precision == AUTO else chosen_backend(options, files),
        workers=workers,
        model=options.models,
        labels=None,
        partition=None,
        temp_dir=None,
        overwrite=False,
    )
    arguments = {"options": _options_as_json(own)}
    return TaskBatch(items=items, opener=f"{__name__}:{opener}", arguments=arguments, device=options.device)


def _options_as_json(options: ScoreOptions) -> dict[str, Any]:
    """JSON-ready options. Paths become absolute: a worker may have another current folder."""
    found: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(options)}
    places = {name: _address(found[name]) for name in ("films", "output")}
    target = None if options.target_prevalence is None else dict(options.target_prevalence.values)
    return {**found, **places, "target_prevalence": target, "model": [_address(path) for path in options.models]}


def _address(where: PathOrUrl) -> str:
    return location_text(where if isinstance(where, RemotePath) else where.absolute())


def _options_from_json(options: Mapping[str, Any]) -> ScoreOptions:
    films, output = (parse_location(options[name]) for name in ("films", "output"))
    own = {"films": films, "output": output, "model": tuple(map(Path, options["model"])), "command": ()}
    return ScoreOptions(**{**options, **own})
