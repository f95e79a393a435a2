"""The options and the result of a training run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cxrscore.errors import InputError
from cxrscore.labels import LabelRules
from cxrscore.labels.public_sets import public_set_names
from cxrscore.models.ensemble_file import MOST_MEMBERS
from cxrscore.option_values import check_number, check_whole_numbers, check_word, comma_list, text_list
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

SOLVERS = ("auto", "lbfgs", "adam")
CHOICES: dict[str, tuple[str, ...]] = {
    "solver": SOLVERS,
    "trainable": ("head", "last-block", "all"),
    "head": ("gap", "flatten", "cls"),
    "activation": ("sigmoid", "softmax"),
    "initial_head": ("auto", "probe", "zero", "random"),
    "initial_bias": ("zero", "prevalence"),
    "schedule": ("constant", "cosine"),
    "batch_norm": ("frozen", "batch"),
    "sampling": ("natural", "balanced"),
    "monitor": tuple(MONITORS),
    "checkpoint_policy": ("best", "last"),
    "calibration": ("auto", "none", "temperature", "platt", "shrunken-platt"),
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
    "folds": 2,
    "min_positives": 1,
}
"""The least that each whole number may be. images.Preprocessing has the limits of size."""

RANGES: dict[str, _Range] = {
    "learning_rate": ("above 0", lambda value: value > 0),
    "warmup": _AT_LEAST_0,
    "layer_decay": ("above 0 and up to 1", lambda value: 0 < value <= 1),
    "weight_decay": _AT_LEAST_0,
    "clip_norm": _AT_LEAST_0,
    "test": ("0 to 0.9", lambda value: 0 <= value <= 0.9),
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
    findings : tuple of str
        Findings to train, in this order, each as "NAME" or "NAME=COLUMN", also as one text with commas; "all" stands
        for those that are read without this option. (): all.
    film_column, patient_column : str, optional
        Columns of the label table that name the films and identify the patients; None: known by their names.
    uncertain : str
        What an uncertain label counts as: "unknown", "positive" or "negative"; by finding as in
        "unknown,Atelectasis=positive".
    blank : str
        What a blank cell of a film that has a row in the table counts as: "unknown" or "negative"; by finding likewise.
    allow_unmatched : bool
        Train even if more than half of the films and more than half of the rows of the label table do not match.
    weight_column : str, optional
        Column of the label table with the weight of each film in training, 0 or more.
    split : path, optional
        CSV with the columns film and split, or an official list; None: drawn by patient with ``seed``.
    test : float
        Fraction of the films that a drawn split keeps for the test; 0: none, the cross-validated figures are then the
        model's only ones. An eighth of the other films is for validation where the epoch loop trains.
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
        choose a size that suits the network if none is given. Several networks, separated by commas, are the members of
        an ensemble; then weights are one entry for all, or one for each, and size 0 is the size that suits each.
    solver : str
        What trains the head: "lbfgs" solves a linear probe to its optimum with scikit-learn, "adam" is the epoch loop.
        "auto" is "lbfgs" unless an option needs the epoch loop: see ``probe``.
    folds, min_positives
        Of the linear probe: parts of the cross-validation, and the positive films (and negative films) that a finding
        needs to get coefficients; one with fewer gets its prevalence as probability, and is marked.
    learning_curve : bool
        Of the linear probe: also cross-validate it with an eighth, a quarter and half of the films, and predict what
        more labels would bring.
    trainable : str
        Layers that are trained: "head", "last-block" or "all".
    standardize : bool
        With a frozen backbone: train the head on features of mean 0 and standard deviation 1.
    initial_head : str
        Of the epoch loop: "zero", "random", drawn with ``seed``, or "probe": the linear probe of the training films,
        from which fine-tuning starts (LP-FT: Kumar et al., ICLR 2022). "auto": "probe" where layers of trained weights
        are fine-tuned with sigmoid and a head that is not "flatten", else "zero".
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
        How thresholds are chosen: one of metrics.thresholds.RULES.
    calibration : str
        "none", "temperature" (one number), "platt" (a line for each finding) or "shrunken-platt" (the same, with slopes
        drawn towards their mean). "auto": "shrunken-platt" with sigmoid, "none" with softmax. Thresholds and
        calibration are fitted on the out-of-fold predictions of a linear probe, or on the validation films.
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
    mlflow : str or path, optional
        MLflow store that gets the figures of the run: a folder or the URI of a tracking server; None: none. See
        training.tracking.

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
    findings: tuple[str, ...] = ()
    film_column: str | None = None
    patient_column: str | None = None
    allow_unmatched: bool = False
    uncertain: str = "unknown"
    blank: str = "unknown"
    weight_column: str | None = None
    split: Path | None = None
    test: float = 0.2
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
    solver: str = "auto"
    folds: int = 5
    min_positives: int = 10
    learning_curve: bool = False
    trainable: str = "head"
    standardize: bool = True
    initial_head: str = "auto"
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
    monitor: str = "valid_loss"
    patience: int = 10
    checkpoint_policy: str = "best"
    threshold_rule: str = "youden"
    calibration: str = "auto"
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
    mlflow: str | None = field(default=None, repr=False)  # it may contain a password

    def __post_init__(self) -> None:
        convert_paths(self, local=["films", "labels", "split", "output", "recipe"])
        if not isinstance(self.weights, str | os.PathLike):
            raise InputError(f"weights is {self.weights!r}, expected 'imagenet', 'none' or a path")
        object.__setattr__(self, "weights", os.fspath(self.weights))
        object.__setattr__(self, "trained_on", public_set_names(self.trained_on))
        if not self.output.name:
            raise InputError(f"output is {self.output}, a folder; expected the name of a file to write")
        object.__setattr__(self, "findings", _finding_names(self.findings))
        object.__setattr__(self, "mlflow", _checked_uri(self.mlflow))
        _ = self.label_rules
        for name, words in CHOICES.items():
            check_word(getattr(self, name), name, words)
        check_whole_numbers(self, LOWS)
        for name, (wanted, holds) in RANGES.items():
            check_number(getattr(self, name), name)
            if not holds(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}, expected {wanted}")
        self._check_networks()
        self._check_combinations()
        self._check_head()

    def _check_networks(self) -> None:
        """InputError for lists of networks and of weights that do not fit."""
        names = self.architectures
        if len(names) > 1 and not all(names):
            raise InputError(f"architecture is {self.architecture!r}, expected names of networks between the commas")
        if len(names) > MOST_MEMBERS:
            raise InputError(f"architecture names {len(names)} networks, expected at most {MOST_MEMBERS}")
        if len(names) > 1 and not all(self.weights_of_each):
            raise InputError(f"weights are {self.weights!r}, expected a name or a file between the commas")
        if len(self.weights_of_each) != len(names):
            raise InputError(
                f"weights are {len(self.weights_of_each)} entries and architecture names {len(names)} networks: give "
                "one entry for all, or one for each network in their order"
            )

    def _check_combinations(self) -> None:
        """InputError for options that exclude each other."""
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

        if self.split is not None and self.test != TrainOptions.test:
            raise InputError(f"test is {self.test}, but the split is given: leave test out, or split")

    def _check_head(self) -> None:
        """InputError for options of the head that exclude each other."""
        if self.initial_head == "probe" and (self.activation != "sigmoid" or self.head == "flatten"):
            raise InputError(
                f"initial_head is probe, which needs sigmoid and a head gap or cls, and there are "
                f"{self.activation} and {self.head}: use initial_head zero or random"
            )
        if self.solver == "lbfgs" and (names := self.epoch_options):
            raise InputError(
                f"solver is lbfgs, which trains a linear probe without epochs, so it does not use {', '.join(names)}: "
                "leave them out, or use solver adam"
            )
        if self.learning_curve and not self.probe:
            reason = ", ".join(self.epoch_options) or "solver adam"
            raise InputError(
                f"learning_curve needs a linear probe, and this run trains in epochs because of {reason}: leave it "
                "out, or run it without these options"
            )

    @property
    def architectures(self) -> tuple[str, ...]:
        """The networks: one, or the members of an ensemble."""
        return comma_list(self.architecture)

    @property
    def weights_of_each(self) -> tuple[str, ...]:
        """The initial weights of each of ``architectures``."""
        count = len(self.architectures)
        if count == 1:  # the name of a file may contain a comma
            return (self.weights,)
        entries = comma_list(self.weights)
        return entries * count if len(entries) == 1 else entries

    @property
    def epoch_options(self) -> tuple[str, ...]:
        """The options of this run that need the epoch loop: those that only it uses and that do not have their
        defaults, and a network, head or loss for which the optimum cannot be computed."""
        changed = [name for name in EPOCH_OPTIONS if getattr(self, name) != _DEFAULTS[name]]
        return (*changed, *(("head",) if self.head == "flatten" else ()))

    @property
    def probe(self) -> bool:
        """Whether the run solves a linear probe instead of running epochs."""
        return self.solver != "adam" and not self.epoch_options

    @property
    def first_head(self) -> str:
        """The initial head of the epoch loop, with "auto" resolved."""
        if self.initial_head != "auto":
            return self.initial_head
        tunes = self.trainable != "head" and self.weights != "none"
        return "probe" if tunes and self.activation == "sigmoid" and self.head != "flatten" else "zero"

    @property
    def calibration_method(self) -> str:
        """The calibration, with "auto" resolved."""
        if self.calibration != "auto":
            return self.calibration
        return "shrunken-platt" if self.activation == "sigmoid" else "none"

    @property
    def label_rules(self) -> LabelRules:
        """How the labels of the table are read."""
        return LabelRules.of(self)

    @property
    def alone(self) -> bool:
        """Whether the training process also runs the frozen layers."""
        return (self.executor, self.processes, self.address) == ("local", 1, None)


def _checked_uri(given: Any) -> str | None:
    """The URI of an MLflow store, as a text. InputError for a URL that no server understands; it may hold a password,
    so it is not quoted."""
    if given is None:
        return None
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else ""
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"mlflow is of type {type(given).__name__}, expected a folder or the URI of a tracking server")
    if text.lower().startswith(("http://", "https://")) and set(text) & set("?#"):
        raise InputError(
            "the URL of mlflow has a ? or #, expected one without: give user and password, or a token, in "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    return text


def _finding_names(given: Any) -> tuple[str, ...]:
    """Names of findings, from a sequence of them or from one text with commas."""
    names = text_list(given.split(",") if isinstance(given, str) else given or (), "findings")
    found = tuple(name.strip() for name in names)
    if odd := next((name for name in found if "," in name), None):
        raise InputError(f"findings names {odd!r}, expected names without a comma")
    return tuple(name for name in found if name)


EPOCH_OPTIONS = (
    *("trainable", "activation", "loss", "epochs", "batch_size", "learning_rate", "warmup", "schedule", "layer_decay"),
    *("weight_decay", "clip_norm", "batch_norm", "sampling", "drop_last", "augmentations", "monitor", "patience"),
    *("checkpoint_policy", "standardize", "initial_head", "initial_bias", "precision"),
)
"""Options that a linear probe does not use, or for which it has one value only."""
_DEFAULTS = {field.name: field.default for field in fields(TrainOptions)}


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Result of a training run.

    Attributes
    ----------
    output : Path
        The model file, or the ensemble file of several networks.
    run_folder : Path
        Folder with the history, the split and the recipe of the run.
    films : dict
        Number of films by split.
    failed : tuple of (str, str)
        Each film that could not be read, with the reason.
    leakage : tuple of str
        One line for each leak that was allowed.
    best_epoch : int
        Epoch whose tensors became the model, from 1; 0: a linear probe.
    history : list of dict
        Measures of each epoch; empty: a linear probe.
    evaluated_on : str
        "folds": ``macro_auc`` is that of out-of-fold predictions; "valid": that of the validation films.
    macro_auc : float
        Macro AUC of the model; NaN if no finding has both classes.
    test_auc : float
        Macro AUC of the test films, which are evaluated once; NaN likewise, or without test films.
    excluded_findings : tuple of str
        Findings of the table that the model lacks, because no training film is positive or none is negative.
    label_match : dict
        Films and rows of the label table, and how many of each have no counterpart, as in the model file.
    warnings : tuple of str
        What limits the use of the figures, one sentence each.
    evaluation : dict
        All figures with their intervals, as in the model file: also the yardsticks and the learning curve.
    mlflow_run : str
        ID of the MLflow run; "" without ``mlflow``, or if nothing could be logged.
    mlflow_error : str
        Why the figures are not in MLflow, or not completely; the model is written nevertheless.
    members : tuple of TrainResult
        Of an ensemble: the result of each network; empty for one network.
    """

    output: Path
    run_folder: Path
    films: dict[str, int]
    failed: tuple[tuple[str, str], ...]
    leakage: tuple[str, ...]
    best_epoch: int
    history: list[dict[str, float]]
    evaluated_on: str
    macro_auc: float
    test_auc: float
    excluded_findings: tuple[str, ...] = ()
    label_match: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    evaluation: dict[str, Any] = field(default_factory=dict)
    mlflow_run: str = ""
    mlflow_error: str = ""
    members: tuple[TrainResult, ...] = ()
