"""Network graphs as ONNX models: https://onnx.ai. The package ``onnx`` is imported only when a model is written.

A model uses operators of the standard set only, version 17, so that any runtime can compute it. Films are float32
[N,S,S] in 0..1 with any N; they are normalised inside. Values have ONNX's layout: maps [N,K,h,w], tokens [N,T,K].
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cxrscore.errors import InputError
from cxrscore.networks.graph import FILM, Node
from cxrscore.networks.spec import ModelSpec
from cxrscore.networks.tensors import NORMALISATIONS, check_tensors, closed_form, position_weights
from cxrscore.types import Array, Floats, Tensors

OPSET = 17
"""Version of the standard operators: the first with LayerNormalization, of ONNX 1.12 (June 2022)."""
IR_VERSION = 8
"""Version of the file format that belongs to it."""
INSTALL = 'pip install "cxrscore[onnx]"'
MAX_BYTES = (1 << 31) - 1
"""Largest message of protobuf, so the largest file without a second one for the tensors."""
FILMS = "films"
"""Name of the input."""


def onnx_values(spec: ModelSpec, tensors: Tensors, wanted: Sequence[str]) -> Any:
    """An onnx.ModelProto that computes the values of nodes of the network, as outputs ``node/NAME``.

    Parameters
    ----------
    spec
        The network and the side S of its films.
    tensors
        All tensors of the spec.
    wanted
        Names of nodes.

    Raises
    ------
    InputError
        If the package ``onnx`` is missing, a tensor does not fit, or the model exceeds 2 GiB.
    """
    graph = _Graph(spec, tensors)
    for name in wanted:
        graph.output(f"node/{name}", graph.value(name), _onnx_shape(graph.shapes[name]))
    return graph.model({})


def onnx_classifier(
    spec: ModelSpec,
    tensors: Tensors,
    *,
    calibration: Mapping[str, Any] | None = None,
    feature_map: bool = False,
    metadata: Mapping[str, str] | None = None,
    producer_version: str = "",
    summary: str = "",
) -> Any:
    """An onnx.ModelProto from films to scores and heat maps.

    Its outputs are ``logits`` [N,C], ``probabilities`` [N,C], ``heatmaps`` [N,C,h,w] (Grad-CAM of each finding at the
    pooled map, signed and not scaled) and, if asked for, ``feature_map`` [N,K,h,w], the pooled map.

    Parameters
    ----------
    spec
        The network and its findings.
    tensors
        All tensors of the spec.
    calibration
        As a model file has it: the logit of each finding times its "slope" plus its "intercept" is what becomes a
        probability; with "half_at" probabilities are then rescaled such that this one of each finding becomes 0.5.
        ``logits`` are those before it.
    feature_map
        Whether the pooled map is an output.
    metadata
        Texts by name, for the model's metadata_props.
    producer_version, summary
        For the fields producer_version and doc_string.

    Raises
    ------
    InputError
        If the package ``onnx`` is missing, a tensor does not fit, or the model exceeds 2 GiB.
    """
    graph = _Graph(spec, tensors)
    pooled = graph.value(spec.graph.output)
    logits = graph.apply("Gemm", graph.embedding(), *(graph.constant(f"head/{each}") for each in ("kernel", "bias")))
    maps = graph.apply("Conv", pooled, graph.array("head/maps", _map_kernel(spec, tensors)))
    channels, *places = _onnx_shape(graph.shapes[spec.graph.output])
    findings = len(spec.findings)
    graph.output("logits", logits, [findings])
    graph.output("probabilities", graph.probabilities(logits, calibration), [findings])
    graph.output("heatmaps", maps, [findings, *places])
    if feature_map:
        graph.output("feature_map", pooled, [channels, *places])
    return graph.model(metadata or {}, producer_version=producer_version, doc_string=summary)


def serialised(model: Any) -> bytes:
    """The bytes of an onnx.ModelProto; the same model always gives the same."""
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def _map_kernel(spec: ModelSpec, tensors: Tensors) -> Floats:
    """[C,K,1,1]: Grad-CAM's weight of each channel, the mean over the map of the gradient of the logit."""
    findings, layer = range(len(spec.findings)), spec.graph.output
    gradients = closed_form(spec, tensors["head/kernel"], findings, np.empty(0, np.float32), layer)
    weights: Floats = gradients.mean(axis=(2, 3))[0]
    return weights[:, :, None, None]


def _import_onnx() -> Any:
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise InputError(f"ONNX needs the package onnx, which cannot be imported ({error}): {INSTALL}") from error


class _Graph:
    """Collects the nodes and constants of one model. Names of values that are no inputs or outputs have a slash, so no
    node of a network is called like them."""

    def __init__(self, spec: ModelSpec, tensors: Tensors) -> None:
        self._onnx = _import_onnx()
        self.spec, self.tensors = spec, check_tensors(spec, tensors)
        self.shapes = spec.graph.shapes(spec.size)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._outputs: list[Any] = []
        self._values: dict[str, str] = {}
        self._count, self._bytes = 0, 0

    def apply(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator, and return the name of its value."""
        self._count += 1
        name = f"value/{self._count}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def array(self, name: str, values: Array) -> str:
        """A constant, and its name. InputError if the model becomes too large."""
        if name not in self._constants:
            self._bytes += values.nbytes
            if self._bytes > MAX_BYTES:
                raise InputError(
                    f"{self.spec.architecture} with its tensors has more than {MAX_BYTES:,} bytes, more than an ONNX "
                    "file can have. Score with the model file itself."
                )
            self._constants[name] = self._onnx.numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def constant(self, name: str) -> str:
        """A tensor of the network as it is, and its name."""
        return self.array(name, self.tensors[name])

    def integers(self, *values: int) -> str:
        """A constant of int64 [n], and its name."""
        return self.array(f"integers/{'_'.join(map(str, values))}", np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A constant of float32 [], and its name."""
        return self.array(f"number/{value!r}", np.array(value, np.float32))

    def value(self, name: str) -> str:
        """The value of a node of the network, computed with all that leads to it."""
        if not self._values:
            self._values[FILM] = self._normalised()
        for node in self.spec.graph.needed([name], list(self._values)) if name not in self._values else ():
            inputs = [self._values[each] for each in node.inputs]
            self._values[node.name] = OPERATIONS[node.operation](_Step(self, node), *inputs)
        return self._values[name]

    def _normalised(self) -> str:
        """[N,S,S] in 0..1 -> [N,3,S,S]."""
        mean, divisor = (np.array(each, np.float32).reshape(1, 3, 1, 1) for each in NORMALISATIONS[self.spec.normalize])
        centred = self.apply("Sub", self.apply("Unsqueeze", FILMS, self.integers(1)), self.array("film/mean", mean))
        return self.apply("Div", centred, self.array("film/divisor", divisor))

    def embedding(self) -> str:
        """The input of the dense layer, [N,K]; of a "flatten" head in the order row, column, channel."""
        if self.spec.head == "cls":
            return self.value(self.spec.head_node)
        pooled = self.value(self.spec.graph.output)
        if self.spec.head == "flatten":
            return self.apply("Flatten", self.apply("Transpose", pooled, perm=(0, 2, 3, 1)))
        return self.apply("Flatten", self.apply("GlobalAveragePool", pooled))

    def probabilities(self, logits: str, calibration: Mapping[str, Any] | None) -> str:
        """[N,C] in 0..1 of logits [N,C]."""
        if calibration:
            slope, intercept = (
                self.array(f"calibration/{each}", np.array(calibration[each], np.float32))
                for each in ("slope", "intercept")
            )
            logits = self.apply("Add", self.apply("Mul", logits, slope), intercept)
        softmax = self.spec.activation == "softmax"
        prob = self.apply("Softmax", logits, axis=1) if softmax else self.apply("Sigmoid", logits)
        return self._rescaled(prob, calibration["half_at"]) if calibration and "half_at" in calibration else prob

    def _rescaled(self, prob: str, half_at: Sequence[float]) -> str:
        """Probabilities [N,C], mapped piecewise such that those in half_at become 0.5."""
        half, one = np.array(half_at), self.number(1.0)
        constants = {"half_at": half, "below": 1 / (2 * half), "above": 1 / (2 * (1 - half))}
        at, below, above = (
            self.array(f"calibration/{name}", each.astype(np.float32)) for name, each in constants.items()
        )
        high = self.apply("Sub", one, self.apply("Mul", self.apply("Sub", one, prob), above))
        return self.apply("Where", self.apply("Less", prob, at), self.apply("Mul", prob, below), high)

    def output(self, name: str, value: str, shape: Sequence[int]) -> None:
        """Give a value as an output of this name; its shape without the batch axis."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=name))
        kind = self._onnx.TensorProto.FLOAT
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, kind, ["N", *shape]))

    def model(self, metadata: Mapping[str, str], **fields: str) -> Any:
        """The finished onnx.ModelProto."""
        helper, side = self._onnx.helper, self.spec.size
        films = helper.make_tensor_value_info(FILMS, self._onnx.TensorProto.FLOAT, ["N", side, side])
        constants = list(self._constants.values())
        graph = helper.make_graph(self._nodes, self.spec.architecture, [films], self._outputs, constants)
        model = helper.make_model(
            graph,
            producer_name="cxrscore",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            **fields,
        )
        helper.set_model_props(model, dict(metadata))
        if model.ByteSize() > MAX_BYTES:
            raise InputError(f"the model has {model.ByteSize():,} bytes, more than the {MAX_BYTES:,} of an ONNX file")
        return model


def _onnx_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """[h,w,K] -> [K,h,w]; others as they are."""
    return (shape[-1], *shape[:-1]) if len(shape) == 3 else tuple(shape)


class _Step:
    """One node of a network while it is written: its attributes, its tensors by their variables, its shapes."""

    def __init__(self, graph: _Graph, node: Node) -> None:
        self.graph, self.node, self.given = graph, node, node.attributes
        self.shape = graph.shapes[node.inputs[0]]
        self.is_map = len(self.shape) == 3

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.graph.apply(operator, *inputs, **attributes)

    def tensor(self, variable: str) -> Floats:
        return self.graph.tensors[f"{self.node.name}/{variable}"]

    def constant(self, variable: str, values: Array | None = None) -> str:
        """A tensor of the node, or what was made of it, as a constant."""
        name = f"{self.node.name}/{variable}"
        return self.graph.constant(name) if values is None else self.graph.array(name, values)

    def per_channel(self, variable: str) -> str:
        """A tensor [K] that multiplies the input: [K,1,1] for a map."""
        values = self.tensor(variable)
        return self.constant(variable, values.reshape(-1, 1, 1) if self.is_map else values)


def _bias(step: _Step) -> list[str]:
    return [step.constant("bias")] if step.given["bias"] else []


def _conv2d(step: _Step, x: str) -> str:
    before, after = step.given["padding"]
    return step(
        "Conv",
        x,
        step.constant("kernel", step.tensor("kernel").transpose(3, 2, 0, 1)),
        *_bias(step),
        kernel_shape=[step.given["size"]] * 2,
        strides=[step.given["stride"]] * 2,
        pads=[before, before, after, after],
        group=step.given["groups"],
    )


def _dense(step: _Step, x: str) -> str:
    kernel = step.tensor("kernel")
    if step.is_map:  # a convolution with a window of one place
        return step("Conv", x, step.constant("kernel", kernel.T[:, :, None, None]), *_bias(step))
    found = step("MatMul", x, step.constant("kernel"))
    return step("Add", found, *_bias(step)) if step.given["bias"] else found


def _batch_norm(step: _Step, x: str) -> str:
    own = [step.constant(variable) for variable in ("gamma", "beta", "moving_mean", "moving_variance")]
    return step("BatchNormalization", x, *own, epsilon=float(step.given["epsilon"]))


def _layer_norm(step: _Step, x: str) -> str:
    own = [step.constant(variable) for variable in ("gamma", "beta")]
    x = step("Transpose", x, perm=(0, 2, 3, 1)) if step.is_map else x
    found = step("LayerNormalization", x, *own, axis=-1, epsilon=float(step.given["epsilon"]))
    return step("Transpose", found, perm=(0, 3, 1, 2)) if step.is_map else found


def _relu(step: _Step, x: str) -> str:
    limit = step.given["maximum"]
    if limit is None:
        return step("Relu", x)
    return step("Clip", x, step.graph.number(0.0), step.graph.number(float(limit)))


def _gelu(step: _Step, x: str) -> str:
    number = step.graph.number
    doubled = step("Add", step("Erf", step("Div", x, number(math.sqrt(2)))), number(1.0))
    return step("Mul", step("Mul", x, doubled), number(0.5))


def _max_pool(step: _Step, x: str) -> str:
    before, after = step.given["padding"]
    size, stride = ([step.given[name]] * 2 for name in ("size", "stride"))
    return step("MaxPool", x, kernel_shape=size, strides=stride, pads=[before, before, after, after])


def _avg_pool(step: _Step, x: str) -> str:
    size, stride = ([step.given[name]] * 2 for name in ("size", "stride"))
    return step("AveragePool", x, kernel_shape=size, strides=stride)


def _attention(step: _Step, *parts: str) -> str:
    heads, integers = step.given["heads"], step.graph.integers
    width = step.shape[-1] // heads
    split = [step("Reshape", part, integers(0, 0, heads, width)) for part in parts]  # 0: as it is
    query, value = (step("Transpose", split[place], perm=(0, 2, 1, 3)) for place in (0, 2))
    key = step("Transpose", split[1], perm=(0, 2, 3, 1))
    likeness = step("Div", step("MatMul", query, key), step.graph.number(math.sqrt(width)))
    found = step("MatMul", step("Softmax", likeness, axis=-1), value)
    return step("Reshape", step("Transpose", found, perm=(0, 2, 1, 3)), integers(0, 0, heads * width))


def _embed_tokens(step: _Step, x: str) -> str:
    """The class token and the positions are one constant, added to the places after a row of zeros."""
    side, _, channels = step.shape
    weights = position_weights(step.given["grid"], side)
    added = step.tensor("position").astype(np.float64)
    added = added if weights is None else weights @ added
    added[0] += step.tensor("class_token")
    integers = step.graph.integers
    places = step("Transpose", step("Reshape", x, integers(0, channels, -1)), perm=(0, 2, 1))
    tokens = step("Pad", places, integers(0, 1, 0, 0, 0, 0))
    return step("Add", tokens, step.constant("tokens", added.astype(np.float32)))


def _patch_map(step: _Step, x: str) -> str:
    count, channels = step.shape
    side, integers = math.isqrt(count - 1), step.graph.integers
    places = step("Slice", x, integers(1), integers(count), integers(1))
    return step("Reshape", step("Transpose", places, perm=(0, 2, 1)), integers(0, channels, side, side))


OPERATIONS: dict[str, Callable[..., str]] = {
    "conv2d": _conv2d,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "scale": lambda step, x: step("Mul", x, step.per_channel("gamma")),
    "relu": _relu,
    "gelu": _gelu,
    "silu": lambda step, x: step("Mul", x, step("Sigmoid", x)),
    "sigmoid": lambda step, x: step("Sigmoid", x),
    "add": lambda step, x, y: step("Add", x, y),
    "multiply": lambda step, x, y: step("Mul", x, y),
    "concat": lambda step, *values: step("Concat", *values, axis=1 if step.is_map else -1),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_avg_pool": lambda step, x: step("GlobalAveragePool", x),
    "attention": _attention,
    "embed_tokens": _embed_tokens,
    "class_token": lambda step, x: step("Gather", x, step.graph.array("first/token", np.array(0, np.int64)), axis=1),
    "patch_map": _patch_map,
}
"""By operation: function that appends its operators, of the node and the names of its inputs."""
