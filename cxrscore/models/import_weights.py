"""Weights that other programs trained, converted to those of cxrscore's networks without a change of scores.

The network and the naming scheme (models.naming) are recognised by the names in the file: those that account for most
of its tensors. What differs is converted: kernels OIHW to HWIO and [out, in] to [in, out]; another epsilon of batch
normalisation is added to the variance; a kernel for one channel is divided by three for three equal channels; a fused
query, key and value is split.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from cxrscore.contract import Activation, Array, Floats, Head, Normalize
from cxrscore.errors import InputError
from cxrscore.models.naming import MOST_PARTS, Destination, Scheme, networks_text, own_scheme, schemes
from cxrscore.models.tensor_file import TensorFile, read_tensor_file
from cxrscore.networks.graph import Network

Kind = Literal["torchvision", "torchxrayvision", "monai", "timm", "transformers", "keras"]
Fit = Literal["stretch", "pad", "crop"]
"""How films are made square; see images.Preprocessing."""

MAX_OUTPUTS = 1000
_LEAST = 0.2
"""Part of the weights of a network that a file must have to be said to hold it."""
_NAMED = 3
"""Names in a message."""
_USUAL_SIZE = 224


@dataclass(frozen=True, kw_only=True)
class OutputLayer:
    """The head of an imported network: kernel float32 [K,C], bias float32 [C], and its activation if the file says
    it."""

    kernel: Floats
    bias: Floats
    activation: Activation = "sigmoid"


@dataclass(frozen=True, kw_only=True)
class ImportedCheckpoint:
    """An imported network: its backbone under neutral names, its head, and metadata of the C outputs.

    kind       program whose names the file uses; "torchxrayvision" for networks with one channel
    base       backbone tensors, float32, kernels HWIO
    layer      the head; None if the file has none, or if only the backbone was asked for
    outputs    C names in the file, "" for an output that was not trained; None if the file has none
    points     C thresholds in 0..1, NaN if undefined; None if the file has none
    notes      messages for the user: what was chosen, and what was ignored
    """

    kind: Kind
    network: Network
    base: dict[str, Floats]
    layer: OutputLayer | None
    normalize: Normalize
    size: int
    outputs: tuple[str, ...] | None = None
    points: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def fit(self) -> Fit:
        """torchxrayvision and transformers cut out the middle square."""
        return "crop" if self.kind in ("torchxrayvision", "transformers") else "stretch"

    @property
    def head(self) -> Head:
        """Of a transformer the class token, else the mean of the map."""
        return "cls" if self.network.class_token else "gap"


def read_weights_of(
    path: Path, *, key: str = "", networks: Sequence[Network] = (), backbone_only: bool = False
) -> ImportedCheckpoint:
    """Reads the weights of another program without executing code of the file.

    key            entry or prefix of the copy of the network to take; "": the plain one
    networks       of plugins, which are recognised by the names of their nodes
    backbone_only  do not look for a head

    InputError for another network, naming the closest; FileFormatError if the file is damaged or contains more than
    weights.
    """
    known = (*schemes(), *map(own_scheme, networks))
    nodes = frozenset(node.name for scheme in known if scheme.name == "keras" for node in scheme.network.nodes)
    file = read_tensor_file(path, nodes)
    copies = _copies(file.tensors, known)
    chosen, note = _chosen(path, file, copies, key)
    others = [copy for copy in copies if copy is not chosen and not copy.missing]
    base = _base(path, file, chosen)
    layer, used = (None, set()) if backbone_only else _output_layer(path, file, chosen, others)
    used |= {name for name in file.tensors if name.endswith("op_threshs")}
    used |= {name for copy in (chosen, *others) for name in copy.names}
    kind, normalize, assumed = _recipe(file, chosen)
    return ImportedCheckpoint(
        kind=kind,
        network=chosen.network,
        base=base,
        layer=layer,
        normalize=normalize,
        size=_size(kind, chosen.network),
        outputs=_outputs(file.metadata),
        points=_points(path, file),
        notes=tuple(filter(None, (note, _ignored(file, used), assumed, _entering(file)))),
    )


# --- which network, which names, which copy


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """A copy of a network in a file: its prefix, and the name after the prefix by the name in the file."""

    scheme: Scheme
    prefix: str
    names: Mapping[str, str]

    @property
    def network(self) -> Network:
        return self.scheme.network

    @property
    def missing(self) -> list[str]:
        """Neutral names of the weights that are not there."""
        there = {tensor for name in self.names.values() for tensor in self.scheme.places[name].tensors}
        return [name for name in self.network.tensor_shapes(self.network.size) if name not in there]


def _copies(tensors: Mapping[str, Array], known: Sequence[Scheme]) -> list[_Copy]:
    """The copy of a network under each prefix: that which accounts for most tensors there, and lacks fewest. Those that
    account for most come first."""
    index: dict[str, list[int]] = defaultdict(list)
    for number, scheme in enumerate(known):
        for name in scheme.places:
            index[name].append(number)
    found: dict[tuple[int, str], dict[str, str]] = defaultdict(dict)
    for name in tensors:
        for start in _starts(name):
            for number in index.get(name[start:], ()):
                found[number, name[:start]][name] = name[start:]
    copies = [_Copy(scheme=known[number], prefix=prefix, names=names) for (number, prefix), names in found.items()]
    most = sorted(copies, key=lambda copy: -len(copy.names))[:50]  # the rest are the few names that layers share
    by_prefix: dict[str, _Copy] = {}
    for copy in sorted(most, key=lambda copy: (-len(copy.names), len(copy.missing))):
        by_prefix.setdefault(copy.prefix, copy)
    return list(by_prefix.values())


_SEPARATORS = re.compile(r"[./]")


def _starts(name: str) -> list[int]:
    """Where the last components of a name begin."""
    return [0, *(match.end() for match in _SEPARATORS.finditer(name))][-MOST_PARTS:]


def _components(name: str) -> list[str]:
    return [part for part in _SEPARATORS.split(name) if part]


def _is_under(prefix: str, key: str) -> bool:
    """Whether a prefix begins with the components of the key, or has them at any place."""
    parts, wanted = _components(prefix), _components(key)
    return any(parts[i : i + len(wanted)] == wanted for i in range(len(parts) - len(wanted) + 1))


_AVERAGED = re.compile(r"ema|.*_ema|ema_.*|.*teacher.*|swa.*|avg.*|averaged.*|shadow.*|momentum.*|.*_k|target.*", re.I)
"""Components of the prefix of a copy that is an average of another, or its teacher."""


def _chosen(path: Path, file: TensorFile, copies: Sequence[_Copy], key: str) -> tuple[_Copy, str]:
    """The copy to take, and a note if there are other complete ones."""
    named = [copy for copy in copies if not key or _is_under(copy.prefix, key)]
    if not named:
        raise InputError(f"{path} {_no_entry(file, key)}")
    best = named[0]
    if len(best.names) < _LEAST * len(best.scheme.theirs):
        raise InputError(f"{path} {_unknown(file, best)}")
    ranked = sorted((copy for copy in named if not copy.missing), key=_plainness)
    if len(ranked) < 2:
        return (ranked or [best])[0], ""
    first, second = ranked[:2]
    if _plainness(first)[:2] == _plainness(second)[:2] and not _equal(file, first, second):
        raise InputError(
            f"{path} holds {len(ranked)} networks: {_listed(map(_shown, ranked))}. Choose one with `cxrscore import "
            f"--key`, such as --key {_key(first)}, or save one of them alone"
        )
    taken, rest = _shown(first), _listed(map(_shown, ranked[1:]))
    note = f"the file holds {len(ranked)} networks: took {taken}, not {rest}. `cxrscore import --key` chooses another"
    return first, note


def _plainness(copy: _Copy) -> tuple[bool, int, str]:
    parts = _components(copy.prefix.removesuffix("features."))
    return any(_AVERAGED.fullmatch(part) for part in parts), len(parts), copy.prefix


def _equal(file: TensorFile, one: _Copy, other: _Copy) -> bool:
    """Whether two copies hold the same numbers: one network under two names."""
    if one.scheme is not other.scheme:
        return False
    theirs = {short: name for name, short in other.names.items()}
    return all(
        short in theirs and np.array_equal(file.tensors[name], file.tensors[theirs[short]])
        for name, short in one.names.items()
    )


def _key(copy: _Copy) -> str:
    return copy.prefix.rstrip("./")


def _shown(copy: _Copy) -> str:
    return f"{copy.network.name} under {copy.prefix[:80]!r}" if copy.prefix else f"{copy.network.name} without a prefix"


def _listed(names: Iterable[str], most: int = _NAMED) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


_KERAS_CLASS = re.compile(r"(^|/)(conv2d|dense|batch_normalization)(_\d+)?/(kernel|gamma)$")
"""A layer by its class, where its name should be."""


def _unknown(file: TensorFile, best: _Copy | None) -> str:
    """What the file holds instead of a network, and the network that comes closest."""
    closest = hint = ""
    if best is not None:
        closest = (
            f" The closest is {best.network.name} by {best.scheme.name} names: {len(best.names)} of its "
            f"{len(best.scheme.theirs)} weights are there."
        )
    if file.container == "keras" and any(_KERAS_CLASS.search(name) for name in file.tensors):
        hint = (
            " Early releases of Keras 3 store no names of layers in .weights.h5: save the model again as .keras, with "
            "the same release."
        )
    if file.unread:
        hint += f" {_unread(file)}"
    return (
        f"holds no network that can be imported: it has {len(file.tensors)} tensors, {_samples(file.tensors)}."
        f"{closest}{hint} Expected: {networks_text()}"
    )


def _unread(file: TensorFile) -> str:
    listed = _listed(f"{name[:80]!r} ({kind})" for name, kind in file.unread.items())
    return f"Numbers of this type cannot be read: {listed}. Expected float32, float16 or bfloat16."


def _no_entry(file: TensorFile, key: str) -> str:
    if not key:
        return _unknown(file, None)
    tops = dict.fromkeys(_SEPARATORS.split(name)[0] for name in file.tensors)
    return f"has no weights of a network under {key!r}; its entries begin with {_listed(map(repr, tops), 8)}"


def _samples(tensors: Mapping[str, Array]) -> str:
    return _listed(f"{name[:80]!r} {list(tensors[name].shape)}" for name in sorted(tensors))


# --- backbone


def _base(path: Path, file: TensorFile, copy: _Copy) -> dict[str, Floats]:
    """The weights of the backbone under neutral names. Shapes are checked before any is copied, because many tensors
    of a file may share one large storage."""
    _check_names(path, file, copy)
    _check_kinds(path, file, copy.names)
    wanted = copy.network.tensor_shapes(copy.network.size)
    first = f"{copy.network.nodes[0].name}/kernel"
    views: dict[str, Array] = {}
    wrong: list[str] = []
    for name, short in sorted(copy.names.items()):
        place, tensor = copy.scheme.places[short], file.tensors[name]
        shapes = [wanted[tensor_name] for tensor_name in place.tensors]
        if place.tensors[0] == first and _channels(tensor, place) == 1:
            shapes = [(*shapes[0][:2], 1, shapes[0][3])]
        found = _views(tensor, place, shapes)
        if found is None:
            wrong.append(f"{name[:80]} has shape {list(tensor.shape)}, expected {_stored_shape(place, shapes)}")
        else:
            views |= zip(place.tensors, found, strict=True)
    if wrong:
        raise InputError(
            f"{path} looks like {copy.network.name} by {copy.scheme.name} names, but {_listed(wrong)}: it is another "
            f"network, or has other parts. Expected: {networks_text()}"
        )
    base = {tensor: _values(file, copy, tensor, view) for tensor, view in views.items()}
    if base[first].shape[2] == 1:
        base[first] = np.repeat(np.asarray(base[first], np.float64) / 3, 3, axis=2)
    converted = {name: _as_float32(base[name]) for name in wanted}
    if odd := [name for name, values in converted.items() if not np.isfinite(values).all()]:
        raise InputError(f"{path}: {_listed(copy.scheme.theirs[name] for name in odd)} is not finite")
    if odd := [name for name, values in converted.items() if _is_negative(copy.network, name, values)]:
        raise InputError(f"{path}: {_listed(copy.scheme.theirs[name] for name in odd)} is negative, and is a variance")
    return converted


def _is_negative(network: Network, name: str, values: Floats) -> bool:
    """Whether it is a variance that is below 0 with what is added to it."""
    node, _, variable = name.rpartition("/")
    return variable == "moving_variance" and float(values.min()) + network.by_name[node].attributes["epsilon"] <= 0


def _as_float32(values: Array) -> Floats:
    """A copy, so that the bytes of the file are freed; what float32 cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return np.array(values, np.float32, order="C")


def _check_kinds(path: Path, file: TensorFile, names: Iterable[str]) -> None:
    """InputError for weights in whole numbers: what they stand for is not beside them in a way that is known."""
    odd = [name for name in names if not np.issubdtype(file.tensors[name].dtype, np.floating)]
    if odd:
        shown = _listed(f"{name[:80]!r} is {file.tensors[name].dtype}" for name in odd)
        raise InputError(f"{path}: {shown}, expected floating-point numbers: a quantised network cannot be imported")


def _check_names(path: Path, file: TensorFile, copy: _Copy) -> None:
    """InputError if weights are missing, there twice, or of a layer that the network does not have."""
    like = f"{path} looks like {copy.network.name} by {copy.scheme.name} names"
    if missing := copy.missing:
        lacking = _listed(dict.fromkeys(copy.prefix + copy.scheme.theirs[name] for name in missing))
        unread = f". {_unread(file)}" if file.unread else ""
        raise InputError(f"{like}, but it lacks {len(missing)} of its weights: {lacking}{unread}")
    if odd := list(_foreign_layers(file, copy)):
        shapes = _listed(f"{name[:80]!r} {list(file.tensors[name].shape)}" for name in odd)
        raise InputError(
            f"{like}, but it holds {shapes}, which that network does not have. Expected: {networks_text()}"
        )
    seen: dict[str, str] = {}
    for name, short in copy.names.items():
        for tensor in copy.scheme.places[short].tensors:
            if tensor in seen:
                raise InputError(f"{path} holds {tensor} twice, as {seen[tensor][:80]!r} and as {name[:80]!r}")
            seen[tensor] = name


_COUNTER = "num_batches_tracked"
_NO_WEIGHTS = (_COUNTER, "mask_token")


def _foreign_layers(file: TensorFile, copy: _Copy) -> Iterator[str]:
    for name in file.tensors:
        if not name.startswith(copy.prefix) or name in copy.names or name.endswith(_NO_WEIGHTS):
            continue
        if copy.scheme.layers.match(name[len(copy.prefix) :]):
            yield name


def _channels(tensor: Array, place: Destination) -> int:
    axis = 1 if place.layout == "convolution" else 2
    return tensor.shape[axis] if tensor.ndim == 4 else 0


_Shape: TypeAlias = tuple[int, ...]


def _views(tensor: Array, place: Destination, shapes: Sequence[_Shape]) -> list[Array] | None:
    """The tensors that a weight becomes, in our axes; None if its shape is another."""
    if place.layout == "convolution" and tensor.ndim == 4:
        tensor = tensor.transpose(2, 3, 1, 0)
    elif place.layout == "dense" and tensor.ndim == 2:
        tensor = tensor.T
    elif place.layout == "squeezed":
        while tensor.ndim > len(shapes[0]) and tensor.shape[0] == 1:
            tensor = tensor[0]
    count = len(shapes)
    if tensor.ndim == 0 or tensor.shape != (*shapes[0][:-1], shapes[0][-1] * count):
        return None
    return np.split(tensor, count, axis=-1)


def _stored_shape(place: Destination, shapes: Sequence[_Shape]) -> list[int]:
    """The shape that a weight should have in the file."""
    shape = [*shapes[0][:-1], shapes[0][-1] * len(shapes)]
    if place.layout == "convolution":
        return [shape[3], shape[2], *shape[:2]]
    if place.layout == "dense":
        return shape[::-1]
    return [1, *([1] if len(shape) == 1 else []), *shape] if place.layout == "squeezed" else shape


def _values(file: TensorFile, copy: _Copy, tensor: str, view: Array) -> Array:
    """The numbers here. A variance takes in the difference of the two epsilons, so it may be a hair below 0."""
    node, _, variable = tensor.rpartition("/")
    if variable != "moving_variance":
        return view
    ours = copy.network.by_name[node].attributes["epsilon"]
    layer = copy.scheme.theirs[tensor].rpartition("/" if copy.scheme.name == "keras" else ".")[0]
    stated = file.epsilon.get(copy.prefix + layer, file.epsilon.get(layer))
    theirs = stated if stated is not None else copy.scheme.epsilon or ours
    return np.asarray(view, np.float64) + np.float64(theirs - ours)


# --- head


_HEAD = re.compile(
    r"(classifier|classifiers|fc|fc\d+|head|heads|class_layers|linear|last_linear|linear_head|mlp_head|out|output|outputs"
    r"|logits|predictions?|dense(_\d+)?|cls|final\w*)",
    re.I,
)
"""Components of the name of a head."""


@dataclass(frozen=True, kw_only=True)
class _Dense:
    """A dense layer in a file: its name, the names of its kernel and, if it has one, its bias, and its sizes."""

    name: str
    kernel: str
    bias: str | None
    inputs: int
    outputs: int

    @property
    def is_head(self) -> bool:
        return any(_HEAD.fullmatch(part) for part in _components(self.name))


def _output_layer(
    path: Path, file: TensorFile, copy: _Copy, others: Sequence[_Copy]
) -> tuple[OutputLayer | None, set[str]]:
    """The head, and the names of its tensors; None if there is none. InputError if it cannot be told which it is, or it
    does not fit."""
    width = copy.network.shapes(copy.network.size)[copy.network.output][2]
    layers = _heads(file, copy, others, width)
    if not layers:
        return None, set()
    if len(layers) > 1 and not _side_by_side(layers, width):
        shapes = _listed((f"{layer.name[:80]!r} {list(file.tensors[layer.kernel].shape)}" for layer in layers), 5)
        raise InputError(
            f"{path} has {len(layers)} layers that may be its head, {shapes}: expected one dense layer that takes "
            f"{width} features. `train --weights` takes the backbone, and trains a head of its own"
        )
    parts = [_kernel_and_bias(path, file, layer, copy, width) for layer in layers]
    final = _check_around(path, file, copy, layers)
    kernel, bias = np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts])
    if not 0 < len(bias) <= MAX_OUTPUTS:
        raise InputError(f"{path}: its head has {len(bias)} outputs, expected 1 to {MAX_OUTPUTS}")
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise InputError(f"{path}: its head is not finite")
    activation = file.activations.get(_components(layers[0].name)[-1], "sigmoid")
    activation = final if activation == "linear" and final else activation
    if activation not in ("sigmoid", "softmax", "linear"):
        raise InputError(
            f"{path}: its head has the activation {activation[:40]!r}, expected sigmoid, softmax or linear"
        )
    used = {name for layer in layers for name in (layer.kernel, layer.bias) if name}
    layer = OutputLayer(kernel=kernel, bias=bias, activation="softmax" if activation == "softmax" else "sigmoid")
    return layer, used


_HARMLESS = re.compile(r"GlobalAveragePooling2D|\w*Dropout\w*|Dense|InputLayer|Identity|Flatten|Reshape")
"""Classes of Keras layers around a head that it is computed with here, or that change no score."""
_FINAL = ("sigmoid", "softmax", "linear")


def _check_around(path: Path, file: TensorFile, copy: _Copy, layers: Sequence[_Dense]) -> str:
    """The activation of a layer after the head, "" if there is none. InputError for a layer between the network and the
    scores that is none of this network, such as a normalisation: scores would be others."""
    odd = [f"{name[:80]!r}" for name in _beside(file, copy, layers)]
    final = ""
    for layer in file.outer[1]:
        activation = "softmax" if layer.of_class == "Softmax" else layer.activation
        if layer.of_class in ("Activation", "Softmax") and activation in _FINAL:
            final = activation
        elif not _HARMLESS.fullmatch(layer.of_class):
            odd.append(f"{layer.name[:80]!r} ({layer.of_class[:40]})")
    if odd:
        raise InputError(
            f"{path}: its head has more than a mean and one dense layer: {_listed(dict.fromkeys(odd))}. Scores would "
            f"differ. `train --architecture {copy.network.name} --weights` takes the backbone, and trains a head"
        )
    return final


def _beside(file: TensorFile, copy: _Copy, layers: Sequence[_Dense]) -> Iterator[str]:
    """Vectors, as of a normalisation, within what is called a head and holds the head."""
    for layer in layers:
        parts = _components(layer.name)
        above = next((n for n, part in enumerate(parts[:-1], start=1) if _HEAD.fullmatch(part)), 0)
        for name, tensor in file.tensors.items():
            inside = _components(name)
            if (
                above
                and inside[:above] == parts[:above]
                and inside[-1] in ("weight", "gamma")
                and tensor.ndim == 1
                and name not in copy.names
            ):
                yield name


def _heads(file: TensorFile, copy: _Copy, others: Sequence[_Copy], width: int) -> list[_Dense]:
    """The layers that may be the head of this copy: those called so, else the only one with a bias."""
    taken = {name for each in (copy, *others) for name in each.names}
    found = [
        layer
        for layer in _dense_layers(file.tensors, taken)
        if all(_common(layer.name, other.prefix) <= _common(layer.name, copy.prefix) for other in others)
    ]
    called = [layer for layer in found if layer.is_head]
    if not called:
        rest = [layer for layer in found if layer.bias]
        # Which of several is not known; the message lists those that could be.
        return rest if len(rest) == 1 else [layer for layer in rest if layer.inputs == width]
    outputs = {layer.outputs for layer in called}
    if len(called) > 1 and not any(layer.inputs != width and layer.inputs in outputs for layer in called):
        # No chain of layers: one that takes other features is not the head, and ImageNet's may have been left over.
        fitting = [layer for layer in called if layer.inputs == width] or called
        called = [layer for layer in fitting if layer.outputs != MAX_OUTPUTS] or fitting
    return sorted(called, key=lambda layer: [(len(part), part) for part in _components(layer.name)])


def _dense_layers(tensors: Mapping[str, Array], taken: set[str]) -> Iterator[_Dense]:
    for name, tensor in tensors.items():
        layer, variable = name[: _starts(name)[-1]], name[_starts(name)[-1] :]
        if name in taken or variable not in ("weight", "kernel") or not layer or not _is_matrix(tensor):
            continue
        bias = f"{layer}bias"
        outputs, inputs = _matrix(tensor, variable).shape
        stated = bias if bias in tensors else None
        yield _Dense(name=layer.rstrip("./"), kernel=name, bias=stated, inputs=inputs, outputs=outputs)


def _is_matrix(tensor: Array) -> bool:
    """A convolution of 1x1 upon the mean of a map, or before it, is a dense layer too."""
    return tensor.ndim == 2 or (tensor.ndim == 4 and tensor.shape[2:] == (1, 1))


def _matrix(tensor: Array, variable: str) -> Array:
    """[out, in]."""
    return tensor.T if variable == "kernel" else tensor.reshape(tensor.shape[:2])


def _common(name: str, prefix: str) -> int:
    """How many components two names begin with in common."""
    count = 0
    for one, other in zip(_components(name), _components(prefix), strict=False):
        if one != other:
            break
        count += 1
    return count


def _side_by_side(layers: Sequence[_Dense], width: int) -> bool:
    """Whether they are heads.0, heads.1, ... of one or more outputs each, which all take the features."""
    names = [_components(layer.name) for layer in layers]
    return (
        [name[-1] for name in names] == [str(number) for number in range(len(layers))]
        and len({tuple(name[:-1]) for name in names}) == 1
        and names[0][:-1][-1:] in (["heads"], ["classifiers"])
        and all(layer.inputs == width for layer in layers)
    )


def _kernel_and_bias(path: Path, file: TensorFile, layer: _Dense, copy: _Copy, width: int) -> tuple[Floats, Floats]:
    kernel = _matrix(file.tensors[layer.kernel], _components(layer.kernel)[-1]).T
    if kernel.shape[0] != width:
        why = ""
        if copy.network.class_token and kernel.shape[0] == 2 * width:
            why = ": those of the class token and the mean of the patches, as Dinov2ForImageClassification takes them"
        raise InputError(
            f"{path}: its head {layer.name[:80]!r} takes {kernel.shape[0]} features{why}. Expected {width}, as "
            f"{copy.network.name} has here. `train --architecture {copy.network.name} --weights` takes the backbone"
        )
    if kernel.shape[1] > MAX_OUTPUTS:
        raise InputError(f"{path}: its head has {kernel.shape[1]} outputs, expected 1 to {MAX_OUTPUTS}")
    bias = np.zeros(kernel.shape[1]) if layer.bias is None else file.tensors[layer.bias]
    if bias.shape != kernel.shape[1:]:
        raise InputError(
            f"{path}: its head {layer.name[:80]!r} has {kernel.shape[1]} outputs, but {layer.bias!r:.80} has shape "
            f"{list(bias.shape)}, expected [{kernel.shape[1]}]"
        )
    _check_kinds(path, file, filter(None, (layer.kernel, layer.bias)))
    return _as_float32(kernel), _as_float32(bias)


# --- what the file and the program say of the network


def _recipe(file: TensorFile, copy: _Copy) -> tuple[Kind, Normalize, str]:
    """Kind, normalization of films, and a note if it was assumed."""
    first = f"{copy.network.nodes[0].name}/kernel"
    stored = next(name for name, short in copy.names.items() if first in copy.scheme.places[short].tensors)
    place = copy.scheme.places[copy.names[stored]]
    grey = _channels(file.tensors[stored], place) == 1
    name = copy.scheme.name
    if name == "monai":
        return (
            name,
            "unit",
            "films are passed as 0..1 (MONAI's ScaleIntensity); --normalize names another normalization",
        )
    if not grey:
        return name, copy.network.normalize, ""
    if name == "torchvision":
        note = "its first convolution has one channel: films are passed as -1024..1024, as torchxrayvision does; "
        return "torchxrayvision", "signed-1024", f"{note}--normalize names another normalization"
    note = "its first convolution has one channel: films are passed as 0..1; --normalize names another normalization"
    return name, "unit", note


_UNCHANGED = re.compile(r"InputLayer|ZeroPadding2D|Random\w+|Identity|GaussianNoise")
"""Classes of Keras layers before a network that change no film when it is scored, or belong to the network."""


def _entering(file: TensorFile) -> str:
    """A note on layers of a Keras model that change films before the network."""
    odd = [f"{name[:80]!r} ({kind[:40]})" for name, kind, _ in file.outer[0] if not _UNCHANGED.fullmatch(kind)]
    if not odd:
        return ""
    many = "layers" if len(odd) > 1 else "layer"
    return f"the {many} {_listed(odd)} before the network changes films, and is not imported; give --normalize to match"


def _size(kind: Kind, network: Network) -> int:
    """Side of the films that such networks are usually trained on."""
    if "embed_tokens" in network.operations:
        return network.size
    return 512 if kind == "torchxrayvision" and network.name.startswith("resnet") else _USUAL_SIZE


def _ignored(file: TensorFile, used: set[str]) -> str:
    """Counters of batches are in every checkpoint of torch, so they are not listed."""
    entries = (name for name in (*file.tensors, *file.ignored) if name not in used)
    names = [name[:80] for name in entries if not name.endswith(_COUNTER)]
    if not names:
        return ""
    entry = "entry that is no weight" if len(names) == 1 else "entries that are no weights"
    return f"ignored {len(names)} {entry} of the network: {_listed(names, 5)}"


def _outputs(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    """torchxrayvision's list of names: ``targets``, and ``pathologies`` in its older versions."""
    for key in ("targets", "pathologies"):
        names = metadata.get(key)
        if isinstance(names, list) and names and all(isinstance(name, str) and len(name) < 100 for name in names):
            return tuple(names)
    return None


def _points(path: Path, file: TensorFile) -> tuple[float, ...] | None:
    """torchxrayvision's op_threshs: a tensor, and a list in its older versions."""
    stored = (file.tensors[name] for name in file.tensors if _components(name)[-1:] == ["op_threshs"])
    values = next(stored, file.metadata.get("op_threshs"))
    if values is None or isinstance(values, int | float | str):
        return None
    if isinstance(values, list) and not all(isinstance(value, int | float) for value in values):
        return None
    if np.size(values) > MAX_OUTPUTS:
        raise InputError(f"{path} has {np.size(values)} thresholds, expected at most {MAX_OUTPUTS}")
    return tuple(float(value) for value in np.ravel(values))
