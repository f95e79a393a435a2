"""Models of the contract in PyTorch: scoring, training, embeddings and heat-map parts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from cxrscore.contract import Array, Batch, CamParts, Floats, Loss, ModelSpec, Optimiser, Precision, Tensors
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.models.architectures import (
    ADAM_BETAS,
    ADAM_EPSILON,
    check_adam_state,
    check_inputs,
    check_tap,
    check_tensors,
    closed_form,
    embedding_length,
    initial_tensors,
    taps,
    tensor_shapes,
    trainable_names,
)
from cxrscore_torch.allocator import keep_freed_memory
from cxrscore_torch.nets import Network, from_neutral, neutral_tensors, to_neutral


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
        own[name].copy_(from_neutral(torch.from_numpy(value)))
    for name in trainable_names(spec):
        own[name].requires_grad_(True)
    return TorchModel(spec, network)


def _found(device: str) -> torch.device:
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    wanted = {"auto": there[min(1, len(there) - 1)], "cuda": "cuda:0"}.get(device, device)
    if wanted not in there:
        raise BackendUnavailableError(f"device {device!r} is not there for PyTorch, which has {', '.join(there)}")
    return torch.device(wanted)


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keeps CUDA from cutting float32 factors to the 10-bit mantissa of TF32: that moves logits by about 1e-3.

    The switches belong to the process, so they are put back.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


class _Learner:
    """What the model and its head share: a module from inputs to logits, and an Adam for what may learn of it."""

    def __init__(
        self, spec: ModelSpec, module: torch.nn.Module, tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]
    ) -> None:
        self.spec = spec
        self._module = module
        self._tensors = {name: tensors[name] for name in tensor_shapes(spec) if name in tensors}
        self._learning = {name: tensor for name, tensor in self._tensors.items() if tensor.requires_grad}
        self._input_shape = input_shape
        self._place = self._tensors["head/bias"].device
        self.framework = f"torch {torch.__version__}"
        self.device = str(self._place)

    def predict(self, films: Floats) -> Floats:
        with torch.inference_mode(), _full_float32():
            return _to_numpy(self._module(self._inputs(films)))

    def tensors(self) -> dict[str, Array]:
        return {name: _to_numpy(to_neutral(tensor)) for name, tensor in self._tensors.items()}

    def fit_epoch(self, batches: Iterable[Batch], loss: Loss, optimiser: Optimiser) -> float:
        value_of = self._bound(loss)
        total, films = torch.zeros((), dtype=torch.float64, device=self._place), 0
        for batch in batches:
            total += self._learn(batch, value_of, optimiser) * len(batch.inputs)
            films += len(batch.inputs)
        if not films:
            raise InputError("there is no film to train on: fit_epoch was given no batch")
        return total.item() / films

    def _bound(self, loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of logits and labels, its weights (ones where it has none) on the device."""
        weights = np.ones((2, len(self.spec.findings)), np.float32) if loss.weights is None else loss.weights
        on_device = torch.tensor(weights, device=self._place)
        return lambda logits, labels: loss.function(torch, logits, labels, on_device)

    def _learn(self, batch: Batch, value_of: Callable[[Tensor, Tensor], Tensor], optimiser: Optimiser) -> Tensor:
        """One Adam step; returns the loss before it, left on the device so that the next step need not wait."""
        inputs = self._inputs(batch.inputs)
        labels = torch.tensor(check_inputs(batch.labels, (len(self.spec.findings),)), device=self._place)
        self._adam.zero_grad()
        with _full_float32():
            value = value_of(self._module(inputs), labels)
            value.backward()
        self._set_pace(optimiser.learning_rate * batch.rate)
        self._adam.step()
        return value.detach()

    @functools.cached_property
    def _adam(self) -> torch.optim.Adam:
        """Made when first asked for: a model that only scores needs no moments."""
        adam = torch.optim.Adam(self._learning.values(), betas=ADAM_BETAS)
        for tensor in self._learning.values():
            moments = {"exp_avg": torch.zeros_like(tensor), "exp_avg_sq": torch.zeros_like(tensor)}
            adam.state[tensor] = {"step": torch.tensor(0.0), **moments}
        return adam

    @property
    def _steps(self) -> int:
        return int(next(iter(self._adam.state.values()))["step"])

    def _set_pace(self, learning_rate: float) -> None:
        """Learning rate and epsilon of the next step.

        Keras adds epsilon to the root of the second moment before its bias correction, torch after it, which is
        another step where gradients are small. Dividing epsilon by the correction makes torch's step Keras'.
        """
        correction = 1 - ADAM_BETAS[1] ** (self._steps + 1)
        self._adam.param_groups[0].update(lr=learning_rate, eps=ADAM_EPSILON / math.sqrt(correction))

    def state(self) -> dict[str, Array]:
        found = {name: self._adam.state[tensor] for name, tensor in self._learning.items()}
        first = {f"adam/m/{name}": _to_numpy(to_neutral(slot["exp_avg"])) for name, slot in found.items()}
        second = {f"adam/v/{name}": _to_numpy(to_neutral(slot["exp_avg_sq"])) for name, slot in found.items()}
        return {"adam/step": np.array(self._steps, np.int64), **first, **second}

    def restore(self, state: Tensors) -> None:
        shapes = tensor_shapes(self.spec)
        values = check_adam_state({name: shapes[name] for name in self._learning}, state)
        for name, tensor in self._learning.items():
            slot = self._adam.state[tensor]
            slot["step"].fill_(float(values["adam/step"]))
            slot["exp_avg"].copy_(from_neutral(torch.from_numpy(values[f"adam/m/{name}"])))
            slot["exp_avg_sq"].copy_(from_neutral(torch.from_numpy(values[f"adam/v/{name}"])))

    def _inputs(self, inputs: Floats) -> Tensor:
        return torch.tensor(check_inputs(inputs, self._input_shape), device=self._place)


class TorchHead(_Learner):
    """The dense layer alone, on embeddings [N,K]; its tensors are the model's own."""


class TorchModel(_Learner):
    """A Model that is Trainable, Embedding, Explainable and Differentiable."""

    def __init__(self, spec: ModelSpec, network: Network) -> None:
        super().__init__(spec, network, neutral_tensors(network), (spec.size, spec.size))
        self._network = network

    def embed(self, films: Floats) -> Floats:
        with torch.inference_mode(), _full_float32():
            return _to_numpy(self._network.embedding(self._network.features(self._inputs(films))))

    @functools.cached_property
    def head(self) -> TorchHead:
        tensors = {name: tensor for name, tensor in self._tensors.items() if name.startswith("head/")}
        return TorchHead(self.spec, self._network.head, tensors, (embedding_length(self.spec),))

    def cam_parts(self, films: Floats, findings: Sequence[int], *, tap: str | None = None) -> CamParts:
        tap = check_tap(self.spec.architecture, tap)
        kernel = _to_numpy(to_neutral(self._tensors["head/kernel"]))
        with torch.inference_mode(), _full_float32():
            before = self._network.before_relu(self._inputs(films))
            pooled = torch.relu(before)
            logits = _to_numpy(self._network.head(self._network.embedding(pooled)))
        at_tap = pooled if tap == taps(self.spec.architecture)[0] else before
        activations = _to_numpy(at_tap.permute(0, 2, 3, 1))
        gradients = closed_form(self.spec, kernel, findings, activations, tap)
        return CamParts(logits=logits, activations=activations, gradients=gradients, tap=tap)

    def head_gradients(self, activations: Floats, findings: Sequence[int], *, tap: str | None = None) -> Floats:
        tap = check_tap(self.spec.architecture, tap)
        leaf = torch.tensor(activations, device=self._place).requires_grad_()
        features = leaf.permute(0, 3, 1, 2)
        pooled = features if tap == taps(self.spec.architecture)[0] else torch.relu(features)
        with torch.enable_grad(), _full_float32():
            sums = self._network.head(self._network.embedding(pooled)).sum(dim=0)
            found = [torch.autograd.grad(sums[finding], leaf, retain_graph=True)[0] for finding in findings]
        return _to_numpy(torch.stack(found, dim=1))


def _to_numpy(tensor: Tensor) -> Array:
    """A copy in NumPy, C-contiguous: never a view of what training goes on to change."""
    return np.array(tensor.detach().cpu().numpy(), order="C")
