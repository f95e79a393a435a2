"""A step and an epoch of fine-tuning all layers against plain torch code, in turns, and the memory of each."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from cxrscore import ModelSpec
from cxrscore.contract import Batch, Optimiser
from cxrscore.labels.findings import FINDINGS
from cxrscore.networks.tensors import NORMALISATIONS, initial_tensors
from cxrscore.plugins import get_backend, get_loss
from gpu_sections import plain
from gpu_sections.job import END, Job, Steps, wait

RATE = 1e-5
Step = Callable[[list[Batch]], float]


def steps(job: Job) -> Steps:
    if job.small:
        cells = [("fp32", 2), ("bf16", 2)]
        return {
            f"step, {precision}, batch {batch}": functools.partial(_step, job, precision, batch)
            for precision, batch in cells
        }
    cells = [(precision, batch) for batch in (16, 64) for precision in ("bf16", "fp32")]
    found = {
        f"step, {precision}, batch {batch}": functools.partial(_step, job, precision, batch)
        for precision, batch in cells
    }
    return found | {"epoch, bf16, batch 16": functools.partial(_epoch, job, "bf16", 16)}


def _size(job: Job) -> int:
    return 32 if job.small else 400


def _batches(job: Job, batch: int, count: int) -> list[Batch]:
    rng, size = np.random.default_rng(0), _size(job)
    films = rng.random((batch, size, size), np.float32)
    labels = rng.integers(0, 2, (batch, len(FINDINGS))).astype(np.float32)
    return [Batch(inputs=films, labels=labels) for _ in range(count)]


def _ours(job: Job, precision: Any) -> Step:
    """From films in host memory to the updated tensors."""
    spec = ModelSpec(architecture="densenet121", findings=FINDINGS, size=_size(job), trainable="all")
    model: Any = get_backend("torch").build(spec, initial_tensors(spec, 0), device=job.device, precision=precision)
    loss, optimiser = get_loss("bce"), Optimiser(learning_rate=RATE)
    return lambda batches: model.fit_epoch(batches, loss, optimiser)


def _plain(job: Job, precision: Any) -> Step:
    """What a notebook has: channels_last, autocast, fused Adam, stored statistics of batch normalisation."""
    spec = ModelSpec(architecture="densenet121", findings=FINDINGS, size=_size(job), trainable="all")
    network = plain.network("densenet121", len(FINDINGS), initial_tensors(spec, 0))
    network = network.to(job.device, memory_format=torch.channels_last)
    adam = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    mean, sd = (torch.tensor(each, device=job.device).reshape(1, 3, 1, 1) for each in NORMALISATIONS[spec.normalize])
    kind = torch.device(job.device).type

    def run(batches: list[Batch]) -> float:
        total = torch.zeros((), device=job.device)
        for batch in batches:
            films = torch.from_numpy(batch.inputs).to(job.device)[:, None]
            labels = torch.from_numpy(batch.labels).to(job.device)
            normal = ((films - mean) / sd).contiguous(memory_format=torch.channels_last)
            adam.zero_grad()
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16"):
                logits = network(normal)
            value = functional.binary_cross_entropy_with_logits(logits.float(), labels) * len(FINDINGS)  # ours is a sum
            value.backward()
            adam.step()
            total += value.detach()
        return total.item() / len(batches)

    return run


MAKERS = {"cxrscore": _ours, "plain": _plain}


def _step(job: Job, precision: str, batch: int) -> dict[str, Any]:
    return _in_turns(job, precision, batch, batches=1, rounds=1 if job.small else 10)


def _epoch(job: Job, precision: str, batch: int) -> dict[str, Any]:
    return _in_turns(job, precision, batch, batches=40, rounds=2)


def _in_turns(job: Job, precision: str, batch: int, *, batches: int, rounds: int) -> dict[str, Any]:
    """Each contender alone first, for its memory, and then both in turns."""
    given = _batches(job, batch, batches)
    told: dict[str, Any] = {"films": batch * batches}
    made: dict[str, Step] = {}
    for name, make in MAKERS.items():
        before = _allocated(job)
        try:
            made[name] = make(job, precision)
            told[f"{name}_first_loss"] = made[name](given[:1])
            made[name](given[:1])
            told[f"{name}_peak_mib"] = _peak(job, before)
        except RuntimeError as error:
            made.pop(name, None)
            told[f"{name}_failed"] = str(error).splitlines()[0][:END]
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, run in made.items():
            wait(job)
            begun = time.perf_counter()
            run(given)
            wait(job)
            seconds[name].append(time.perf_counter() - begun)
    made.clear()
    gc.collect()
    told |= {f"{name}_seconds": median(found) for name, found in seconds.items()}
    if len(seconds) == len(MAKERS):
        told["time_ratio"] = told["cxrscore_seconds"] / told["plain_seconds"]
    return told


def _allocated(job: Job) -> int:
    if not job.on_gpu:
        return 0
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _peak(job: Job, before: int) -> float | None:
    """MiB of the device at most since then; None on a CPU."""
    return (torch.cuda.max_memory_allocated() - before) / 2**20 if job.on_gpu else None
