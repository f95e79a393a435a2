"""The bare network of one backend by film and batch size: works are named by both, "400 8"."""

from __future__ import annotations

import dataclasses
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from turns import job, serve

from cxrscore.models.model_file import load_model
from cxrscore.plugins import get_backend

given = job()
file, backend = load_model(Path(given["model"])), get_backend(given["backend"])


@lru_cache(maxsize=1)
def network(size: int) -> Any:
    """Only that of the last film size is kept."""
    return backend.build(dataclasses.replace(file.spec, size=size), file.tensors, device="cpu")


@lru_cache(maxsize=1)
def batch(size: int, batch_size: int) -> np.ndarray:
    return np.random.default_rng(0).random((batch_size, size, size), np.float32)


def forward(size: int, batch_size: int) -> None:
    for _ in range(max(1, given["passed"] // batch_size)):
        network(size).predict(batch(size, batch_size))


works = {f"{size} {films}": partial(forward, size, films) for size in given["sizes"] for films in given["batches"]}
serve(works, backend.name)
