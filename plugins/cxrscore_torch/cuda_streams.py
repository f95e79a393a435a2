"""How films get to a device, and results back: at once on a CPU; on CUDA by lanes, so that copies hide behind work."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from cxrscore.contract import Array
from cxrscore_torch.nets import to_numpy

Pass: TypeAlias = Callable[[Tensor], Sequence[Tensor]]
"""Inputs on the device to results on the device; the same function for the same work, as records are kept by it."""
Replay: TypeAlias = Callable[[Tensor], Sequence[Tensor]]
"""The same from inputs in memory, into the same results each time."""

STREAMS = 2
"""One batch is copied while another is computed."""
_RECORD_AT = 3
"""A pass is recorded when its shape comes for the third time: then it will come again."""
_RECORDS = 4
"""Of a lane, as each keeps the memory of its activations."""

_launching = threading.Lock()
"""Kernels are queued by one thread at a time: the switches below belong to the process."""


@contextmanager
def full_float32() -> Iterator[None]:
    """Keeps CUDA from cutting float32 factors to the 10-bit mantissa of TF32: that moves logits by about 1e-3.

    The switches belong to the process, so they are put back.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


class SingleStream:
    """On a CPU, where there is nothing to hide: calls compete for the cores."""

    lanes = 1

    def __call__(self, function: Pass, inputs: Array) -> list[Array]:
        with torch.inference_mode():
            return [to_numpy(result) for result in function(torch.tensor(inputs))]


class StreamPool:
    """Ways through a CUDA device. A call takes one that is free, so as many threads may call at once."""

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
    """One stream of a device, and the passes recorded on it."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._records = CudaGraphs(lambda function, given: _capture_graph(function, given, self._stream))

    def __call__(self, function: Pass, inputs: Array) -> list[Array]:
        with _launching, torch.inference_mode(), full_float32(), torch.cuda.stream(self._stream):
            self._stream.wait_stream(torch.cuda.default_stream(self._device))  # on which training changes tensors
            results = self._records(function, _pinned(inputs), self._device)
            found = [_fetched(result) for result in results]
        self._stream.synchronize()
        return [result.numpy() for result in found]


class CudaGraphs:
    """Passes of shapes that come again are recorded, as launching their hundreds of kernels one by one takes the CPU
    longer than the device needs for them. What cannot be recorded is run as it is."""

    def __init__(self, record: Callable[[Pass, Tensor], Replay | None]) -> None:
        self._record = record
        self._met: Counter[tuple[object, ...]] = Counter()
        self._kept: dict[tuple[object, ...], Replay | None] = {}

    def __call__(self, function: Pass, inputs: Tensor, device: torch.device) -> Sequence[Tensor]:
        """The results of inputs that are in memory; those of a record hold until its next use."""
        key = (function, inputs.shape, inputs.dtype)
        if replay := self._kept.get(key):
            return replay(inputs)
        given = inputs.to(device, non_blocking=True)
        self._met[key] += 1
        if self._met[key] == _RECORD_AT and len(self._kept) < _RECORDS:
            self._kept[key] = self._record(function, given)
        return function(given)


def _capture_graph(function: Pass, given: Tensor, stream: torch.cuda.Stream) -> Replay | None:
    """The pass as a CUDA graph; None where it cannot be captured, such as for want of memory."""
    graph, fixed = torch.cuda.CUDAGraph(), given.clone()
    try:
        with _fastest_convolutions():
            for _ in range(2):  # tries algorithms and allocates, neither of which can be captured
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
    """cuDNN tries its algorithms and takes the fastest: worth its time for a shape that comes again."""
    cudnn = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, True
    try:
        yield
    finally:
        cudnn.benchmark = before


def _pinned(array: Array) -> Tensor:
    """The array in memory that the device reads by itself."""
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    found = torch.empty(array.shape, dtype=kind, pin_memory=True)
    found.numpy()[...] = array
    return found


def _fetched(result: Tensor) -> Tensor:
    """In memory of its own, once the stream has come so far."""
    return torch.empty(result.shape, dtype=result.dtype, pin_memory=True).copy_(result, non_blocking=True)
