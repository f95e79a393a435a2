"""Whether memory stays flat over a long run: of the device, of this process, and of page-locked host memory."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from cxrscore import scoring
from gpu_sections.job import Job, Steps
from gpu_sections.pipeline import options


def steps(job: Job) -> Steps:
    count = 96 if job.small else 2000
    return {f"score of {count} films": functools.partial(_run, job, count)}


def _run(job: Job, count: int) -> dict[str, Any]:
    """Samples whenever the run reports; the first third warms up, and growth is counted from there to the end."""
    samples: list[dict[str, float]] = []

    def sample(text: str, done: int, total: int) -> None:
        samples.append({"done": done / max(1, total), "process_mib": _resident(), **_of_device(job)})

    scored = scoring.score_films(options(job, job.repeated(count), "fp32", heatmaps=4), sample).scored
    later = [one for one in samples if one["done"] >= 1 / 3] or samples
    told: dict[str, Any] = {"films": count, "scored": scored, "samples": len(samples)}
    for name in sorted(samples[-1].keys() - {"done"}):
        told |= {name: later[-1][name], f"growth_of_{name}": later[-1][name] - later[0][name]}
    return told


def _resident() -> float:
    text = Path("/proc/self/status").read_text()
    return sum(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmRSS"))


def _of_device(job: Job) -> dict[str, float]:
    if not job.on_gpu:
        return {}
    import torch

    pinned = torch.cuda.host_memory_stats()
    return {
        "device_mib": torch.cuda.memory_allocated() / 2**20,
        "reserved_mib": torch.cuda.memory_reserved() / 2**20,
        "pinned_mib": pinned.get("allocated_bytes.current", 0) / 2**20,
    }
