"""PNG files to scores: cxrscore's backends and its peers, in turns, with the floors of the machine in every round."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
from children import Child, Contender, forward_films, started
from inputs import Inputs

REFERENCE = "cxrscore, torch fp32"
"""Whose probabilities all others are held to."""
PEERS = (
    Contender(name="torchxrayvision's script", script="xrv_script", does="its reader, film by film, torch", anew=True),
    Contender(name="film by film", script="one_by_one", does="PIL, torch, no batches"),
    Contender(name="torch DataLoader", script="torch_loader", does="PIL, torchvision's transforms, 2 workers"),
    Contender(name="Keras PyDataset", script="keras_dataset", does="load_img, 2 workers, predict", theirs=False),
    Contender(name="ONNX Runtime", script="onnx_prefetch", does="OpenCV in a thread, batches"),
)
PRODUCT = 3 * 2 * 4096**3
"""Floating-point operations of the three products that the floor is measured by."""
FLOORS = (
    *("product fp32", "product bf16", "decode 1", "decode 2", "stream 1", "stream 2"),
    *("steady 1", "steady 2"),
)
"""Works of peers/floors.py; steady: decoding with workers that run already."""


def ours(backend: str, precision: str, **told: Any) -> Contender:
    return Contender(
        name=f"cxrscore, {backend} {precision}",
        script="cxrscore_score",
        does="`score` with heat maps, to out.h5",
        theirs=False,
        maps=True,
        told={"backend": backend, "precision": precision, **told},
    )


def own_contenders(inputs: Inputs) -> list[Contender]:
    """cxrscore by each of its backends; int8 where this cxrscore has it."""
    fast = [ours("openvino", "fp32"), ours("openvino", "bf16")]
    if inputs.int8.is_file():
        fast.append(ours("openvino", "int8", model=str(inputs.int8)))
    return [*fast, ours("torch", "fp32"), ours("keras", "fp32")]


def measure(inputs: Inputs, films: int, rounds: int) -> dict[str, Any]:
    """The section "scoring" of the record."""
    contenders = [*own_contenders(inputs), *PEERS]
    floors = Contender(name="floors", script="floors", theirs=False)
    with started([*contenders, floors], inputs, films) as (children, failed):
        *runners, floor = children
        for child in runners:
            child.warm_up(works(child))
        floor.warm_up(FLOORS)
        found: dict[str, dict[str, list[float]]] = {child.contender.name: {} for child in runners}
        machine: dict[str, list[float]] = {}
        for number in range(rounds):
            for child in runners:
                if child.contender.anew and number:
                    child.start_anew()
                    child.warm_up(works(child))
                for work in works(child):
                    found[child.contender.name].setdefault(work, []).append(child.seconds(work))
            for work in FLOORS:
                machine.setdefault(work, []).append(floor.seconds(work))
            sys.stderr.write(f"scoring: round {number + 1} of {rounds}\n")
        rows = [row(child, found[child.contender.name], films, inputs) for child in runners]
    left_out = [{"name": name, "why": why} for name, why in failed.items()]
    return {
        "films": films,
        "rounds": rounds,
        "contenders": _with_differences(rows),
        "left_out": left_out,
        "floors": floors_of(machine, films),
    }


def works(child: Child) -> Iterator[str]:
    yield "score"
    if child.contender.script in ("cxrscore_score", "onnx_prefetch"):
        yield "forward"


def row(child: Child, seconds: dict[str, list[float]], films: int, inputs: Inputs) -> dict[str, Any]:
    bare = forward_films(films, inputs.batch_size)
    forward = [bare / one for one in seconds.get("forward", ())]
    return {
        "name": child.contender.name,
        "does": child.contender.does,
        "maps": child.contender.maps,
        "versions": child.versions,
        "startup_seconds": child.startup,
        "films_per_second": median(films / one for one in seconds["score"]),
        "rounds": [films / one for one in seconds["score"]],
        "forward_films_per_second": median(forward) if forward else None,
        **child.memory(),
        "probabilities": child.answer(),
    }


def _with_differences(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with how far its probabilities are from the reference's, at most, instead of them."""
    answers = {one["name"]: one.pop("probabilities") for one in rows}
    reference = answers.get(REFERENCE)
    for one in rows:
        apart = None if reference is None else float(np.abs(answers[one["name"]] - reference).max())
        one["probability_difference"] = apart
    return rows


def floors_of(seconds: dict[str, list[float]], films: int) -> dict[str, float]:
    middle = {work: median(found) for work, found in seconds.items()}
    rates = {f"{work} films_per_second": films / one for work, one in middle.items() if "product" not in work}
    products = {f"{work} gflops": PRODUCT / one / 1e9 for work, one in middle.items() if "product" in work}
    return {name.replace(" ", "_"): value for name, value in {**products, **rates}.items()}
