"""What does scoring cost beside its network? Films a second from files to shards, over those of predict() alone.

    python benchmarks/bench_pipeline.py FILMS MODEL [--backend openvino] [--films 48] [--rounds 5] [--batch-size 8]

In one process and without start-up: each round runs predict() on films that are ready, the decoding alone, and the
scoring of the same films with 0, 4 and 14 heat maps each, one after the other; medians over the rounds are compared.
CPU is the time of this process, decoders not counted: on a machine that others use it tells more than the clock.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrscore.contract import Floats
from cxrscore.images import FoundFilms, require_films, stream_films, to_unit
from cxrscore.progress import no_progress
from cxrscore.scorefile import open_run
from cxrscore.scoring import ScoreOptions
from cxrscore.scoring.inference import Scorer
from cxrscore.scoring.pipeline import compute_shards
from cxrscore.scoring.run_context import RunContext, load_models, prepare_run

MAPS = (0, 4, 14)


def ready(job: RunContext) -> list[Floats]:
    """The films in batches of the run's size, the last one made up by black films."""
    options = job.options
    films = stream_films(options.films, job.paths, job.squares[0], workers=options.workers)
    units = [to_unit(film.pixels) for film in films if film.pixels is not None]
    blank = [np.zeros_like(units[0])] * (-len(units) % options.batch_size)
    units += blank
    return [np.stack(units[at : at + options.batch_size]) for at in range(0, len(units), options.batch_size)]


def bare(job: RunContext, batches: Sequence[Floats]) -> None:
    for batch in batches:
        job.models[0].predict(batch)


def decode(job: RunContext) -> None:
    for _ in stream_films(job.options.films, job.paths, job.squares[0], workers=job.options.workers):
        pass


def score(job: RunContext, maps: int) -> None:
    """From files to written shards, without the merge."""
    with tempfile.TemporaryDirectory() as folder:
        own = replace(job, options=replace(job.options, heatmaps=maps, output=Path(folder) / "out.h5"))
        run = open_run(own.options.output, own.paths, own.findings, own.fingerprint)
        compute_shards(run, Scorer(own), own, no_progress)


def timed(task: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock, and of this process."""
    clock, cpu = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - clock, time.process_time() - cpu


def prepared(given: argparse.Namespace) -> RunContext:
    options = ScoreOptions(
        films=given.folder,
        output=Path("out.h5"),
        model=given.model,
        backend=given.backend,
        device=given.device,
        precision=given.precision,
        batch_size=given.batch_size,
        heatmaps=4,
        no_labels=True,
    )
    found = require_films(given.folder)
    some = FoundFilms(paths=found.paths[: given.films])
    return prepare_run(options, load_models(options), some)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("model", type=Path)
    options.add_argument("--backend", default="openvino")
    options.add_argument("--device", default="cpu")
    options.add_argument("--precision", default="fp32")
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--films", type=int, default=48)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    job = prepared(given)
    batches = ready(job)
    tasks = {"predict alone": lambda: bare(job, batches), "decoding alone": lambda: decode(job)}
    tasks |= {f"score, {maps} maps": lambda maps=maps: score(job, maps) for maps in MAPS}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    bare(job, batches[:1])
    for _ in range(given.rounds):
        for name, task in tasks.items():
            found[name].append(timed(task))
    report(found, sum(len(batch) for batch in batches), f"{job.models[0].framework} on {job.models[0].device}")


def report(found: dict[str, list[tuple[float, float]]], films: int, framework: str) -> None:
    """A table of medians, and the ratios to predict alone."""
    middle = {name: [statistics.median(column) for column in zip(*times, strict=True)] for name, times in found.items()}
    clock, cpu = middle["predict alone"]
    lines = [f"{films} films, {framework}", "", "| | films/s | of predict alone | ms CPU a film | of predict alone |"]
    lines.append("|---|---|---|---|---|")
    for name, (own, used) in middle.items():
        speed = f"{films / own:.2f} | {clock / own:.3f}"
        lines.append(f"| {name} | {speed} | {1000 * used / films:.1f} | {used / cpu:.3f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
