"""Transfer of films to a device and of results back: direct on a CPU; on CUDA with streams that overlap copies."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from cxrscore.contract import Array
from cxrscore_torch.nets import to_numpy

Pass: TypeAlias = Callable[[Tensor], Sequence[Tensor]]
"""Maps inputs on the device to results on the device; CUDA graphs are cached by function, so it must be the same."""
Replay: TypeAlias = Callable[[Tensor], Sequence[Tensor]]
"""Maps inputs in host memory to results that the next call overwrites."""

STREAMS = 2
"""One batch is copied while another is computed."""
_RECORD_AT = 3
"""A forward pass is recorded at the third use of its shape."""
_RECORDS = 4
"""Maximum number of graphs of a stream, because each holds the memory of its activations."""

_launching = threading.Lock()
"""Only one thread launches kernels at a time, because the settings below are global."""


class _FullFloat32:
    """How many callers need TF32 off, and the settings to restore after the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callers = 0
        self._before: list[str] = []

    def enter(self) -> None:
        with self._lock:
            if not self._callers:
                self._before = [each.fp32_precision for each in self._settings()]
                for each in self._settings():
                    each.fp32_precision = "ieee"
            self._callers += 1

    def leave(self) -> None:
        with self._lock:
            self._callers -= 1
            if not self._callers:
                for each, value in zip(self._settings(), self._before, strict=True):
                    each.fp32_precision = value

    @staticmethod
    def _settings() -> tuple[Any, Any]:
        return torch.backends.cuda.matmul, torch.backends.cudnn.conv


_full_float32 = _FullFloat32()


@contextmanager
def full_float32() -> Iterator[None]:
    """Disables TF32, whose 10-bit mantissa changes logits by about 1e-3.

    The settings are global, so they are restored when no thread needs them any more. They are those of each operation:
    allow_tf32 = False would leave convolutions to torch.backends.fp32_precision, and reading allow_tf32 is an error
    where a program has set fp32_precision.
    """
    _full_float32.enter()
    try:
        yield
    finally:
        _full_float32.leave()


class SingleStream:
    """Direct execution on a CPU, where calls compete for the cores."""

    lanes = 1

    def __call__(self, function: Pass, inputs: Array) -> list[Array]:
        with torch.inference_mode():
            return [to_numpy(result) for result in function(torch.tensor(inputs))]


class StreamPool:
    """A pool of CUDA streams. A call uses a free one, so several threads may call at the same time."""

    lanes = STREAMS

    def __init__(self, device: torch.device) -> None:
        self._free: queue.SimpleQueue[_Stream] = queue.SimpleQueue()
        for _ in range(STREAMS):
            self._free.put(_Stream(device))

    def __call__(self, function: Pass, inputs: Array) -> list[Array]:
        lane = self._free.get()
        try:
            return lane(function, inputs)
        finally:
            self._free.put(lane)


class _Stream:
    """One CUDA stream, and the graphs that are replayed on it."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        capturing = torch.cuda.Stream(device)
        self._records = CudaGraphs(lambda function, given: _capture_graph(function, given, capturing))

    def __call__(self, function: Pass, inputs: Array) -> list[Array]:
        with _launching, torch.inference_mode(), full_float32(), torch.cuda.stream(self._stream):
            self._stream.wait_stream(torch.cuda.default_stream(self._device))  # training changes tensors on that stream
            results = self._records(function, _pinned(inputs), self._device)
            found = [_fetched(result) for result in results]
        self._stream.synchronize()
        return [result.numpy() for result in found]


class CudaGraphs:
    """Forward passes of repeated shapes are recorded as CUDA graphs, because launching hundreds of kernels takes longer
    than running them. A pass that cannot be recorded runs directly."""

    def __init__(self, record: Callable[[Pass, Tensor], Replay | None]) -> None:
        self._record = record
        self._met: Counter[tuple[object, ...]] = Counter()
        self._kept: dict[tuple[object, ...], Replay | None] = {}

    def __call__(self, function: Pass, inputs: Tensor, device: torch.device) -> Sequence[Tensor]:
        """The results of inputs in host memory; results of a graph are valid until its next use."""
        key = (function, inputs.shape, inputs.dtype)
        if replay := self._kept.get(key):
            return replay(inputs)
        given = inputs.to(device, non_blocking=True)
        self._met[key] += 1
        if self._met[key] == _RECORD_AT and len(self._kept) < _RECORDS:
            self._kept[key] = self._record(function, given)
        return function(given)


def _capture_graph(function: Pass, given: Tensor, stream: torch.cuda.Stream) -> Replay | None:
    """The forward pass as a CUDA graph; None if it cannot be captured, for example without enough memory.

    Films and results never use the stream of the capture: when a thread frees pinned memory, torch records an event on
    each stream that used it, which would become a part of a capture on that stream and break it.
    """
    graph, fixed = torch.cuda.CUDAGraph(), given.clone()
    stream.wait_stream(torch.cuda.current_stream(given.device))
    try:
        # The outer context, because torch.cuda.graph leaves its stream the current one if a capture fails.
        with _fastest_convolutions(), torch.cuda.stream(stream):
            for _ in range(2):  # warm-up: algorithm search and allocation cannot be captured
                function(fixed)
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                results = function(fixed)
    except RuntimeError:
        return None

    def replay(inputs: Tensor) -> Sequence[Tensor]:
        fixed.copy_(inputs, non_blocking=True)
        graph.replay()
        return results

    return replay


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """Enables cuDNN benchmarking, which is worth its time for repeated shapes."""
    cudnn = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, True
    try:
        yield
    finally:
        cudnn.benchmark = before


def _pinned(array: Array) -> Tensor:
    """The array in pinned memory."""
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    found = torch.empty(array.shape, dtype=kind, pin_memory=True)
    found.numpy()[...] = array
    return found


def _fetched(result: Tensor) -> Tensor:
    """A NumPy copy, after the stream is synchronised."""
    return torch.empty(result.shape, dtype=result.dtype, pin_memory=True).copy_(result, non_blocking=True)
