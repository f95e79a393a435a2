"""Whole runs: against the bare network, with and without heat maps, of more and more films, and from a cold start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from children import Contender, started
from inputs import Inputs
from scoring import ours, own_contenders

from cxrscore import open_scores
from cxrscore.explainers import explain
from cxrscore.models.model_file import load_model
from cxrscore.plugins import get_backend, get_explainer

Command = Sequence[str | Path]


def end_to_end(inputs: Inputs, films: int) -> list[dict[str, Any]]:
    """Each backend: a run of many films between two measures of its bare network, in one process."""
    told = []
    all_films, few = str(inputs.films(films)), 4 * inputs.batch_size
    for contender in own_contenders(inputs):
        own = {**(contender.told or {}), "all_films": all_films}
        longer = ours(own.pop("backend"), own.pop("precision"), **own)
        with started([longer], inputs, few) as (children, failed):
            if failed:
                continue
            (child,) = children
            child.warm_up(("score", "forward"))
            before = child.seconds("forward")
            seconds = child.seconds("all films")
            bare = few / ((before + child.seconds("forward")) / 2)
            rate = films / seconds
            told.append({"name": longer.name, "films": films, "films_per_second": rate, "forward": bare})
            told[-1] |= child.memory()
        sys.stderr.write(f"end to end: {longer.name}\n")
    return told


def heat_maps(inputs: Inputs, films: int, rounds: int) -> dict[str, Any]:
    """All maps against none by cxrscore, and all maps of one film by pytorch-grad-cam."""
    peer = Contender(name="pytorch-grad-cam", script="grad_cam_maps")
    contenders = [ours("openvino", "fp32"), ours("torch", "fp32"), peer]
    seconds: dict[str, dict[str, list[float]]] = {}
    answers, versions = {}, {}
    with started(contenders, inputs, films) as (children, failed):
        works = {"cxrscore_score": ("no maps", "all maps"), "grad_cam_maps": ("maps at once", "maps")}
        for child in children:
            child.warm_up(works[child.contender.script])
            versions[child.contender.name] = child.versions
        for _ in range(rounds):
            for child in children:
                for work in works[child.contender.script]:
                    found = seconds.setdefault(child.contender.name, {}).setdefault(work, [])
                    found.append(child.seconds(work))
        answers = {child.contender.name: child.answer() for child in children if child.contender is peer}
    middle = {name: {work: median(found) for work, found in works.items()} for name, works in seconds.items()}
    told: dict[str, Any] = {"films": films, "rounds": rounds, "left_out": failed, "versions": versions}
    told["cxrscore"] = {
        name: {"no_maps": found["no maps"] / films, "all_maps": found["all maps"] / films}
        for name, found in middle.items()
        if name != peer.name
    }
    if peer.name in middle:
        told["peer"] = {"calls": middle[peer.name]["maps"], "batch": middle[peer.name]["maps at once"]}
        told["map_difference"] = float(np.abs(answers[peer.name] - own_maps(inputs)).max())
    return told


def own_maps(inputs: Inputs) -> np.ndarray:
    """cxrscore's maps [C,S,S] of the same film as pytorch-grad-cam shows them: no negatives, 0..1, enlarged."""
    file = load_model(inputs.model)
    model = get_backend("openvino").build(file.spec, file.tensors, device="cpu")
    film = np.load(inputs.folder / "square.npy")[None]
    _, maps, _ = explain(get_explainer("grad-cam"), model, film, range(len(file.spec.findings)))
    found = []
    for one in np.maximum(maps[0], 0):
        shown = (one - one.min()) / (1e-7 + (one - one.min()).max())
        found.append(cv2.resize(shown, (inputs.size, inputs.size)))
    return np.stack(found)


def growth(inputs: Inputs, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Whole commands on more and more films, by a network that costs next to nothing."""
    told = []
    for count in counts:
        with tempfile.TemporaryDirectory(dir=inputs.folder) as folder:
            output = Path(folder) / "out.h5"
            seconds, peak = whole_command(inputs.films(count), output, inputs.small, "openvino", "fp32")
            size = output.stat().st_size
        told.append({"films": count, "seconds": seconds, "peak_mb": peak, "file_bytes": size})
        sys.stderr.write(f"growth: {count} films\n")
    return told


def whole_command(films: Path, output: Path, model: Path, backend: str, precision: str) -> tuple[float, float]:
    """Seconds on the clock and MiB at most of `cxrscore score`, its start included, without its decoders."""
    command = [
        *(sys.executable, "-m", "cxrscore", "score", films, "-o", output, "-m", model),
        *("--backend", backend, "--precision", precision, "--device", "cpu", "--quiet"),
    ]
    return timed(command)


def timed(command: Command) -> tuple[float, float]:
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, [str(word) for word in command])
    return time.perf_counter() - begun, used.ru_maxrss / 1024


def start_up(inputs: Inputs, rounds: int) -> list[dict[str, Any]]:
    """What must pass before there is a first score, in turns with the import of the framework alone."""
    python = sys.executable
    commands: dict[str, Command] = {
        "bare Python": (python, "-c", "pass"),
        "cxrscore --help": (python, "-m", "cxrscore", "--help"),
        "import openvino": (python, "-c", "import openvino"),
        "import torch": (python, "-c", "import torch"),
        "import keras": (python, "-c", "import keras"),
        "import torchxrayvision": (inputs.peers, "-c", "import torchxrayvision"),
    }
    films, output = inputs.films(1), inputs.folder / "one.h5"
    for backend in ("openvino", "torch", "keras"):
        commands[f"cxrscore score of one film, {backend}"] = (
            *(python, "-m", "cxrscore", "score", films, "-o", output, "-m", inputs.model, "--overwrite"),
            *("--backend", backend, "--device", "cpu"),
        )
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            taken, _ = timed(command)
            if number:  # the first fills the system's file cache
                seconds[name].append(taken)
    return [{"name": name, "seconds": median(found)} for name, found in seconds.items()]


def whole(inputs: Inputs, films: int) -> list[dict[str, Any]]:
    """`cxrscore score` of many films, from the command line to its end."""
    told = []
    for contender in own_contenders(inputs):
        own = contender.told or {}
        if own["backend"] == "openvino":
            output = inputs.folder / f"whole-{own['precision']}.h5"
            model = Path(own.get("model", inputs.model))
            seconds, peak = whole_command(inputs.films(films), output, model, own["backend"], own["precision"])
            scored = int(np.isfinite(open_scores(output).prob[:, 0]).sum())
            told.append({"name": contender.name, "films": films, "seconds": seconds, "peak_mb": peak, "scored": scored})
    return told
