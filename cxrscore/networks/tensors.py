"""The tensors of a network with its head: names, shapes, initial values, which of them are trained; and what every
backend needs besides: constants, the closed form of heat maps, checks of inputs."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cxrscore.errors import InputError
from cxrscore.networks.graph import HEAD
from cxrscore.networks.spec import ModelSpec
from cxrscore.types import Array, Floats, Tensors

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
    "rad-dino": ((0.5307,) * 3, (0.2583,) * 3),
}
"""Mean and divisor by channel, for films in 0..1, of each word of ModelSpec.normalize."""

Shape = tuple[int, ...]


def map_shape(spec: ModelSpec) -> Shape:
    """Shape h, w, K of the map that the head pools: 12, 12, 1024 for densenet121 and films of 400 pixels."""
    return spec.graph.shapes(spec.size)[spec.graph.output]


def cam_layers(spec: ModelSpec) -> tuple[str, ...]:
    """The layers where heat maps can be taken: the output of the network and, if that is a ReLU, the layer before."""
    return spec.graph.cam_layers


def check_cam_layer(spec: ModelSpec, cam_layer: str | None) -> str:
    """The name of the layer, by default the one that is pooled; InputError if it is none of cam_layers()."""
    known = cam_layers(spec)
    if cam_layer is not None and cam_layer not in known:
        raise InputError(f"{spec.architecture} has no layer {cam_layer!r}; it has: {', '.join(known)}")
    return cam_layer or known[0]


def feature_count(spec: ModelSpec) -> int:
    """Number of features K that enter the dense layer: channels, times positions of the map for a "flatten" head."""
    height, width, channels = map_shape(spec)
    return height * width * channels if spec.head == "flatten" else channels


def tensor_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """Shape of every tensor of the spec by neutral name; InputError for a network that only a backend knows."""
    findings = len(spec.findings)
    head = {"head/kernel": (feature_count(spec), findings), "head/bias": (findings,)}
    return spec.graph.tensor_shapes(spec.size) | head


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
    """He et al. 2015 for convolutions, Glorot and Bengio 2010 (uniform) for dense layers, a standard deviation of 0.02
    for tokens and positions (Dosovitskiy et al. 2021), else the identity."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    variable = name.rsplit("/", 1)[-1]
    if variable == "kernel" and len(shape) == 2:
        limit = np.sqrt(6.0 / sum(shape))
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    if variable == "kernel":
        return rng.normal(scale=np.sqrt(2.0 / np.prod(shape[:-1])), size=shape).astype(np.float32)
    if variable in ("class_token", "position"):
        return rng.normal(scale=0.02, size=shape).astype(np.float32)
    return np.full(shape, 1.0 if variable in ("gamma", "moving_variance") else 0.0, dtype=np.float32)


_STATISTICS = ("/moving_mean", "/moving_variance")


def trainable_names(spec: ModelSpec) -> frozenset[str]:
    """Names of the tensors that the optimiser may change; the statistics of batch normalisation are not among them."""
    deepest = {"head": 0, "last-block": 1, "all": len(spec.graph.stages)}[spec.trainable]
    return trainable_of(name for name in tensor_shapes(spec) if depth_of(spec, name) <= deepest)


def tail_names(spec: ModelSpec) -> frozenset[str]:
    """Names of the tensors of the last block and the head, with the statistics of batch normalisation."""
    return frozenset(name for name in tensor_shapes(spec) if depth_of(spec, name) < 2)


def trainable_of(names: Iterable[str]) -> frozenset[str]:
    """The given names without statistics of batch normalisation."""
    return frozenset(name for name in names if not name.endswith(_STATISTICS))


def tail_shape(spec: ModelSpec) -> Shape:
    """Shape of the input of the last block: for 400 pixels 12, 12, 512 (densenet121, after pool4), 25, 25, 1024
    (resnet50, after the ReLU of conv4) or 50, 50, 64 (tinycnn, after that of conv3); T, K in a transformer; S, S, 3
    if there is one stage only, which the normalised film enters."""
    return spec.graph.shapes(spec.size)[spec.graph.entry]


def depth_of(spec: ModelSpec, name: str) -> int:
    """Distance of a tensor from the head in stages: 0 the head, 1 the last block, one more for each earlier stage."""
    layer = name.split("/")[0]
    return 0 if layer == HEAD else len(spec.graph.stages) - spec.graph.stage_of[layer]


def closed_form(
    spec: ModelSpec, kernel: Floats, findings: Sequence[int], activations: Floats, cam_layer: str
) -> Floats:
    """d logit / d activations [N,h,w,K] at the CAM layer, without differentiation: what contract.CamParts.gradients
    wants.

    At the pooled tensor: "gap" weight / (h w), float32 [1,F,1,1,K]; "flatten" the weight of each place, float32
    [1,F,h,w,K]; "cls" as "gap", as if the head pooled the patches, because the class token is none of them. Before the
    last ReLU: the same where the ReLU passes its input on, else 0; float32 [N,F,h,w,K]. InputError for a finding
    outside 0..C-1.
    """
    pooled = _weights_by_place(spec, kernel, findings)
    if cam_layer == cam_layers(spec)[0]:
        return pooled
    passes = activations > 0
    limit = spec.graph.last_relu_maximum
    if limit is not None:
        passes &= activations < limit
    return np.multiply(pooled, passes[:, None], dtype=np.float32)


def _weights_by_place(spec: ModelSpec, kernel: Floats, findings: Sequence[int]) -> Floats:
    if any(not 0 <= finding < len(spec.findings) for finding in findings):
        raise InputError(f"findings {list(findings)} are not all in 0..{len(spec.findings) - 1}")
    height, width, channels = map_shape(spec)
    chosen = np.ascontiguousarray(kernel.T[list(findings)])
    if spec.head == "flatten":
        return chosen.reshape(1, len(chosen), height, width, channels)
    return np.divide(chosen, height * width, dtype=np.float32)[None, :, None, None, :]


def nodes_before_head(spec: ModelSpec) -> tuple[str, ...]:
    """What a backend computes if NumPy computes the rest by ``last_relu`` and ``pool_map``: the map before the last
    ReLU and, for a "cls" head, the class token."""
    return (spec.graph.before_last_relu, *([spec.head_node] if spec.head == "cls" else []))


def last_relu(spec: ModelSpec, before: Floats) -> Floats:
    """The output of the network from the map before its last ReLU; the map itself if it does not end in one."""
    if spec.graph.before_last_relu == spec.graph.output:
        return before
    return np.clip(before, 0, spec.graph.last_relu_maximum)


def pool_map(spec: ModelSpec, output: Floats) -> Floats:
    """[...,K,h,w] -> [...,K], the mean over the map, or [...,h*w*K] for a "flatten" head: row, column, channel."""
    if spec.head == "flatten":
        return np.moveaxis(output, -3, -1).reshape(*output.shape[:-3], -1)
    found: Floats = output.mean(axis=(-2, -1))
    return found


def position_weights(grid: int, side: int) -> Floats | None:
    """What makes position embeddings of a side x side map from those of a grid x grid map: float32
    [1 + side^2, 1 + grid^2], a matrix to multiply them by. None if the sides are equal. The first row is the class
    token's.

    Bicubic interpolation with a = -0.75 and half-pixel centres, edges repeated (Keys, IEEE Trans. ASSP 1981), as
    torch.nn.functional.interpolate(mode="bicubic", align_corners=False).
    """
    if side == grid:
        return None
    line = _bicubic(grid, side)
    found = np.zeros((1 + side**2, 1 + grid**2))
    found[0, 0] = 1.0
    found[1:, 1:] = np.kron(line, line)
    return found.astype(np.float32)


def _bicubic(grid: int, side: int) -> Array:
    """float64 [side, grid]: the weights of a line."""
    places = (np.arange(side) + 0.5) * grid / side - 0.5
    first, a = np.floor(places).astype(int), -0.75
    found = np.zeros((side, grid))
    for step in range(-1, 3):
        x = np.abs(places - (first + step))
        near, far = ((a + 2) * x - (a + 3)) * x * x + 1, a * (((x - 5) * x + 8) * x - 4)
        np.add.at(found, (np.arange(side), np.clip(first + step, 0, grid - 1)), np.where(x <= 1, near, far))
    return found


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
