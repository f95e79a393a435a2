"""Network graphs as Keras models for training, with their input and output layers.

Layers have the names of the nodes, and their variables are zeros: the caller assigns every one that neutral_variables
lists.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import layers, ops

from cxrscore.contract import ModelSpec
from cxrscore.networks.graph import FILM, Node
from cxrscore.networks.graph import Network as Graph
from cxrscore.networks.tensors import NORM_MOMENTUM, NORMALISATIONS, nodes_before_head, position_weights

Shape = tuple[int, ...]
Given = Mapping[str, Any]


class Depthwise(layers.Conv2D):
    """A convolution of each channel by itself, by the operation for it: TensorFlow's grouped one is slower."""

    def convolution_op(self, inputs: keras.KerasTensor, kernel: keras.KerasTensor) -> keras.KerasTensor:
        by_channel = ops.reshape(kernel, (*self.kernel_size, self.groups, -1))
        return ops.depthwise_conv(
            inputs, by_channel, strides=self.strides, padding=self.padding, data_format=self.data_format
        )


class Scale(layers.Layer):
    """A factor for each channel."""

    def build(self, shape: Shape) -> None:
        self.gamma = self.add_weight(shape=shape[-1:], initializer="zeros", name="gamma")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x * self.gamma


class Tokens(layers.Layer):
    """A class token before the places of a map, with position embeddings of a grid."""

    def __init__(self, grid: int, shape: Shape, name: str) -> None:
        super().__init__(name=name)
        side, _, channels = shape
        self.class_token = self.add_weight(shape=(channels,), initializer="zeros", name="class_token")
        self.position = self.add_weight(
            shape=(1 + grid**2, channels), initializer="zeros", name="position", autocast=False
        )
        self._between = position_matrix(grid, side)

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return embed_tokens(x, self.class_token, self.position, self._between)


def position_matrix(grid: int, side: int) -> keras.KerasTensor | None:
    """networks.tensors.position_weights as a tensor."""
    weights = position_weights(grid, side)
    return None if weights is None else ops.convert_to_tensor(weights)


def embed_tokens(
    x: keras.KerasTensor, class_token: keras.KerasTensor, position: keras.KerasTensor, between: keras.KerasTensor | None
) -> keras.KerasTensor:
    """A class token and the places of a map, plus position embeddings, which ``between`` interpolates."""
    places = ops.reshape(x, (-1, math.prod(x.shape[1:3]), x.shape[3]))
    first = ops.zeros_like(places[:, :1]) + ops.cast(class_token, places.dtype)
    own = position if between is None else ops.matmul(between, position)
    return ops.concatenate([first, places], axis=1) + ops.cast(own, places.dtype)


class Function(layers.Layer):
    """A function of one value or several, without variables."""

    def __init__(self, function: Callable[..., keras.KerasTensor], name: str) -> None:
        super().__init__(name=name)
        self._function = function

    def call(self, inputs: keras.KerasTensor | list[keras.KerasTensor]) -> keras.KerasTensor:
        return self._function(*(inputs if isinstance(inputs, list) else [inputs]))


def pad_lowest(given: Given, x: keras.KerasTensor) -> keras.KerasTensor:
    """Pads a map for max pooling."""
    return ops.pad(x, [[0, 0], given["padding"], given["padding"], [0, 0]], constant_values=-math.inf)


def _attention(given: Given, *parts: keras.KerasTensor) -> keras.KerasTensor:
    count, channels = parts[0].shape[1:]
    by_head = [ops.reshape(part, (-1, count, given["heads"], channels // given["heads"])) for part in parts]
    return ops.reshape(ops.dot_product_attention(*by_head), (-1, count, channels))


def _patch_map(given: Given, x: keras.KerasTensor) -> keras.KerasTensor:
    side = math.isqrt(x.shape[1] - 1)
    return ops.reshape(x[:, 1:], (-1, side, side, x.shape[2]))


FUNCTIONS: dict[str, Callable[..., keras.KerasTensor]] = {
    "gelu": lambda given, x: ops.gelu(x, approximate=False),
    "silu": lambda given, x: ops.silu(x),
    "sigmoid": lambda given, x: ops.sigmoid(x),
    "attention": _attention,
    "class_token": lambda given, x: x[:, 0],
    "patch_map": _patch_map,
}
"""Operations without variables for which there is no layer of Keras: function of the attributes and the inputs."""


def _conv2d(name: str, given: Given, shape: Shape) -> layers.Layer:
    padding = "same" if given["padding"] != (0, 0) and is_same_padding(given, shape) else "valid"
    depthwise = given["groups"] == shape[-1] > 1
    return (Depthwise if depthwise else layers.Conv2D)(
        given["filters"],
        given["size"],
        strides=given["stride"],
        padding=padding,
        groups=given["groups"],
        use_bias=given["bias"],
        kernel_initializer="zeros",
        name=name,
    )


def is_same_padding(given: Given, shape: Shape) -> bool:
    """Whether Keras' padding "same" is the node's on this map; it is faster than a layer of zeros."""
    size, stride, side = given["size"], given["stride"], shape[0]
    total = max((math.ceil(side / stride) - 1) * stride + size - side, 0)
    return given["padding"] == (total // 2, total - total // 2)


LAYERS: dict[str, Callable[[str, Given, Shape], layers.Layer]] = {
    "conv2d": _conv2d,
    "dense": lambda name, given, shape: layers.Dense(
        given["units"], use_bias=given["bias"], kernel_initializer="zeros", name=name
    ),
    "batch_norm": lambda name, given, shape: layers.BatchNormalization(
        momentum=NORM_MOMENTUM, epsilon=given["epsilon"], name=name
    ),
    "layer_norm": lambda name, given, shape: layers.LayerNormalization(epsilon=given["epsilon"], name=name),
    "scale": lambda name, given, shape: Scale(name=name),
    "embed_tokens": lambda name, given, shape: Tokens(given["grid"], shape, name),
    "relu": lambda name, given, shape: layers.ReLU(given["maximum"], name=name),
    "add": lambda name, given, shape: layers.Add(name=name),
    "multiply": lambda name, given, shape: layers.Multiply(name=name),
    "concat": lambda name, given, shape: layers.Concatenate(name=name),
    "max_pool": lambda name, given, shape: layers.MaxPooling2D(given["size"], given["stride"], name=name),
    "avg_pool": lambda name, given, shape: layers.AveragePooling2D(given["size"], given["stride"], name=name),
    "global_avg_pool": lambda name, given, shape: layers.GlobalAveragePooling2D(keepdims=True, name=name),
}
"""The other operations: function of the node's name, its attributes and the shape of its first input."""


def _layer(node: Node, shape: Shape) -> layers.Layer:
    if node.operation in FUNCTIONS:
        return Function(functools.partial(FUNCTIONS[node.operation], node.attributes), node.name)
    return LAYERS[node.operation](node.name, node.attributes, shape)


def _padding(node: Node, layer: layers.Layer) -> layers.Layer | None:
    """What pads the input of a convolution or pooling that does not pad by itself."""
    padding = node.attributes.get("padding", (0, 0))
    if padding == (0, 0) or layer.padding == "same":
        return None
    name = f"{node.name}-padding"  # a node's name has no hyphen
    if node.operation == "max_pool":
        return Function(functools.partial(pad_lowest, node.attributes), name)
    return layers.ZeroPadding2D((padding, padding), name=name)


def _connected(graph: Graph, size: int) -> tuple[dict[str, keras.KerasTensor], list[layers.Layer]]:
    """The value of each node, that of the film included, and the layers of the nodes."""
    shapes, made = graph.shapes(size), []
    values = {FILM: layers.Input(shapes[FILM], name=FILM)}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        layer = _layer(node, shapes[node.inputs[0]])
        if (padding := _padding(node, layer)) is not None:
            inputs = [padding(inputs[0])]
        values[node.name] = layer(inputs if len(inputs) > 1 else inputs[0])
        made.append(layer)
    return values, made


class Part(layers.Layer):
    """The graph or its last block, its batch normalisation with the stored statistics in training too; ``by_batch``:
    with those of the batch in layers that are trainable.

    A separate layer, because a functional model hands ``training=True`` down to its layers even where they
    were called with ``training=False``.
    """

    def __init__(self, part: keras.Model, name: str) -> None:
        super().__init__(name=name)
        self.part = part
        self.by_batch = False

    def call(self, x: keras.KerasTensor, training: bool = False) -> list[keras.KerasTensor]:
        found = self.part(x, training=bool(training) and self.by_batch)
        return found if isinstance(found, list) else [found]


class Normalise(layers.Layer):
    """Films [N,S,S] in 0..1 -> [N,S,S,3], as ``ModelSpec.normalize`` says."""

    def __init__(self, normalize: str) -> None:
        super().__init__(name="normalise", dtype="float32")
        self._mean, self._sd = NORMALISATIONS[normalize]

    def call(self, films: keras.KerasTensor) -> keras.KerasTensor:
        mean, sd = (ops.convert_to_tensor(values, dtype="float32") for values in (self._mean, self._sd))
        return (ops.expand_dims(films, -1) - mean) / sd


@contextmanager
def _settings(*, bf16: bool) -> Iterator[None]:
    """Global Keras settings that layers read at creation; they are restored afterwards."""
    before = keras.config.image_data_format(), keras.config.dtype_policy()
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("mixed_bfloat16" if bf16 else "float32")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before[0])
        keras.config.set_dtype_policy(before[1])


class Network:
    """Normalisation, graph and head, as models that share their layers; outputs are float32 in any precision.

    score  films [N,S,S] in 0..1 -> logits [N,C]
    head   features [N,K], the input of the dense layer -> logits
    tail   input of the last block, [N,h,w,K] or [N,T,K] -> logits
    """

    def __init__(self, spec: ModelSpec, *, bf16: bool = False) -> None:
        self._spec, self._bf16 = spec, bf16
        with _settings(bf16=bf16):
            self._values, self.layers = _connected(spec.graph, spec.size)
            self.dense = layers.Dense(len(spec.findings), dtype="float32", kernel_initializer="zeros", name="head")
        self._parts: list[Part] = []
        self._after, self._pool = _after(spec.graph), _pool(spec)
        films, normal = self._films()
        found = _float32(self._part(FILM, [self._end], "base")(normal)[0], "found")
        embedding = found if spec.head == "cls" else self._pool(self._after(found))
        self.score = keras.Model(films, self.dense(embedding), name="score")
        embeddings = layers.Input(embedding.shape[1:], dtype="float32", name="embeddings")
        self.head = keras.Model(embeddings, self.dense(embeddings), name="head_alone")

    @property
    def _end(self) -> str:
        """The last node of the logits that runs in the precision of the graph: what comes before the last ReLU, or the
        class token."""
        return nodes_before_head(self._spec)[-1]

    @functools.cached_property
    def tail(self) -> keras.Model:
        """Created at first use: most models are never split."""
        graph, cls = self._spec.graph, self._spec.head == "cls"
        entry = graph.entry
        # The last block may begin after the output, with what leads to the class token.
        end = entry if entry == graph.output and not cls else self._end
        entered = layers.Input(self._values[entry].shape[1:], dtype="float32", name="entered")
        found = entered if end == entry else self._part(entry, [end], "last_block")(entered)[0]
        found = _float32(found, "found")
        if not cls:
            found = self._pool(self._after(found) if end == graph.before_last_relu else found)
        return keras.Model(entered, self.dense(found), name="tail")

    def _films(self) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The input [N,S,S] of a model, and the normalised films."""
        films = layers.Input((self._spec.size, self._spec.size), dtype="float32", name="films")
        return films, Normalise(self._spec.normalize)(films)

    def _part(self, start: str, ends: Sequence[str], name: str) -> Part:
        """The nodes from one value to others."""
        model = keras.Model(self._values[start], [self._values[end] for end in ends], name=name)
        with _settings(bf16=self._bf16):
            self._parts.append(Part(model, name))
        return self._parts[-1]

    def normalise_by_batch(self, wanted: bool) -> None:
        """Sets whether trainable batch normalisation uses batch statistics in training steps that are traced next."""
        for part in self._parts:
            part.by_batch = wanted

    def choose(self, learning: Collection[str]) -> None:
        """Makes only the variables of these neutral names trainable."""
        for layer in self.layers:
            layer.trainable = f"{layer.name}/gamma" in learning or not isinstance(layer, layers.BatchNormalization)
        for name, variable in neutral_variables(self).items():
            if not name.endswith(("/moving_mean", "/moving_variance")):
                variable.trainable = name in learning


def _float32(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.Activation("linear", dtype="float32", name=name)(x)


def _after(graph: Graph) -> layers.Layer:
    """What leads from the map before the last ReLU to the output, in float32."""
    if graph.output == graph.before_last_relu:
        return layers.Identity(dtype="float32", name="pooled")
    return layers.ReLU(graph.last_relu_maximum, dtype="float32", name="pooled")


def _pool(spec: ModelSpec) -> layers.Layer:
    kind = layers.Flatten if spec.head == "flatten" else layers.GlobalAveragePooling2D
    return kind(dtype="float32", data_format="channels_last", name="embedding")


def neutral_variables(network: Network) -> dict[str, keras.Variable]:
    """The network's own variables under their neutral names; the layout is the neutral one."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in [*network.layers, network.dense]
        for variable in layer.weights
    }
