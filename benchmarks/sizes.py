"""The bare network by batch and film size: what a film costs when more of them, or larger ones, go through at once."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from children import Contender, FailedError, started
from inputs import Inputs
from progress import Section

SIZES = (224, 400)
BACKENDS = ("openvino", "torch")


def measure(inputs: Inputs, rounds: int, films: int, batches: Sequence[int], section: Section) -> list[dict[str, Any]]:
    """Films a second of OpenVINO and torch, in turns, every cell a median; each backend is a process of its own."""
    told = {"sizes": SIZES, "batches": batches, "passed": films}
    contenders = [
        Contender(name=backend, script="bare_network", theirs=False, told={"backend": backend, **told})
        for backend in BACKENDS
    ]
    rows: list[dict[str, Any]] = []
    with started(contenders, inputs, 1, section) as (children, failed):
        for name, why in failed.items():
            section.note(f"{name} was not run: {why}")
        for size in SIZES:
            for batch in batches:
                if section.over():
                    section.note(f"ended at its time limit, before {size} pixels in batches of {batch}")
                    return rows
                work, seconds = f"{size} {batch}", {child.contender.name: list[float]() for child in children}
                try:
                    for child in children:
                        child.warm_up((work,))
                    for _ in range(rounds):
                        for child in children:
                            seconds[child.contender.name].append(child.seconds(work))
                except FailedError as error:
                    section.note(f"{size} pixels in batches of {batch}: {error}")
                    return rows
                passed = max(1, films // batch) * batch
                rates = {name: passed / median(found) for name, found in seconds.items()}
                rows.append({"size": size, "batch_size": batch, **rates})
                section.keep(rows)
            section.say(f"{size} pixels")
    return rows
