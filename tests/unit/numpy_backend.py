"""A backend of NumPy alone, float32, correct: what the kit must pass, and what the bad backends are made of.

tinycnn scores and learns, its gradients derived by hand. resnet50 scores by the reference, and of it only the head
learns: enough for the cases that ask for batch normalisation.
"""

from __future__ import annotations

import functools
from types import MappingProxyType

import numpy as np

from cxrscore.contract import CamParts
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks import reference as numpy_reference
from cxrscore.networks.tensors import (
    ADAM_BETAS,
    ADAM_EPSILON,
    NORMALISATIONS,
    cam_layers,
    check_adam_state,
    check_cam_layer,
    check_films,
    check_inputs,
    check_tensors,
    closed_form,
    depth_of,
    feature_count,
    initial_tensors,
    tail_names,
    tail_shape,
    tensor_shapes,
    trainable_names,
    trainable_of,
)
from cxrscore.networks.tinycnn import LAYERS as TINYCNN_LAYERS

STEP = 1e-5


def windows(x, stride):
    """3x3 squares with zeros outside: [N,H,W,K] -> [N,h,w,3,3,K]."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    squares = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    return squares.transpose(0, 1, 2, 4, 5, 3)


def convolved(x, kernel, bias, stride):
    squares = windows(x, stride)
    rows = squares.reshape(np.prod(squares.shape[:3]), kernel[..., 0].size)
    return (rows @ kernel.reshape(-1, len(bias)) + bias).reshape(*squares.shape[:3], len(bias))


def convolved_back(x, kernel, stride, slope):
    """Gradients of kernel, bias and x, from that of what came out."""
    of_kernel = np.tensordot(windows(x, stride), slope, axes=([0, 1, 2], [0, 1, 2]))
    padded = np.zeros((len(x), x.shape[1] + 2, x.shape[2] + 2, x.shape[3]), np.float32)
    down, right = (stride * (side - 1) + 1 for side in slope.shape[1:3])
    for row in range(3):
        for column in range(3):
            padded[:, row : row + down : stride, column : column + right : stride] += slope @ kernel[row, column].T
    return of_kernel, slope.sum(axis=(0, 1, 2)), padded[:, 1:-1, 1:-1]


def as_bf16(value):
    """Float32 with the last 16 bits cut off."""
    return (np.ascontiguousarray(value).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


class Alone:
    """A group of one process."""

    def gather(self, data):
        return [data]

    def leave(self):
        pass


def rounded(x, low, high, steps):
    """To the nearest of equal steps from low to high, which are the ends."""
    step = (high - low) / np.float32(steps)
    return low + np.round((np.clip(x, low, high) - low) / step) * step


class Learner:
    """What the model, its tail and its head share: tensors, and an Adam for those that learn."""

    framework = f"numpy {np.__version__}"
    device = "cpu"

    def __init__(self, spec, tensors, input_shape, learning):
        self.spec, self.own, self.input_shape = spec, tensors, input_shape
        self.learning = sorted(learning)
        self.steps = 0
        self.moments = {f"adam/{m}/{name}": np.zeros_like(tensors[name]) for m in "mv" for name in self.learning}

    def predict(self, inputs):
        return self.scores(check_inputs(inputs, self.input_shape))

    def tensors(self):
        return {name: value.copy() for name, value in self.own.items()}

    def fit_epoch(self, batches, loss, optimiser):
        values = [(self.learn(batch, loss, optimiser), batch.of or len(batch.inputs)) for batch in batches]
        if not values:
            raise InputError("there is no film to train on: fit_epoch was given no batch")
        return float(np.average([value for value, _ in values], weights=[films for _, films in values]))

    def learn(self, batch, loss, optimiser):
        inputs = check_inputs(batch.inputs, self.input_shape)
        labels = check_inputs(batch.labels, (len(self.spec.findings),)).astype(np.float64)
        logits = self.scores_by_batch(inputs) if optimiser.batch_norm == "batch" else self.scores(inputs)
        value, slope = self.loss_and_slope(logits, labels, loss)
        share = len(inputs) / (batch.of or len(inputs))
        gradients = self.gradients(inputs, (share * slope).astype(np.float32))
        gradients = self.clipped(gradients, optimiser.clip_norm)
        self.steps += 1
        for name in self.learning:
            rate = self.rate(name, optimiser, batch.rate)
            if name.endswith("/kernel"):
                self.own[name] *= np.float32(1 - optimiser.weight_decay * rate)
            self.step(name, gradients[name], rate)
        return share * value

    def rate(self, name, optimiser, share):
        return optimiser.learning_rate * share * optimiser.layer_decay ** depth_of(self.spec, name)

    def clipped(self, gradients, limit):
        norm = np.sqrt(sum(np.sum(gradients[name].astype(np.float64) ** 2) for name in self.learning))
        return {name: value * np.float32(limit / norm if norm > limit else 1) for name, value in gradients.items()}

    def scores_by_batch(self, inputs):
        """Where there is no batch normalisation."""
        return self.scores(inputs)

    def loss_and_slope(self, logits, labels, loss):
        """The loss and its derivative by logits, number by number: any loss is good, none is differentiated."""
        weights = np.ones((2, labels.shape[1])) if loss.weights is None else np.asarray(loss.weights, np.float64)

        def value(logits):
            return float(loss.function(np, logits, labels, weights))

        logits, slope = logits.astype(np.float64), np.zeros(logits.shape)
        for place in np.ndindex(logits.shape):
            move = np.zeros(logits.shape)
            move[place] = STEP
            slope[place] = (value(logits + move) - value(logits - move)) / (2 * STEP)
        return value(logits), slope

    def step(self, name, gradient, rate):
        (first, second), m, v = ADAM_BETAS, self.moments[f"adam/m/{name}"], self.moments[f"adam/v/{name}"]
        m[...] = first * m + (1 - first) * gradient
        v[...] = second * v + (1 - second) * gradient**2
        self.own[name] -= self.stride(m, v, rate).astype(np.float32)

    def stride(self, m, v, rate):
        first, second = (1 - beta**self.steps for beta in ADAM_BETAS)
        return rate * np.sqrt(second) / first * m / (np.sqrt(v) + ADAM_EPSILON)

    def state(self):
        return {"adam/step": np.array(self.steps, np.int64), **{n: value.copy() for n, value in self.moments.items()}}

    def restore(self, state):
        shapes = tensor_shapes(self.spec)
        values = check_adam_state({name: shapes[name] for name in self.learning}, state)
        self.steps = int(values.pop("adam/step"))
        self.moments = {name: value.astype(np.float32) for name, value in values.items()}

    def dense(self, embeddings):
        return embeddings @ self.own["head/kernel"] + self.own["head/bias"]

    def dense_back(self, embeddings, slope):
        return {"head/kernel": embeddings.T @ slope, "head/bias": slope.sum(axis=0)}


class NumpyHead(Learner):
    """The dense layer alone, on embeddings [N,K]."""

    scores, gradients = Learner.dense, Learner.dense_back


class Convolutions(Learner):
    """The model, or its tail: what ends with the head."""

    def __init__(self, spec, tensors, input_shape, learning, *, bf16=False, ranges=None):
        super().__init__(spec, tensors, input_shape, learning)
        self.bf16, self.given = bf16, ranges or {}

    def computed_with(self):
        """The tensors as they are computed with."""
        if self.bf16:
            return {name: as_bf16(value) for name, value in self.own.items()}
        return {name: self.rounded_kernel(name, value) for name, value in self.own.items()}

    def rounded_kernel(self, name, value):
        if name.removesuffix("/kernel") not in self.given:
            return value
        largest = np.abs(value).max(axis=(0, 1, 2))
        return rounded(value, -largest, largest, 254)

    def entering(self, number, x):
        """What enters a convolution, rounded where its range is given."""
        low, high = self.given.get(f"conv{number}", (0, 0))
        return rounded(x, np.float32(low), np.float32(high), 255) if high > low else x

    def convolutions(self, x, numbers):
        """What enters each of these convolutions of tinycnn, by number, and the map that leaves the last of them."""
        own, entered = self.computed_with(), {}
        for number in numbers:
            entered[number] = self.entering(number, np.maximum(x, 0) if entered else x)
            stride = TINYCNN_LAYERS[number - 1][1]
            x = convolved(entered[number], own[f"conv{number}/kernel"], own[f"conv{number}/bias"], stride)
        return entered, x

    def embedding(self, pooled):
        return (
            pooled.mean(axis=(1, 2))
            if self.spec.head == "gap"
            else pooled.reshape(len(pooled), np.prod(pooled.shape[1:]))
        )

    def scores(self, inputs):
        return self.dense(self.embedding(np.maximum(self.maps(inputs)[1], 0)))

    def gradients(self, inputs, slope):
        entered, before = self.maps(inputs)
        pooled = np.maximum(before, 0)
        found = {name: np.zeros_like(self.own[name]) for name in self.learning}
        found |= self.dense_back(self.embedding(pooled), slope)
        by_place = slope @ self.own["head/kernel"].T
        if self.spec.head == "gap":
            by_place = np.broadcast_to(by_place[:, None, None] / before[0, ..., 0].size, before.shape)
        back = by_place.reshape(before.shape) * (before > 0)
        for number, x in reversed(entered.items()):
            kernel, stride = self.own[f"conv{number}/kernel"], TINYCNN_LAYERS[number - 1][1]
            of_kernel, of_bias, back = convolved_back(x, kernel, stride, back)
            found |= {f"conv{number}/kernel": of_kernel, f"conv{number}/bias": of_bias}
            back = back * (x > 0)
        return found


class NumpyTail(Convolutions):
    """The last convolution of tinycnn and the head, on what enters it, [N,h,w,64]."""

    def maps(self, entered):
        return self.convolutions(entered, [len(TINYCNN_LAYERS)])


class NumpyModel(Convolutions):
    """A Model that is AcceptsIntegerImages, AnyBatchSize, Trainable, SupportsFeatureTraining, SplitBackbone,
    SupportsHeatmaps, SupportsAutograd and SupportsActivationRanges."""

    lanes = 1
    any_batch_size = False

    def __init__(self, spec, tensors, *, bf16=False, ranges=None):
        super().__init__(spec, tensors, (spec.size, spec.size), trainable_names(spec), bf16=bf16, ranges=ranges)

    def predict(self, films):
        return self.scores(self.unit(films))

    def unit(self, films):
        """Films of levels in 0..1, others as they are."""
        films = check_films(films, self.spec.size)
        return films if films.dtype == np.float32 else films.astype(np.float32) / np.float32(np.iinfo(films.dtype).max)

    def normalised(self, films):
        mean, sd = (np.array(values, np.float32) for values in NORMALISATIONS[self.spec.normalize])
        return (films[..., None] - mean) / sd

    def maps(self, films):
        """What enters each convolution of tinycnn, by number, and the map before the last ReLU."""
        if self.spec.architecture != "tinycnn":
            return {}, numpy_reference.features(self.spec, self.computed_with(), films)[-1].astype(np.float32)
        return self.convolutions(self.normalised(films), range(1, len(TINYCNN_LAYERS) + 1))

    def scores_by_batch(self, films):
        norms = {name.removesuffix("/gamma") for name in self.learning if name.endswith("/gamma")}
        logits, measured = numpy_reference.by_batch(self.spec, self.own, films, norms)
        for norm in norms:
            for name in (f"{norm}/moving_mean", f"{norm}/moving_variance"):
                self.follow(name, measured[name], len(films))
        return logits.astype(np.float32)

    def follow(self, name, measured, films):
        self.own[name] += (0.01 * (measured - self.own[name])).astype(np.float32)

    def ranges(self, films):
        entered, _ = self.maps(check_inputs(films, self.input_shape))
        return {
            f"conv{number}": np.stack([end(x, axis=(1, 2, 3)) for end in (np.min, np.max)], axis=1)
            for number, x in entered.items()
        }

    def embed(self, films):
        return self.embedding(np.maximum(self.maps(check_inputs(films, self.input_shape))[1], 0))

    def shared(self, names):
        return {name: self.own[name] for name in names}

    @functools.cached_property
    def head(self):
        names = ("head/kernel", "head/bias")
        return NumpyHead(self.spec, self.shared(names), (feature_count(self.spec),), names)

    def stem(self, films):
        entered, _ = self.maps(check_inputs(films, self.input_shape))
        return entered[len(TINYCNN_LAYERS)]

    @functools.cached_property
    def tail(self):
        names = tail_names(self.spec)
        return NumpyTail(self.spec, self.shared(names), tail_shape(self.spec), trainable_of(names), bf16=self.bf16)

    def cam_parts(self, films, findings, *, cam_layer=None):
        cam_layer = check_cam_layer(self.spec, cam_layer)
        before = self.maps(self.unit(films))[1]
        pooled = np.maximum(before, 0)
        activations = pooled if cam_layer == cam_layers(self.spec)[0] else before
        gradients = closed_form(self.spec, self.own["head/kernel"], findings, activations, cam_layer)
        logits = self.dense(self.embedding(pooled))
        return CamParts(logits=logits, activations=activations, gradients=gradients, cam_layer=cam_layer)

    def head_gradients(self, activations, findings, *, cam_layer=None):
        cam_layer = check_cam_layer(self.spec, cam_layer)
        found = closed_form(self.spec, self.own["head/kernel"], findings, activations, cam_layer)
        n, h, w, k = activations.shape
        return np.broadcast_to(found, (n, len(findings), h, w, k))


class NumpyBackend:
    """Runs on the CPU; bf16 by rounding the tensors, int8 by rounding kernels and what meets them."""

    name = "plain-numpy"
    requires = ()
    install = "pip install cxrscore"
    architectures = ("tinycnn", "resnet50")
    trains = True
    speed = MappingProxyType({"cpu": 0.05})
    model = NumpyModel

    def build(self, spec, tensors, *, device="auto", precision="fp32", seed=0):
        if device not in ("auto", "cpu"):
            raise BackendUnavailableError(f"device {device!r} is not there for NumPy, which has cpu")
        if spec.architecture not in self.architectures:
            raise InputError(
                f"architecture {spec.architecture!r} is unknown; there is: {', '.join(self.architectures)}"
            )
        values = initial_tensors(spec, seed) if tensors is None else check_tensors(spec, tensors)
        return self.model(spec, {name: value.copy() for name, value in values.items()}, bf16=precision == "bf16")

    def join(self, *, rank, of, device):
        return Alone()

    def native_precisions(self, device="auto"):
        if device not in ("auto", "cpu"):
            raise BackendUnavailableError(f"device {device!r} is not there for NumPy, which has cpu")
        return ("fp32", "bf16", "int8")  # it rounds in fp32, which costs time

    def build_int8(self, spec, tensors, ranges, *, device="auto", precision=None):
        if foreign := [layer for layer in ranges if f"{layer}/kernel" not in tensors or layer == "head"]:
            raise InputError(f"{spec.architecture} has no convolution {', '.join(foreign)}")
        own = {name: value.copy() for name, value in tensors.items()}
        return self.model(spec, own, bf16=precision == "bf16", ranges=ranges)
