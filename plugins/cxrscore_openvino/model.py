"""Models of the contract in OpenVINO: scoring and heat-map parts."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

import numpy as np
import openvino
from openvino import AsyncInferQueue, CompiledModel, Core, InferRequest

from cxrscore.contract import Array, CamParts, Floats, ModelSpec, Precision, Tensors
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.models.architectures import (
    check_inputs,
    check_tap,
    check_tensors,
    closed_form,
    initial_tensors,
    taps,
)
from cxrscore_openvino.nets import from_neutral, network, to_neutral

_TYPES = {"fp32": "f32", "bf16": "bf16"}
_FILMS = 8
"""Films that OpenVINO is told to expect at a time: score's batch, unless it is told otherwise."""


def build(
    spec: ModelSpec, tensors: Tensors | None, *, device: str = "auto", precision: Precision = "fp32", seed: int = 0
) -> OpenVinoModel:
    """See contract.Backend.build."""
    values = initial_tensors(spec, seed) if tensors is None else check_tensors(spec, tensors)
    if device not in ("auto", "cpu"):
        raise BackendUnavailableError(f"device {device!r} is not there for OpenVINO, which here has cpu")
    _check_precision(precision)
    return OpenVinoModel(spec, values, precision)


@functools.cache
def _core() -> Core:
    return Core()


def _check_precision(precision: Precision) -> None:
    there = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and "BF16" not in there:
        name = _core().get_property("CPU", "FULL_DEVICE_NAME")
        raise InputError(f"precision bf16 is not there on this processor ({name}), which has fp32")


class OpenVinoModel:
    """A Model that is Embeds and Explainable."""

    def __init__(self, spec: ModelSpec, tensors: Tensors, precision: Precision) -> None:
        self.spec = spec
        self.framework = f"openvino {openvino.__version__.partition('-')[0]}"
        self.device = "cpu"
        self._tensors = {name: from_neutral(tensor) for name, tensor in tensors.items()}
        self._precision = precision
        self._turn = threading.Lock()

    def tensors(self) -> dict[str, Array]:
        return {name: to_neutral(tensor) for name, tensor in self._tensors.items()}

    def predict(self, films: Floats) -> Floats:
        return self._logits(np.maximum(self._before_relu(films), 0))

    def embed(self, films: Floats) -> Floats:
        return self._embedding(np.maximum(self._before_relu(films), 0))

    def cam_parts(self, films: Floats, findings: Sequence[int], *, tap: str | None = None) -> CamParts:
        tap = check_tap(self.spec.architecture, tap)
        before = self._before_relu(films)
        pooled = np.maximum(before, 0)
        at_tap = pooled if tap == taps(self.spec.architecture)[0] else before
        activations = np.ascontiguousarray(at_tap.transpose(0, 2, 3, 1))
        gradients = closed_form(self.spec, self._tensors["head/kernel"], findings, activations, tap)
        return CamParts(logits=self._logits(pooled), activations=activations, gradients=gradients, tap=tap)

    @functools.cached_property
    def compiled(self) -> CompiledModel:
        """The network for one film, made ready when it is first asked for."""
        options = {
            # Not left to OpenVINO: it would compute in bfloat16 where the processor has it.
            "INFERENCE_PRECISION_HINT": _TYPES[self._precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            "PERFORMANCE_HINT_NUM_REQUESTS": _FILMS,
            # Threads tied to cores would meet on the same ones where two processes score.
            "ENABLE_CPU_PINNING": False,
        }
        return _core().compile_model(network(self.spec, self._tensors), "CPU", options)

    @functools.cached_property
    def _queue(self) -> AsyncInferQueue:
        """As many films at once as OpenVINO finds best. Films one by one, side by side, are no slower than a batch of
        them, take less memory, and cannot depend on each other."""
        return AsyncInferQueue(self.compiled, self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def _before_relu(self, films: Floats) -> Floats:
        """[N,S,S] -> the map before the last ReLU, [N,K,h,w]. Callers in several threads take turns."""
        films = check_inputs(films, (self.spec.size, self.spec.size))
        with self._turn:
            queue = self._queue
            maps = np.empty((len(films), *self.compiled.output().shape[1:]), np.float32)

            def keep(request: InferRequest, row: int) -> None:
                maps[row] = request.get_output_tensor().data[0]

            queue.set_callback(keep)
            for row in range(len(films)):
                queue.start_async(films[row : row + 1], row)
            queue.wait_all()
        return maps

    def _logits(self, pooled: Floats) -> Floats:
        """[N,K,h,w] -> [N,C]."""
        return self._embedding(pooled) @ self._tensors["head/kernel"] + self._tensors["head/bias"]

    def _embedding(self, pooled: Floats) -> Floats:
        """[N,K,h,w] -> [N,K]; a "flatten" head takes the map in the order of Keras: row, column, channel."""
        if self.spec.head == "gap":
            return pooled.mean(axis=(2, 3))
        return pooled.transpose(0, 2, 3, 1).reshape(len(pooled), len(self._tensors["head/kernel"]))
