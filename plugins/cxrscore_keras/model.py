"""Models of the contract in Keras: scoring, training, embeddings and heat-map parts."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import keras
import numpy as np

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
    initial_tensors,
    tensor_shapes,
    trainable_names,
)
from cxrscore_keras.nets import Network, neutral_variables


def build(
    spec: ModelSpec, tensors: Tensors | None, *, device: str = "auto", precision: Precision = "fp32", seed: int = 0
) -> KerasModel:
    """See contract.Backend.build."""
    values = initial_tensors(spec, seed) if tensors is None else check_tensors(spec, tensors)
    found, learning = _found(device), trainable_names(spec)
    with _on(found):
        network = Network(spec, bf16=precision == "bf16")
        own = neutral_variables(network)
        for name, value in values.items():
            own[name].assign(np.array(value))  # a copy: jax may go on using the memory that it is given
            own[name].trainable = name in learning
    return KerasModel(spec, network, found)


def _found(device: str) -> str:
    there = _devices()
    wanted = {"auto": there[0], "cuda": "cuda:0"}.get(device, device)
    if wanted not in there:
        raise BackendUnavailableError(
            f"device {device!r} is not there for {_framework()}, which has {', '.join(there)}"
        )
    return wanted


def _devices() -> list[str]:
    """What the engine can compute on, its own choice first."""
    if keras.config.backend() == "torch":  # the one engine for which Keras lists no devices
        listed = [f"gpu:{number}" for number in range(sys.modules["torch"].cuda.device_count())]
    else:
        listed = [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]
    return [*(device.replace("gpu", "cuda") for device in listed), "cpu"]


def _on(device: str) -> AbstractContextManager[object]:
    return keras.device(device.replace("cuda", "gpu"))


def _framework() -> str:
    engine = keras.config.backend()
    return f"keras {keras.__version__} on {engine} {sys.modules[engine].__version__}"


class _Learner:
    """What the model and its head share: a network from inputs to logits, and an Adam for what may learn of it."""

    def __init__(
        self, spec: ModelSpec, model: keras.Model, variables: Mapping[str, keras.Variable], device: str
    ) -> None:
        self.spec = spec
        self._model = model
        self._variables = {name: variables[name] for name in tensor_shapes(spec) if name in variables}
        self._input_shape = tuple(model.input_shape[1:])
        self._loss: Loss | None = None
        self._traced: dict[int, Callable[..., object]] = {}
        self.framework = _framework()
        self.device = device

    def predict(self, films: Floats) -> Floats:
        return self._run(self._model, films)[0]

    def _run(self, model: keras.Model, films: Floats) -> list[Floats]:
        """The model's outputs as float32 copies. predict_on_batch is compiled once for each number of films."""
        inputs = check_inputs(films, self._input_shape)
        one = np.zeros((1, *self._input_shape), np.float32)  # TensorFlow's convolutions refuse an empty batch
        with _on(self.device):
            outputs = model.predict_on_batch(inputs if len(inputs) else one)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        return [np.array(output[: len(inputs)], np.float32) for output in outputs]

    def tensors(self) -> dict[str, Array]:
        return {name: _to_numpy(variable) for name, variable in self._variables.items()}

    def fit_epoch(self, batches: Iterable[Batch], loss: Loss, optimiser: Optimiser) -> float:
        with _on(self.device):
            self._compile(loss)
            values = [(self._learn(batch, optimiser), len(batch.inputs)) for batch in batches]
        films = sum(count for _, count in values)
        if not films:
            raise InputError("there is no film to train on: fit_epoch was given no batch")
        return sum(value * count for value, count in values) / films

    def _compile(self, loss: Loss) -> None:
        """Only for another loss: Keras traces the training step anew after each compilation."""
        if loss is not self._loss:
            self._model.compile(optimizer=self._adam, loss=self._bound(loss))
            self._loss, self._traced = loss, {}

    def _bound(self, loss: Loss) -> Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]:
        """The loss of labels and logits, with its weights, ones where it has none."""
        weights = np.ones((2, len(self.spec.findings)), np.float32) if loss.weights is None else loss.weights
        return lambda labels, logits: loss.function(keras.ops, logits, labels, keras.ops.convert_to_tensor(weights))

    def _learn(self, batch: Batch, optimiser: Optimiser) -> float:
        """One Adam step; returns the loss before it."""
        inputs = check_inputs(batch.inputs, self._input_shape)
        labels = check_inputs(batch.labels, (len(self.spec.findings),))
        # One traced step for each number of films: at the second number TensorFlow would make that axis "unknown",
        # and a loss that divides by logits.shape[0] would fail.
        self._model.train_function = self._traced.get(len(inputs))
        self._adam.learning_rate = optimiser.learning_rate * batch.rate
        self._model.reset_metrics()  # else Keras returns the mean since the last reset
        value = self._model.train_on_batch(inputs, labels, return_dict=True)["loss"]
        self._traced[len(inputs)] = self._model.train_function
        return float(value)

    @functools.cached_property
    def _adam(self) -> keras.optimizers.Adam:
        """Made when first asked for: a model that only scores needs no moments."""
        adam = keras.optimizers.Adam(beta_1=ADAM_BETAS[0], beta_2=ADAM_BETAS[1], epsilon=ADAM_EPSILON)
        with _on(self.device):
            adam.build(self._model.trainable_variables)
        return adam

    @functools.cached_property
    def _moments(self) -> dict[str, keras.Variable]:
        """The optimiser's variables by neutral name. Keras keeps them in the order of the tensors that learn."""
        names = {id(variable): name for name, variable in self._variables.items()}
        learning = [names[id(variable)] for variable in self._model.trainable_variables]
        found = {}
        for letter, word in (("m", "momentum"), ("v", "velocity")):
            slots = [variable for variable in self._adam.variables if variable.name.endswith(f"_{word}")]
            found |= {f"adam/{letter}/{name}": slot for name, slot in zip(learning, slots, strict=True)}
        return found

    def state(self) -> dict[str, Array]:
        steps = np.array(int(_to_numpy(self._adam.iterations)), np.int64)
        return {"adam/step": steps, **{name: _to_numpy(slot) for name, slot in self._moments.items()}}

    def restore(self, state: Tensors) -> None:
        shapes = tensor_shapes(self.spec)
        learning = [name.removeprefix("adam/m/") for name in self._moments if name.startswith("adam/m/")]
        values = check_adam_state({name: shapes[name] for name in learning}, state)
        self._adam.iterations.assign(int(values["adam/step"]))
        for name, slot in self._moments.items():
            slot.assign(np.array(values[name]))


class KerasHead(_Learner):
    """The dense layer alone, on embeddings [N,K]; its tensors are the model's own."""


class KerasModel(_Learner):
    """A Model that is Trainable, Embedding, Explainable and Differentiable."""

    def __init__(self, spec: ModelSpec, network: Network, device: str) -> None:
        super().__init__(spec, network.score, neutral_variables(network), device)
        self._network = network

    def embed(self, films: Floats) -> Floats:
        return self._run(self._network.embed, films)[0]

    @functools.cached_property
    def head(self) -> KerasHead:
        variables = {name: variable for name, variable in self._variables.items() if name.startswith("head/")}
        return KerasHead(self.spec, self._network.head, variables, self.device)

    def cam_parts(self, films: Floats, findings: Sequence[int], *, tap: str | None = None) -> CamParts:
        tap = check_tap(self.spec.architecture, tap)
        kernel = _to_numpy(self._variables["head/kernel"])
        logits, activations = self._run(self._network.maps[tap], films)
        gradients = closed_form(self.spec, kernel, findings, activations, tap)
        return CamParts(logits=logits, activations=activations, gradients=gradients, tap=tap)

    def head_gradients(self, activations: Floats, findings: Sequence[int], *, tap: str | None = None) -> Floats:
        head = self._network.heads[check_tap(self.spec.architecture, tap)]
        with _on(self.device):
            return np.stack([_gradient(head, activations, finding) for finding in findings], axis=1)


def _gradient(head: keras.Model, activations: Floats, finding: int) -> Floats:
    """d sum over films of the logit of a finding / d activations: Keras has no word of its own for a gradient."""
    engine = keras.config.backend()
    if engine == "tensorflow":
        import tensorflow as tf

        given = tf.constant(activations)
        with tf.GradientTape() as tape:
            tape.watch(given)
            logit = tf.reduce_sum(head(given)[:, finding])
        return np.array(tape.gradient(logit, given))
    if engine == "jax":
        import jax

        return np.array(jax.grad(lambda given: head(given)[:, finding].sum())(keras.ops.convert_to_tensor(activations)))
    given = keras.ops.convert_to_tensor(activations).detach().clone().requires_grad_()
    head(given)[:, finding].sum().backward()
    return keras.ops.convert_to_numpy(given.grad)


def _to_numpy(variable: keras.Variable) -> Array:
    """A copy in NumPy, C-contiguous: never a view of what training goes on to change."""
    return np.array(np.asarray(variable), order="C")
