"""A backend for cxrscore in NumPy alone: scores and explains, without any framework, every network that uses no other
operations than those in FUNCTIONS, such as tinycnn, the DenseNets and the ResNets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cxrscore.contract import Array, Backend, CamParts, Floats, Model, ModelSpec, Tensors, hookimpl
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks import tensors as nets
from cxrscore.networks.graph import FILM, last_uses


def _windows(given: Mapping[str, Any], x: Floats, outside: float = 0.0) -> Floats:
    """The squares that a kernel or a pool sees: [N,H,W,K] -> [N,h,w,K,size,size]."""
    padding, stride = given.get("padding", (0, 0)), given["stride"]
    padded = np.pad(x, ((0, 0), padding, padding, (0, 0)), constant_values=outside)
    return sliding_window_view(padded, (given["size"],) * 2, axis=(1, 2))[:, ::stride, ::stride]


def _conv2d(given: Mapping[str, Any], own: Tensors, x: Floats) -> Floats:
    windows, groups = np.moveaxis(_windows(given, x), 3, -1), given["groups"]
    pairs = zip(np.split(windows, groups, axis=-1), np.split(own["kernel"], groups, axis=-1), strict=True)
    found = [np.tensordot(part, kernel, axes=3) for part, kernel in pairs]
    return np.concatenate(found, axis=-1) + own.get("bias", np.float32(0))


def _batch_norm(given: Mapping[str, Any], own: Tensors, x: Floats) -> Floats:
    scale = own["gamma"] / np.sqrt(own["moving_variance"] + np.float32(given["epsilon"]))
    return (x - own["moving_mean"]) * scale + own["beta"]


FUNCTIONS: dict[str, Callable[..., Floats]] = {
    "conv2d": _conv2d,
    "dense": lambda given, own, x: x @ own["kernel"] + own.get("bias", np.float32(0)),
    "batch_norm": _batch_norm,
    "relu": lambda given, own, x: np.clip(x, 0, given["maximum"]),
    "sigmoid": lambda given, own, x: 0.5 + 0.5 * np.tanh(0.5 * x),
    "add": lambda given, own, x, y: x + y,
    "multiply": lambda given, own, x, y: x * y,
    "concat": lambda given, own, *values: np.concatenate(values, axis=-1),
    "max_pool": lambda given, own, x: _windows(given, x, -np.inf).max(axis=(-2, -1)),
    "avg_pool": lambda given, own, x: _windows(given, x).mean(axis=(-2, -1)),
    "global_avg_pool": lambda given, own, x: x.mean(axis=(1, 2), keepdims=True),
}
"""By operation: its function of the node's attributes, its tensors by variable, and its inputs."""


class NumpyBackend:
    name = "numpy"
    requires: tuple[str, ...] = ("numpy",)
    install = "pip install cxrscore-numpy"
    architectures: tuple[str, ...] = ()
    operations: tuple[str, ...] = tuple(FUNCTIONS)
    trains = False
    speed: Mapping[str, float] = {"cpu": 0.4}

    def build(
        self, spec: ModelSpec, tensors: Tensors | None, *, device: str = "auto", precision: str = "fp32", seed: int = 0
    ) -> Model:
        if lacking := spec.graph.operations - FUNCTIONS.keys():
            raise InputError(f"numpy cannot run {spec.architecture!r}: it lacks {', '.join(sorted(lacking))}")
        if device not in ("auto", "cpu") or precision != "fp32":
            raise BackendUnavailableError(f"numpy has no {precision} on {device!r}; expected fp32 on 'cpu'")
        return NumpyModel(spec, nets.initial_tensors(spec, seed) if tensors is None else tensors)


class NumpyModel:
    framework, device = f"numpy {np.__version__}", "cpu"

    def __init__(self, spec: ModelSpec, tensors: Tensors) -> None:
        self.spec = spec
        self._tensors = {name: value.copy() for name, value in nets.check_tensors(spec, tensors).items()}

    def tensors(self) -> dict[str, Array]:
        return {name: value.copy() for name, value in self._tensors.items()}

    def predict(self, films: Floats) -> Floats:
        return self._logits(self._maps(films, self.spec.graph.output)[0])

    def cam_parts(self, films: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        cam_layer = nets.check_cam_layer(self.spec, cam_layer)
        pooled, activations = self._maps(films, self.spec.graph.output, cam_layer)
        gradients = nets.closed_form(self.spec, self._tensors["head/kernel"], findings, activations, cam_layer)
        return CamParts(logits=self._logits(pooled), activations=activations, gradients=gradients, cam_layer=cam_layer)

    def _maps(self, films: Floats, *wanted: str) -> list[Floats]:
        """The values of these nodes, [N,h,w,K]."""
        mean, sd = np.array(nets.NORMALISATIONS[self.spec.normalize], np.float32)
        values = {FILM: (nets.check_inputs(films, (self.spec.size,) * 2)[..., None] - mean) / sd}
        nodes = self.spec.graph.needed(wanted)
        unused = last_uses(nodes, kept=wanted)
        for node in nodes:
            own = {n.rpartition("/")[2]: v for n, v in self._tensors.items() if n.startswith(f"{node.name}/")}
            values[node.name] = FUNCTIONS[node.operation](node.attributes, own, *[values[n] for n in node.inputs])
            for name in unused.get(node.name, ()):
                del values[name]
        return [values[name] for name in wanted]

    def _logits(self, pooled: Floats) -> Floats:
        kernel = self._tensors["head/kernel"]
        embedding = pooled.mean(axis=(1, 2)) if self.spec.head == "gap" else pooled.reshape(-1, len(kernel))
        return embedding @ kernel + self._tensors["head/bias"]


@hookimpl
def cxrscore_backends() -> Sequence[Backend]:
    return [NumpyBackend()]
