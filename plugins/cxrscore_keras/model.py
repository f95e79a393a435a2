"""Keras models: inference, training, features and inputs of heat maps."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from cxrscore.contract import (
    Array,
    Batch,
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
    check_adam_state,
    check_cam_layer,
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
from cxrscore.system_resources import processor_has
from cxrscore_keras.inference import Inference, dense_head, last_relu, pool
from cxrscore_keras.nets import Network, neutral_variables
from cxrscore_keras.optimiser import Adam
from cxrscore_keras.precision import full_float32


def build(
    spec: ModelSpec, tensors: Tensors | None, *, device: str = "auto", precision: Precision = "fp32", seed: int = 0
) -> KerasModel:
    """See contract.Backend.build."""
    values = initial_tensors(spec, seed) if tensors is None else check_tensors(spec, tensors)
    found = _found(device)
    return KerasModel(spec, _Weights(spec, values, found, bf16=precision == "bf16"))


def native_precisions(device: str) -> tuple[ScorePrecision, ...]:
    """See contract.SupportsNativePrecisions. Bfloat16 of JAX on a processor is not known to be faster."""
    engine, found = keras.config.backend(), _found(device)
    if found == "cpu":
        native = engine != "jax" and "bf16" in processor_has()
    else:
        native = _compute_capability(engine, int(found.partition(":")[2])) >= 8
    return ("bf16", "fp32") if native else ("fp32",)


def _compute_capability(engine: str, number: int) -> int:
    """The major number of a GPU; 0 if the engine does not say. Those from 8 on have bfloat16."""
    framework: Any = sys.modules[engine]
    if engine == "torch":
        return int(framework.cuda.get_device_capability(number)[0])
    if engine == "jax":
        named = str(getattr(framework.devices("gpu")[number], "compute_capability", 0))
        return int(named.partition(".")[0])
    device = framework.config.list_physical_devices("GPU")[number]
    return int(framework.config.experimental.get_device_details(device).get("compute_capability", (0,))[0])


def _found(device: str) -> str:
    there = _devices()
    wanted = {"auto": there[0], "cuda": "cuda:0"}.get(device, device)
    if wanted not in there:
        raise BackendUnavailableError(
            f"device {device!r} is not available for {_framework()}, which has {', '.join(there)}"
        )
    return wanted


def _devices() -> list[str]:
    """Devices of the engine, its default first."""
    if keras.config.backend() == "torch":  # Keras lists no devices for this engine
        listed = [f"gpu:{number}" for number in range(sys.modules["torch"].cuda.device_count())]
    else:
        listed = [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]
    return [*(device.replace("gpu", "cuda") for device in listed), "cpu"]


@contextmanager
def _on(device: str) -> Iterator[None]:
    with keras.device(device.replace("cuda", "gpu")), full_float32():
        yield


def _framework() -> str:
    engine = keras.config.backend()
    return f"keras {keras.__version__} on {engine} {sys.modules[engine].__version__}"


class _Weights:
    """The tensors of a model by neutral name: constants until something trains, then the variables of the layers.

    Most models are never trained, and several hundred layers take seconds to make.
    """

    def __init__(self, spec: ModelSpec, values: Mapping[str, Floats], device: str, *, bf16: bool) -> None:
        self._spec, self._bf16, self.device = spec, bf16, device
        with _on(device):  # copies, because jax may alias the memory
            self.values: dict[str, Any] = {
                name: keras.ops.convert_to_tensor(np.array(value)) for name, value in values.items()
            }

    @functools.cached_property
    def network(self) -> Network:
        """Created at first use, which replaces the values."""
        with _on(self.device):
            network = Network(self._spec, bf16=self._bf16)
            own = neutral_variables(network)
            for name, value in self.values.items():
                own[name].assign(value)
        self.values = own
        self.__dict__.pop("inference", None)  # it holds the constants
        return network

    @functools.cached_property
    def inference(self) -> Inference:
        return Inference(self._spec, self.values, bf16=self._bf16)


class _Learner:
    """Common base of the model, its tail and its head: a network from inputs to logits, its tensors, and Adam for the
    trainable ones."""

    def __init__(
        self,
        spec: ModelSpec,
        weights: _Weights,
        model: Callable[[Network], keras.Model],
        *,
        shape: tuple[int, ...],
        names: Collection[str],
        learning: Collection[str],
    ) -> None:
        self.spec = spec
        self._weights = weights
        self._model_of = model
        self._names = [name for name in tensor_shapes(spec) if name in names]
        self._chosen = frozenset(learning)
        self._input_shape = shape
        self._compiled: tuple[Loss, Optimiser] | None = None
        self._traced: dict[int, Callable[..., object]] = {}
        self.framework = _framework()
        self.device = weights.device

    @property
    def _network(self) -> Network:
        return self._weights.network

    @property
    def _model(self) -> keras.Model:
        return self._model_of(self._network)

    @property
    def _variables(self) -> dict[str, Any]:
        """Its tensors: variables as soon as there is a network."""
        return {name: self._weights.values[name] for name in self._names}

    def predict(self, inputs: Floats) -> Floats:
        return self._run(lambda given: [self._model.predict_on_batch(given)], inputs)[0]

    def _run(self, function: Callable[[Any], Sequence[Any]], inputs: Floats) -> list[Floats]:
        """The outputs of the function as float32 copies; it is compiled once for each number of films."""
        inputs = check_inputs(inputs, self._input_shape)
        one = np.zeros((1, *self._input_shape), np.float32)  # TensorFlow's convolutions refuse an empty batch
        with _on(self.device):
            outputs = function(keras.ops.convert_to_tensor(inputs if len(inputs) else one))
            return [np.array(keras.ops.convert_to_numpy(output)[: len(inputs)], np.float32) for output in outputs]

    def tensors(self) -> dict[str, Array]:
        return {name: _to_numpy(variable) for name, variable in self._variables.items()}

    def fit_epoch(self, batches: Iterable[Batch], loss: Loss, optimiser: Optimiser) -> float:
        with _on(self.device):
            self._network.choose(self._chosen)  # model, tail and head may alternate
            self._compile(loss, replace(optimiser, learning_rate=0.0))
            values = [(self._learn(batch, optimiser), len(batch.inputs)) for batch in batches]
        films = sum(count for _, count in values)
        if not films:
            raise InputError("there is no film to train on: fit_epoch was given no batch")
        return sum(value * count for value, count in values) / films

    def _compile(self, loss: Loss, settings: Optimiser) -> None:
        """Compiles only for another loss or other settings, because Keras then retraces the training step."""
        if self._compiled is None or loss is not self._compiled[0] or settings != self._compiled[1]:
            self._adam.set(settings)
            self._model.compile(optimizer=self._adam, loss=self._bound(loss))
            self._compiled, self._traced = (loss, settings), {}
        self._network.normalise_by_batch(settings.batch_norm == "batch")

    def _bound(self, loss: Loss) -> Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]:
        """The loss of labels and logits with its weights (ones if it has none)."""
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
        self._model.reset_metrics()  # otherwise Keras returns the mean since the last reset
        value = self._model.train_on_batch(inputs, labels, return_dict=True)["loss"]
        self._traced[len(inputs)] = self._model.train_function
        return float(value)

    @functools.cached_property
    def _learning(self) -> dict[str, keras.Variable]:
        """The trainable tensors that the logits depend on, in the order of Keras and of the optimiser."""
        self._network.choose(self._chosen)
        names = {id(variable): name for name, variable in self._variables.items()}
        return {names[id(variable)]: variable for variable in self._model.trainable_variables}

    @functools.cached_property
    def _adam(self) -> Adam:
        """Created at first use: inference needs no moments."""
        adam = Adam(self.spec, list(self._learning))
        with _on(self.device):
            adam.build(list(self._learning.values()))
        return adam

    @functools.cached_property
    def _moments(self) -> dict[str, keras.Variable]:
        """The optimiser's variables by neutral name."""
        found = {}
        for letter, word in (("m", "momentum"), ("v", "velocity")):
            slots = [variable for variable in self._adam.variables if variable.name.endswith(f"_{word}")]
            found |= {f"adam/{letter}/{name}": slot for name, slot in zip(self._learning, slots, strict=True)}
        return found

    def state(self) -> dict[str, Array]:
        steps = np.array(int(_to_numpy(self._adam.iterations)), np.int64)
        # Moments stay 0 without a gradient, as of a class token whose network has a head that pools the map.
        idle = {name: shape for name, shape in self._chosen_shapes().items() if name not in self._learning}
        zeros = {
            f"adam/{moment}/{name}": np.zeros(shape, np.float32) for moment in "mv" for name, shape in idle.items()
        }
        return {"adam/step": steps, **{name: _to_numpy(slot) for name, slot in self._moments.items()}, **zeros}

    def _chosen_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, shape in tensor_shapes(self.spec).items() if name in self._chosen}

    def restore(self, state: Tensors) -> None:
        values = check_adam_state(self._chosen_shapes(), state)
        self._adam.iterations.assign(int(values["adam/step"]))
        for name, slot in self._moments.items():
            slot.assign(np.array(values[name]))


class KerasHead(_Learner):
    """The dense layer on features [N,K]; it shares its tensors with the model."""


class KerasTail(_Learner):
    """Last block and head, on the input of the last block, [N,h,w,K]; it shares its tensors with the model."""


class KerasModel(_Learner):
    """A Model that is Trainable, SupportsFeatureTraining, SplitBackbone, SupportsHeatmaps and SupportsAutograd."""

    def __init__(self, spec: ModelSpec, weights: _Weights) -> None:
        names, learning, side = tensor_shapes(spec), trainable_names(spec), spec.size
        super().__init__(
            spec, weights, lambda network: network.score, shape=(side, side), names=names, learning=learning
        )

    def predict(self, films: Floats) -> Floats:
        return self._run(lambda given: [self._weights.inference.logits(given)], films)[0]

    def embed(self, films: Floats) -> Floats:
        return self._run(lambda given: [self._weights.inference.embed(given)], films)[0]

    @functools.cached_property
    def head(self) -> KerasHead:
        names, shape = ("head/kernel", "head/bias"), (feature_count(self.spec),)
        model = operator.attrgetter("head")
        return KerasHead(self.spec, self._weights, model, shape=shape, names=names, learning=names)

    def stem(self, films: Floats) -> Floats:
        return self._run(lambda given: [self._weights.inference.stem(given)], films)[0]

    @functools.cached_property
    def tail(self) -> KerasTail:
        names, shape = tail_names(self.spec), tail_shape(self.spec)
        model, learning = operator.attrgetter("tail"), trainable_of(names)
        return KerasTail(self.spec, self._weights, model, shape=shape, names=names, learning=learning)

    def cam_parts(self, films: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        layer = check_cam_layer(self.spec, cam_layer)
        kernel = _to_numpy(self._variables["head/kernel"])
        logits, activations = self._run(lambda given: self._weights.inference.maps(given, layer), films)
        gradients = closed_form(self.spec, kernel, findings, activations, layer)
        return CamParts(logits=logits, activations=activations, gradients=gradients, cam_layer=layer)

    def head_gradients(self, activations: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> Floats:
        pooled = check_cam_layer(self.spec, cam_layer) == self.spec.graph.output

        def head(value: Any) -> Any:
            features = pool(self.spec, value if pooled else last_relu(self.spec, value))
            return dense_head(lambda name: keras.ops.convert_to_tensor(self._variables[name]), features)

        with _on(self.device):
            return np.stack([_gradient(head, activations, finding) for finding in findings], axis=1)


def _gradient(head: Callable[[Any], Any], activations: Floats, finding: int) -> Floats:
    """Gradient of the sum of the logits of a finding by activations; Keras has no function for gradients."""
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


def _to_numpy(value: Any) -> Array:
    """A C-contiguous NumPy copy of a variable or a tensor, never a view of what training changes later."""
    value = value.value if isinstance(value, keras.Variable) else value
    if keras.config.backend() == "torch":
        return np.array(value.detach().cpu(), order="C")
    return np.array(value.numpy() if keras.config.backend() == "tensorflow" else value, order="C")
