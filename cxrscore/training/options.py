"""What decides a training run, and what it ended with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrscore.errors import InputError
from cxrscore.remote import convert_paths
from cxrscore.system_resources import default_workers

MONITORS = {
    "valid_macro_auc": 1.0,
    "valid_loss": -1.0,
    "valid_label_accuracy": 1.0,
    "train_loss": -1.0,
    "train_label_accuracy": 1.0,
}
"""Figures that an epoch can be chosen by; 1 where more is better, -1 where less is."""

CHOICES: dict[str, tuple[str, ...]] = {
    "uncertain": ("unknown", "positive", "negative"),
    "trainable": ("head", "last-block", "all"),
    "head": ("gap", "flatten"),
    "activation": ("sigmoid", "softmax"),
    "initial_head": ("zero", "random"),
    "initial_bias": ("zero", "prevalence"),
    "schedule": ("constant", "cosine"),
    "batch_norm": ("frozen", "batch"),
    "sampling": ("natural", "balanced"),
    "monitor": tuple(MONITORS),
    "checkpoint_policy": ("best", "last"),
    "calibration": ("none", "temperature", "platt"),
    "precision": ("fp32", "bf16"),
}
"""Words that an option may be."""

_Range = tuple[str, Callable[[Any], bool]]
_AT_LEAST_1: _Range = ("1 or more", lambda value: value >= 1)
_AT_LEAST_0: _Range = ("0 or more", lambda value: value >= 0)

RANGES: dict[str, _Range] = {
    "epochs": _AT_LEAST_1,
    "batch_size": _AT_LEAST_1,
    "learning_rate": ("above 0", lambda value: value > 0),
    "warmup": _AT_LEAST_0,
    "layer_decay": ("above 0 and up to 1", lambda value: 0 < value <= 1),
    "weight_decay": _AT_LEAST_0,
    "clip_norm": _AT_LEAST_0,
    "patience": _AT_LEAST_1,
    "augmentations": _AT_LEAST_0,
    "seed": _AT_LEAST_0,
    "workers": _AT_LEAST_1,
    "processes": _AT_LEAST_1,
}
"""Numbers that an option may be, in words and as a question. Limits of augmentation are those of
images.Augmentation."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """All that decides a training run; what ``cxrscore train`` takes, under the same names. InputError for a value that
    an option cannot have.

    films, labels  folder of films; label table (None: labels.csv in or beside the folder)
    uncertain      what a finding that the table calls uncertain counts as: unknown, positive or negative
    split          CSV with the columns film,split, or an official list (labels.read_split); None: 70/10/20 by
                   patient, drawn with ``seed``
    allow_leakage  films or patients in two parts of the split are told and the model is marked, where it else is a
                   LeakError
    feature_backend  the backend that runs a frozen base, whose embeddings must agree with those of ``backend`` (None:
                   that one); only where the head alone learns, in fp32
    standardize    with a frozen base: the head learns from embeddings of mean 0 and deviation 1 (training.standardizer)
    initial_head   "zero": the dense layer begins without an opinion; "random": drawn with ``seed``
    initial_bias   "prevalence": the head begins with the logit of each finding's share of the training films
    warmup         epochs, whole or not, in which the rate rises evenly from 0
    schedule       "cosine": the rate falls to 0 over the epochs, step by step; "constant": it does not
    layer_decay, weight_decay, clip_norm, batch_norm  see contract.Optimiser; clip_norm 0: never clipped
    sampling       "balanced": films with rarer findings are drawn more often (training.data_loader)
    drop_last      films that fill no whole batch are left out, in training and in validation
    augmentations  augmented copies of each training film (0: none), cycled through by epoch and made when first
                   needed; with as many as epochs each epoch has its own
    rotation, shift, shear, zoom, flip  how far an augmented copy may differ from the film: see images.Augmentation
    monitor        figure by which the best epoch is chosen: one of MONITORS
    patience       epochs without a better monitored figure after which training stops
    checkpoint_policy  which epoch's tensors become the model: the best, or the last
    threshold_rule how operating points are chosen on the validation films (metrics.thresholds.RULES)
    calibration    fitted on the validation films: none, temperature (one number) or platt (a line a finding)
    resume         go on from the last epoch of a run that was stopped, where there is one
    executor       what keeps the processes busy that run the frozen layers: "local", on this machine, or one that a
                   plugin brings
    processes      how many of them there are; 1 with the executor "local": this one alone
    address        of the executor's cluster; None: this machine. The cache folder then lies where all reach it
    """

    films: Path = Path("films")
    labels: Path | None = None
    uncertain: str = "unknown"
    split: Path | None = None
    allow_leakage: bool = False
    output: Path = Path("model.safetensors")
    backend: str = "keras"
    feature_backend: str | None = None
    architecture: str = "densenet121"
    weights: str = "imagenet"
    size: int = 400
    normalize: str | None = None
    head: str = "gap"
    activation: str = "sigmoid"
    trainable: str = "head"
    standardize: bool = True
    initial_head: str = "zero"
    initial_bias: str = "zero"
    loss: str = "weighted-bce"
    epochs: int = 80
    batch_size: int = 16
    learning_rate: float = 1e-5
    warmup: float = 0.0
    schedule: str = "constant"
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    batch_norm: str = "frozen"
    sampling: str = "natural"
    drop_last: bool = False
    augmentations: int = 0
    rotation: float = 7.0
    shift: float = 0.05
    shear: float = 0.0
    zoom: float = 0.1
    flip: bool = False
    monitor: str = "valid_macro_auc"
    patience: int = 10
    checkpoint_policy: str = "best"
    threshold_rule: str = "youden"
    calibration: str = "none"
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    workers: int = field(default_factory=default_workers)
    resume: bool = False
    overwrite: bool = False
    recipe: Path | None = None
    executor: str = "local"
    processes: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        convert_paths(self, local=["films", "labels", "split", "output", "recipe"])
        object.__setattr__(self, "weights", os.fspath(self.weights))
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                raise InputError(f"{name} is {getattr(self, name)!r}, wanted one of {', '.join(words)}")
        for name, (wanted, holds) in RANGES.items():
            if not holds(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}, wanted {wanted}")
        if self.weight_decay * self.learning_rate >= 1:
            raise InputError(
                f"weight_decay {self.weight_decay:g} times learning_rate {self.learning_rate:g} leaves nothing of the "
                "weights after one step: wanted less than 1"
            )
        if self.feature_backend and (self.trainable, self.precision) != ("head", "fp32"):
            raise InputError(
                f"feature_backend is {self.feature_backend!r}, which is for trainable head in fp32, and trainable is "
                f"{self.trainable} in {self.precision}"
            )
        if self.warmup > self.epochs:
            raise InputError(f"warmup is {self.warmup} epochs, more than there are: {self.epochs}")
        if self.trainable == "all" and not self.alone:
            raise InputError(
                "trainable is all, so there are no frozen layers for other processes to run: leave --processes, "
                "--executor and --address out; torchrun lets several processes train"
            )

    @property
    def alone(self) -> bool:
        """Whether the process that trains runs the frozen layers, too."""
        return (self.executor, self.processes, self.address) == ("local", 1, None)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended with. macro_auc is that of the validation films at the chosen epoch, test_auc that of the
    test films, looked at once; NaN where no finding has both classes. leakage has a line for each leak that was
    allowed; failed names each film that could not be read, with the reason."""

    output: Path
    run_folder: Path
    films: dict[str, int]
    failed: tuple[tuple[str, str], ...]
    leakage: tuple[str, ...]
    best_epoch: int
    history: list[dict[str, float]]
    macro_auc: float
    test_auc: float
