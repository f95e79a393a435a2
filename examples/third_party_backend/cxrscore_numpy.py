"""A backend for cxrscore in NumPy alone: scores and explains tinycnn without any framework."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cxrscore.contract import Array, Backend, CamParts, Floats, Model, ModelSpec, Tensors, hookimpl
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks import tensors as nets


class NumpyBackend:
    name = "numpy"
    requires: tuple[str, ...] = ("numpy",)
    install = "pip install cxrscore-numpy"
    architectures: tuple[str, ...] = ("tinycnn",)
    trains = False
    speed: Mapping[str, float] = {"cpu": 0.4}

    def build(
        self, spec: ModelSpec, tensors: Tensors | None, *, device: str = "auto", precision: str = "fp32", seed: int = 0
    ) -> Model:
        if spec.architecture not in self.architectures:
            raise InputError(f"numpy has no {spec.architecture!r}; it has tinycnn")
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
        return self._logits(self._maps(films)[1])

    def cam_parts(self, films: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        cam_layer = nets.check_cam_layer(self.spec, cam_layer)
        before, pooled = self._maps(films)
        activations = pooled if cam_layer == "relu" else before
        gradients = nets.closed_form(self.spec, self._tensors["head/kernel"], findings, activations, cam_layer)
        return CamParts(logits=self._logits(pooled), activations=activations, gradients=gradients, cam_layer=cam_layer)

    def _maps(self, films: Floats) -> tuple[Floats, Floats]:
        """The last map [N,h,w,64] before its ReLU, and after it."""
        mean, sd = np.array(nets.NORMALISATIONS[self.spec.normalize], np.float32)
        before = x = (nets.check_inputs(films, (self.spec.size,) * 2)[..., None] - mean) / sd
        for number, (_, stride) in enumerate(nets.TINYCNN_LAYERS, start=1):
            kernel, bias = self._tensors[f"conv{number}/kernel"], self._tensors[f"conv{number}/bias"]
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            windows = sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
            before = np.einsum("nhwkij,ijko->nhwo", windows, kernel, optimize=True) + bias
            x = np.maximum(before, 0)
        return before, x

    def _logits(self, pooled: Floats) -> Floats:
        kernel = self._tensors["head/kernel"]
        embedding = pooled.mean(axis=(1, 2)) if self.spec.head == "gap" else pooled.reshape(-1, len(kernel))
        return embedding @ kernel + self._tensors["head/bias"]


@hookimpl
def cxrscore_backends() -> Sequence[Backend]:
    return [NumpyBackend()]
