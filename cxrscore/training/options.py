"""The options and the result of a training run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrscore.errors import InputError
from cxrscore.labels.public_sets import public_set_names
from cxrscore.option_values import check_number, check_whole_numbers, check_word
from cxrscore.remote import convert_paths
from cxrscore.system_resources import default_workers

MONITORS = {
    "valid_macro_auc": 1.0,
    "valid_loss": -1.0,
    "valid_label_accuracy": 1.0,
    "train_loss": -1.0,
    "train_label_accuracy": 1.0,
}
"""Measures that can choose the epoch; 1: higher is better, -1: lower is better."""

CHOICES: dict[str, tuple[str, ...]] = {
    "uncertain": ("unknown", "positive", "negative"),
    "trainable": ("head", "last-block", "all"),
    "head": ("gap", "flatten", "cls"),
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
"""Allowed words of an option."""

_Range = tuple[str, Callable[[Any], bool]]
_AT_LEAST_0: _Range = ("0 or more", lambda value: value >= 0)

LOWS = {
    "epochs": 1,
    "batch_size": 1,
    "size": 0,
    "patience": 1,
    "augmentations": 0,
    "seed": 0,
    "workers": 1,
    "processes": 1,
}
"""The least that each whole number may be. images.Preprocessing has the limits of size."""

RANGES: dict[str, _Range] = {
    "learning_rate": ("above 0", lambda value: value > 0),
    "warmup": _AT_LEAST_0,
    "layer_decay": ("above 0 and up to 1", lambda value: 0 < value <= 1),
    "weight_decay": _AT_LEAST_0,
    "clip_norm": _AT_LEAST_0,
}
"""Allowed range of each number, as text and as a predicate. images.Augmentation checks the limits of
augmentation."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training run: those of ``cxrscore train``, under the same names.

    Parameters
    ----------
    films : path
        Folder of films.
    labels : path, optional
        Label table; None: labels.csv in or beside the folder.
    uncertain : str
        What an uncertain label counts as: "unknown", "positive" or "negative".
    split : path, optional
        CSV with the columns film and split, or an official list; None: 70/10/20 by patient, drawn with ``seed``.
    allow_leakage : bool
        Report films or patients that are in two splits and mark the model, instead of a LeakError.
    output : path
        Model file to write.
    backend : str
        Backend that trains.
    feature_backend : str, optional
        Backend that runs a frozen backbone; None: ``backend``. Its features must agree with those of ``backend``. Only
        if the head alone is trained, in fp32.
    architecture, weights, size, normalize, head, activation
        The network, its first weights ("imagenet", "none", a name that ``cxrscore weights`` lists, or a file), the side
        of its films in pixels, what it does to films first, and its head. ``cxrscore train`` and ``cxrscore.train``
        choose a size that suits the network if none is given.
    trainable : str
        Layers that are trained: "head", "last-block" or "all".
    standardize : bool
        With a frozen backbone: train the head on features of mean 0 and standard deviation 1.
    initial_head : str
        "zero", or "random", drawn with ``seed``.
    initial_bias : str
        "zero", or "prevalence": the logit of the prevalence of each finding among the training films.
    loss : str
        Loss function.
    epochs, batch_size, learning_rate
        Maximum number of passes over the training films, films in a step, and learning rate of Adam.
    warmup : float
        Epochs, also fractions, in which the learning rate rises evenly from 0.
    schedule : str
        "constant", or "cosine": the learning rate falls to 0 over the epochs, step by step.
    layer_decay, weight_decay, clip_norm, batch_norm
        See contract.Optimiser; clip_norm 0: no clipping.
    sampling : str
        "natural", or "balanced": films with rarer findings are drawn more often.
    drop_last : bool
        Leave out films that fill no complete batch, in training and in validation.
    augmentations : int
        Augmented copies of each training film, used in turn by epoch; 0: none.
    rotation, shift, shear, zoom, flip
        How far an augmented copy may differ from the film; see images.Augmentation.
    monitor : str
        Measure by which the best epoch is chosen: one of MONITORS.
    patience : int
        Training stops after this many epochs without a better monitored measure.
    checkpoint_policy : str
        Epoch whose tensors become the model: "best" or "last".
    threshold_rule : str
        How operating points are chosen on the validation films: one of metrics.thresholds.RULES.
    calibration : str
        Fitted on the validation films: "none", "temperature" (one number), or "platt" (a line for each finding).
    trained_on : sequence of str
        Public data sets that the initial weights were trained on, beside those that a model file of weights names:
        figures on their films are marked as not held-out.
    seed : int
        Of split, order, augmentation and first weights.
    device, precision
        "auto", "cpu", "cuda" or "cuda:N"; "fp32" or "bf16".
    workers : int
        Processes that decode films; by default one for each core, at most 32.
    resume : bool
        Continue from the last finished epoch of an interrupted run, if there is one.
    overwrite : bool
        Replace files that are not of an earlier run.
    recipe : path, optional
        File that the options come from; for the check that no output replaces it.
    executor : str
        What runs the processes for frozen layers: "local", or one of a plugin.
    processes : int
        How many of these processes; 1 with the executor "local": this one alone.
    address : str, optional
        Address of the cluster of the executor; None: this machine. All machines must reach the cache folder.

    Raises
    ------
    InputError
        If an option cannot have its value.

    Examples
    --------
    >>> TrainOptions(films="films", epochs=20).output.name
    'model.safetensors'
    >>> TrainOptions(epochs=0)
    Traceback (most recent call last):
    cxrscore.errors.InputError: epochs is 0, expected 1 or more
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
    trained_on: tuple[str, ...] = ()
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
        if not isinstance(self.weights, str | os.PathLike):
            raise InputError(f"weights is {self.weights!r}, expected 'imagenet', 'none' or a path")
        object.__setattr__(self, "weights", os.fspath(self.weights))
        object.__setattr__(self, "trained_on", public_set_names(self.trained_on))
        if not self.output.name:
            raise InputError(f"output is {self.output}, a folder; expected the name of a file to write")
        for name, words in CHOICES.items():
            check_word(getattr(self, name), name, words)
        check_whole_numbers(self, LOWS)
        for name, (wanted, holds) in RANGES.items():
            check_number(getattr(self, name), name)
            if not holds(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}, expected {wanted}")
        if self.weight_decay * self.learning_rate >= 1:
            raise InputError(
                f"weight_decay {self.weight_decay:g} times learning_rate {self.learning_rate:g} removes the "
                "weights in one step, expected a product below 1: lower weight_decay"
            )
        if self.feature_backend and (self.trainable, self.precision) != ("head", "fp32"):
            raise InputError(
                f"feature_backend is {self.feature_backend!r}, which needs trainable head in fp32, and trainable is "
                f"{self.trainable} in {self.precision}"
            )
        if self.warmup > self.epochs:
            raise InputError(f"warmup is {self.warmup} epochs, more than there are: {self.epochs}")
        if self.trainable == "all" and not self.alone:
            raise InputError(
                "trainable is all, so no frozen layers are left for other processes to run: leave --processes, "
                "--executor and --address out; torchrun lets several processes train"
            )

    @property
    def alone(self) -> bool:
        """Whether the training process also runs the frozen layers."""
        return (self.executor, self.processes, self.address) == ("local", 1, None)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Result of a training run.

    Attributes
    ----------
    output : Path
        The model file.
    run_folder : Path
        Folder with the history, the split and the recipe of the run.
    films : dict
        Number of films by split.
    failed : tuple of (str, str)
        Each film that could not be read, with the reason.
    leakage : tuple of str
        One line for each leak that was allowed.
    best_epoch : int
        Epoch whose tensors became the model, from 1.
    history : list of dict
        Measures of each epoch.
    macro_auc : float
        Macro AUC of the validation films at the chosen epoch; NaN if no finding has both classes.
    test_auc : float
        Macro AUC of the test films, which are evaluated once; NaN likewise.
    """

    output: Path
    run_folder: Path
    films: dict[str, int]
    failed: tuple[tuple[str, str], ...]
    leakage: tuple[str, ...]
    best_epoch: int
    history: list[dict[str, float]]
    macro_auc: float
    test_auc: float
