"""Imports DenseNet121 checkpoints of torch, with backend-neutral names and equal scores.

Three kinds of file, recognised by their content:

    torchvision      a state_dict of torchvision.models.densenet121, new names (norm1) and old (norm.1)
    chexnet          the same below any prefix (module.densenet121.), its classifier in a Sequential with a sigmoid
    torchxrayvision  a state_dict or a pickled network whose first convolution has one channel, for films in -1024..1024

The names are those of torchvision/models/densenet.py and torchxrayvision/models.py. Differences from
the graph of cxrscore are converted so that scores do not change: kernels OIHW to HWIO; the epsilon of batch
normalisation is added to the variance; a kernel for one channel is divided by three for three equal channels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cxrscore.contract import Array, Floats, ModelSpec, Normalize
from cxrscore.errors import FileFormatError, InputError
from cxrscore.models.torch_file import read_torch
from cxrscore.networks.tensors import DENSENET121_BLOCKS, NORM_EPSILON, check_tensors, tensor_shapes

Kind = Literal["torchvision", "chexnet", "torchxrayvision"]
Fit = Literal["stretch", "pad", "crop"]
"""How films are made square; see images.Preprocessing."""

TORCH_EPSILON = 1e-5
"""Default epsilon of torch.nn.BatchNorm2d."""

_SPEC = ModelSpec(architecture="densenet121", findings=("any",))
_VARIABLES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_FIRST = "features.conv0.weight"
_MOST_OUTPUTS = 1000
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
_CLASSIFIER = re.compile(r"classifier\.(?:(\d+)\.)?(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class ImportedCheckpoint:
    """An imported DenseNet121: its backbone under neutral names, its head, and metadata of the C outputs.

    base       backbone tensors, float32, kernels HWIO
    kernel     float32 [1024,C]; bias float32 [C]
    outputs    C names in the file, "" for an output that was not trained; None if the file has none
    points     C thresholds in 0..1, NaN if undefined; None if the file has none
    """

    kind: Kind
    base: dict[str, Floats]
    kernel: Floats
    bias: Floats
    normalize: Normalize
    outputs: tuple[str, ...] | None
    points: tuple[float, ...] | None

    @property
    def fit(self) -> Fit:
        """torchxrayvision cuts out the middle square; CheXNet averaged ten crops, which is unusual today."""
        return "crop" if self.kind == "torchxrayvision" else "stretch"


def read_torch_densenet(path: Path) -> ImportedCheckpoint:
    """Reads such a file without executing code of it. InputError for another network, naming it if it is recognised;
    FileFormatError if the file is damaged or contains more than tensors."""
    checkpoint = read_torch(path)
    if odd := sorted(checkpoint.epsilon - {TORCH_EPSILON}):
        raise InputError(f"{path}: its batch normalisations add {odd[0]:g} to the variance, expected {TORCH_EPSILON:g}")
    tensors = _without_prefix(path, checkpoint.tensors)
    kernel, bias, sequential = _classifier(path, tensors)
    base = _base(path, tensors)
    grey = tensors[_FIRST].shape[1] == 1
    return ImportedCheckpoint(
        kind="torchxrayvision" if grey else "chexnet" if sequential else "torchvision",
        base=base,
        kernel=kernel,
        bias=bias,
        normalize="signed-1024" if grey else "imagenet-rgb",
        outputs=_outputs(checkpoint.metadata),
        points=_points(path, tensors, checkpoint.metadata),
    )


def _without_prefix(path: Path, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Tensors by torchvision's names of today."""
    first = [name for name in tensors if name.endswith(_FIRST)]
    if len(first) != 1:
        raise InputError(f"{path} holds no DenseNet121: {_describe_checkpoint(tensors)}")
    prefix = first[0].removesuffix(_FIRST)
    renamed = {_OLD_NAME.sub(r"\1\2", name.removeprefix(prefix)): tensor for name, tensor in tensors.items()}
    if len(renamed) != len(tensors):
        raise FileFormatError(f"{path} holds tensors twice, under old names and new")
    return renamed


def _describe_checkpoint(tensors: Mapping[str, Array]) -> str:
    if any(name.endswith("layer1.0.conv1.weight") for name in tensors):
        return (
            "it is a ResNet of torchvision. Its ResNet50 takes the stride in the 3x3 convolution (v1.5), that of "
            "keras.applications in the first 1x1 (v1): they are two networks, and the weights of one do not fit the "
            "other. Start from --weights imagenet, or from a DenseNet121"
        )
    some = ", ".join(repr(name[:80]) for name in sorted(tensors)[:3])
    return f"no tensor, or more than one, is called {_FIRST}; there are {some}, ..."


def _classifier(path: Path, tensors: dict[str, Array]) -> tuple[Floats, Floats, bool]:
    """Removes the classifier: kernel [1024,C], bias [C], and whether it was in a Sequential."""
    found = {name: match for name in tensors if (match := _CLASSIFIER.fullmatch(name))}
    places = {match[1] for match in found.values()}
    if len(found) != 2 or len(places) != 1:
        raise InputError(f"{path} has {len(found)} tensors of a classifier, expected the weight and bias of one layer")
    parts = {found[name][2]: tensors.pop(name) for name in found}
    kernel, bias = parts["weight"].T, parts["bias"]
    if kernel.ndim != 2 or len(kernel) != 1024 or bias.shape != kernel.shape[1:] or not 0 < len(bias) <= _MOST_OUTPUTS:
        raise InputError(f"{path}: its classifier has the shape {list(kernel.shape[::-1])}, expected [C,1024]")
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise InputError(f"{path}: its classifier is not finite")
    return np.ascontiguousarray(kernel, np.float32), np.array(bias, np.float32), places != {None}


def _base(path: Path, tensors: Mapping[str, Array]) -> dict[str, Floats]:
    """All layers except the classifier under their neutral names. Shapes are checked before any copy, because many
    tensors of a file may share one large storage."""
    layers = dict(_layers())
    views: dict[str, Array] = {}
    for name, tensor in tensors.items():
        layer, _, variable = name.rpartition(".")
        if variable == "num_batches_tracked" or name == "op_threshs":
            continue
        if layer not in layers:
            raise InputError(f"{path} holds {name[:80]!r}, which torchvision's DenseNet121 does not have")
        renamed, view = _renamed(layers[layer], variable, tensor)
        views[renamed] = view
    grey = views["conv1_conv/kernel"].shape == (7, 7, 1, 64)
    _check_shapes(path, {**views, "conv1_conv/kernel": np.broadcast_to(0, (7, 7, 3, 64))} if grey else views)
    base = {name: _values(name, view) for name, view in views.items()}
    if grey:
        base["conv1_conv/kernel"] = np.repeat(base["conv1_conv/kernel"] / 3, 3, axis=2)
    return {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in base.items()}


def _layers() -> Iterator[tuple[str, str]]:
    """torchvision's name of each layer, and ours."""
    yield from (("features.conv0", "conv1_conv"), ("features.norm0", "conv1_bn"), ("features.norm5", "bn"))
    for block, layers in enumerate(DENSENET121_BLOCKS, start=1):
        for layer in range(1, layers + 1):
            theirs, ours = f"features.denseblock{block}.denselayer{layer}", f"conv{block + 1}_block{layer}"
            yield from ((f"{theirs}.norm1", f"{ours}_0_bn"), (f"{theirs}.conv1", f"{ours}_1_conv"))
            yield from ((f"{theirs}.norm2", f"{ours}_1_bn"), (f"{theirs}.conv2", f"{ours}_2_conv"))
        if block < len(DENSENET121_BLOCKS):
            yield f"features.transition{block}.norm", f"pool{block + 1}_bn"
            yield f"features.transition{block}.conv", f"pool{block + 1}_conv"


def _renamed(layer: str, variable: str, tensor: Array) -> tuple[str, Array]:
    """Our name and axes; a variable that has no place here keeps its name, and _check_shapes says so."""
    if layer.endswith("conv"):
        kernel = tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor
        return f"{layer}/kernel" if variable == "weight" else f"{layer}.{variable[:40]}", kernel
    return f"{layer}/{_VARIABLES[variable]}" if variable in _VARIABLES else f"{layer}.{variable[:40]}", tensor


def _check_shapes(path: Path, views: Mapping[str, Array]) -> None:
    """InputError, as check_tensors says it, with the file's name."""
    head = {"head/kernel": np.broadcast_to(0, (1024, 1)), "head/bias": np.broadcast_to(0, (1,))}
    wanted = tensor_shapes(_SPEC)
    odd = [name for name, view in views.items() if view.shape != wanted.get(name)]
    small = {name: view for name, view in views.items() if name not in odd}
    for name in odd:
        small[name] = np.broadcast_to(0, views[name].shape)
    try:
        check_tensors(_SPEC, {**small, **head})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _values(name: str, view: Array) -> Array:
    """float64. The variance takes in the difference of the two epsilons, so it may be a hair below 0."""
    shift = TORCH_EPSILON - NORM_EPSILON if name.endswith("/moving_variance") else 0.0
    return np.asarray(view, np.float64) + shift


def _outputs(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    """torchxrayvision's list of names: ``targets``, and ``pathologies`` in its older versions."""
    for key in ("targets", "pathologies"):
        names = document.get(key)
        if isinstance(names, list) and names and all(isinstance(name, str) and len(name) < 100 for name in names):
            return tuple(names)
    return None


def _points(path: Path, tensors: Mapping[str, Array], document: Mapping[str, Any]) -> tuple[float, ...] | None:
    """torchxrayvision's op_threshs: a tensor, and a list in its older versions."""
    values = tensors.get("op_threshs", document.get("op_threshs"))
    if values is None or isinstance(values, int | float | str):
        return None
    if isinstance(values, list) and not all(isinstance(value, int | float) for value in values):
        return None
    if np.size(values) > _MOST_OUTPUTS:
        raise InputError(f"{path} has {np.size(values)} operating points, expected at most {_MOST_OUTPUTS}")
    return tuple(float(value) for value in np.ravel(values))
