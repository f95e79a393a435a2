"""PyTorch models: inference, training, features and inputs of heat maps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from cxrscore.contract import (
    Array,
    Batch,
    BatchNorm,
    CamParts,
    Floats,
    Loss,
    ModelSpec,
    Optimiser,
    Precision,
    ScorePrecision,
    Tensors,
)
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks.tensors import (
    cam_layers,
    check_cam_layer,
    check_films,
    check_inputs,
    check_tensors,
    closed_form,
    feature_count,
    initial_tensors,
    tail_names,
    tail_shape,
    tensor_shapes,
    trainable_names,
    trainable_of,
)
from cxrscore.system_resources import keep_freed_memory, processor_has
from cxrscore_torch.cuda_streams import Pass, SingleStream, StreamPool, full_float32
from cxrscore_torch.distributed import sum_step
from cxrscore_torch.nets import Network, from_neutral, neutral_tensors, to_neutral, to_numpy
from cxrscore_torch.optimiser import Adam


def build(
    spec: ModelSpec, tensors: Tensors | None, *, device: str = "auto", precision: Precision = "fp32", seed: int = 0
) -> TorchModel:
    """See contract.Backend.build."""
    values = initial_tensors(spec, seed) if tensors is None else check_tensors(spec, tensors)
    place = _found(device)
    if place.type == "cpu":
        keep_freed_memory()
    network = Network(spec, bf16=precision == "bf16").to(place, memory_format=torch.channels_last)
    own = neutral_tensors(network)
    for name, value in values.items():
        own[name].requires_grad_(False)
        own[name].copy_(from_neutral(torch.from_numpy(value), name))
    return TorchModel(spec, network, StreamPool(place) if place.type == "cuda" else SingleStream())


def _found(device: str) -> torch.device:
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    own = f"cuda:{torch.cuda.current_device()}" if len(there) > 1 else "cpu"  # a different one for each process
    wanted = {"auto": own, "cuda": own if own != "cpu" else "cuda:0"}.get(device, device)
    if wanted not in there:
        raise BackendUnavailableError(f"device {device!r} is not available for PyTorch, which has {', '.join(there)}")
    return torch.device(wanted)


def native_precisions(device: str) -> tuple[ScorePrecision, ...]:
    """See contract.SupportsNativePrecisions. GPUs have bfloat16 since compute capability 8; PyTorch emulates it on
    older ones, as on processors without it."""
    place = _found(device)
    native = "bf16" in processor_has() if place.type == "cpu" else torch.cuda.get_device_capability(place) >= (8, 0)
    return ("bf16", "fp32") if native else ("fp32",)


class _Learner:
    """Common base of the model, its tail and its head: a network from inputs to logits, its tensors, and Adam for the
    trainable ones."""

    def __init__(
        self,
        spec: ModelSpec,
        network: Network,
        *,
        names: Collection[str],
        learning: Collection[str],
        shape: tuple[int, ...],
        compute: SingleStream | StreamPool,
    ) -> None:
        own = neutral_tensors(network)
        self.spec = spec
        self._network = network
        self._tensors = {name: own[name] for name in tensor_shapes(spec) if name in names}
        self._learning = {name: tensor for name, tensor in self._tensors.items() if name in learning}
        self._input_shape = shape
        self._compute = compute
        self._place = self._tensors["head/bias"].device
        self.framework = f"torch {torch.__version__}"
        self.device = str(self._place)

    def _logits(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def _scores(self, inputs: Tensor) -> Sequence[Tensor]:
        return (self._logits(inputs),)

    def predict(self, films: Floats) -> Floats:
        return self._compute(self._scores, check_inputs(films, self._input_shape))[0]

    def tensors(self) -> dict[str, Array]:
        return {name: to_numpy(to_neutral(tensor, name)) for name, tensor in self._tensors.items()}

    def fit_epoch(self, batches: Iterable[Batch], loss: Loss, optimiser: Optimiser) -> float:
        value_of = self._bound(loss)
        for name, tensor in self._tensors.items():  # the model, its tail and its head may alternate
            tensor.requires_grad_(name in self._learning)
        total, films = torch.zeros((), dtype=torch.float64, device=self._place), 0
        for batch in batches:
            count = len(batch.inputs) if batch.of is None else batch.of
            total += self._learn(batch, value_of, optimiser) * count
            films += count
        if not films:
            raise InputError("there is no film to train on: fit_epoch was given no batch")
        return total.item() / films

    def _bound(self, loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of logits and labels, with its weights (ones if it has none) on the device."""
        weights = np.ones((2, len(self.spec.findings)), np.float32) if loss.weights is None else loss.weights
        on_device = torch.tensor(weights, device=self._place)
        return lambda logits, labels: loss.function(torch, logits, labels, on_device)

    def _learn(self, batch: Batch, value_of: Callable[[Tensor, Tensor], Tensor], optimiser: Optimiser) -> Tensor:
        """One Adam step; returns the loss before it, still on the device so that the next step does not wait."""
        inputs = self._inputs(batch.inputs)
        labels = torch.tensor(check_inputs(batch.labels, (len(self.spec.findings),)), device=self._place)
        self._adam.zero_grad()
        with full_float32():
            with self._statistics_of(optimiser.batch_norm):
                logits = self._logits(inputs)
            value = value_of(logits, labels)
            value.backward()
        if batch.of is not None:
            value = sum_step(value, self._learning.values(), len(inputs) / batch.of)
        self._adam.step(optimiser, batch.rate)
        return value.detach()

    @contextmanager
    def _statistics_of(self, batch_norm: BatchNorm) -> Iterator[None]:
        """Lets layers with a trainable gamma use batch statistics, if requested, in one forward pass."""
        layers = [name.removesuffix("/gamma") for name in self._learning if name.endswith("/gamma")]
        for layer in layers:
            self._network.base[layer].by_batch = batch_norm == "batch"
        try:
            yield
        finally:
            for layer in layers:
                self._network.base[layer].by_batch = False

    @functools.cached_property
    def _adam(self) -> Adam:
        """Created at first use: inference needs no moments."""
        return Adam(self.spec, self._learning)

    def state(self) -> dict[str, Array]:
        return self._adam.state()

    def restore(self, state: Tensors) -> None:
        self._adam.restore(state)

    def _inputs(self, inputs: Floats) -> Tensor:
        return torch.tensor(check_inputs(inputs, self._input_shape), device=self._place)


class TorchHead(_Learner):
    """The dense layer on features [N,K]; it shares its tensors with the model."""

    def _logits(self, inputs: Tensor) -> Tensor:
        return self._network.head(inputs)


class TorchTail(_Learner):
    """Last block and head, on the input of the last block, [N,h,w,K] or [N,T,K]; they share tensors with the model."""

    def _logits(self, inputs: Tensor) -> Tensor:
        return self._network.tail(inputs)


class TorchModel(_Learner):
    """A Model that is AcceptsIntegerImages, Trainable, SupportsFeatureTraining, SplitBackbone, SupportsHeatmaps and
    SupportsAutograd."""

    def __init__(self, spec: ModelSpec, network: Network, compute: SingleStream | StreamPool) -> None:
        names, learning, side = tensor_shapes(spec), trainable_names(spec), spec.size
        super().__init__(spec, network, names=names, learning=learning, shape=(side, side), compute=compute)
        self.lanes = compute.lanes

    def _logits(self, inputs: Tensor) -> Tensor:
        return self._network(inputs)

    def predict(self, films: Array) -> Floats:
        return self._of_films(self._scores, films)[0]

    def _of_films(self, function: Pass, films: Array) -> list[Array]:
        """Of films float32, uint8 or uint16; PyTorch has few functions for uint16, so its bits go as int16."""
        films = check_films(films, self.spec.size)
        return self._compute(function, films.view(np.int16) if films.dtype == np.uint16 else films)

    def embed(self, films: Floats) -> Floats:
        return self._compute(self._embeddings, check_inputs(films, self._input_shape))[0]

    def _embeddings(self, films: Tensor) -> Sequence[Tensor]:
        return (self._network.features(films),)

    @functools.cached_property
    def head(self) -> TorchHead:
        names = ("head/kernel", "head/bias")
        shape = (feature_count(self.spec),)
        return TorchHead(self.spec, self._network, names=names, learning=names, shape=shape, compute=self._compute)

    def stem(self, films: Floats) -> Floats:
        return self._compute(self._stems, check_inputs(films, self._input_shape))[0]

    def _stems(self, films: Tensor) -> Sequence[Tensor]:
        return (self._network.stem(films),)

    @functools.cached_property
    def tail(self) -> TorchTail:
        names, shape = tail_names(self.spec), tail_shape(self.spec)
        return TorchTail(
            self.spec,
            self._network,
            names=names,
            learning=trainable_of(names),
            shape=shape,
            compute=self._compute,
        )

    def cam_parts(self, films: Array, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        cam_layer = check_cam_layer(self.spec, cam_layer)
        logits, weight, activations = self._of_films(self._parts[cam_layer], films)
        gradients = closed_form(self.spec, weight.T, findings, activations, cam_layer)
        return CamParts(logits=logits, activations=activations, gradients=gradients, cam_layer=cam_layer)

    @functools.cached_property
    def _parts(self) -> dict[str, Pass]:
        """By CAM layer, a function of films that is always the same: logits, weights of the dense layer [C,K], and the
        map [N,h,w,K]."""

        def at(cam_layer: str, films: Tensor) -> Sequence[Tensor]:
            logits, found = self._network.at(films, cam_layer)
            return logits, self._network.head.weight, _channels_last(found)

        return {cam_layer: functools.partial(at, cam_layer) for cam_layer in cam_layers(self.spec)}

    def head_gradients(self, activations: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> Floats:
        cam_layer = check_cam_layer(self.spec, cam_layer)
        leaf = torch.tensor(activations, device=self._place).requires_grad_()
        pooled = self._network.after(leaf.permute(0, 3, 1, 2), cam_layer, keep=True)
        with torch.enable_grad(), full_float32():
            sums = self._network.head(self._network.embedding(pooled)).sum(dim=0)
            found = [torch.autograd.grad(sums[finding], leaf, retain_graph=True)[0] for finding in findings]
        return to_numpy(torch.stack(found, dim=1))


def _channels_last(features: Tensor) -> Tensor:
    """[N,K,h,w] -> [N,h,w,K], contiguous; without a copy, because the network uses channels-last memory."""
    return features.permute(0, 2, 3, 1).contiguous()
