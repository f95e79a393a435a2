"""The interfaces that a plugin implements.

The core and a backend exchange NumPy arrays only. A backend opens no file, reads no option, and knows nothing of DICOM,
label tables or HDF5.

All docstrings use these letters for shapes:

    N    films in a batch
    S    side of a preprocessed film, pixels
    C    findings, in the order of ModelSpec.findings
    F    findings chosen for a heat map, F <= C
    h w  height and width of a feature map
    K    channels of a feature map, or features that enter the dense layer

This module imports only NumPy and pluggy, so a plugin can import it at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import pluggy

from cxrscore.errors import InputError
from cxrscore.networks.graph import GraphBuilder as GraphBuilder
from cxrscore.networks.graph import Network as Network
from cxrscore.networks.graph import Node as Node
from cxrscore.networks.spec import Activation as Activation
from cxrscore.networks.spec import Head as Head
from cxrscore.networks.spec import ModelSpec as ModelSpec
from cxrscore.networks.spec import Normalize as Normalize
from cxrscore.networks.spec import TrainablePart as TrainablePart
from cxrscore.types import Array as Array
from cxrscore.types import Batch as Batch
from cxrscore.types import BatchNorm as BatchNorm
from cxrscore.types import CamParts as CamParts
from cxrscore.types import Floats as Floats
from cxrscore.types import Loss as Loss
from cxrscore.types import LossFunction as LossFunction
from cxrscore.types import Optimiser as Optimiser
from cxrscore.types import TaskBatch as TaskBatch
from cxrscore.types import Tensors as Tensors

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
"""By layer name: the lowest and highest input of a convolution or dense layer that int8 represents; values beyond are
clipped."""

Precision = Literal["fp32", "bf16"]
ScorePrecision = Literal["fp32", "bf16", "int8"]
"""Arithmetic of a network that scores: ``build`` has the first two, ``build_int8`` the last."""

GROUP = "cxrscore"
"""Entry-point group in which plugins are found."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Model(Protocol):
    """A network with its tensors, ready for inference. ``build`` returns it."""

    spec: ModelSpec
    framework: str
    """Name and version, such as "torch 2.13.0" or "keras 3.15.1 on tensorflow 2.21.0"."""
    device: str
    """Such as "cpu" or "cuda:0"."""

    def predict(self, films: Floats) -> Floats:
        """Compute logits; those of a film do not depend on the other films of the batch.

        Parameters
        ----------
        films
            float32 [N,S,S], 0 black to 1 white.

        Returns
        -------
        Floats
            float32 [N,C].

        Raises
        ------
        InputError
            If films have another shape or dtype.
        """
        ...

    def tensors(self) -> dict[str, Array]:
        """Return NumPy copies of all tensors by framework-neutral name, ``layer/variable``.

        Convolution kernels are HWIO, dense kernels [K,C].
        """
        ...


@runtime_checkable
class AcceptsIntegerImages(Protocol):
    """A model whose ``predict`` and ``cam_parts`` also take uint8 or uint16 films [N,S,S].

    0 is black, 255 or 65535 white. The model scales them on its own device, so less data is copied there. Results equal
    those for the same films divided by 255 or 65535 in float32.
    """

    lanes: int
    """How many threads may call ``predict`` and ``cam_parts`` at once, so that copies overlap with computation. 1 if
    concurrent calls would only compete."""


@runtime_checkable
class AnyBatchSize(Protocol):
    """A model to which a batch of any size costs no more than its films.

    Scoring fills up the batches of other models with black films, because a network may be compiled for each size. The
    results of a film are the same, bit for bit, in a batch of any size.
    """

    any_batch_size: bool
    """Whether it is so: a model may say no, such as on a GPU."""


def takes_any_batch_size(model: Model) -> bool:
    """Return whether batches need not be filled up for this model."""
    return isinstance(model, AnyBatchSize) and model.any_batch_size


@runtime_checkable
class Trainable(Protocol):
    """A model that can be trained. It contains one Adam optimiser."""

    def fit_epoch(self, batches: Iterable[Batch], loss: Loss, optimiser: Optimiser) -> float:
        """Make one Adam step for each batch, in the given order.

        Returns
        -------
        float
            Mean over films of the loss before each step.

        Raises
        ------
        InputError
            If there is no batch, or inputs or labels have another shape.
        """
        ...

    def state(self) -> dict[str, Array]:
        """Return the optimiser as named arrays.

        With ``tensors()``, they are all that is needed to resume training exactly. All backends use the same names:
        "adam/step", int64 [], and for each trainable tensor "adam/m/NAME" and "adam/v/NAME", its first and second
        moment.
        """
        ...

    def restore(self, state: Tensors) -> None:
        """Load what ``state()`` returned into a model that was built with the tensors of the same step.

        Raises
        ------
        InputError
            If an array is missing, extra or of another shape.
        """
        ...


@runtime_checkable
class TrainableModel(Model, Trainable, Protocol):
    """A model that predicts and trains, such as ``SupportsFeatureTraining.head``."""


@runtime_checkable
class FeatureExtractor(Protocol):
    """A model whose backbone can run alone. The head may then be trained in another backend."""

    def embed(self, films: Floats) -> Floats:
        """Return features float32 [N,K], the input of the dense layer, of films float32 [N,S,S]."""
        ...


@runtime_checkable
class SupportsFeatureTraining(FeatureExtractor, Protocol):
    """A model whose frozen backbone runs once, and whose head is trained on the features."""

    @property
    def head(self) -> TrainableModel:
        """The head alone. It shares its tensors with the model.

        ``predict`` and ``fit_epoch`` take features [N,K]; ``tensors()`` has head/kernel and head/bias only.
        """
        ...


@runtime_checkable
class SplitBackbone(Protocol):
    """A model whose frozen layers run once, and whose last block and head are trained on the result.

    The split does not depend on ``spec.trainable``.
    """

    def stem(self, films: Floats) -> Floats:
        """Return the input of the last block, float32 [N,h,w,K], or [N,T,K] in a transformer, of films float32
        [N,S,S]."""
        ...

    @property
    def tail(self) -> TrainableModel:
        """The last block and the head. They share their tensors with the model.

        ``predict`` and ``fit_epoch`` take what ``stem`` returned; ``tensors()`` has the tensors of these layers only.
        """
        ...


@runtime_checkable
class SupportsHeatmaps(Protocol):
    """A model that returns the activations and gradients that heat maps are computed from."""

    def cam_parts(self, films: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        """Compute logits, activations, and gradients of the logits of some findings in one forward pass.

        Parameters
        ----------
        films
            As for ``predict``.
        findings
            F indices in 0..C-1.
        cam_layer
            Name of the layer whose activations are returned. None: the tensor that the head pools or flattens, after
            the last ReLU. A model may offer others, such as "bn" of densenet121, before that ReLU.

        Raises
        ------
        InputError
            If the network does not have the layer or the finding.
        """
        ...


@runtime_checkable
class SupportsAutograd(Protocol):
    """A model that can also compute the gradients of ``cam_parts`` by automatic differentiation."""

    def head_gradients(self, activations: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> Floats:
        """Return d logit / d activations, float32 [N,F,h,w,K], for activations float32 [N,h,w,K] of the layer."""
        ...


@runtime_checkable
class SupportsActivationRanges(Protocol):
    """A model that measures the input ranges of its convolutions and dense layers, for int8."""

    def ranges(self, films: Floats) -> dict[str, Floats]:
        """Return the lowest and highest input of each convolution and dense layer, float32 [N,2], for films [N,S,S].

        The keys are layer names in the order of the network; the head is not among them.
        """
        ...


class Backend(Protocol):
    """Description of a framework, returned by ``cxrscore_backends``. Importing it must import no framework."""

    name: str
    """One word."""
    requires: tuple[str, ...]
    """Top-level modules that ``build`` imports. The core looks them up without importing them."""
    install: str
    """Command that installs them, such as ``pip install "cxrscore[torch]"``."""
    architectures: tuple[str, ...]
    """Names of networks that it computes in a way of its own, whatever their graph; empty for most."""
    operations: tuple[str, ...] = ()
    """Operations of network graphs that it computes (cxrscore.networks.operations): it runs every network that uses no
    other. Left out: none."""
    trains: bool
    """Whether the models are Trainable."""
    speed: Mapping[str, float]
    """By kind of device, "cpu" or "cuda": films per second in scoring, relative to torch on the same machine. A kind
    that is not listed is not supported."""

    def build(
        self,
        spec: ModelSpec,
        tensors: Tensors | None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> Model:
        """Build a model.

        Parameters
        ----------
        spec
            The network.
        tensors
            Every tensor under its neutral name. None: random values.
        device
            "auto" (the fastest that is available), "cpu", "cuda" or "cuda:1".
        precision
            "fp32" or "bf16". Arrays that go in and out are float32 in both.
        seed
            Of the random values: the same seed gives the same tensors.

        Raises
        ------
        InputError
            If it cannot run the network, or a tensor is missing, extra or of another shape.
        BackendUnavailableError
            If the device or precision is not available.
        """
        ...


class ProcessGroup(Protocol):
    """The processes that train one model together. Calls raise OtherProcessError if one of them is gone."""

    def gather(self, data: bytes) -> list[bytes]:
        """Return the bytes of every process, of any length, by rank. Waits for all, for hours if needed."""
        ...

    def leave(self) -> None:
        """Leave the group. Called once, at the end or after an error. It waits for nobody and leaves no thread."""
        ...


@runtime_checkable
class SupportsDistributed(Protocol):
    """A backend with which several processes train one model, each on its share of every batch."""

    def join(self, *, rank: int, of: int, device: str) -> ProcessGroup:
        """Join the other processes, and wait until all have joined.

        Then ``fit_epoch`` takes batches with ``Batch.of`` set, as many in every process. Each step equals that of one
        process on all films of the batch: value and gradients are the sum over processes of their own times
        len(inputs) / of. Gradients are clipped after the sum. ``batch_norm="batch"`` is not used.

        Parameters
        ----------
        rank
            Of this process, from 0. MASTER_ADDR, MASTER_PORT and LOCAL_RANK are set as torchrun sets them.
        of
            Number of processes.
        device
            "auto" or "cuda": one GPU for each process of a machine.
        """
        ...


@runtime_checkable
class SupportsInt8(Protocol):
    """A backend that can also compute in 8-bit integers. Its fp32 models are SupportsActivationRanges."""

    def build_int8(
        self,
        spec: ModelSpec,
        tensors: Tensors,
        ranges: Ranges,
        *,
        device: str = "auto",
        precision: Precision | None = None,
    ) -> Model:
        """Build a model whose convolutions and dense layers named in ``ranges`` use 8-bit integers; otherwise as
        ``build``.

        Their inputs are rounded to 256 values between lowest and highest, their kernels to 255 values per output
        channel. All else is computed in floating point, in ``precision``; None: the fastest that the device has.

        Raises
        ------
        InputError
            If a layer in ``ranges`` is neither a convolution nor a dense layer of this network, or is the head.
        """
        ...


@runtime_checkable
class SupportsNativePrecisions(Protocol):
    """A backend that says what a device computes in instructions of its own. Of another one, cxrscore assumes fp32."""

    def native_precisions(self, device: str = "auto") -> Sequence[ScorePrecision]:
        """Return the precisions that this device does not emulate and in which the backend uses it, the fastest first.

        "fp32" is always among them; what comes after it is slower. "int8" only from a backend that is SupportsInt8.
        ``score --precision auto`` chooses among them, and ``score`` warns of another precision that is named.

        Parameters
        ----------
        device
            As for ``build``.

        Raises
        ------
        BackendUnavailableError
            If the device is not available.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """Labels of films, as ``Dataset.read`` returns them.

    Parameters
    ----------
    films
        N distinct names as in the table: a file name, or a POSIX path relative to the films folder.
    findings
        C distinct names.
    labels
        float32 [N,C]: 0, 1, a number between them for a soft label, or NaN where unknown.
    patients
        N patient identifiers; None if the table has none.
    columns
        Further columns by name (sex, age, view, ...): N strings each, "" where unknown.
    """

    films: tuple[str, ...]
    findings: tuple[str, ...]
    labels: Floats
    patients: tuple[str, ...] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Reader of one layout of label tables.

    Parameters
    ----------
    name
        One word.
    summary
        One line for `cxrscore plugins` and error messages.
    recognises
        function(columns) -> bool: True for the column names of this layout. The first reader that returns True is used;
        cxrscore's own readers are tried first, its ``plain`` CSV last.
    read
        function(path) -> LabelTable. It raises an InputError that names the line of a value it cannot read.
    """

    name: str
    summary: str
    recognises: Callable[[Sequence[str]], bool]
    read: Callable[[Path], LabelTable]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A performance measure of one finding, which `report` shows with a 95 % bootstrap interval over patients.

    Parameters
    ----------
    name
        One word.
    summary
        One line.
    function
        function(truth, score) -> float, NaN where undefined. truth float32 [N] is 0 or 1 (the class of a soft label),
        score float32 [N] a probability; films without truth or score are left out. It is called about a thousand times
        per finding.
    needs_threshold
        True: function(truth, score, threshold) -> float. The threshold is the one stored for the finding, a
        probability; a film is positive if score >= threshold. A finding without a stored threshold has no value.
    """

    name: str
    summary: str
    function: Callable[..., float]
    needs_threshold: bool = False


Predict: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A method for heat maps. It returns float32 [N,F,h,w], signed, not scaled, positive where the film supports the
    finding.

    Parameters
    ----------
    name
        One word.
    summary
        One line.
    from_parts
        function(parts) -> maps, from CamParts of a SupportsHeatmaps model.
    from_scores
        function(predict, films, findings) -> maps, for any model: predict as Model.predict, films [N,S,S], findings the
        F chosen indices. It calls predict with exactly N films.

    Raises
    ------
    InputError
        Unless exactly one of from_parts and from_scores is given.
    """

    name: str
    summary: str
    from_parts: Callable[[CamParts], Floats] | None = None
    from_scores: Callable[[Predict, Floats, Sequence[int]], Floats] | None = None

    def __post_init__(self) -> None:
        if (self.from_parts is None) == (self.from_scores is None):
            raise InputError(f"explainer {self.name!r} needs exactly one of from_parts and from_scores")


class Executor(Protocol):
    """Runs tasks in several processes. Returned by ``cxrscore_executors``; importing it must import no engine."""

    name: str
    """One word."""
    summary: str
    """One line."""
    requires: tuple[str, ...]
    install: str
    """As in Backend."""

    def run(
        self, work: TaskBatch, done: Callable[[int, str], None], *, processes: int, address: str | None = None
    ) -> None:
        """Compute every item in worker processes, and return when all are done.

        If a worker dies, its item is computed again unless ``work.is_done``. However the run ends, no worker is left.

        Parameters
        ----------
        work
            The items.
        done
            Called in this thread, once for each item, with its number and the text that compute returned; "" if the
            worker stored the item and then died.
        processes
            Number of workers besides this process.
        address
            Address of a cluster. None: this machine.

        Raises
        ------
        InputError
            If an address is given and the executor knows no clusters.
        CxrscoreError
            What a worker raised, with its class and message; WorkerError for any other exception.
        WorkerError
            If the workers of one item died several times.
        """
        ...


class Hooks:
    """The seven hooks. They are called once per process, when a plugin is first needed; they take no arguments."""

    @hookspec
    def cxrscore_backends(self) -> Sequence[Backend]:
        """Frameworks that build and run networks: ``train --backend``, ``score --backend``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_networks(self) -> Sequence[Network]:
        """Networks as graphs, which every backend with their operations runs: ``train --architecture``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_datasets(self) -> Sequence[Dataset]:
        """Readers of label tables: every command that reads labels."""
        raise NotImplementedError

    @hookspec
    def cxrscore_losses(self) -> Sequence[Loss]:
        """Training losses, for all backends: ``train --loss``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_metrics(self) -> Sequence[Metric]:
        """Performance measures: ``report``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_explainers(self) -> Sequence[Explainer]:
        """Heat-map methods, for all backends: ``score --explainer``."""
        raise NotImplementedError

    @hookspec
    def cxrscore_executors(self) -> Sequence[Executor]:
        """Ways to use several processes or machines: ``train`` and ``score --executor``."""
        raise NotImplementedError
