"""Films a second that training can be fed with, by threads: python benchmarks/bench_feed.py FILMS --labels CSV

Films of the store are read, augmented and stacked into batches for a learner that costs nothing, as they are and
augmented; the numbers of threads take turns, and the median of the rounds is printed with its ratio to one thread. What
a network learns from in a second must be less than this, or it waits.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from cxrscore.progress import no_progress
from cxrscore.training import TrainOptions
from cxrscore.training.data import Data, read_data
from cxrscore.training.features import FeatureSource, batches_of


class Costless:
    """A learner for which nothing is computed."""

    spec, framework, device = None, "none", "cpu"

    def fit_epoch(self, *_) -> float:
        return 0.0

    def state(self) -> dict:
        return {}

    def restore(self, _) -> None:
        return


def rate(data: Data, options: TrainOptions, batch: int) -> float:
    rows = np.tile(np.array(data.store.rows, np.intp), -(-1000 // len(data.store.rows)))
    outputs = FeatureSource(Costless(), data, options, no_progress)
    begun = time.perf_counter()
    films = sum(len(inputs) for inputs in outputs.of(batches_of(rows, batch), 0 if options.augmentations else None))
    return films / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    threads = sorted({1, *(2**power for power in range(1, 7) if 2**power <= cores), cores})
    given = {"films": options.films, "labels": options.labels, "size": options.size, "trainable": "all"}
    data = read_data(TrainOptions(**given), no_progress)
    for augmentations in (0, 1):
        found = {workers: [] for workers in threads}
        for _ in range(options.rounds):
            for workers in threads:
                run = TrainOptions(**given, augmentations=augmentations, workers=workers)
                found[workers].append(rate(data, run, options.batch_size))
        first = statistics.median(found[1])
        for workers, rates in found.items():
            films = statistics.median(rates)
            what = "augmentations" if augmentations else "films"
            sys.stdout.write(f"{workers:3} threads: {films:7.0f} {what} a second, {films / first:.2f} of one thread\n")


if __name__ == "__main__":
    main()
