"""Names that other programs give to the weights of cxrscore's networks, as tables.

A scheme lists, for one network, each name of a weight of the other program and where that weight goes here. Prefixes
are not part of it: ``features.`` of a DenseNet is one, as is ``module.``. A weight may have several names.

    torchvision    DenseNet, also by its old names (norm.1) and with numbered children; ResNet likewise. timm and
                   torchxrayvision use the same names, CheXNet the old ones
    monai          DenseNet of MONAI: torchvision's, with ``layers.`` between a layer and its parts
    timm           vision transformer of timm and of facebook's DINOv2, also in chunks (blocks.0.3)
    transformers   Dinov2Model and ResNetModel of Hugging Face, by the names of its releases 4 and 5
    keras          names of keras.applications, which are those of cxrscore's model files
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cxrscore.networks import builtin
from cxrscore.networks.densenet import BLOCKS as DENSENET_BLOCKS
from cxrscore.networks.graph import Network
from cxrscore.networks.resnet import BLOCKS as RESNET_BLOCKS
from cxrscore.networks.vit import LAYERS

Layout = Literal["same", "convolution", "dense", "squeezed"]
"""How a weight is stored there: as here; OIHW (here HWIO); [out, in] (here [in, out]); with axes of 1 before it."""
SchemeName = Literal["torchvision", "monai", "timm", "transformers", "keras"]

MOST_PARTS = 9
"""Components of the longest name in a table: encoder.layer.0.attention.attention.query.weight has eight."""


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a weight goes: the tensors that it becomes, one after the other along its output axis."""

    tensors: tuple[str, ...]
    layout: Layout


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """The names of one program for the weights of one network.

    Parameters
    ----------
    name
        Of the program.
    network
        The network.
    places
        Where the weight of each name goes; names are relative to the prefix of the network.
    layers
        Matches every name, relative to that prefix, of a layer of such a network: also of a deeper or other one.
    epsilon
        Added to the variance by batch normalisation; None: as in the network here.
    """

    name: SchemeName
    network: Network
    places: Mapping[str, Destination]
    layers: re.Pattern[str]
    epsilon: float | None = None

    @functools.cached_property
    def theirs(self) -> dict[str, str]:
        """The first name of the weight that each tensor comes from."""
        found: dict[str, str] = {}
        for name, place in self.places.items():
            for tensor in place.tensors:
                found.setdefault(tensor, name)
        return found


_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_DENSE = {"weight": "kernel", "bias": "bias"}
_VARIABLES = {
    "conv2d": _DENSE,
    "dense": _DENSE,
    "batch_norm": _NORM,
    "layer_norm": _NORM,
    "scale": {"gamma": "gamma", "lambda1": "gamma"},
}
"""torch's name of each variable, by operation, and ours."""
_KERNELS: dict[str, Layout] = {"conv2d": "convolution", "dense": "dense"}
TORCH_EPSILON = 1e-5
"""Default epsilon of torch.nn.BatchNorm2d."""


def _places(network: Network, layers: Iterable[tuple[str, str]]) -> dict[str, Destination]:
    """layers: pairs of the other program's name of a layer and ours."""
    ours, found = network.tensor_shapes(network.size), {}
    for theirs, node in layers:
        operation = network.by_name[node].operation
        for variable, our_variable in _VARIABLES[operation].items():
            tensor = f"{node}/{our_variable}"
            if tensor in ours:
                layout = _KERNELS.get(operation, "same") if variable == "weight" else "same"
                found[f"{theirs}.{variable}"] = Destination(tensors=(tensor,), layout=layout)
    return found


# --- DenseNet

_DENSENET = re.compile(r"(conv0|norm0|norm5|denseblock\d+|transition\d+)\.")
_DENSENET_NUMBERED = re.compile(r"([0-9]|1[01])\.")
_CHILDREN = {"conv0": 0, "norm0": 1, "norm5": 11}
_CHILDREN |= {f"denseblock{n}": 2 + 2 * n for n in range(1, 5)} | {f"transition{n}": 3 + 2 * n for n in range(1, 4)}
"""Place of each child in ``features``, which is its name in a Sequential of them."""


def _densenet_layers(blocks: Iterable[int]) -> Iterator[tuple[str, str]]:
    """torchvision's layers and ours; "{}" stands in a name between a layer and its part."""
    yield from (("conv0", "conv1_conv"), ("norm0", "conv1_bn"), ("norm5", "bn"))
    for block, layers in enumerate(blocks, start=1):
        for layer in range(1, layers + 1):
            theirs, ours = f"denseblock{block}.denselayer{layer}.{{}}", f"conv{block + 1}_block{layer}"
            yield from ((f"{theirs}norm1", f"{ours}_0_bn"), (f"{theirs}conv1", f"{ours}_1_conv"))
            yield from ((f"{theirs}norm2", f"{ours}_1_bn"), (f"{theirs}conv2", f"{ours}_2_conv"))
        if block < 4:
            yield f"transition{block}.norm", f"pool{block + 1}_bn"
            yield f"transition{block}.conv", f"pool{block + 1}_conv"


def _densenet(name: str) -> Iterator[Scheme]:
    network = _network(name)
    layers = list(_densenet_layers(DENSENET_BLOCKS[name]))
    new = [(theirs.format(""), ours) for theirs, ours in layers]
    old = [(re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)$", r"\1.\2", theirs), ours) for theirs, ours in new]
    monai = [(theirs.format("layers."), ours) for theirs, ours in layers]
    numbered = []
    for theirs, ours in new:
        first, dot, rest = theirs.partition(".")
        numbered.append((f"{_CHILDREN[first]}{dot}{rest}", ours))
    yield _torch_scheme("torchvision", network, new, _DENSENET)
    yield _torch_scheme("torchvision", network, old, _DENSENET)
    yield _torch_scheme("torchvision", network, numbered, _DENSENET_NUMBERED)
    yield _torch_scheme("monai", network, monai, _DENSENET)


# --- ResNet

_RESNET = re.compile(r"(conv1|bn1|layer\d+)\.")
_RESNET_NUMBERED = re.compile(r"[0-7]\.")
_RESNET_TRANSFORMERS = re.compile(r"(embedder|encoder)\.")


def _resnet_layers() -> Iterator[tuple[str, str]]:
    yield from (("conv1", "conv1_conv"), ("bn1", "conv1_bn"))
    for stage, blocks in enumerate(RESNET_BLOCKS, start=1):
        for block in range(blocks):
            theirs, ours = f"layer{stage}.{block}", f"conv{stage + 1}_block{block + 1}"
            for number in (1, 2, 3):
                yield f"{theirs}.conv{number}", f"{ours}_{number}_conv"
                yield f"{theirs}.bn{number}", f"{ours}_{number}_bn"
            if block == 0:
                yield from ((f"{theirs}.downsample.0", f"{ours}_0_conv"), (f"{theirs}.downsample.1", f"{ours}_0_bn"))


def _as_child(theirs: str) -> str:
    """conv1, bn1 and layer1 to layer4 are children 0, 1 and 4 to 7 of a ResNet."""
    first, dot, rest = theirs.partition(".")
    number = {"conv1": 0, "bn1": 1}.get(first, 3 + int(first[-1]))
    return f"{number}{dot}{rest}"


def _as_transformers(theirs: str) -> str:
    """layer1.0.conv1 -> encoder.stages.0.layers.0.layer.0.convolution."""
    kind = "convolution" if "conv" in theirs or theirs.endswith("downsample.0") else "normalization"
    if not theirs.startswith("layer"):
        return f"embedder.embedder.{kind}"
    stage, block, part = theirs.split(".", 2)
    inner = "shortcut" if part.startswith("downsample") else f"layer.{int(part[-1]) - 1}"
    return f"encoder.stages.{int(stage[-1]) - 1}.layers.{block}.{inner}.{kind}"


def _resnet() -> Iterator[Scheme]:
    network, layers = _network("resnet50v1.5"), list(_resnet_layers())
    yield _torch_scheme("torchvision", network, layers, _RESNET)
    numbered = [(_as_child(theirs), ours) for theirs, ours in layers]
    yield _torch_scheme("torchvision", network, numbered, _RESNET_NUMBERED)
    named = [(_as_transformers(theirs), ours) for theirs, ours in layers]
    yield _torch_scheme("transformers", network, named, _RESNET_TRANSFORMERS)


# --- vision transformer

_TIMM = re.compile(r"(blocks|patch_embed|norm|norm_pre|fc_norm)\.|(reg_token|register_tokens|dist_token)$")
_TIMM_PARTS = {
    "norm1": "norm1",
    "attn.proj": "projection",
    "ls1": "scale1",
    "norm2": "norm2",
    "mlp.fc1": "dense1",
    "mlp.fc2": "dense2",
    "ls2": "scale2",
}
_DINOV2 = re.compile(r"(embeddings|encoder|layernorm)\.")
_DINOV2_PARTS = {
    "norm1": "norm1",
    "attention.attention.query": "query",
    "attention.attention.key": "key",
    "attention.attention.value": "value",
    "attention.output.dense": "projection",
    "attention.q_proj": "query",
    "attention.k_proj": "key",
    "attention.v_proj": "value",
    "attention.o_proj": "projection",
    "layer_scale1": "scale1",
    "norm2": "norm2",
    "mlp.fc1": "dense1",
    "mlp.fc2": "dense2",
    "layer_scale2": "scale2",
}


def _tokens(class_token: str, position: str) -> dict[str, Destination]:
    return {
        class_token: Destination(tensors=("tokens/class_token",), layout="squeezed"),
        position: Destination(tensors=("tokens/position",), layout="squeezed"),
    }


def _fused(block: str, layer: str) -> dict[str, Destination]:
    """timm's query, key and value are one dense layer."""
    names = {
        variable: tuple(f"{layer}_{part}/{variable}" for part in ("query", "key", "value"))
        for variable in ("kernel", "bias")
    }
    return {
        f"{block}.attn.qkv.weight": Destination(tensors=names["kernel"], layout="dense"),
        f"{block}.attn.qkv.bias": Destination(tensors=names["bias"], layout="same"),
    }


def _vit() -> Iterator[Scheme]:
    network = _network("vit_b14")
    layers = [("patch_embed.proj", "patches"), ("norm", "norm")]
    fused: dict[str, Destination] = {}
    for number in range(LAYERS):
        for block in (f"blocks.{number}", *(f"blocks.{chunk}.{number}" for chunk in range(number + 1))):
            layers += [(f"{block}.{theirs}", f"layer{number + 1}_{ours}") for theirs, ours in _TIMM_PARTS.items()]
            fused |= _fused(block, f"layer{number + 1}")
    more = _tokens("cls_token", "pos_embed") | fused
    yield _torch_scheme("timm", network, layers, _TIMM, more)
    layers = [("embeddings.patch_embeddings.projection", "patches"), ("layernorm", "norm")]
    layers += [
        (f"encoder.layer.{number}.{theirs}", f"layer{number + 1}_{ours}")
        for number in range(LAYERS)
        for theirs, ours in _DINOV2_PARTS.items()
    ]
    more = _tokens("embeddings.cls_token", "embeddings.position_embeddings")
    yield _torch_scheme("transformers", network, layers, _DINOV2, more)


# --- all of them


def _network(name: str) -> Network:
    network = builtin.built_in(name)
    assert network is not None
    return network


def _torch_scheme(
    name: SchemeName,
    network: Network,
    layers: Iterable[tuple[str, str]],
    pattern: re.Pattern[str],
    more: Mapping[str, Destination] | None = None,
) -> Scheme:
    places = _places(network, layers) | dict(more or {})
    return Scheme(name=name, network=network, places=places, layers=pattern, epsilon=TORCH_EPSILON)


def own_scheme(network: Network) -> Scheme:
    """The names of the model files: node/variable."""
    places = {name: Destination(tensors=(name,), layout="same") for name in network.tensor_shapes(network.size)}
    nodes = "|".join(re.escape(node.name) for node in network.nodes)
    family = r"(conv|pool)\d+_\w+/" if "batch_norm" in network.operations else r"$^"
    return Scheme(name="keras", network=network, places=places, layers=re.compile(rf"{family}|({nodes})/"))


@functools.cache
def schemes() -> tuple[Scheme, ...]:
    """Of all built-in networks."""
    foreign = [scheme for name in DENSENET_BLOCKS for scheme in _densenet(name)]
    return (*foreign, *_resnet(), *_vit(), *(own_scheme(network) for network in builtin.networks()))


def networks_text() -> str:
    """The networks that can be imported, and whose names of weights are known."""
    known: dict[str, list[str]] = {}
    for scheme in schemes():
        known.setdefault(scheme.network.name, []).append(scheme.name)
    alike: dict[str, list[str]] = {}
    for network, names in known.items():
        alike.setdefault(", ".join(dict.fromkeys(names)), []).append(network)
    listed = "; ".join(f"{', '.join(networks)} by names of {names}" for names, networks in alike.items())
    return f"{listed}; networks of plugins by names of model files, node/variable"
