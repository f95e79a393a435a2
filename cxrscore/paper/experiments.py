"""The experiments: a network with or without augmentation, under one of three sets of rules.

Each experiment is trained into its own folder, whose name contains a digest of everything that determines it. A folder
with ``experiment.json`` is finished; a folder without it is resumed.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cxrscore
from cxrscore.errors import FileFormatError, LeakError
from cxrscore.io import atomic_write_bytes, make_folder, sha256_bytes, sha256_file
from cxrscore.models.imagenet import weights_file
from cxrscore.models.model_file import ModelFile, load_model
from cxrscore.paper.options import PaperOptions
from cxrscore.progress import Progress
from cxrscore.recipes import find_recipe, read_recipe
from cxrscore.training import TrainOptions, train_model


@contextmanager
def add_advice(output: Path) -> Iterator[None]:
    """Adds advice to errors of a run into this folder: duplicate films, and Ctrl-C."""
    try:
        yield
    except LeakError as error:
        raise LeakError(error.found, "Remove one of the two films from the folder.") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped; finished results are in {output}/. Rerun the same command to resume"
        ) from None


@contextmanager
def add_delete_advice(place: Path) -> Iterator[None]:
    """Adds advice to errors about damaged results of an earlier run in the folder of an experiment."""
    try:
        yield
    except FileFormatError as error:
        if str(place) not in str(error):
            raise
        raise FileFormatError(
            f"the result of an earlier run in {place} is damaged. Delete that folder and rerun the same command."
        ) from error


CORRECTED, LITERAL, IMAGENET = "paper", "paper-literal", "paper-imagenet"
SERIES = {
    CORRECTED: "corrected",
    LITERAL: "as printed",
    IMAGENET: "corrected, films normalised as the weights want them",
}
"""The sets of rules, as text: the recipes paper and paper-literal, and the first with another normalisation."""
_TRAINING = 2
"""Increase this when the same options give another model, so that finished experiments are trained again."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A network, with or without augmentation, under one of SERIES. first: whether it is the first network named."""

    series: str
    network: str
    first: bool
    augmented: bool

    @property
    def name(self) -> str:
        return f"{self.series}-{self.network}-{'augmented' if self.augmented else 'plain'}"

    @property
    def words(self) -> str:
        """Its label for readers, without the rules."""
        return f"{network_label(self.network)} {'with' if self.augmented else 'without'} augmentation"


def network_label(network: str) -> str:
    """The network's name as papers write it."""
    return {"densenet121": "DenseNet121", "resnet50": "ResNet50"}.get(network, network)


@dataclass(frozen=True, kw_only=True)
class TrainedExperiment:
    """A finished experiment: its model, and the duration in the process that finished it."""

    experiment: Experiment
    options: TrainOptions
    model: ModelFile
    seconds: float

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per epoch, None for undefined values."""
        rows: list[dict[str, Any]] = self.model.document["training"]["history"]
        return rows

    @property
    def best_epoch(self) -> int:
        """The first epoch, from 1, with the highest training accuracy, for information: the last epoch is used."""
        watched = [row["train_label_accuracy"] for row in self.history]
        return watched.index(max(watched)) + 1


def all_experiments(options: PaperOptions) -> list[Experiment]:
    """Both networks without and with augmentation, under every set of rules; the corrected recipe first."""
    return [
        Experiment(series=series, network=network, first=network == options.networks[0], augmented=augmented)
        for series in SERIES
        for network in options.networks
        for augmented in (False, True)
    ]


def train_options(experiment: Experiment, options: PaperOptions, split: Path) -> TrainOptions:
    """The recipe of the experiment with the options of this run; ``output`` is set later."""
    recipe: dict[str, Any] = dict(read_recipe(find_recipe(LITERAL if experiment.series == LITERAL else CORRECTED)))
    if experiment.series == IMAGENET:
        recipe["normalize"] = None
    taken = ("films", "labels", "epochs", "size", "weights", "seed", "backend", "device", "workers")
    recipe |= {name: getattr(options, name) for name in taken}
    recipe |= {
        "architecture": experiment.network,
        "augmentations": options.augmentations if experiment.augmented else 0,
    }
    return TrainOptions(**recipe, split=split)


def train_experiment(
    experiment: Experiment, options: TrainOptions, data: str, folder: Path, progress: Progress
) -> TrainedExperiment:
    """Trains the experiment, or loads it from the folder if it is finished.

    data  digest of films, labels and split
    """
    place = folder / f"{experiment.name}-{_digest(options, data)[:8]}"
    make_folder(place)
    with add_delete_advice(place):
        return _trained(experiment, options, place, progress)


def _trained(experiment: Experiment, options: TrainOptions, place: Path, progress: Progress) -> TrainedExperiment:
    wanted = dataclasses.replace(options, output=place / "model.safetensors", resume=True)
    done = place / "experiment.json"
    if not done.is_file():
        started = time.monotonic()
        train_model(wanted, lambda step, at, of: progress(f"{experiment.name}: {step}", at, of))
        document = {"seconds": time.monotonic() - started, "model": sha256_file(wanted.output)}
        atomic_write_bytes(done, json.dumps({"experiment": experiment.name, **document}).encode())
    seconds, digest = _finished(done)
    model = load_model(wanted.output)
    if model.sha256 != digest:
        raise FileFormatError(f"{wanted.output} is not the model of this experiment")
    return TrainedExperiment(experiment=experiment, options=wanted, model=model, seconds=seconds)


def _finished(done: Path) -> tuple[float, str]:
    """Duration of a finished experiment, and the SHA-256 of its model."""
    try:
        document = json.loads(done.read_text(encoding="utf-8"))
        return float(document["seconds"]), str(document["model"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{done} cannot be read: {error}") from error


def _digest(options: TrainOptions, data: str) -> str:
    """Digest of all inputs of an experiment: its options, with the content of files instead of their paths."""
    left_out = ("films", "labels", "split", "output", "workers", "resume", "mlflow")
    relevant = {name: value for name, value in dataclasses.asdict(options).items() if name not in left_out}
    base = weights_file(options.weights, options.architecture)
    weights = "" if base is None else sha256_file(base)
    return sha256_bytes(json.dumps([cxrscore.__version__, _TRAINING, data, weights, relevant], sort_keys=True).encode())
