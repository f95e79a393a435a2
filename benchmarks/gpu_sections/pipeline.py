"""PNG and DICOM files to scores: decoder processes, the share of time in which the GPU is busy, and what limits."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore import ScoreOptions, load_model, plugins, scoring
from cxrscore.images import ImageCache, Preprocessing, require_films, stream_films
from gpu_sections.dicom import write_films
from gpu_sections.job import Job, NotRunError, Steps, wait

BATCH = 64
SAMPLE_S = 0.05


def steps(job: Job) -> Steps:
    cores = os.cpu_count() or 1
    workers = [number for number in ((1,) if job.small else (16, 8, 4, 2, 1)) if number <= max(cores, 2)]
    precision = "fp32" if job.small else "bf16"
    network = functools.cache(lambda: _bare(job, precision))
    found: dict[str, Callable[[], dict[str, Any]]] = {"network from host memory": network}
    for number in workers:
        name = f"PNG, {number} decoder processes"
        found[name] = functools.partial(_files, job, precision, number, network)
    found["from the cache of decoded films"] = functools.partial(_cached, job, precision, network)
    found["DICOM JPEG 2000"] = functools.partial(_dicom, job, precision, workers[0], network)
    return found


class KeptBackend:
    """A backend that builds its network once, so that a run's time is that of its films."""

    def __init__(self, backend: Any) -> None:
        self._backend, self._made = backend, {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        return functools.partial(self._once, name, found) if name.startswith("build") else found

    def _once(self, name: str, build: Any, *given: Any, **further: Any) -> Any:
        key = (name, str(further))
        if key not in self._made:
            self._made[key] = build(*given, **further)
        return self._made[key]


@functools.cache
def keep_backend() -> None:
    """From now on scoring runs in this process use one network for each precision."""
    kept = KeptBackend(plugins.get_backend("torch"))
    plugins.get_backend = lambda name: kept


def options(job: Job, films: Path, precision: str, **more: Any) -> ScoreOptions:
    own = {"backend": "torch", "device": job.device, "precision": precision, "batch_size": 4 if job.small else BATCH}
    output = job.work / f"{films.name}.h5"
    output.unlink(missing_ok=True)  # a finished run is not computed again
    return ScoreOptions(
        films=films, output=output, model=job.model, overwrite=True, no_labels=True, thumbnails=0, **{**own, **more}
    )


def _bare(job: Job, precision: str) -> dict[str, Any]:
    """predict() by two threads on uint8 films in host memory: what the end-to-end rate cannot pass."""
    keep_backend()
    file = load_model(job.model)
    model = plugins.get_backend("torch").build(file.spec, file.tensors, device=job.device, precision=precision)
    size, batch = file.spec.size, 4 if job.small else BATCH
    films = np.random.default_rng(0).integers(0, 256, (batch, size, size), np.uint8)
    count = 4 if job.small else 40
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(model.predict, [films] * 10))
        wait(job)
        begun = time.perf_counter()
        list(pool.map(model.predict, [films] * count))
        seconds = time.perf_counter() - begun
    return {"films_per_second": count * batch / seconds, "precision": precision, "batch": batch}


def _files(
    job: Job,
    precision: str,
    workers: int,
    network: Callable[[], dict[str, Any]],
    films: list[Path] | None = None,
) -> dict[str, Any]:
    """Decoding alone, then the whole run with four heat maps a film, as `cxrscore score` has by default."""
    keep_backend()
    count = 12 if job.small else 96 * workers + 200
    folder = job.repeated(count, films)
    how = Preprocessing.from_dict(load_model(job.model).document["preprocessing"])
    paths = require_films(folder).paths
    begun = time.perf_counter()
    decoded = sum(film.pixels is not None for film in stream_films(folder, paths, how, workers=workers))
    decoding = decoded / (time.perf_counter() - begun)
    run = options(job, folder, precision, workers=workers)
    with _busy(job) as busy:
        begun = time.perf_counter()
        result = scoring.score_films(run)
        seconds = time.perf_counter() - begun
    rate = result.scored / seconds
    told = {"films": count, "scored": result.scored, "films_per_second": rate, "decoding_films_per_second": decoding}
    return {**told, "gpu_busy": busy(), "limit": limit(rate, decoding, network()["films_per_second"], busy())}


def limit(rate: float, decoding: float, network: float, busy: float | None, source: str = "decoding") -> str:
    """What a run is held up by, in a word."""
    if (busy or 0) >= 0.9 or rate >= 0.9 * network:
        return "the network"
    return source if rate >= 0.8 * min(decoding, network) and decoding < network else "neither alone"


@contextlib.contextmanager
def _busy(job: Job) -> Iterator[Callable[[], float | None]]:
    """Yields a function: the share of time in which the GPU ran a kernel, by NVML; None without a GPU or NVML."""
    found: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        import torch

        while not ended.wait(SAMPLE_S):
            try:
                found.append(torch.cuda.utilization() / 100)
            except Exception:  # noqa: BLE001 - no NVML, or one that this machine does not allow
                return

    thread = threading.Thread(target=sample, daemon=True)
    if job.on_gpu:
        thread.start()
    try:
        yield lambda: float(np.mean(found)) if found else None
    finally:
        ended.set()
        if job.on_gpu:
            thread.join()


def _cached(job: Job, precision: str, network: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Squares from the cache file of training, read in batches, through the network."""
    keep_backend()
    file = load_model(job.model)
    model = plugins.get_backend("torch").build(file.spec, file.tensors, device=job.device, precision=precision)
    folder = job.repeated(12 if job.small else 512)
    paths = require_films(folder).paths
    how = Preprocessing.from_dict(file.document["preprocessing"])
    store = ImageCache.build(folder, paths, how, job.work / "cache", workers=min(16, os.cpu_count() or 1))
    batch = 4 if job.small else BATCH
    rows = [store.rows[start : start + batch] for start in range(0, len(store.rows), batch)]

    def read(part: tuple[int, ...]) -> Any:
        return np.stack([store.unit(row) for row in part])

    def score(part: tuple[int, ...]) -> int:
        return len(model.predict(read(part)))

    with ThreadPoolExecutor(2) as pool:
        begun = time.perf_counter()
        for _ in pool.map(read, rows):
            pass
        reading = len(store.rows) / (time.perf_counter() - begun)
        list(pool.map(score, rows[:4]))
        with _busy(job) as busy:
            begun = time.perf_counter()
            scored = sum(pool.map(score, rows))
            seconds = time.perf_counter() - begun
    told = {
        "films": len(paths),
        "scored": scored,
        "films_per_second": scored / seconds,
        "reading_films_per_second": reading,
    }
    return {
        **told,
        "gpu_busy": busy(),
        "limit": limit(scored / seconds, reading, network()["films_per_second"], busy(), "reading"),
    }


def _dicom(job: Job, precision: str, workers: int, network: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if missing := [name for name in ("pydicom", "imagecodecs") if importlib.util.find_spec(name) is None]:
        raise NotRunError(f"{' and '.join(missing)} not installed")
    folder = job.work / "dicom"
    write_films(job.largest()[:4], folder)
    return _files(job, precision, workers, network, sorted(folder.iterdir()))
