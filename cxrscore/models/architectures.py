"""Names and shapes of the tensors of the built-in networks, without any framework.

densenet121 and resnet50 are those of keras.applications, with the same layer names. tinycnn is a small network for
demos, tests and examples: four 3x3 convolutions with ReLU, no batch normalisation.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from cxrscore.contract import Array, Floats, ModelSpec, Tensors
from cxrscore.errors import InputError

ARCHITECTURES = ("densenet121", "resnet50", "tinycnn")

DENSENET121_BLOCKS = (6, 12, 24, 16)
"""Layers of conv2 to conv5, each adding DENSENET121_GROWTH channels."""
DENSENET121_GROWTH = 32
RESNET50_BLOCKS = (3, 4, 6, 3)
"""Blocks of conv2 to conv5; stage s is 64 * 2**(s - 2) channels wide, four times that where blocks meet."""
TINYCNN_LAYERS = ((16, 2), (32, 2), (64, 2), (64, 1))
"""Channels and stride of conv1 to conv4."""
NORM_EPSILON = 1.001e-5
"""What keras.applications adds to the variance in batch normalisation."""
NORM_MOMENTUM = 0.99
"""What stays of a stored mean or variance in a step that normalises by its own batch: Keras' default."""
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-7
"""Of every backend's optimiser: Keras' defaults."""

_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet-rgb": (_MEAN, _SD),
    "imagenet-caffe": (tuple(m / 255 for m in (103.939, 116.779, 123.68)), (1 / 255,) * 3),
    "unit": ((0.0,) * 3, (1.0,) * 3),
    "signed-1024": ((0.5,) * 3, (1 / 2048,) * 3),
}
"""Mean and divisor by channel, for films in 0..1, of each word of ModelSpec.normalize."""

_TAPS = {
    "densenet121": ("relu", "bn"),
    "resnet50": ("conv5_block3_out", "conv5_block3_add"),
    "tinycnn": ("relu", "conv4"),
}
"""By architecture, the last ReLU, whose output is pooled, and the layer before it."""

Shape = tuple[int, ...]


def _bn(layer: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
        yield f"{layer}/{variable}", (channels,)


def _conv(layer: str, side: int, channels: int, filters: int, *, bias: bool) -> Iterator[tuple[str, Shape]]:
    yield f"{layer}/kernel", (side, side, channels, filters)
    if bias:
        yield f"{layer}/bias", (filters,)


def _densenet121() -> Iterator[tuple[str, Shape]]:
    yield from _conv("conv1_conv", 7, 3, 64, bias=False)
    yield from _bn("conv1_bn", 64)
    channels = 64
    for stage, blocks in enumerate(DENSENET121_BLOCKS, start=2):
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            yield from _bn(f"{name}_0_bn", channels)
            yield from _conv(f"{name}_1_conv", 1, channels, 128, bias=False)
            yield from _bn(f"{name}_1_bn", 128)
            yield from _conv(f"{name}_2_conv", 3, 128, 32, bias=False)
            channels += DENSENET121_GROWTH
        if stage < 5:
            yield from _bn(f"pool{stage}_bn", channels)
            yield from _conv(f"pool{stage}_conv", 1, channels, channels // 2, bias=False)
            channels //= 2
    yield from _bn("bn", channels)


def _resnet50() -> Iterator[tuple[str, Shape]]:
    yield from _conv("conv1_conv", 7, 3, 64, bias=True)
    yield from _bn("conv1_bn", 64)
    channels = 64
    for stage, blocks in enumerate(RESNET50_BLOCKS, start=2):
        filters = 64 * 2 ** (stage - 2)
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            if block == 1:
                yield from _conv(f"{name}_0_conv", 1, channels, 4 * filters, bias=True)
                yield from _bn(f"{name}_0_bn", 4 * filters)
            convs = ((1, 1, channels, filters), (2, 3, filters, filters), (3, 1, filters, 4 * filters))
            for part, side, into, out in convs:
                yield from _conv(f"{name}_{part}_conv", side, into, out, bias=True)
                yield from _bn(f"{name}_{part}_bn", out)
            channels = 4 * filters


def _tinycnn() -> Iterator[tuple[str, Shape]]:
    channels = 3
    for index, (filters, _) in enumerate(TINYCNN_LAYERS, start=1):
        yield from _conv(f"conv{index}", 3, channels, filters, bias=True)
        channels = filters


_BASES = {"densenet121": (_densenet121, 1024), "resnet50": (_resnet50, 2048), "tinycnn": (_tinycnn, 64)}


def _check_architecture(architecture: str) -> None:
    if architecture not in _BASES:
        raise InputError(f"architecture {architecture!r} is unknown; there is: {', '.join(ARCHITECTURES)}")


def feature_side(architecture: str, size: int) -> int:
    """Side h = w of the last feature map: 12 (densenet121), 13 (resnet50) or 50 (tinycnn) for films of 400 pixels."""
    _check_architecture(architecture)
    side = (size - 1) // 2 + 1
    if architecture == "tinycnn":
        return ((side - 1) // 2) // 2 + 1
    side = (side - 1) // 2 + 1
    for _ in range(3):
        side = side // 2 if architecture == "densenet121" else (side - 1) // 2 + 1
    return side


def cam_layers(architecture: str) -> tuple[str, str]:
    """The layers where heat maps can be taken: the last ReLU, whose output is pooled, and the one before it."""
    _check_architecture(architecture)
    return _TAPS[architecture]


def check_cam_layer(architecture: str, cam_layer: str | None) -> str:
    """The name of the layer, by default the one that is pooled; InputError if it is none of cam_layers()."""
    known = cam_layers(architecture)
    if cam_layer is not None and cam_layer not in known:
        raise InputError(f"{architecture} has no layer {cam_layer!r}; it has: {', '.join(known)}")
    return cam_layer or known[0]


def feature_count(spec: ModelSpec) -> int:
    """Number of features K that enter the dense layer: channels, times positions of the map for a "flatten" head."""
    return tensor_shapes(spec)["head/kernel"][0]


def tensor_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """Shape of every tensor of the spec by neutral name; InputError for an unknown architecture."""
    _check_architecture(spec.architecture)
    layers, channels = _BASES[spec.architecture]
    places = feature_side(spec.architecture, spec.size) ** 2 if spec.head == "flatten" else 1
    findings = len(spec.findings)
    return dict(layers()) | {"head/kernel": (places * channels, findings), "head/bias": (findings,)}


def check_tensors(spec: ModelSpec, tensors: Tensors) -> dict[str, Floats]:
    """All tensors of the spec as contiguous float32; InputError if one is missing, extra, misshapen or not finite."""
    shapes = tensor_shapes(spec)
    faults = [f"{name} is missing" for name in shapes if name not in tensors]
    faults += [f"{name} is not of this network" for name in tensors if name not in shapes]
    faults += [
        f"{name} has shape {list(tensors[name].shape)}, expected {list(shape)}"
        for name, shape in shapes.items()
        if name in tensors and tensors[name].shape != shape
    ]
    # One variance of ImageNet's ResNet50 is 83,614: a file cast to float16 as a whole holds an infinity there.
    faults += [f"{name} is not finite" for name in shapes if name in tensors and not np.isfinite(tensors[name]).all()]
    if faults:
        more = f" and {len(faults) - 5} more faults" if len(faults) > 5 else ""
        raise InputError(f"these tensors do not fit {spec.architecture} ({spec.head}): {'; '.join(faults[:5])}{more}")
    return {name: np.ascontiguousarray(tensors[name], dtype=np.float32) for name in shapes}


def initial_tensors(spec: ModelSpec, seed: int, base: Tensors | None = None) -> dict[str, Floats]:
    """Initial tensors: those of ``base`` for the backbone, if given; all others random, the head always.

    A random tensor depends on the seed and its own name only, so every backend starts from the same values.
    """
    shapes = tensor_shapes(spec)
    if heads := sorted(name for name in base or () if name.startswith("head/")):
        raise InputError(f"base tensors must come without a head, and these hold {', '.join(heads)}")
    wanted = (name for name in shapes if base is None or name.startswith("head/"))
    drawn = {name: _draw(name, shapes[name], seed) for name in wanted}
    return check_tensors(spec, {**(base or {}), **drawn})


def _draw(name: str, shape: Shape, seed: int) -> Floats:
    """He et al. 2015 for convolutions, Glorot and Bengio 2010 (uniform) for the dense layer, else the identity."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    variable = name.rsplit("/", 1)[-1]
    if name == "head/kernel":
        limit = np.sqrt(6.0 / sum(shape))
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    if variable == "kernel":
        return rng.normal(scale=np.sqrt(2.0 / np.prod(shape[:-1])), size=shape).astype(np.float32)
    return np.full(shape, 1.0 if variable in ("gamma", "moving_variance") else 0.0, dtype=np.float32)


_LAST_BLOCK = {"densenet121": ("conv5_", "bn/"), "resnet50": ("conv5_block",), "tinycnn": ("conv4/",)}
_STATISTICS = ("/moving_mean", "/moving_variance")
_TAIL_CHANNELS = {"densenet121": 512, "resnet50": 1024, "tinycnn": 64}


def trainable_names(spec: ModelSpec) -> frozenset[str]:
    """Names of the tensors that the optimiser may change; the statistics of batch normalisation are not among them."""
    prefixes = {"head": (), "last-block": _LAST_BLOCK[spec.architecture], "all": ("",)}[spec.trainable]
    return trainable_of(n for n in tensor_shapes(spec) if n.startswith(("head/", *prefixes)))


def tail_names(spec: ModelSpec) -> frozenset[str]:
    """Names of the tensors of the last block and the head, with the statistics of batch normalisation."""
    return frozenset(n for n in tensor_shapes(spec) if n.startswith(("head/", *_LAST_BLOCK[spec.architecture])))


def trainable_of(names: Iterable[str]) -> frozenset[str]:
    """The given names without statistics of batch normalisation."""
    return frozenset(name for name in names if not name.endswith(_STATISTICS))


def tail_shape(spec: ModelSpec) -> Shape:
    """Shape h, w, K of the input of the last block: for 400 pixels 12, 12, 512 (densenet121, after pool4), 25, 25, 1024
    (resnet50, after the ReLU of conv4) or 50, 50, 64 (tinycnn, after that of conv3)."""
    side = feature_side(spec.architecture, spec.size)
    if spec.architecture == "resnet50":
        side = (spec.size - 1) // 16 + 1  # its last block begins with a stride
    return side, side, _TAIL_CHANNELS[spec.architecture]


def depth_of(spec: ModelSpec, name: str) -> int:
    """Distance of a tensor from the head in blocks: 0 the head, 1 the last block, one more for each earlier stage. A
    transition (pool4 of densenet121) belongs to the stage that it ends; the first convolution is a stage."""
    layer = name.split("/")[0]
    if layer == "head":
        return 0
    last = len(TINYCNN_LAYERS) if spec.architecture == "tinycnn" else 5
    return 1 if layer == "bn" else 1 + last - int(layer[4])


def closed_form(
    spec: ModelSpec, kernel: Floats, findings: Sequence[int], activations: Floats, cam_layer: str
) -> Floats:
    """d logit / d activations [N,h,w,K] at the CAM layer, without differentiation: what contract.CamParts.gradients
    wants.

    At the pooled tensor: "gap" weight / (h w), float32 [1,F,1,1,K]; "flatten" the weight of each place, float32
    [1,F,h,w,K]. Before the last ReLU: the same where the activation is above 0, else 0; float32 [N,F,h,w,K].
    InputError for a finding outside 0..C-1.
    """
    pooled = _weights_by_place(spec, kernel, findings)
    if cam_layer == cam_layers(spec.architecture)[0]:
        return pooled
    return np.multiply(pooled, activations[:, None] > 0, dtype=np.float32)


def _weights_by_place(spec: ModelSpec, kernel: Floats, findings: Sequence[int]) -> Floats:
    if any(not 0 <= finding < len(spec.findings) for finding in findings):
        raise InputError(f"findings {list(findings)} are not all in 0..{len(spec.findings) - 1}")
    side = feature_side(spec.architecture, spec.size)
    chosen = np.ascontiguousarray(kernel.T[list(findings)])
    if spec.head == "flatten":
        return chosen.reshape(1, len(chosen), side, side, kernel.shape[0] // side**2)
    return np.divide(chosen, side * side, dtype=np.float32)[None, :, None, None, :]


def check_inputs(inputs: Floats, shape: Shape) -> Floats:
    """The array itself if it is float32 [N, *shape], else an InputError."""
    if inputs.dtype != np.float32 or inputs.shape[1:] != tuple(shape):
        wanted = ", ".join(["N", *map(str, shape)])
        raise InputError(f"got {inputs.dtype} {list(inputs.shape)}, expected float32 [{wanted}]")
    return np.ascontiguousarray(inputs)


def check_films(films: Array, side: int) -> Array:
    """The array itself if it is float32, uint8 or uint16 [N,S,S], as of AcceptsIntegerImages, else an InputError."""
    if films.dtype not in (np.uint8, np.uint16):
        return check_inputs(films, (side, side))
    if films.shape[1:] != (side, side):
        raise InputError(f"got {films.dtype} {list(films.shape)}, expected it, or float32, [N, {side}, {side}]")
    return np.ascontiguousarray(films)


def check_adam_state(shapes: Mapping[str, Shape], state: Tensors) -> dict[str, Array]:
    """The state of the optimiser for tensors of these shapes; InputError unless exactly its arrays are given."""
    wanted = {"adam/step": ()} | {f"adam/{moment}/{name}": shape for moment in "mv" for name, shape in shapes.items()}
    if {name: value.shape for name, value in state.items()} != wanted:
        raise InputError(
            "this optimiser state is not of a model with these trainable tensors: it was saved by another run"
        )
    return {name: np.asarray(value, order="C") for name, value in state.items()}  # the step keeps its shape []
