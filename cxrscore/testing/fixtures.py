"""What backends are examined on: small networks with tensors in which every one counts, films and labels."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import numpy as np

from cxrscore.contract import (
    AcceptsIntegerImages,
    AnyBatchSize,
    Array,
    Backend,
    Batch,
    FeatureExtractor,
    Floats,
    Head,
    Model,
    ModelSpec,
    Optimiser,
    Precision,
    SplitBackbone,
    SupportsAutograd,
    SupportsDistributed,
    SupportsFeatureTraining,
    SupportsHeatmaps,
    Tensors,
    Trainable,
    TrainableModel,
)
from cxrscore.losses import losses
from cxrscore.networks.builtin import built_in
from cxrscore.networks.tensors import initial_tensors
from cxrscore.plugin_values import why_not

FINDINGS = ("Mass", "Nodule", "Edema")
WEIGHTS = np.array([[0.9, 0.7, 0.5], [0.1, 0.3, 0.5]], np.float32)
"""Of positives and negatives of each finding."""
WEIGHTED_BCE = next(loss for loss in losses if loss.name == "weighted-bce").weighted(WEIGHTS)

HEADS: tuple[Head, ...] = ("gap", "flatten")
"""Those that every network can have."""

_CHECKED = ("tinycnn", "densenet121", "resnet50")
_SIDES = {"tinycnn": 36}
_SIDE = 66
"""Pixels; odd sides come up inside the networks, and the map is 2 x 2 or larger."""


def known_architectures(backend: Backend) -> list[str]:
    """Those of the backend for which there is a reference, smallest first."""
    return [name for name in _CHECKED if not why_not(backend, name, built_in(name))]


def spec_of(architecture: str, **changes: Any) -> ModelSpec:
    """A spec with three findings and a small input size."""
    size = _SIDES.get(architecture, _SIDE)
    return ModelSpec(**{"architecture": architecture, "findings": FINDINGS, "size": size, **changes})


def smallest_spec(backend: Backend, **changes: Any) -> ModelSpec:
    """Of the smallest architecture with a reference, else of the backend's first one."""
    return spec_of((known_architectures(backend) or list(backend.architectures))[0], **changes)


def require_reference(spec: ModelSpec) -> ModelSpec:
    """The spec itself; skips the case where the kit has no reference for its architecture."""
    if spec.network is None:
        raise unittest.SkipTest(f"the kit has no reference for {spec.architecture!r}, whose graph it does not know")
    return spec


def require_trainable(model: object) -> TrainableModel:
    """The model itself, as the following ones; skips the case where it lacks the ability."""
    _require(Trainable, model)
    return cast(TrainableModel, model)


def require_features(model: object) -> SupportsFeatureTraining:
    found: SupportsFeatureTraining = _require(SupportsFeatureTraining, model)
    return found


def embeds(model: object) -> FeatureExtractor:
    found: FeatureExtractor = _require(FeatureExtractor, model)
    return found


def require_split_backbone(model: object) -> SplitBackbone:
    found: SplitBackbone = _require(SplitBackbone, model)
    return found


def require_integer_images(model: object) -> AcceptsIntegerImages:
    found: AcceptsIntegerImages = _require(AcceptsIntegerImages, model)
    return found


def require_any_batch_size(model: object) -> AnyBatchSize:
    found: AnyBatchSize = _require(AnyBatchSize, model)
    return found


def require_heatmaps(model: object) -> SupportsHeatmaps:
    found: SupportsHeatmaps = _require(SupportsHeatmaps, model)
    return found


def require_distributed(backend: object) -> SupportsDistributed:
    """The backend itself, unlike the others here; skips the case where it lacks the ability."""
    found: SupportsDistributed = _require(SupportsDistributed, backend)
    return found


def require_autograd(model: object) -> SupportsAutograd:
    found: SupportsAutograd = _require(SupportsAutograd, model)
    return found


def at_rate(learning_rate: float, **settings: Any) -> Optimiser:
    """Plain Adam but for these settings."""
    return Optimiser(learning_rate=learning_rate, **settings)


def _require(ability: Any, model: object) -> Any:
    if not isinstance(model, ability):
        raise unittest.SkipTest(f"{type(model).__name__} is not {ability.__name__}")
    return model


_checked_device: ContextVar[str | None] = ContextVar("_checked_device", default=None)


@contextmanager
def checked_on(device: str) -> Iterator[None]:
    """Cases of backends build their models on this device; "auto": see device_of."""
    token = _checked_device.set(None if device == "auto" else device)
    try:
        yield
    finally:
        _checked_device.reset(token)


def device_of(backend: Backend) -> str:
    """The device of checked_on; else the CPU, unless the backend says that it does not run on it."""
    if device := _checked_device.get():
        return device
    return "cpu" if "cpu" in getattr(backend, "speed", ("cpu",)) else "auto"


def build(
    backend: Backend, spec: ModelSpec, tensors: Tensors | None, *, precision: Precision = "fp32", seed: int = 0
) -> Model:
    return backend.build(spec, tensors, device=device_of(backend), precision=precision, seed=seed)


def tensors_of(backend: Backend, spec: ModelSpec) -> dict[str, Array]:
    """Lively tensors where the kit knows their names, else those that the backend starts from."""
    if spec.network is not None:
        return dict(random_tensors(spec))
    return build(backend, spec, None).tensors()


def random_tensors(spec: ModelSpec, seed: int = 0) -> dict[str, Floats]:
    """First values, but biases and batch normalisation do something, and logits are of order 1."""
    tensors = initial_tensors(spec, seed)
    rng = np.random.default_rng(seed)
    for name, value in tensors.items():
        if name.endswith(("gamma", "moving_variance")):
            tensors[name] = rng.uniform(0.5, 1.0, value.shape).astype(np.float32)
        elif name.endswith(("beta", "moving_mean", "bias")):
            tensors[name] = rng.normal(0, 0.1, value.shape).astype(np.float32)
        elif name.endswith(("class_token", "position")):
            tensors[name] = rng.normal(0, 0.5, value.shape).astype(np.float32)
        if name.endswith("_3_bn/gamma"):  # else the sums of residual blocks grow from block to block
            tensors[name] /= 4
    return tensors


def some_films(count: int, side: int, seed: int = 0) -> Floats:
    """float32 [count,side,side] in 0..1: light and dark patches under fine noise, so that no two films score alike."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.random((count, 6, 6), np.float32), np.ones((1, side // 6 + 1, side // 6 + 1), np.float32))
    return (0.7 * patches[:, :side, :side] + 0.3 * rng.random((count, side, side), np.float32)).astype(np.float32)


def some_labels(count: int, seed: int = 0, *, unknown: bool = True) -> Floats:
    """float32 [count,3] of 0 and 1, about one in five NaN if asked for; the first two films have both values."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 0, 1, 1, np.nan if unknown else 1], np.float32), (count, len(FINDINGS)))
    labels[0], labels[1:2] = 0, 1
    return labels


def some_batch(spec: ModelSpec, count: int, seed: int = 0) -> Batch:
    return Batch(inputs=some_films(count, spec.size, seed), labels=some_labels(count, seed))
