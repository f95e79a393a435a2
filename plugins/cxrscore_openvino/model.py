"""OpenVINO models: inference and inputs of heat maps."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino
from openvino import CompiledModel, Core, InferRequest

from cxrscore.contract import Array, CamParts, Floats, ModelSpec, Precision, Ranges, ScorePrecision, Tensors
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks.graph import HEAD
from cxrscore.networks.tensors import (
    cam_layers,
    check_cam_layer,
    check_films,
    check_tensors,
    closed_form,
    feature_count,
    initial_tensors,
    last_relu,
    map_shape,
    pool_map,
)
from cxrscore.system_resources import one_arena, processor_has
from cxrscore_openvino.nets import from_neutral, network, range_network, to_neutral

_TYPES = {"fp32": "f32", "bf16": "bf16"}
_FILMS = 8
"""Batch size hint for OpenVINO: the default batch size of score."""


def build(
    spec: ModelSpec, tensors: Tensors | None, *, device: str = "auto", precision: Precision = "fp32", seed: int = 0
) -> OpenVinoModel:
    """See contract.Backend.build."""
    values = initial_tensors(spec, seed) if tensors is None else check_tensors(spec, tensors)
    _check_device(device)
    _check_precision(precision)
    return OpenVinoModel(spec, values, precision)


def build_int8(
    spec: ModelSpec, tensors: Tensors, ranges: Ranges, *, device: str = "auto", precision: Precision | None = None
) -> OpenVinoModel:
    """See contract.SupportsInt8. Unless a precision is given, other layers use bfloat16 if the processor has it."""
    values = check_tensors(spec, tensors)
    _check_device(device)
    rest = precision or ("bf16" if _has_bf16() else "fp32")
    _check_precision(rest)
    if foreign := [layer for layer in ranges if f"{layer}/kernel" not in values or layer == HEAD]:
        named = ", ".join(foreign[:5])
        raise InputError(
            f"the ranges name {named}: expected names of convolutions and dense layers of {spec.architecture}"
        )
    return OpenVinoModel(spec, values, rest, ranges)


@functools.cache
def _core() -> Core:
    one_arena()  # threads of its compiler would leave tens of megabytes in each malloc arena
    return Core()


def _check_device(device: str) -> None:
    if device not in ("auto", "cpu"):
        raise BackendUnavailableError(f"device {device!r} is not available for OpenVINO, which has cpu here")


def native_precisions(device: str) -> tuple[ScorePrecision, ...]:
    """See contract.SupportsNativePrecisions."""
    _check_device(device)
    listed, own = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"), processor_has()
    faster: tuple[ScorePrecision, ...] = ("int8", "bf16")
    return (*(name for name in faster if name in own and name.upper() in listed), "fp32")


def _has_bf16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _check_precision(precision: Precision) -> None:
    if precision == "bf16" and not _has_bf16():
        name = _core().get_property("CPU", "FULL_DEVICE_NAME")
        raise InputError(f"precision bf16 is not available on this processor ({name}), which has fp32")


class OpenVinoModel:
    """A Model that is AcceptsIntegerImages, AnyBatchSize, FeatureExtractor, SupportsHeatmaps and
    SupportsActivationRanges."""

    lanes = 2  # the next batch begins while the last films of one are computed
    any_batch_size = True

    def __init__(self, spec: ModelSpec, tensors: Tensors, precision: Precision, ranges: Ranges | None = None) -> None:
        self.spec = spec
        self.framework = f"openvino {openvino.__version__.partition('-')[0]}"
        self.device = "cpu"
        # In OpenVINO's layout, because it uses some of them without a copy of its own.
        self._tensors = {name: from_neutral(tensor) for name, tensor in tensors.items()}
        self._precision, self._ranges = precision, ranges or {}
        self._turn = threading.Lock()  # of what is compiled at first use, perhaps by several threads

    def tensors(self) -> dict[str, Array]:
        return {name: to_neutral(tensor) for name, tensor in self._tensors.items()}

    def predict(self, films: Floats) -> Floats:
        return self._logits(self.embed(films))

    def embed(self, films: Floats) -> Floats:
        spec = self.spec
        embeddings = np.empty((len(films), feature_count(spec)), np.float32)

        def keep(row: int, before: Floats, *token: Floats) -> None:
            embeddings[row] = token[0][0] if token else pool_map(spec, last_relu(spec, before[0]))

        self._each(self._streams, films, keep)
        return embeddings

    def cam_parts(self, films: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        spec, cam_layer = self.spec, check_cam_layer(self.spec, cam_layer)
        pools = cam_layer == cam_layers(spec)[0]
        activations = np.empty((len(films), *map_shape(spec)), np.float32)
        embeddings = np.empty((len(films), feature_count(spec)), np.float32)

        def keep(row: int, before: Floats, *token: Floats) -> None:
            output = last_relu(spec, before[0])
            embeddings[row] = token[0][0] if token else pool_map(spec, output)
            activations[row] = (output if pools else before[0]).transpose(1, 2, 0)

        self._each(self._streams, films, keep)
        gradients = closed_form(spec, self._tensors["head/kernel"], findings, activations, cam_layer)
        return CamParts(
            logits=self._logits(embeddings), activations=activations, gradients=gradients, cam_layer=cam_layer
        )

    def ranges(self, films: Floats) -> dict[str, Floats]:
        with self._turn:
            streams, places = self._measuring
        found = np.empty((len(films), 1 + max(places.values()), 2), np.float32)

        def keep(row: int, ends: Floats) -> None:
            found[row] = ends.reshape(-1, 2)

        self._each(streams, films, keep)
        return {layer: found[:, place].copy() for layer, place in places.items()}

    @functools.cached_property
    def compiled(self) -> CompiledModel:
        """The network for one film, compiled at first use."""
        return _compiled(network(self.spec, self._tensors, self._ranges), self._precision)

    @property
    def _streams(self) -> _Streams:
        with self._turn:
            return self._made_streams

    @functools.cached_property
    def _made_streams(self) -> _Streams:
        return _Streams(self.compiled)

    @functools.cached_property
    def _measuring(self) -> tuple[_Streams, dict[str, int]]:
        graph, places = range_network(self.spec, self._tensors)
        return _Streams(_compiled(graph, self._precision)), places

    def _each(self, streams: _Streams, films: Array, keep: Callable[..., None]) -> None:
        """Runs films one by one and calls keep() with the row and results of each, while the next ones are computed.
        Films of calls from several threads are computed in the order of the calls."""
        streams.run(check_films(films, self.spec.size), keep)

    def _logits(self, embeddings: Floats) -> Floats:
        """Computed for _FILMS films at a time: for another number of films, NumPy adds in another order."""
        filled = np.zeros((-(-len(embeddings) // _FILMS), _FILMS, embeddings.shape[1]), np.float32)
        filled.reshape(-1, embeddings.shape[1])[: len(embeddings)] = embeddings
        logits: Floats = filled @ self._tensors["head/kernel"] + self._tensors["head/bias"]
        return logits.reshape(-1, logits.shape[-1])[: len(embeddings)]


def _unit(films: Array) -> Floats:
    """Films of levels in 0..1, others as they are. Film by film, because the floats of a batch take megabytes."""
    if films.dtype == np.float32:
        return films
    return np.divide(films, np.float32(np.iinfo(films.dtype).max), dtype=np.float32)


def _compiled(graph: openvino.Model, precision: Precision) -> CompiledModel:
    options = {
        # In NumPy, because OpenVINO would use bfloat16 if the processor supports it.
        "INFERENCE_PRECISION_HINT": _TYPES[precision],
        "PERFORMANCE_HINT": "THROUGHPUT",
        "PERFORMANCE_HINT_NUM_REQUESTS": _FILMS,
        # Pinned threads of two scoring processes would use the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return _core().compile_model(graph, "CPU", options)


class _Streams:
    """Runs as many single-film requests in parallel as OpenVINO recommends, each in a thread of its own. They are as
    fast as a batch, need less memory, and cannot influence each other. Between two batches no stream waits for the
    others."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled, self._own = compiled, threading.local()
        number = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._threads = ThreadPoolExecutor(number, "openvino")

    def run(self, films: Array, keep: Callable[..., None]) -> None:
        """Computes films [n,S,S] and calls keep() with the row and the results of each, in the thread of its stream."""

        def compute(row: int) -> None:
            request = self._request()
            request.infer([_unit(films[row : row + 1])])
            keep(row, *[tensor.data for tensor in request.output_tensors])

        for _ in self._threads.map(compute, range(len(films))):
            pass

    def _request(self) -> InferRequest:
        """That of this thread."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        return self._own.request
