"""Heat maps of all findings of every film against none."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import numpy as np

from cxrscore import load_model, plugins, scoring
from cxrscore.explainers import explain
from gpu_sections.job import Job, Steps, in_turns
from gpu_sections.pipeline import BATCH, keep_backend, options


def steps(job: Job) -> Steps:
    return {
        "network and maps from host memory": functools.partial(_network, job),
        "score of PNG files": functools.partial(_runs, job),
    }


def _network(job: Job) -> dict[str, Any]:
    """By two threads, as `score` computes them."""
    keep_backend()
    file, batch = load_model(job.model), 4 if job.small else BATCH
    precision: Any = "fp32" if job.small else "bf16"
    model = plugins.get_backend("torch").build(file.spec, file.tensors, device=job.device, precision=precision)
    films = np.random.default_rng(0).integers(0, 256, (batch, file.spec.size, file.spec.size), np.uint8)
    explainer, findings = plugins.get_explainer("grad-cam"), range(len(file.spec.findings))
    with ThreadPoolExecutor(2) as pool:
        ways = {
            "no_maps": lambda: list(pool.map(model.predict, [films] * 4)),
            "all_maps": lambda: list(pool.map(lambda one: explain(explainer, model, one, findings), [films] * 4)),
        }
        rates = in_turns(ways, 4 * batch, job, rounds=5, seconds=0.4)
    return _with_ratio({f"{name}_films_per_second": rate for name, rate in rates.items()}, len(findings))


def _with_ratio(told: dict[str, Any], maps: int) -> dict[str, Any]:
    ratio = told["no_maps_films_per_second"] / told["all_maps_films_per_second"]
    return {"maps": maps, **told, "time_ratio": ratio}


def _runs(job: Job) -> dict[str, Any]:
    """Whole runs, in turns, of films that must be decoded."""
    keep_backend()
    precision = "fp32" if job.small else "bf16"
    folder, findings = job.repeated(12 if job.small else 768), len(load_model(job.model).spec.findings)
    seconds: dict[int, list[float]] = {0: [], findings: []}
    count = 0
    for _ in range(1 if job.small else 3):
        for heatmaps, found in seconds.items():
            begun = time.perf_counter()
            count = scoring.score_films(options(job, folder, precision, heatmaps=heatmaps)).scored
            found.append(time.perf_counter() - begun)
    rates = {name: count / median(seconds[maps]) for name, maps in (("no_maps", 0), ("all_maps", findings))}
    return _with_ratio({f"{name}_films_per_second": rate for name, rate in rates.items()}, findings)
