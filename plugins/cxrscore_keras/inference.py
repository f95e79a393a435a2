"""Inference: the network graph as one function of keras.ops, without layers, which the engine compiles once for each
number of films.

It starts faster than a keras.Model, which calls each layer while it is made and again while it is traced.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from cxrscore.contract import ModelSpec
from cxrscore.networks.graph import FILM, Node
from cxrscore.networks.tensors import NORMALISATIONS
from cxrscore_keras.nets import FUNCTIONS, embed_tokens, is_same_padding, pad_lowest, position_matrix

Tensor: TypeAlias = Any
"""A tensor of the engine."""
Read: TypeAlias = Callable[[str], Tensor]
"""Gives a float32 tensor of the model by its neutral name."""
Outputs: TypeAlias = tuple[Tensor, ...]


class Inference:
    """What a model makes of films [N,S,S] in 0..1, float32 in any precision; batch normalisation uses its stored
    statistics.

    values  the tensors of the model by neutral name. Where they are keras variables, later values count too.
    """

    def __init__(self, spec: ModelSpec, values: Mapping[str, Tensor], *, bf16: bool) -> None:
        self._spec, self._values = spec, values
        self._dtype = "bfloat16" if bf16 else "float32"

    def logits(self, films: Tensor) -> Tensor:
        return self._scores(films)[0]

    def embed(self, films: Tensor) -> Tensor:
        """[N,K], the input of the dense layer."""
        return self._scores(films)[1]

    def maps(self, films: Tensor, cam_layer: str) -> tuple[Tensor, Tensor]:
        """Logits, and the map [N,h,w,K] at the CAM layer."""
        logits, _, pooled, before = self._scores(films)
        return logits, pooled if cam_layer == self._spec.graph.output else before

    def stem(self, films: Tensor) -> Tensor:
        """The input of the last block, [N,h,w,K] or [N,T,K]."""
        return self._stem(films)[0]

    @functools.cached_property
    def _scores(self) -> Callable[[Tensor], Outputs]:
        """One function for all that scoring needs, because each further one would be traced as well."""
        return _compiled(self._score, self._values)

    @functools.cached_property
    def _stem(self) -> Callable[[Tensor], Outputs]:
        return _compiled(self._enter, self._values)

    def _score(self, read: Read, films: Tensor) -> Outputs:
        """Logits, embedding, the pooled map, and the map before the last ReLU."""
        graph, cls = self._spec.graph, self._spec.head == "cls"
        ends = [graph.before_last_relu, *([self._spec.head_node] if cls else [])]
        before, *token = self._run(read, films, ends)
        pooled = last_relu(self._spec, before)
        embedding = token[0] if cls else pool(self._spec, pooled)
        return dense_head(read, embedding), embedding, pooled, before

    def _enter(self, read: Read, films: Tensor) -> Outputs:
        return tuple(self._run(read, films, [self._spec.graph.entry]))

    def _run(self, read: Read, films: Tensor, ends: Sequence[str]) -> list[Tensor]:
        """The values of these nodes, float32."""
        mean, sd = (ops.convert_to_tensor(each, dtype="float32") for each in NORMALISATIONS[self._spec.normalize])
        values = {FILM: ops.cast((ops.expand_dims(films, -1) - mean) / sd, self._dtype)}
        for node in self._spec.graph.needed(ends):
            values[node.name] = _value(node, read, [values[name] for name in node.inputs])
        return [ops.cast(values[name], "float32") for name in ends]


def last_relu(spec: ModelSpec, before: Tensor) -> Tensor:
    """The pooled map from the map before the last ReLU; the map itself if the network does not end in one."""
    graph = spec.graph
    return before if graph.output == graph.before_last_relu else _relu(before, graph.last_relu_maximum)


def pool(spec: ModelSpec, pooled: Tensor) -> Tensor:
    """The input [N,K] of the dense layer from the map [N,h,w,K]."""
    if spec.head == "flatten":
        return ops.reshape(pooled, (-1, math.prod(pooled.shape[1:])))
    return ops.mean(pooled, axis=(1, 2))


def dense_head(read: Read, embedding: Tensor) -> Tensor:
    return ops.matmul(embedding, read("head/kernel")) + read("head/bias")


def _compiled(function: Callable[[Read, Tensor], Outputs], values: Mapping[str, Tensor]) -> Callable[[Tensor], Outputs]:
    """A function of films alone. Keras has no such call of its own but for models."""
    engine = keras.config.backend()
    if engine == "tensorflow":
        import tensorflow as tf

        # Variables and eager tensors become inputs of the graph: nothing is copied into it.
        compiled: Callable[[Tensor], Outputs] = tf.function(
            lambda films: function(lambda name: ops.convert_to_tensor(values[name]), films), autograph=False
        )
        return compiled
    if engine == "jax":
        import jax

        # Tensors are arguments: a captured one would be a constant, which training could not change.
        jitted = jax.jit(lambda tensors, films: function(tensors.__getitem__, films))
        return lambda films: jitted({name: ops.convert_to_tensor(value) for name, value in values.items()}, films)
    import torch

    def eager(films: Tensor) -> Outputs:
        with torch.no_grad():
            return function(lambda name: ops.convert_to_tensor(values[name]), films)

    return eager


def _value(node: Node, read: Read, inputs: Sequence[Tensor]) -> Tensor:
    if node.operation in FUNCTIONS:
        return FUNCTIONS[node.operation](node.attributes, *inputs)
    return OPERATIONS[node.operation](_Tensors(node, read), *inputs)


class _Tensors:
    """A node's attributes, and its tensors by their variables."""

    def __init__(self, node: Node, read: Read) -> None:
        self.given, self._name, self._read = node.attributes, node.name, read

    def __call__(self, variable: str, x: Tensor | None = None) -> Tensor:
        """Float32, or in the precision of x."""
        value = self._read(f"{self._name}/{variable}")
        return value if x is None else ops.cast(value, x.dtype)


def _relu(x: Tensor, maximum: float | None) -> Tensor:
    return ops.relu(x) if maximum is None else ops.clip(x, 0, maximum)


def _biased(own: _Tensors, found: Tensor) -> Tensor:
    return found + own("bias", found) if own.given["bias"] else found


def _conv2d(own: _Tensors, x: Tensor) -> Tensor:
    given, kernel = own.given, own("kernel", x)
    padding, channels = "valid", x.shape[-1]
    if given["padding"] != (0, 0):
        if is_same_padding(given, x.shape[1:]):
            padding = "same"
        else:
            x = ops.pad(x, [[0, 0], given["padding"], given["padding"], [0, 0]])
    if given["groups"] == channels > 1:  # the operation for it: TensorFlow's grouped one is slower
        kernel, convolve = ops.reshape(kernel, (given["size"], given["size"], channels, -1)), ops.depthwise_conv
    else:
        convolve = ops.conv
    return _biased(own, convolve(x, kernel, given["stride"], padding, data_format="channels_last"))


def _batch_norm(own: _Tensors, x: Tensor) -> Tensor:
    tensors = [own(variable) for variable in ("moving_mean", "moving_variance", "beta", "gamma")]
    mean, variance, beta, gamma = tensors
    epsilon = own.given["epsilon"]
    if keras.config.backend() == "tensorflow" and len(x.shape) == 4 and x.dtype == "float32":
        import tensorflow as tf

        # One pass over the map, with the ReLU that follows; Keras' own operation multiplies and then adds.
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        ).y
    found = ops.batch_normalization(ops.cast(x, "float32"), mean, variance, -1, beta, gamma, epsilon)
    return ops.cast(found, x.dtype)


def _layer_norm(own: _Tensors, x: Tensor) -> Tensor:
    gamma, beta = own("gamma"), own("beta")
    found = ops.layer_normalization(ops.cast(x, "float32"), gamma, beta, -1, own.given["epsilon"])
    return ops.cast(found, x.dtype)


def _embed_tokens(own: _Tensors, x: Tensor) -> Tensor:
    between = position_matrix(own.given["grid"], x.shape[1])
    return embed_tokens(x, own("class_token"), own("position"), between)


def _max_pool(own: _Tensors, x: Tensor) -> Tensor:
    given = own.given
    x = x if given["padding"] == (0, 0) else pad_lowest(given, x)
    return ops.max_pool(x, given["size"], given["stride"], "valid", data_format="channels_last")


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "dense": lambda own, x: _biased(own, ops.matmul(x, own("kernel", x))),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "scale": lambda own, x: x * own("gamma", x),
    "embed_tokens": _embed_tokens,
    "relu": lambda own, x: _relu(x, own.given["maximum"]),
    "add": lambda own, x, y: x + y,
    "multiply": lambda own, x, y: x * y,
    "concat": lambda own, *parts: ops.concatenate(parts, axis=-1),
    "max_pool": _max_pool,
    "avg_pool": lambda own, x: ops.average_pool(
        x, own.given["size"], own.given["stride"], "valid", data_format="channels_last"
    ),
    "global_avg_pool": lambda own, x: ops.mean(x, axis=(1, 2), keepdims=True),
}
"""The operations that nets.FUNCTIONS lacks: function of the node's attributes and tensors, and of the inputs."""
