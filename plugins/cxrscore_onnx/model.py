"""Models in ONNX Runtime: inference and inputs of heat maps."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence

import numpy as np

from cxrscore.contract import Array, CamParts, Floats, ModelSpec, Precision, Tensors
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks.onnx import FILMS, onnx_values, serialised
from cxrscore.networks.tensors import (
    cam_layers,
    check_cam_layer,
    check_inputs,
    check_tensors,
    closed_form,
    initial_tensors,
    last_relu,
    nodes_before_head,
    pool_map,
)
from cxrscore.system_resources import usable_cores

# Since 1.29 the wheels of ONNX Runtime send reports of their use, unless this is set before the first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

onnxruntime.disable_telemetry_events()  # of Windows and of earlier versions

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_ERRORS_ONLY = 3
"""Severity of messages that ONNX Runtime prints to standard error."""


def build(
    spec: ModelSpec, tensors: Tensors | None, *, device: str = "auto", precision: Precision = "fp32", seed: int = 0
) -> OnnxModel:
    """See contract.Backend.build."""
    values = initial_tensors(spec, seed) if tensors is None else check_tensors(spec, tensors)
    place = _found(device)
    if precision != "fp32":
        raise InputError(f"precision {precision} is not available for ONNX Runtime, which has fp32")
    model = OnnxModel(spec, values, place)
    if place != "cpu":
        model.session  # noqa: B018 - a GPU that cannot be used is reported here, not at the first film
    return model


def _found(device: str) -> str:
    """ "cpu", or "cuda:N"; whether GPU N can be used is known only when a session is made."""
    there = _CUDA in onnxruntime.get_available_providers()
    if device == "cpu" or (device == "auto" and not there):
        return "cpu"
    if there and device in ("auto", "cuda"):
        return "cuda:0"
    if there and re.fullmatch(r"cuda:\d{1,4}", device):
        return device
    has = "cpu and CUDA GPUs" if there else "cpu"
    raise BackendUnavailableError(f"device {device!r} is not available for ONNX Runtime, which has {has} here")


class OnnxModel:
    """A Model that is FeatureExtractor and SupportsHeatmaps.

    ONNX Runtime computes the map before the last ReLU, and the class token if the head takes it. NumPy computes the
    rest, a mean and a small product, so that scores and heat maps need one network only.
    """

    def __init__(self, spec: ModelSpec, tensors: Tensors, device: str) -> None:
        self.spec = spec
        self.framework = f"onnx (ONNX Runtime {onnxruntime.__version__})"
        self.device = device
        self._tensors = {name: tensor.copy() for name, tensor in tensors.items()}

    def tensors(self) -> dict[str, Array]:
        return {name: tensor.copy() for name, tensor in self._tensors.items()}

    def predict(self, films: Floats) -> Floats:
        return self._logits(self.embed(films))

    def embed(self, films: Floats) -> Floats:
        before, *token = self._run(films)
        return token[0] if token else pool_map(self.spec, last_relu(self.spec, before))

    def cam_parts(self, films: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        cam_layer = check_cam_layer(self.spec, cam_layer)
        before, *token = self._run(films)
        output = last_relu(self.spec, before)
        logits = self._logits(token[0] if token else pool_map(self.spec, output))
        at_layer = output if cam_layer == cam_layers(self.spec)[0] else before
        activations = np.ascontiguousarray(at_layer.transpose(0, 2, 3, 1))
        gradients = closed_form(self.spec, self._tensors["head/kernel"], findings, activations, cam_layer)
        return CamParts(logits=logits, activations=activations, gradients=gradients, cam_layer=cam_layer)

    @functools.cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The network in ONNX Runtime, made at first use."""
        model = onnx_values(self.spec, self._tensors, nodes_before_head(self.spec))
        return _session(serialised(model), self.device)

    def _run(self, films: Floats) -> list[Floats]:
        """The map before the last ReLU [N,K,h,w], and the class token [N,K] if the head takes it."""
        films = check_inputs(films, (self.spec.size, self.spec.size))
        found: list[Floats] = self.session.run(None, {FILMS: films})
        return found

    def _logits(self, embeddings: Floats) -> Floats:
        logits: Floats = embeddings @ self._tensors["head/kernel"] + self._tensors["head/bias"]
        return logits


def _threads() -> int:
    """One for each core of this process, unless OMP_NUM_THREADS gives a number, as for the other frameworks."""
    given = re.match(r"[1-9]\d{0,3}", os.environ.get("OMP_NUM_THREADS", ""))
    return int(given[0]) if given else usable_cores()


def _session(model: bytes, device: str) -> onnxruntime.InferenceSession:
    """BackendUnavailableError if the device cannot be used: ONNX Runtime would take the CPU instead."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # A number that is given also means that threads are not pinned: those of two processes would share cores.
    options.intra_op_num_threads = _threads()
    options.inter_op_num_threads = 1
    # Threads that wait do not keep a core busy, which films are decoded on meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device == "cpu":
        return onnxruntime.InferenceSession(model, options, providers=[_CPU])
    number = device.partition(":")[2]
    cuda = (_CUDA, {"device_id": number, "use_tf32": "0"})  # TF32 has the precision of bf16
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[cuda, _CPU])
    except Exception as error:  # its classes are not public
        raise BackendUnavailableError(f"device {device!r} is not available for ONNX Runtime: {error}") from error
    if session.get_providers()[0] != _CUDA:
        raise BackendUnavailableError(
            f"device {device!r} is not available for ONNX Runtime, which has {', '.join(session.get_providers())} here"
        )
    return session
