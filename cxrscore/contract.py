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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import pluggy

from cxrscore.errors import InputError
from cxrscore.spec import Activation as Activation
from cxrscore.spec import Head as Head
from cxrscore.spec import ModelSpec as ModelSpec
from cxrscore.spec import Normalize as Normalize
from cxrscore.spec import TrainablePart as TrainablePart
from cxrscore.task import TaskBatch as TaskBatch
from cxrscore.types import Array as Array
from cxrscore.types import Batch as Batch
from cxrscore.types import BatchNorm as BatchNorm
from cxrscore.types import CamParts as CamParts
from cxrscore.types import Floats as Floats
from cxrscore.types import Loss as Loss
from cxrscore.types import LossFunction as LossFunction
from cxrscore.types import Optimiser as Optimiser
from cxrscore.types import Tensors as Tensors

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
"""Lowest and highest value that is kept apart of what enters a convolution, by the name of its layer."""

Precision = Literal["fp32", "bf16"]

GROUP = "cxrscore"
"""Entry-point group in which plugins are found."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


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
class AcceptsIntegerImages(Protocol):
    """A model whose predict and cam_parts take films as they are decoded, too: uint8 or uint16 [N,S,S], 0 black to 255
    or 65535 white, which it scales on its own device, so that less is copied there. What they give is, to the bit,
    what they give for the same films divided by 255, or 65535, in float32."""

    lanes: int
    """How many calls of predict and cam_parts may go on at once, each in a thread of its own, so that the copies of
    one are hidden behind the work of another; 1 where they would only compete."""


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
    """A model that scores and learns, such as the head of a SupportsFeatureTraining model."""


@runtime_checkable
class FeatureExtractor(Protocol):
    """A model whose base can be run alone; what comes out, the head of the same network in another backend may learn
    from."""

    def embed(self, films: Floats) -> Floats:
        """What enters the dense layer of the head: float32 [N,K] of films float32 [N,S,S]."""
        ...


@runtime_checkable
class SupportsFeatureTraining(FeatureExtractor, Protocol):
    """A model whose base can be run once and whose head can be trained on what came out."""

    @property
    def head(self) -> TrainableModel:
        """The head alone, sharing its tensors with the model: predict and fit_epoch take embeddings [N,K],
        tensors() are head/kernel and head/bias only."""
        ...


@runtime_checkable
class SplitBackbone(Protocol):
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
class SupportsHeatmaps(Protocol):
    """A model that shows what its scores were computed from."""

    def cam_parts(self, films: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        """One forward pass: logits, activations at the CAM layer, and the gradients of the logits of these findings.

        cam_layer  None: the tensor that the head pools or flattens, after the last ReLU. A model may offer others, such
             as densenet121's "bn" before that ReLU; a name it does not know is an InputError.
        """
        ...


@runtime_checkable
class SupportsAutograd(Protocol):
    """A model that can work out by automatic differentiation what cam_parts may give in closed form."""

    def head_gradients(self, activations: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> Floats:
        """float32 [N,F,h,w,K]: d logit of these findings / d activations float32 [N,h,w,K] at the CAM layer."""
        ...


@runtime_checkable
class SupportsActivationRanges(Protocol):
    """A model that tells how large what passes through it is."""

    def ranges(self, films: Floats) -> dict[str, Floats]:
        """Lowest and highest value that enters each convolution: float32 [N,2] of films [N,S,S], by the name of the
        layer, in the order of the network."""
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
    """Films a second in scoring, relative to torch on the same machine, by kind of device: "cpu", "cuda". Where no
    backend is named, the fastest of cxrscore's own that can run the model is taken, and one of another distribution
    only where there is none; a kind that is not listed is one that it does not run on."""

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


class ProcessGroup(Protocol):
    """The processes that train one model together. OtherProcessError where one of them is gone."""

    def gather(self, data: bytes) -> list[bytes]:
        """What each process gives, of whatever length, in the order of their ranks. It waits for all, for hours."""
        ...

    def leave(self) -> None:
        """Called once, when all is done or an error ended it. It waits for nobody, and leaves no thread behind."""
        ...


@runtime_checkable
class SupportsDistributed(Protocol):
    """A backend whose models several processes can train together, each on its films of every batch."""

    def join(self, *, rank: int, of: int, device: str) -> ProcessGroup:
        """Waits for the others; the environment says how they find each other: MASTER_ADDR, MASTER_PORT and LOCAL_RANK,
        as torchrun sets them. ``device`` "auto" or "cuda" is then another one for each process of a machine.

        From then on fit_epoch takes batches that are shared (Batch.of), the same number in every process. Each step is
        that of one process on all films of the batch: as a loss is a mean over films, its value and gradients are the
        sum over processes of theirs, times len(inputs) / of. Clipping comes after. "batch" normalisation is not used.
        """
        ...


@runtime_checkable
class SupportsInt8(Protocol):
    """A backend that can also compute in 8-bit integers. The models that it builds in fp32 are
    SupportsActivationRanges."""

    def build_int8(self, spec: ModelSpec, tensors: Tensors, ranges: Ranges, *, device: str = "auto") -> Model:
        """As build(), but for the convolutions named in ranges: what enters them is rounded to 256 values from the
        lowest to the highest, and their kernels to 255 by output channel. A layer that is no convolution of this
        network is an InputError."""
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
    """A figure of merit of one finding. `report` computes it, with a 95 % bootstrap interval over patients.

    function         function(truth, score) -> float, NaN where the metric is undefined. truth float32 [N] is 0 or 1,
                     score float32 [N] a probability. `report` leaves out films whose truth or score is not known, and
                     calls the function about a thousand times a finding, as films of resampled patients repeat.
    needs_threshold  True: function(truth, score, threshold) -> float. The threshold is the stored one of the finding,
                     a probability; a film is called positive where score >= threshold. A finding without a stored
                     threshold has no value.
    """

    name: str
    summary: str
    function: Callable[..., float]
    needs_threshold: bool = False


Predict: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A way to draw heat maps, from either of two things. It returns float32 [N,F,h,w], signed and unscaled:
    positive where the film speaks for the finding.

    from_parts    function(parts) of what a SupportsHeatmaps model gives
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

    def run(
        self, work: TaskBatch, done: Callable[[int, str], None], *, processes: int, address: str | None = None
    ) -> None:
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
        """Figures of merit. Used by ``report``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_explainers(self) -> Sequence[Explainer]:
        """Heat maps. Used by ``score``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_executors(self) -> Sequence[Executor]:
        """Ways to use several processes or machines. Used by ``score``."""
        raise NotImplementedError
