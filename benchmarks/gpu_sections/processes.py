"""Two processes that train one model by torchrun: on one GPU by gloo, on two by NCCL.

Started by torchrun with a device, this file joins the others and says which backend they use.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu_sections.job import Job, NotRunError, Steps


def steps(job: Job) -> Steps:
    return {
        "join, 1 process": functools.partial(_joined, job, 1),
        "join, 2 processes": functools.partial(_joined, job, 2),
        "train all, 2 processes against 1": functools.partial(_train, job),
        "NCCL, 2 GPUs": functools.partial(_two_gpus, job),
    }


def _torchrun(job: Job, processes: int, *command: object, most: float = 60) -> tuple[str, float]:
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes)
    return job.run(*start, *command, most=most, OMP_NUM_THREADS="1" if not job.on_gpu else "4")


def _joined(job: Job, processes: int) -> dict[str, Any]:
    """Which backends the processes agree on, and whether a sum of tensors on their devices is right."""
    if job.small and processes == 1:
        raise NotRunError("left out in miniature")
    out, seconds = _torchrun(job, processes, __file__, job.device)
    told = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {"processes": len(told), "backends": told[0]["backends"], "sum": told[0]["sum"], "seconds": seconds}


def _train(job: Job) -> dict[str, Any]:
    """The same training by two processes and by one: how far their tensors are apart, and how far training moved those
    below the head."""
    from cxrscore import load_model

    spec = load_model(job.model).spec
    own = ("--architecture", spec.architecture, "--size", spec.size, "--device", job.device, "--backend", "torch")
    more = (
        "--trainable",
        "all",
        "--initial-head",
        "random",
        "--weights",
        job.model,
        "--epochs",
        2,
        "--batch-size",
        4,
        "--quiet",
        "--overwrite",
    )
    seconds, tensors = {}, {}
    for processes in (1, 2):
        output = job.work / f"processes{processes}.safetensors"
        words = ("-m", "cxrscore", "train", job.films, "-o", output, *own, *more, "--learning-rate", "1e-4")
        run = job.run if processes == 1 else functools.partial(_torchrun, job, processes)
        _, seconds[processes] = run(*words)
        tensors[processes] = load_model(output).tensors
    before = load_model(job.model).tensors
    below = [name for name in before if not name.startswith("head/")]
    moved = max(float(np.abs(tensors[1][name] - before[name]).max()) for name in below)
    apart = max(float(np.abs(tensors[1][name] - tensors[2][name]).max()) for name in tensors[1])
    return {"seconds_1": seconds[1], "seconds_2": seconds[2], "moved": moved, "max_difference": apart}


def _two_gpus(job: Job) -> dict[str, Any]:
    import torch

    if torch.cuda.device_count() < 2:
        raise NotRunError(f"it needs two GPUs, and there are {torch.cuda.device_count()}")
    return _joined(job, 2)


def _join(device: str) -> None:
    import torch
    import torch.distributed as dist

    from cxrscore.plugins import get_backend

    rank, of = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend: Any = get_backend("torch")
    group = backend.join(rank=rank, of=of, device=device)
    place = "cpu" if device == "cpu" else f"cuda:{torch.cuda.current_device()}"
    value = torch.full((1000,), rank + 1.0, device=place)
    dist.all_reduce(value)
    sys.stdout.write(json.dumps({"backends": dist.get_backend_config(), "sum": value[0].item()}) + "\n")
    sys.stdout.flush()
    group.leave()


if __name__ == "__main__":
    _join(sys.argv[1])
