"""The bare network by batch and film size: what a film costs when more of them, or larger ones, go through at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np
from inputs import Inputs

SIZES = (224, 400)
BATCHES = (1, 4, 8, 16)


def measure(inputs: Inputs, rounds: int, films: int) -> list[dict[str, Any]]:
    """Films a second of OpenVINO and torch, in turns, every cell a median; each backend is a process of its own."""
    children = {
        backend: subprocess.Popen(
            [sys.executable, __file__, json.dumps([backend, str(inputs.model), films])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for backend in ("openvino", "torch")
    }
    told = []
    for size in SIZES:
        for batch in BATCHES:
            found: dict[str, list[float]] = {backend: [] for backend in children}
            for _ in range(rounds):
                for backend, child in children.items():
                    assert child.stdin is not None
                    assert child.stdout is not None
                    child.stdin.write(f"{size} {batch}\n")
                    child.stdin.flush()
                    found[backend].append(float(child.stdout.readline()))
            rates = {backend: median(rates) for backend, rates in found.items()}
            told.append({"size": size, "batch_size": batch, **rates})
        sys.stderr.write(f"sizes: {size} pixels\n")
    for child in children.values():
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
    return told


def serve(backend: str, model: str, films: int) -> None:
    """Answers lines of a size and a batch size with films a second."""
    import dataclasses
    from pathlib import Path

    from cxrscore.models.model_file import load_model
    from cxrscore.plugins import get_backend

    file, built, seen = load_model(Path(model)), {}, set()
    for line in sys.stdin:
        size, batch = map(int, line.split())
        if size not in built:
            spec = dataclasses.replace(file.spec, size=size)
            built = {size: get_backend(backend).build(spec, file.tensors, device="cpu")}
        given = np.random.default_rng(0).random((batch, size, size), np.float32)
        if (size, batch) not in seen:
            built[size].predict(given)  # compiles this shape
            seen.add((size, batch))
        times = max(1, films // batch)
        begun = time.perf_counter()
        for _ in range(times):
            built[size].predict(given)
        sys.stdout.write(f"{times * batch / (time.perf_counter() - begun)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(*json.loads(sys.argv[1]))
