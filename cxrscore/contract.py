"""What a plugin author implements, and the only page they need to read.

NumPy is the border: the core hands a backend float32 arrays and takes float32 arrays back. A backend opens
no file, reads no option and knows nothing of DICOM, labels or HDF5.

Letters used for shapes, here and in all docstrings:

    N films in a batch      S side of a preprocessed film, pixels     C findings, in the order of ModelSpec.findings
    h w height and width of a feature map      K channels of a feature map, or length of an embedding
    F findings chosen for a heat map, F <= C

This module imports only NumPy and pluggy, so a plugin's hook module stays light.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pluggy
from numpy.typing import NDArray

from cxrscore.errors import InputError
from cxrscore.spec import Activation as Activation
from cxrscore.spec import Head as Head
from cxrscore.spec import ModelSpec as ModelSpec
from cxrscore.spec import Normalize as Normalize
from cxrscore.spec import TrainablePart as TrainablePart
from cxrscore.work import Work as Work

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float32]
Tensors: TypeAlias = Mapping[str, Array]

Precision = Literal["fp32", "bf16"]
BatchNorm = Literal["frozen", "batch"]

GROUP = "cxrscore"
"""Entry-point group in which plugins are found."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs and labels of one training step.

    inputs  float32 [N,S,S], grey, 0 black..1 white; or float32 [N,K] embeddings for a head; or float32 [N,h,w,K]
            activations for a tail
    labels  float32 [N,C], 0 or 1, NaN where unknown
    rate    factor of the learning rate in this step, as the core's schedule wants it
    """

    inputs: Floats
    labels: Floats
    rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Settings of Adam for an epoch. A step's rate is learning_rate times the batch's own ``rate``.

    learning_rate  of the head, 0 or more
    layer_decay    0..1, factor of the rate for each block further from the head (models.architectures.depth_of);
                   1: all alike
    weight_decay   kernels shrink by this share, times their rate, before each step (decoupled: Loshchilov and Hutter,
                   ICLR 2019); biases, gammas and betas do not
    clip_norm      gradients of all tensors together are scaled down to this Euclidean norm; infinite: never
    batch_norm     "frozen": batch normalisation runs on its stored statistics in training, too. "batch": layers whose
                   gamma may learn run on those of the batch and move the stored ones towards them, a hundredth a step
    """

    learning_rate: float
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    clip_norm: float = float("inf")
    batch_norm: BatchNorm = "frozen"


@dataclass(frozen=True, kw_only=True)
class CamParts:
    """What every heat map is computed from, with the scores of the same forward pass.

    logits       float32 [N,C]
    activations  float32 [N,h,w,K] at the tap
    gradients    float32 [N,F,h,w,K], d logit of finding f / d activations; [N,F,1,1,K] where it is the same at every
                 place of the map, as for a "gap" head (weight / (h w)). N may be 1 where it is the same for all.
    tap          name of the layer whose output the activations are
    """

    logits: Floats
    activations: Floats
    gradients: Floats
    tap: str


LossFunction: TypeAlias = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A training loss, written once for all backends.

    function(xp, logits, labels, weights) -> scalar, where xp is an array namespace (numpy, torch, keras.ops)
    and the arrays are of that namespace: logits [N,C], labels [N,C] with NaN = unknown, weights [2,C] the
    weights of positives (row 0) and negatives (row 1). It must use only functions that the three namespaces
    share (cxrscore.testing.SHARED lists them), so that every backend's automatic differentiation flows through
    it; and it must add nothing, to value or gradient, where a label is unknown.
    """

    name: str
    function: LossFunction
    summary: str = ""
    weights: Floats | None = field(default=None, compare=False)

    def weighted(self, weights: Floats) -> Loss:
        """The same loss with class weights float32 [2,C] bound to it, as training passes it to fit_epoch."""
        return dataclasses.replace(self, weights=weights)


class Model(Protocol):
    """A network with its tensors, ready to score."""

    spec: ModelSpec
    framework: str
    """What computes, with versions: "torch 2.13.0", "keras 3.15.1 on tensorflow 2.21.0"."""
    device: str
    """Where: "cpu", "cuda:0"."""

    def predict(self, films: Floats) -> Floats:
        """Logits float32 [N,C] of films float32 [N,S,S] in 0..1. A film's logits do not depend on the others."""
        ...

    def tensors(self) -> dict[str, Array]:
        """All tensors by neutral name (``layer/variable``; kernels HWIO, dense kernels [K,C]), as NumPy copies."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """A model that can learn. One optimiser, Adam, lives inside it."""

    def fit_epoch(self, batches: Iterable[Batch], loss: Loss, optimiser: Optimiser) -> float:
        """One Adam step a batch, in the order given; returns the mean loss, weighted by films."""
        ...

    def state(self) -> dict[str, Array]:
        """The optimiser as named arrays: all that, with tensors(), is needed to go on as if never stopped. Every
        backend has the same names: "adam/step", int64 [], and for each tensor that learns "adam/m/NAME" and
        "adam/v/NAME", its first and second moment."""
        ...

    def restore(self, state: Tensors) -> None:
        """Takes back what state() returned, in a model built with the tensors of the same moment."""
        ...


@runtime_checkable
class TrainableModel(Model, Trainable, Protocol):
    """A model that scores and learns, such as the head of an Embedding model."""


@runtime_checkable
class Embedding(Protocol):
    """A model whose base can be run once and whose head can be trained on what came out."""

    def embed(self, films: Floats) -> Floats:
        """What enters the dense layer of the head: float32 [N,K] of films float32 [N,S,S]."""
        ...

    @property
    def head(self) -> TrainableModel:
        """The head alone, sharing its tensors with the model: predict and fit_epoch take embeddings [N,K],
        tensors() are head/kernel and head/bias only."""
        ...


@runtime_checkable
class Divided(Protocol):
    """A model whose frozen layers can be run once and whose last block, with the head, can be trained on what came
    out. The same whatever ``spec.trainable`` is."""

    def stem(self, films: Floats) -> Floats:
        """What enters the last block: float32 [N,h,w,K] of films float32 [N,S,S]."""
        ...

    @property
    def tail(self) -> TrainableModel:
        """The last block and the head, sharing their tensors with the model: predict and fit_epoch take what stem()
        returned, tensors() are those of the last block and the head only."""
        ...


@runtime_checkable
class Explainable(Protocol):
    """A model that shows what its scores were computed from."""

    def cam_parts(self, films: Floats, findings: Sequence[int], *, tap: str | None = None) -> CamParts:
        """One forward pass: logits, activations at the tap, and the gradients of the logits of these findings.

        tap  None: the tensor that the head pools or flattens, after the last ReLU. A model may offer others, such
             as densenet121's "bn" before that ReLU; a name it does not know is an InputError.
        """
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A model that can work out by automatic differentiation what cam_parts may give in closed form."""

    def head_gradients(self, activations: Floats, findings: Sequence[int], *, tap: str | None = None) -> Floats:
        """float32 [N,F,h,w,K]: d logit of these findings / d activations float32 [N,h,w,K] at the tap."""
        ...


class Backend(Protocol):
    """A framework, as cxrscore_backends describes it. Importing the descriptor imports no framework."""

    name: str
    requires: tuple[str, ...]
    """Top-level modules that build() imports; the core looks them up without importing them."""
    install: str
    """The line that brings them, e.g. ``pip install "cxrscore[torch]"``."""
    architectures: tuple[str, ...]
    trains: bool
    """Whether its models are Trainable, so that `train` may choose it by itself."""
    speed: Mapping[str, float]
    """Films a second in scoring, relative to torch on the same machine, by kind of device: "cpu", "cuda". `score`
    takes the fastest when no backend is named; a kind that is not listed is one that it does not run on."""

    def build(
        self,
        spec: ModelSpec,
        tensors: Tensors | None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> Model:
        """A model of this spec.

        tensors  every tensor under its neutral name: a missing, extra or misshapen one is an InputError.
                 None: random, the same for the same seed.
        device   "auto" (the fastest there is), "cpu", "cuda", "cuda:1"; one that is not there is a
                 BackendUnavailableError
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """What a dataset reader makes of a label table.

    films     N names as the table gives them: a file name, or a POSIX path below the films folder
    findings  C canonical names
    labels    float32 [N,C]: 0, 1, NaN unknown
    patients  N patient identifiers; None where the table names none
    columns   further columns by name, N strings each (sex, age, view, ...), "" where unknown
    """

    films: tuple[str, ...]
    findings: tuple[str, ...]
    labels: Floats
    patients: tuple[str, ...] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A layout of label tables: how to tell it from its header, and how to read it."""

    name: str
    summary: str
    recognises: Callable[[Sequence[str]], bool]
    """True for the column names of this layout. The first reader that says so, in plugin order, is used;
    plain CSV comes last."""
    read: Callable[[Path], LabelTable]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of merit per finding: function(truth [N] of 0/1, score [N]) -> float, NaN where undefined. The score is
    a probability; where truth or score is NaN the film is left out."""

    name: str
    summary: str
    function: Callable[[Array, Array], float]


Predict: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A way to draw heat maps, from either of two things. It returns float32 [N,F,h,w], signed and unscaled:
    positive where the film speaks for the finding.

    from_parts    function(parts) of what an Explainable model gives
    from_scores   function(predict, films, findings) for any model: predict as Model.predict, films [N,S,S],
                  findings the F chosen ones. It calls predict with as many films as it was given.
    """

    name: str
    summary: str
    from_parts: Callable[[CamParts], Floats] | None = None
    from_scores: Callable[[Predict, Floats, Sequence[int]], Floats] | None = None

    def __post_init__(self) -> None:
        if (self.from_parts is None) == (self.from_scores is None):
            raise InputError(f"explainer {self.name!r} needs exactly one of from_parts and from_scores")


class Executor(Protocol):
    """A way to keep several processes busy, as cxrscore_executors describes it. Importing it imports no engine."""

    name: str
    summary: str
    requires: tuple[str, ...]
    install: str
    """Both as of a Backend."""

    def run(self, work: Work, done: Callable[[int, str], None], *, processes: int, address: str | None = None) -> None:
        """Has every item computed, in so many worker processes besides this one, and returns then.

        done     called in this thread, for each item once, with its number and the text that compute returned ("" where
                 the worker stored the item, and died before it could say so)
        address  of a cluster; None: this machine. An InputError where the executor knows no clusters.

        An error of a worker is raised here with its message, a CxrscoreError as what it is. The item of a worker that
        died is given out again unless it is done by now; after a few such deaths of its workers, WorkerError. However
        this ends, no worker goes on.
        """
        ...


class Hooks:
    """The six hooks. All are called once a process, when any plugin is first asked for; each takes nothing and
    returns a sequence of descriptors."""

    @hookspec
    def cxrscore_backends(self) -> Sequence[Backend]:
        """Frameworks that build and run networks. Used by ``train``, ``score``, ``check`` and ``demo``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_datasets(self) -> Sequence[Dataset]:
        """Readers of label tables. Used by ``train`` and ``score`` where there is a label table."""
        raise NotImplementedError

    @hookspec
    def cxrscore_losses(self) -> Sequence[Loss]:
        """Training losses. Used by ``train``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_metrics(self) -> Sequence[Metric]:
        """Figures of merit. Listed by ``plugins`` and put through ``check``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_explainers(self) -> Sequence[Explainer]:
        """Heat maps. Used by ``score``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_executors(self) -> Sequence[Executor]:
        """Ways to use several processes or machines. Used by ``score``."""
        raise NotImplementedError
