"""The bare network against plain torch code, in turns in one process: films a second, films on the device as uint8."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cxrscore import ModelSpec
from cxrscore.labels.findings import FINDINGS
from cxrscore.networks.tensors import NORMALISATIONS, initial_tensors
from cxrscore.plugins import get_backend
from gpu_sections import plain
from gpu_sections.job import Job, NotRunError, Steps, float32_products, in_turns
from gpu_sections.parity import own_network

PRECISIONS = ("bf16", "fp32", "tf32")
Pass = Callable[[Tensor], Tensor]


def steps(job: Job) -> Steps:
    """Cells by network, size, precision and batch, those of the targets first; torch.compile takes a minute."""
    if job.small:
        cells = [("densenet121", 32, precision, 2) for precision in PRECISIONS]
        compiled = [("densenet121", 32, "fp32", 2)]
    else:
        cells = [("densenet121", 400, precision, 64) for precision in PRECISIONS]
        cells += [("resnet50v1.5", 400, precision, 64) for precision in PRECISIONS]
        cells += [("densenet121", 224, "bf16", 64), ("densenet121", 224, "fp32", 64), ("resnet50v1.5", 224, "bf16", 64)]
        cells += [("vit_b14", 518, "bf16", 64), ("vit_b14", 518, "fp32", 16)]
        cells += [("densenet121", 400, "bf16", batch) for batch in (16, 128, 256)]
        cells += [("densenet121", 400, "fp32", batch) for batch in (16, 256)]
        compiled = [("densenet121", 400, "bf16", 64), ("resnet50v1.5", 400, "bf16", 64)]
    measured = {_name(*cell): functools.partial(_cell, job, *cell) for cell in cells}
    compiling = {f"{_name(*cell)}, torch.compile": functools.partial(_compiled, job, *cell) for cell in compiled}
    first = list(measured)[:6]
    one, *others = compiling
    order = [*first, one, *(name for name in measured if name not in first), *others]
    return {name: (measured | compiling)[name] for name in order}


def _name(architecture: str, size: int, precision: str, batch: int) -> str:
    return f"{architecture} {size} px {precision}, batch {batch}"


class _Pair:
    """The same network by cxrscore and by plain torch, and films."""

    def __init__(self, job: Job, architecture: str, size: int, precision: str, batch: int) -> None:
        head = "cls" if architecture.startswith("vit") else "gap"
        spec = ModelSpec(architecture=architecture, findings=FINDINGS, size=size, head=head)
        tensors = initial_tensors(spec, 0)
        self.precision = "bf16" if precision == "bf16" else "fp32"
        self.model = get_backend("torch").build(spec, tensors, device=job.device, precision=self.precision)
        self.own = own_network(self.model)
        self.theirs = plain.network(architecture, len(FINDINGS), tensors).to(job.device)
        mean, sd = (
            torch.tensor(each, device=job.device).reshape(1, 3, 1, 1) for each in NORMALISATIONS[spec.normalize]
        )
        self._mean, self._sd, self._device = mean, sd, torch.device(job.device).type
        self.levels = np.random.default_rng(0).integers(0, 256, (batch, size, size), np.uint8)
        self.films = torch.from_numpy(self.levels).to(job.device)

    def plain(self, films: Tensor) -> Tensor:
        with self._autocast():
            return self.theirs((films[:, None].float() / 255 - self._mean) / self._sd)

    def plain_channels_last(self, films: Tensor) -> Tensor:
        normal = ((films[:, None].float() / 255 - self._mean) / self._sd).contiguous(memory_format=torch.channels_last)
        with self._autocast():
            return self.theirs(normal)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        on = self.precision == "bf16"
        return torch.autocast(self._device, dtype=torch.bfloat16, enabled=on, cache_enabled=False)


@contextlib.contextmanager
def _made(job: Job, *cell: Any) -> Iterator[_Pair]:
    precision = cell[2]
    if precision == "tf32" and not job.on_gpu:
        raise NotRunError("the CPU has no TF32")
    with torch.inference_mode(), float32_products("tf32" if precision == "tf32" else "ieee"):
        try:
            yield _Pair(job, *cell)
        finally:
            gc.collect()
            if job.on_gpu:
                torch.cuda.empty_cache()


def _cell(job: Job, *cell: Any) -> dict[str, Any]:
    """As cxrscore computes a batch that lies on the device (by a CUDA graph), and as plain code does, at its best. The
    public predict(), by two threads from host memory, is there for fp32 and bf16."""
    with _made(job, *cell) as pair, ThreadPoolExecutor(2) as pool:
        pair.theirs.to(memory_format=torch.contiguous_format)
        contiguous = pair.plain(pair.films)
        told: dict[str, Any] = {"max_dlogit": float((pair.own(pair.films) - contiguous).abs().max())}
        told["max_logit"] = float(contiguous.abs().max())
        batch = len(pair.films)
        plain_ways = {"plain": lambda: pair.plain(pair.films)}
        rates = in_turns(plain_ways, batch, job)
        pair.theirs.to(memory_format=torch.channels_last)
        ways: dict[str, Callable[[], object]] = {
            "cxrscore eager": lambda: pair.own(pair.films),
            "plain channels_last": lambda: pair.plain_channels_last(pair.films),
        }
        if job.on_gpu:
            ways["cxrscore graph"] = captured(pair.own, pair.films)
            ways["plain channels_last graph"] = captured(pair.plain_channels_last, pair.films)
        if cell[2] != "tf32":
            twice = [pair.levels, pair.levels]
            told |= _halved(
                in_turns({"cxrscore predict": lambda: list(pool.map(pair.model.predict, twice))}, batch, job)
            )
        rates |= in_turns(ways, batch, job)
    return _judged({**told, **rates})


def _halved(rates: dict[str, float]) -> dict[str, float]:
    """Of two batches at once."""
    return {name: 2 * rate if isinstance(rate, float) else rate for name, rate in rates.items()}


def _judged(told: dict[str, Any]) -> dict[str, Any]:
    """With the ratio of cxrscore's best to the best plain code."""
    rates = {name: rate for name, rate in told.items() if (isinstance(rate, float) and " " in name) or name == "plain"}
    own = [rate for name, rate in rates.items() if name.startswith("cxrscore") and "predict" not in name]
    theirs = [rate for name, rate in rates.items() if name.startswith("plain")]
    told["ratio"] = max(own) / max(theirs) if own and theirs else None
    return told


def captured(function: Pass, films: Tensor) -> Callable[[], object]:
    """A replay of the pass as a CUDA graph, as torch's documentation writes it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        with torch.cuda.stream(stream):
            for _ in range(3):
                function(films)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = function(films)
    finally:
        torch.backends.cudnn.benchmark = before

    def replay() -> object:
        graph.replay()
        return result

    return replay


def _compiled(job: Job, *cell: Any) -> dict[str, Any]:
    """Both compiled, and on a GPU recorded as graphs."""
    if job.small:
        raise NotRunError("left out in miniature: it takes minutes")
    with _made(job, *cell) as pair:
        pair.theirs.to(memory_format=torch.channels_last)
        own: Pass = torch.compile(pair.own, fullgraph=True)
        theirs: nn.Module = torch.compile(pair.theirs, fullgraph=True)
        pair.theirs = theirs
        ways: dict[str, Callable[[], object]] = {
            "plain channels_last": lambda: pair.plain_channels_last(pair.films),
            "cxrscore eager": lambda: own(pair.films),
        }
        if job.on_gpu:
            for name, way in (("plain channels_last graph", pair.plain_channels_last), ("cxrscore graph", own)):
                with contextlib.suppress(RuntimeError):
                    ways[name] = captured(way, pair.films)
        return _judged(in_turns(ways, len(pair.films), job))
