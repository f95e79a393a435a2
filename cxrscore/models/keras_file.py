"""Files of Keras weights, as arrays by the names of their layers: ``.h5`` (Keras 2 and 3), ``.weights.h5`` and
``.keras`` (Keras 3).

An .h5 file lists its layers and their weights in attributes. A .weights.h5 file has a group for each layer, named after
its class and number, with the name of the layer in an attribute (or, in a .keras archive of an earlier release, by its
place in config.json) and numbered variables. Nothing in them is executed: config.json is looked at for the names of
layers, epsilons and the activation of the head only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError
from cxrscore.io.hdf5.reader import HDF5File, guarded_bytes, open_guarded, read_dataset, read_names
from cxrscore.io.strict_json import parse_json
from cxrscore.models.stored_zip import ArchiveError, stored_members

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
"""Members of a .keras archive."""
MAX_CONFIG_BYTES = 32 << 20
"""Bytes; that of a DenseNet201 has half a million."""
_MAX_LAYERS = 20_000
_MAX_NESTED = 10


class OuterLayer(NamedTuple):
    """A layer of a model beside its network: name, class, and its activation, "" if it has none."""

    name: str
    of_class: str
    activation: str


@dataclass(frozen=True, kw_only=True)
class KerasFile:
    """What a file holds.

    tensors     by ``layer/variable``; a layer of a model within the model has its path before it
    ignored     names of datasets that are no weights of a layer, and were not read: those of the optimiser
    epsilon     what batch normalisations add to the variance, by layer, as far as the file says it
    activations of dense layers, likewise
    outer       layers before the network and after it, likewise
    """

    tensors: dict[str, Array]
    ignored: tuple[str, ...] = ()
    epsilon: Mapping[str, float] = field(default_factory=dict)
    activations: Mapping[str, str] = field(default_factory=dict)
    outer: tuple[tuple[OuterLayer, ...], tuple[OuterLayer, ...]] = ((), ())


def read_keras(path: Path, nodes: frozenset[str]) -> KerasFile:
    """Reads an .h5 or .weights.h5 file. nodes: the layers of all networks that are known. FileFormatError if it is not
    such a file, or contains anything unsafe."""
    with open_guarded(path) as file:
        return _read(file, None, nodes)


def read_keras_archive(path: Path, data: bytes, nodes: frozenset[str]) -> KerasFile:
    """Reads a .keras archive; errors as read_keras."""
    try:
        members = stored_members(memoryview(data))
    except ArchiveError as error:
        raise FileFormatError(f"{path} is not a .keras file that can be read: {error}") from error
    if WEIGHTS not in members or CONFIG not in members:
        there = ", ".join(repr(name[:40]) for name in list(members)[:3]) or "nothing"
        raise FileFormatError(
            f"{path} is a zip archive of neither torch nor Keras: there is {there}, expected {CONFIG} and {WEIGHTS}"
        )
    config = _config(str(path), members[CONFIG])
    with guarded_bytes(f"{path}, {WEIGHTS}", members[WEIGHTS]) as file:
        return _read(file, config, nodes)


def is_keras_archive(data: bytes) -> bool:
    """Whether a zip archive is one of Keras, by the names in its table of contents."""
    try:
        return CONFIG in stored_members(memoryview(data))
    except ArchiveError:
        return False


def _config(name: str, text: memoryview | str) -> dict[str, Any]:
    if len(text) > MAX_CONFIG_BYTES:
        raise FileFormatError(f"{name}: its configuration has {len(text):,} bytes, more than one can have")
    try:
        found = parse_json(text if isinstance(text, str) else bytes(text))
    except ValueError as error:
        raise FileFormatError(f"{name}: its configuration is not JSON that can be used: {error}") from error
    return found if isinstance(found, dict) else {}


def _read(file: HDF5File, config: dict[str, Any] | None, nodes: frozenset[str]) -> KerasFile:
    if any(path == "layers" or path.endswith("/vars") for path in file.groups):
        places = dict(_numbered(file, _class_names(config or {})))
    else:
        places = dict(_listed(file, nodes))
        config = config or _h5_config(file)
    used = set(places.values())
    return KerasFile(
        tensors={name: read_dataset(file, place) for name, place in places.items()},
        ignored=tuple(place for place in file.datasets if place not in used),
        epsilon=dict(_attributes(config or {}, "BatchNormalization", "epsilon", float)),
        activations=dict(_attributes(config or {}, "Dense", "activation", str)),
        outer=_outer(config or {}, nodes),
    )


# --- .h5: attributes list layers and weights


def _listed(file: HDF5File, nodes: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Name of each weight, and the path of its dataset."""
    above = "model_weights/" if "model_weights" in file.groups else ""
    layers = _names(file, above.rstrip("/"), "layer_names")
    if layers is None:
        raise FileFormatError(f"{file.name} is not a Keras weights file: it has no attribute layer_names")
    for layer in layers:
        for weight in _names(file, f"{above}{layer}", "weight_names") or []:
            yield _full_name(layer, weight, nodes), f"{above}{layer}/{weight}"


def _names(file: HDF5File, group: str, attribute: str) -> list[str] | None:
    if group not in file.groups:
        raise FileFormatError(f"{file.name} has no group {group}")
    return read_names(file, attribute, group=group)


def _full_name(layer: str, weight: str, nodes: frozenset[str]) -> str:
    """``conv1/bn`` and ``conv1/bn/gamma:0`` -> ``conv1_bn/gamma``: Keras 3 writes layer names without slashes. Of a
    model within the model, ``backbone`` and ``conv1/bn/gamma:0`` -> ``backbone/conv1_bn/gamma``."""
    path, _, variable = weight.rpartition("/")
    variable = variable.split(":")[0]
    own = layer.replace("/", "_")
    parts = path.split("/")
    inner = next((name for i in range(len(parts)) if (name := "_".join(parts[i:])) in nodes), None)
    if inner is None or inner == own:
        return f"{own}/{variable}"
    return f"{own}/{inner}/{variable}"


def _h5_config(file: HDF5File) -> dict[str, Any]:
    """The configuration of the model, if the file has one that can be read."""
    attributes = file.groups[""].attributes
    if "model_config" not in attributes:
        return {}
    names = read_names(file, "model_config", group="")
    if names is None or len(names) != 1 or len(names[0]) > MAX_CONFIG_BYTES:
        return {}
    return _config(file.name, names[0])


# --- .weights.h5: a group for each layer, with numbered variables


_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def _numbered(file: HDF5File, class_names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name of each weight, and the path of its dataset. class_names: see _class_names."""
    for group in file.groups:
        if not group.endswith("/vars") or group.startswith("optimizer"):
            continue
        count = 0
        while f"{group}/{count}" in file.datasets:
            count += 1
        if not count:
            continue
        path = group.removesuffix("/vars")
        above, _, last = path.rpartition("/")
        stated = read_names(file, "name", group=group)
        name = stated[0] if stated else class_names.get(path, last)
        prefix = f"{above}/" if above else ""
        for number, variable in enumerate(_variables(file, group, count)):
            yield f"{prefix}{name}/{variable}", f"{group}/{number}"


def _variables(file: HDF5File, group: str, count: int) -> tuple[str, ...]:
    """The order in which Keras stores the variables of a layer."""
    first = len(file.datasets[f"{group}/0"].shape)
    if first >= 2 and count <= 2:
        return ("kernel", "bias")[:count]
    return _NORM if first == 1 and count == len(_NORM) else tuple(map(str, range(count)))


def _class_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Group of each layer and its name, from the order of the layers in the configuration: groups are called conv2d,
    conv2d_1, ... in that order."""
    found: dict[str, str] = {}
    waiting = [("layers", config)]
    while waiting:
        above, model = waiting.pop()
        counts: dict[str, int] = {}
        for layer in _layers(model):
            word = _snake_case(str(layer.get("class_name", "")))
            number = counts[word] = counts.get(word, -1) + 1
            group = f"{above}/{word}_{number}" if number else f"{above}/{word}"
            inner = layer.get("config")
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                found[group] = inner["name"]
            if len(found) > _MAX_LAYERS:
                return found
            if above.count("/") < 2 * _MAX_NESTED:
                waiting.append((f"{group}/layers", layer))
    return found


def _layers(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _snake_case(name: str) -> str:
    """BatchNormalization -> batch_normalization, Conv2D -> conv2d."""
    name = re.sub(r"\W+", "", name[:200])
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _outer(config: Mapping[str, Any], nodes: frozenset[str]) -> tuple[tuple[OuterLayer, ...], tuple[OuterLayer, ...]]:
    """The layers before the first that is a node of a network, and after the last. Keras lists them in the order in
    which they are computed."""
    found = list(_in_order(config, 0))
    places = [place for place, layer in enumerate(found) if layer.name.replace("/", "_") in nodes]
    if not places or len(found) > _MAX_LAYERS:
        return (), ()
    return tuple(found[: places[0]]), tuple(found[places[-1] + 1 :])


def _in_order(model: Mapping[str, Any], depth: int) -> Iterator[OuterLayer]:
    for layer in _layers(model):
        inner = layer.get("config")
        config = inner if isinstance(inner, dict) else {}
        if _layers(layer) and depth < _MAX_NESTED:
            yield from _in_order(layer, depth + 1)
        else:
            words = (config.get("name"), layer.get("class_name"), config.get("activation"))
            yield OuterLayer(*(word if isinstance(word, str) else "" for word in words))


def _attributes(model: Mapping[str, Any], of_class: str, attribute: str, kind: type) -> Iterator[tuple[str, Any]]:
    """An attribute of the layers of one class, by the name of the layer, at any depth."""
    waiting, count = [(model, 0)], 0
    while waiting:
        inner, depth = waiting.pop()
        for layer in _layers(inner):
            config, count = layer.get("config"), count + 1
            if count > _MAX_LAYERS:
                return
            if layer.get("class_name") == of_class and isinstance(config, dict):
                name, value = config.get("name"), config.get(attribute)
                if isinstance(name, str) and isinstance(value, kind):
                    yield name, value
            if depth < _MAX_NESTED:
                waiting.append((layer, depth + 1))
