"""The networks in Keras: those of keras.applications, tinycnn, and their input and output layers.

Layers have the initial values of Keras: the caller assigns every variable that neutral_variables lists.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import keras
from keras import layers, ops

from cxrscore.contract import ModelSpec
from cxrscore.networks.tensors import NORMALISATIONS, TINYCNN_LAYERS, cam_layers


class Part(layers.Layer):
    """The base or its last block, its batch normalisation with the stored statistics in training too; ``by_batch``:
    with those of the batch in layers that are trainable.

    A separate layer, because a functional model hands ``training=True`` down to its layers even where they
    were called with ``training=False``.
    """

    def __init__(self, part: keras.Model, name: str) -> None:
        super().__init__(name=name)
        self.part = part
        self.by_batch = False

    def call(self, x: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        return self.part(x, training=bool(training) and self.by_batch)


def _tinycnn(*, input_shape: tuple[int, int, int], **_of_applications: object) -> keras.Model:
    """[N,S,S,3] -> [N,h,w,64]; takes and leaves the other arguments of keras.applications."""
    x = films = layers.Input(input_shape)
    for number, (channels, stride) in enumerate(TINYCNN_LAYERS, start=1):
        x = layers.ZeroPadding2D(1)(x)  # Keras' own "same" pads unevenly where the stride is 2
        x = layers.Conv2D(channels, 3, strides=stride, name=f"conv{number}")(x)
        x = layers.ReLU(name="relu" if number == len(TINYCNN_LAYERS) else f"conv{number}_relu")(x)
    return keras.Model(films, x, name="tinycnn")


_BASES: dict[str, Callable[..., keras.Model]] = {
    "densenet121": keras.applications.DenseNet121,
    "resnet50": keras.applications.ResNet50,
    "tinycnn": _tinycnn,
}


_LAST_OF_STEM = {"densenet121": "pool4_pool", "resnet50": "conv4_block6_out", "tinycnn": "conv3_relu"}


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
    """Normalisation, backbone and head, as models that share their layers; outputs are float32 in any precision.

    score  films [N,S,S] in 0..1 -> logits [N,C]
    embed  films -> features [N,K], the input of the dense layer
    maps   by CAM layer: films -> logits and the map at that layer, [N,h,w,K]
    heads  by CAM layer: that map -> logits
    head   features [N,K] -> logits
    stem   films -> input of the last block, [N,h,w,K]
    tail   input of the last block -> logits
    """

    def __init__(self, spec: ModelSpec, *, bf16: bool = False) -> None:
        self._spec, self._bf16 = spec, bf16
        with _settings(bf16=bf16):
            application = _BASES[spec.architecture](
                include_top=False, weights=None, input_shape=(spec.size, spec.size, 3)
            )
            before = application.get_layer(cam_layers(spec)[1])
            self.base = keras.Model(application.input, before.output, name=spec.architecture)
            self._parts = [Part(self.base, "base")]
            self.dense = layers.Dense(len(spec.findings), dtype="float32", name="head")
            self._connect(spec)

    def _connect(self, spec: ModelSpec) -> None:
        films = layers.Input((spec.size, spec.size), dtype="float32", name="films")
        before = self._parts[0](Normalise(spec.normalize)(films))
        before = layers.Activation("linear", dtype="float32", name="before")(before)
        relu = layers.ReLU(dtype="float32", name="pooled")
        pool = layers.Flatten if spec.head == "flatten" else layers.GlobalAveragePooling2D
        embed = pool(dtype="float32", name="embedding")
        features = relu(before)
        embedding = embed(features)
        logits = self.dense(embedding)
        self.score = keras.Model(films, logits, name="score")
        self.embed = keras.Model(films, embedding, name="embed")
        after_relu, before_relu = cam_layers(spec)
        self.maps = {
            after_relu: keras.Model(films, [logits, features], name="map"),
            before_relu: keras.Model(films, [logits, before], name="map_before"),
        }
        given = layers.Input(before.shape[1:], dtype="float32", name="map")
        self.heads = {
            after_relu: keras.Model(given, self.dense(embed(given)), name="head_of_map"),
            before_relu: keras.Model(given, self.dense(embed(relu(given))), name="head_of_map_before"),
        }
        embeddings = layers.Input(embedding.shape[1:], dtype="float32", name="embeddings")
        self.head = keras.Model(embeddings, self.dense(embeddings), name="head_alone")

    @functools.cached_property
    def stem(self) -> keras.Model:
        """Created at first use, as the tail is: most models are never split."""
        films = layers.Input((self._spec.size, self._spec.size), dtype="float32", name="films")
        entered = self._part(self.base.input, self._entered, "stem_blocks")(Normalise(self._spec.normalize)(films))
        return keras.Model(films, layers.Activation("linear", dtype="float32", name="entered")(entered), name="stem")

    @functools.cached_property
    def tail(self) -> keras.Model:
        before_relu = cam_layers(self._spec)[1]
        entered = layers.Input(self._entered.shape[1:], dtype="float32", name="entered")
        before = self._part(self._entered, self.base.output, "last_block")(entered)
        before = layers.Activation("linear", dtype="float32", name="before")(before)
        return keras.Model(entered, self.heads[before_relu](before), name="tail")

    @property
    def _entered(self) -> keras.KerasTensor:
        """The input of the last block in the backbone."""
        return self.base.get_layer(_LAST_OF_STEM[self._spec.architecture]).output

    def _part(self, start: keras.KerasTensor, end: keras.KerasTensor, name: str) -> Part:
        with _settings(bf16=self._bf16):
            self._parts.append(Part(keras.Model(start, end, name=name), name))
        return self._parts[-1]

    def normalise_by_batch(self, wanted: bool) -> None:
        """Sets whether trainable batch normalisation uses batch statistics in training steps that are traced next."""
        for part in self._parts:
            part.by_batch = wanted

    def choose(self, learning: Collection[str]) -> None:
        """Makes only the variables of these neutral names trainable."""
        for layer in self.base.layers:
            layer.trainable = f"{layer.name}/gamma" in learning or not isinstance(layer, layers.BatchNormalization)
        for name, variable in neutral_variables(self).items():
            if not name.endswith(("/moving_mean", "/moving_variance")):
                variable.trainable = name in learning


def neutral_variables(network: Network) -> dict[str, keras.Variable]:
    """The network's own variables under their neutral names; the layout is the neutral one."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in [*network.base.layers, network.dense]
        for variable in layer.weights
    }
