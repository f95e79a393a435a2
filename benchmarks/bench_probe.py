"""Time of `cxrscore train` with its defaults (a linear probe), and of the solver for more films.

    python benchmarks/bench_probe.py FILMS --labels CSV --weights FILE [--rounds 3] [--films-grown 5000,20000]

First, in turns: the bare forward passes of all films, in batches of eight that are decoded already; `train` from an
empty cache to the model file; `train` from cached features. All run in this process, with imports and one warm-up done,
OpenVINO computes the features, and torch builds the model. Then, each in a process of its own: cross-validation and fit
of generated features (1024 of them, 14 findings) with their largest memory. Printed is a table in Markdown; medians.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrscore import plugins
from cxrscore.models.imagenet import base_weights
from cxrscore.networks.tensors import initial_tensors
from cxrscore.training import TrainOptions, train_model
from cxrscore.training.data import Data, read_data
from cxrscore.training.initialization import initial_spec
from cxrscore.training.linear_probe import cross_validate, fit_probe

BATCH = 8
WIDTH, FINDINGS, FOLDS = 1024, 14, 5


def passes(options: TrainOptions, data: Data) -> float:
    """Seconds of the bare network."""
    base = base_weights(options.weights, options.architecture, plugins.get_network(options.architecture))
    spec = initial_spec(options, data.findings, base)
    model = plugins.get_backend(options.feature_backend or options.backend).build(
        spec, initial_tensors(spec, 0, base.tensors if base else {}), device="cpu"
    )
    rows = range(len(data.paths))
    batches = [data.store.batch(rows[at : at + BATCH]) for at in rows[::BATCH]]
    model.embed(batches[0])
    begun = time.perf_counter()
    for batch in batches:
        model.embed(batch)
    return time.perf_counter() - begun


def train(options: TrainOptions, cache: Path) -> float:
    os.environ["CXRSCORE_CACHE"] = str(cache)
    begun = time.perf_counter()
    train_model(replace(options, overwrite=True))
    return time.perf_counter() - begun


def generated(films: int) -> tuple[np.ndarray, np.ndarray]:
    """Features [N,K], whose variances fall as 1/j along K random directions, and labels [N,C] of the difficulty and
    rarity of real ones."""
    random = np.random.default_rng(0)
    turn = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0]
    features = (random.normal(size=(films, WIDTH)) / np.sqrt(np.arange(1, WIDTH + 1))) @ turn
    features /= features.std(axis=0)
    logits = features @ random.normal(size=(WIDTH, FINDINGS)) * 0.05 - np.linspace(1.5, 3.5, FINDINGS)
    labels = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return features.astype(np.float32), labels.astype(np.float32)


def grown(films: int) -> dict[str, float]:
    """Seconds, CPU seconds and largest memory of cross-validation and fit."""
    features, labels = generated(films)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, cpu = time.perf_counter(), time.process_time()
    folds = np.arange(films) % FOLDS
    found = cross_validate(features, labels, folds, fitted=np.ones(FINDINGS, bool))
    fit_probe(features, labels, found.strengths, prevalence=labels.mean(axis=0, dtype=np.float64))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "films": films,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu,
        "mib_before": before / 1024,
        "peak_mib": peak / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--films-grown", default="5000,20000", help="with commas between; empty: none")
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.grow:
        sys.stdout.write(json.dumps(grown(given.grow)))
        return
    sys.stdout.write(f"load before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n\n")
    with tempfile.TemporaryDirectory(prefix="bench-probe-") as place:
        folder = Path(place)
        options = TrainOptions(
            films=given.films,
            labels=given.labels,
            weights=str(given.weights),
            backend="torch",
            feature_backend="openvino",
            device="cpu",
            test=0,
            output=folder / "model.safetensors",
        )
        train(options, folder / "warm")
        data = read_data(options, lambda *_: None)
        times: dict[str, list[float]] = {"bare passes": [], "from nothing": [], "from cached features": []}
        for number in range(given.rounds):
            times["bare passes"].append(passes(options, data))
            times["from nothing"].append(train(options, folder / f"cache-{number}"))
            times["from cached features"].append(train(options, folder / "warm"))
    sys.stdout.write("| | seconds | range | / bare passes |\n|---|---|---|---|\n")
    bare = statistics.median(times["bare passes"])
    for name, each in times.items():
        middle = statistics.median(each)
        sys.stdout.write(f"| {name} | {middle:.1f} | {min(each):.1f} to {max(each):.1f} | {middle / bare:.2f} |\n")
    sys.stdout.write("\n| films | seconds | CPU seconds | peak MiB | MiB before |\n|---|---|---|---|---|\n")
    for films in (int(word) for word in given.films_grown.split(",") if word):
        command = [sys.executable, __file__, *sys.argv[1:], "--grow", str(films)]
        one = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        sys.stdout.write(
            f"| {films:,} | {one['seconds']:.1f} | {one['cpu_seconds']:.1f} | {one['peak_mib']:.0f} | "
            f"{one['mib_before']:.0f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
