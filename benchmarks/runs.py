"""Whole runs: against the bare network, with and without heat maps, of more and more films, and from a cold start."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from children import Child, Contender, FailedError, forward_films, output_of, started, timed
from inputs import ROOT, Inputs
from progress import Section
from scoring import ours, own_contenders

from cxrscore import open_scores
from cxrscore.explainers import explain
from cxrscore.models.model_file import load_model
from cxrscore.plugins import get_backend, get_explainer

Command = Sequence[str | Path]


def end_to_end(inputs: Inputs, films: Mapping[str, int], section: Section) -> list[dict[str, Any]]:
    """Each backend: a run of many films between two measures of its bare network, in one process.

    films  by backend; fewer where the time of the section is short, as the row says
    """
    told: list[dict[str, Any]] = []
    contenders, few = own_contenders(inputs), forward_films(min(films.values()), inputs.batch_size)
    for number, contender in enumerate(contenders):
        if section.over():
            section.note(f"ended at its time limit, before {contender.name}")
            break
        wanted = films[str((contender.told or {})["backend"])]
        share = section.left() / (len(contenders) - number)
        try:
            with started([contender], inputs, few, section) as (children, failed):
                if failed:
                    section.note(f"{contender.name} was not run: {failed[contender.name]}")
                    continue
                told.append(_end_to_end(children[0], inputs, few, wanted, share, section))
        except FailedError as error:
            section.note(f"{contender.name}: {error}")
            continue
        section.keep(told)
        section.say(contender.name)
    return told


def _end_to_end(child: Child, inputs: Inputs, few: int, wanted: int, share: float, section: Section) -> dict[str, Any]:
    """few: films of the bare network; wanted: of the run; share: seconds for all of it."""
    name, begun = child.contender.name, section.used()
    child.take(inputs.films(min(few, 2 * inputs.batch_size)))
    child.warm_up(("score", "forward"))
    before = child.seconds("forward")
    bare = few / before
    fits = int((share - (section.used() - begun) - before) * 0.8 * bare)
    films = wanted if fits >= wanted else min(wanted, max(few, fits // inputs.batch_size * inputs.batch_size))
    if films < wanted:
        section.note(f"{name}: {films} films instead of {wanted}, for lack of time")
    child.take(inputs.films(films))
    seconds = child.seconds("score")
    bare = few / ((before + child.seconds("forward")) / 2)
    return {"name": name, "films": films, "films_per_second": films / seconds, "forward": bare, **child.memory()}


HEAT_MAP_WORKS = {"cxrscore_score": ("no maps", "all maps"), "grad_cam_maps": ("maps at once", "maps")}


def heat_maps(inputs: Inputs, films: int, rounds: int, section: Section) -> dict[str, Any]:
    """All maps against none by cxrscore, and all maps of one film by pytorch-grad-cam."""
    peer = Contender(name="pytorch-grad-cam", script="grad_cam_maps")
    contenders = [ours("openvino", "fp32"), ours("torch", "fp32"), peer]
    seconds: dict[str, dict[str, list[float]]] = {}
    answers: dict[str, np.ndarray] = {}
    found: dict[str, Any] = {}
    with started(contenders, inputs, films, section) as (children, failed):
        for number in range(rounds + 1):
            if section.over() and number > 1:
                section.note(f"ended at its time limit: {number - 1} of {rounds} rounds")
                break
            for child in children:
                if child.contender.name not in failed and (number or rounds > 1 or child.contender is not peer):
                    _heat_map_turn(child, seconds, answers, failed, warm_up=not number)
            section.say(f"round {number} of {rounds}" if number else "ready")
            if number:
                versions = {child.contender.name: child.versions for child in children}
                found = _heat_map_rows(seconds, answers, inputs, films)
                found |= {"films": films, "rounds": number, "left_out": dict(failed), "versions": versions}
                section.keep(found)
    return found


def _heat_map_turn(
    child: Child,
    seconds: dict[str, dict[str, list[float]]],
    answers: dict[str, np.ndarray],
    failed: dict[str, str],
    *,
    warm_up: bool,
) -> None:
    """Both works of one contender once; pytorch-grad-cam warms up with one, as they take seconds for a film."""
    name, works = child.contender.name, HEAT_MAP_WORKS[child.contender.script]
    try:
        if warm_up:
            child.warm_up(works[:1] if child.contender.script == "grad_cam_maps" else works)
            return
        for work in works:
            seconds.setdefault(name, {}).setdefault(work, []).append(child.seconds(work))
        if child.contender.script == "grad_cam_maps":
            answers[name] = child.answer()
    except FailedError as error:
        failed[name] = str(error)


def _heat_map_rows(
    seconds: dict[str, dict[str, list[float]]], answers: dict[str, np.ndarray], inputs: Inputs, films: int
) -> dict[str, Any]:
    middle = {name: {work: median(taken) for work, taken in works.items()} for name, works in seconds.items()}
    told: dict[str, Any] = {
        "cxrscore": {
            name: {"no_maps": found["no maps"] / films, "all_maps": found["all maps"] / films}
            for name, found in middle.items()
            if "all maps" in found
        }
    }
    for name, answer in answers.items():
        told["peer"] = {"calls": middle[name]["maps"], "batch": middle[name]["maps at once"]}
        told["map_difference"] = float(np.abs(answer - own_maps(inputs)).max())
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


def growth(inputs: Inputs, counts: Sequence[int], section: Section) -> list[dict[str, Any]]:
    """Whole commands on more and more films, by a network that costs next to nothing."""
    told: list[dict[str, Any]] = []
    for count in counts:
        if told and section.over(_expected(told, count)):
            section.note(f"ended at its time limit, before {count:,} films")
            break
        with tempfile.TemporaryDirectory(dir=inputs.folder) as folder:
            output = Path(folder) / "out.h5"
            command = score_command(inputs.films(count), output, inputs.small, "openvino", "fp32")
            try:
                seconds, peak = timed(command, section.step_limit())
            except FailedError as error:
                section.note(f"{count:,} films: {error}")
                break
            size = output.stat().st_size
        told.append({"films": count, "seconds": seconds, "peak_mb": peak, "file_bytes": size})
        section.keep(told)
        section.say(f"{count:,} films")
    return told


def _expected(told: Sequence[Mapping[str, Any]], count: int) -> float:
    """Seconds for so many films by the run before; of the first run, about half is the start."""
    return told[-1]["seconds"] * count / told[-1]["films"] / (2 if len(told) == 1 else 1)


def score_command(films: Path, output: Path, model: Path, backend: str, precision: str) -> Command:
    """`cxrscore score`, its start included when it is timed."""
    return (
        *(sys.executable, "-m", "cxrscore", "score", films, "-o", output, "-m", model, "--overwrite"),
        *("--backend", backend, "--precision", precision, "--device", "cpu", "--quiet"),
    )


def start_up(inputs: Inputs, backends: Sequence[str], rounds: int, section: Section) -> list[dict[str, Any]]:
    """What must pass before there is a first score, in turns with the import of the framework alone."""
    python = sys.executable
    commands: dict[str, Command] = {
        "bare Python": (python, "-c", "pass"),
        "cxrscore --help": (python, "-m", "cxrscore", "--help"),
        "import openvino": (python, "-c", "import openvino"),
        "import torch": (python, "-c", "import torch"),
        "import keras": (python, "-c", "import keras"),
    }
    if inputs.peers is not None:
        commands["import torchxrayvision"] = (inputs.peers, "-c", "import torchxrayvision")
    films, output = inputs.films(1), inputs.folder / "one.h5"
    for backend in backends:
        command = score_command(films, output, inputs.model, backend, "fp32")
        commands[f"cxrscore score of one film, {backend}"] = command
    return [
        {"name": name, "seconds": median(taken for taken, _ in found)}
        for name, found in _in_turns(commands, dict.fromkeys(commands, rounds), section).items()
    ]


def _in_turns(
    commands: Mapping[str, Command], rounds: Mapping[str, int], section: Section
) -> dict[str, list[tuple[float, float]]]:
    """Seconds and peak MiB of each command and round; a command that fails is left out with a note."""
    found: dict[str, list[tuple[float, float]]] = {}
    failed: set[str] = set()
    for number in range(max(rounds.values(), default=0)):
        for name, command in commands.items():
            if number >= rounds[name] or name in failed:
                continue
            if section.spent() or (number and section.over()):
                section.note(f"ended at its time limit: round {number + 1}, before {name}")
                return {one: taken for one, taken in found.items() if taken}
            try:
                found.setdefault(name, []).append(timed(command, section.step_limit()))
            except FailedError as error:
                failed.add(name)
                section.note(f"{name}: {error}")
                continue
            section.say(f"round {number + 1}, {name}: {found[name][-1][0]:.2f} s")
    return {name: taken for name, taken in found.items() if taken}


def whole(inputs: Inputs, films: int, rounds: int, section: Section) -> list[dict[str, Any]]:
    """`cxrscore score` of some films, from the command line to its end, backends in turns; fp32 in all rounds."""
    commands: dict[str, Command] = {}
    outputs: dict[str, Path] = {}
    fewer: dict[str, int] = {}
    for contender in sorted(own_contenders(inputs), key=lambda one: (one.told or {})["precision"] != "fp32"):
        own, name = contender.told or {}, contender.name
        outputs[name] = inputs.folder / f"whole-{own['backend']}-{own['precision']}.h5"
        model = Path(own.get("model", inputs.model))
        commands[name] = score_command(inputs.films(films), outputs[name], model, own["backend"], own["precision"])
        fewer[name] = rounds if own["precision"] == "fp32" else 1
    return [
        {
            "name": name,
            "films": films,
            "rounds": len(found),
            "seconds": median(taken for taken, _ in found),
            "peak_mb": max(peak for _, peak in found),
            "scored": int(np.isfinite(open_scores(outputs[name]).prob[:, 0]).sum()),
        }
        for name, found in _in_turns(commands, fewer, section).items()
    ]


def profiles(size: int, films: int, commands: Sequence[Sequence[str]], section: Section) -> list[dict[str, Any]]:
    """Where the time of scoring and of training goes."""
    told: list[dict[str, Any]] = []
    script = ROOT / "benchmarks" / "profile_run.py"
    for command in commands:
        if section.over():
            section.note(f"ended at its time limit, before {' '.join(command)}")
            break
        words = [*command, "--films", str(films), "--size", str(size), "--json"]
        try:
            told.append(json.loads(output_of((sys.executable, script, *words), section.step_limit())))
        except FailedError as error:
            section.note(f"{' '.join(command)}: {error}")
            continue
        section.keep(told)
        section.say(" ".join(command))
    return told
