"""Where the time of one training run goes: seconds by part, on the clock and of all processor cores together.

    python benchmarks/profile_train.py FILMS --labels CSV --size 400
    python benchmarks/profile_train.py FILMS --labels CSV --size 400 --again   # films and outputs in the cache

Runs `cxrscore train` in this process, from empty caches but for the ImageNet weights, with a clock around each part. A
part that calls another one does not count its time twice. What runs in threads beside the network (reading and
augmenting films) shows only where the network waited for it.
"""

import argparse
import functools
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from cxrscore import plugins, training
from cxrscore.io.entries import cache_folder
from cxrscore.training import data, final_evaluation, loop, model_metadata
from cxrscore.training.features import source

PARTS = (
    (training, "base_weights", "ImageNet weights read"),
    (training, "read_data", "labels, split"),
    (data, "_store", "films decoded, resized, stored"),
    (data, "_leaks", "films compared, for leaks"),
    (training, "initial_model", "network built"),
    (source, "cached_features", "frozen layers: waiting for films, keeping"),
    (loop, "_epoch", "epochs: steps and validation"),
    (loop, "save_checkpoint", "checkpoints"),
    (training, "final_logits", "final scores"),
    (final_evaluation, "_check_against_full_model", "final scores: whole network on a few films"),
    (model_metadata, "golden_record", "golden probe"),
    (training, "save_model", "model file"),
    (training, "save_run", "run folder"),
)
"""Functions where they are called from, and the part that they are."""


class Clock:
    """Seconds, on the clock and of the processor, and calls of each part, without those of the parts that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
        self.calls: dict[str, int] = defaultdict(int)
        self._inner = [np.zeros(2)]

    def around(self, function, part: str):
        @functools.wraps(function)
        def timed(*args, **kwargs):
            begun = now()
            self._inner.append(np.zeros(2))
            try:
                return function(*args, **kwargs)
            finally:
                whole = now() - begun
                self.seconds[part] += whole - self._inner.pop()
                self.calls[part] += 1
                self._inner[-1] += whole

        return timed

    def install(self) -> None:
        for module, name, part in PARTS:
            setattr(module, name, self.around(getattr(module, name), part))
        learner_of = source.split_trainable

        def timed_learner_of(*args):
            learner, frozen = learner_of(*args)
            return learner, frozen and self.around(frozen, "frozen layers: the network")

        source.split_trainable = timed_learner_of
        source.ExternalBackbone.embed = self.around(source.ExternalBackbone.embed, "frozen layers: the network")


def now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--augmentations", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--trainable", default="head")
    parser.add_argument("--again", action="store_true", help="run twice, and time the second")
    parser.add_argument("--feature-backend", help="what runs the frozen base; the backend that trains, if left out")
    options = parser.parse_args()
    clock, weights = Clock(), list(cache_folder().glob("*_imagenet_*"))
    clock.around(imported, "framework imported")(options.backend)
    with tempfile.TemporaryDirectory() as name:
        for path in weights:
            shutil.copyfile(path, Path(name) / path.name)
        os.environ["CXRSCORE_CACHE"] = name
        if options.again:
            trained(options, Path(name))
        clock.install()
        begun = now()
        result = trained(options, Path(name))
        whole = now() - begun + clock.seconds["framework imported"]
    told(clock, whole, result.films)


def imported(backend: str) -> None:
    for module in plugins.get_backend(backend).requires:
        importlib.import_module(module)


def trained(options: argparse.Namespace, folder: Path) -> training.TrainResult:
    given = {name: getattr(options, name) for name in ("films", "labels", "backend", "size", "augmentations", "epochs")}
    chosen = {**given, "solver": "adam", "trainable": options.trainable, "patience": options.epochs}
    chosen["feature_backend"] = options.feature_backend
    return training.train_model(training.TrainOptions(**chosen, output=folder / "model.safetensors"))


def told(clock: Clock, whole: np.ndarray, films: dict[str, int]) -> None:
    clock.seconds["the rest"] = whole - sum(clock.seconds.values())
    clock.seconds["all"] = whole
    sys.stdout.write(f"{', '.join(f'{count} {part}' for part, count in films.items())} films\n")
    sys.stdout.write("seconds  share  processor  calls\n")
    for part, (seconds, processor) in sorted(clock.seconds.items(), key=lambda each: -each[1][0]):
        share, calls = 100 * seconds / whole[0], clock.calls[part] or ""
        sys.stdout.write(f"{seconds:7.2f} {share:5.1f}% {processor:10.2f} {calls:>6}  {part}\n")


if __name__ == "__main__":
    main()
