"""Where does the time of one scoring or training run go? What the main thread does, a hundred times a second.

    python benchmarks/profile_run.py score [--films N] [--backend openvino] [--precision fp32] [--size 400]
    python benchmarks/profile_run.py train [--films N] [--backend torch]

The run is `cxrscore`'s own, unchanged, in this process; another thread looks at the stack of the main one and notes
whose code it is in: the deepest of the rooms below that is found there. Work that other threads and processes do
meanwhile costs the run nothing unless the main thread waits for it, and stands as waiting; its CPU time is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import inputs as given_inputs

from cxrscore.scoring import ScoreOptions, pipeline, score_films
from cxrscore.training import TrainOptions, train_model

ROOMS = (
    ("cxrscore/images/", "waiting for films (decoding)"),
    ("cxrscore/explainers", "heat maps from activations"),
    ("plugins/cxrscore_", "the network"),
    ("cxrscore/scorefile/", "shards packed and written, merge"),
    ("cxrscore/io/", "files written or hashed"),
    ("cxrscore/models/", "model files read or written"),
    ("cxrscore/labels/", "labels, splits, leaks"),
    ("cxrscore/metrics/", "metrics"),
    ("cxrscore/plugins", "backends imported and built"),
    ("cxrscore/training/", "the loop of training"),
    ("cxrscore/scoring/", "batches put together"),
)
"""Part of a file's path, and whose work it is; the first room that a stack meets from its deepest frame outwards."""
EVERY = 0.01
_FINISH = pipeline._finish_batch.__code__
WAIT = (_FINISH.co_filename, _FINISH.co_name)
"""Where the main thread waits for the network: file and function."""


class Watch(threading.Thread):
    """Counts the rooms that the main thread is met in."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.met: Counter[str] = Counter()
        self.ended = threading.Event()
        self._main = threading.main_thread().ident

    def run(self) -> None:
        while not self.ended.wait(EVERY):
            self.met[room_of(sys._current_frames().get(self._main or 0))] += 1


def room_of(frame: FrameType | None) -> str:
    """The backend is imported when it is first asked for: what its plugin does then is no work of the network."""
    importing = False
    while frame is not None:
        path = frame.f_code.co_filename.replace(os.sep, "/")
        importing = importing or "importlib" in path
        if (frame.f_code.co_filename, frame.f_code.co_name) == WAIT:
            return "waiting for the network"
        for part, room in ROOMS:
            if part in path:
                return "backends imported and built" if importing or frame.f_code.co_name == "build" else room
        frame = frame.f_back
    return "all else"


def profile(command: str, films: int, backend: str, precision: str, size: int) -> dict[str, Any]:
    """The section "profile" of the record: shares of the time on the clock by room, and CPU seconds."""
    with tempfile.TemporaryDirectory() as name:
        inputs = given_inputs.Inputs(folder=Path(name), size=size, batch_size=8)
        given_inputs.prepare(inputs)
        if command == "train":
            os.environ["CXRSCORE_CACHE"] = name  # nothing that earlier runs kept
        folder = inputs.films(films) if command == "score" else inputs.labelled(films)
        watch, before, begun = Watch(), os.times(), time.perf_counter()
        watch.start()
        if command == "score":
            score_films(_score_options(inputs, folder, backend, precision))
        else:
            train_model(_train_options(inputs, folder, backend))
        seconds, after = time.perf_counter() - begun, os.times()
        watch.ended.set()
        watch.join()
    looks = sum(watch.met.values())
    return {
        "command": command,
        "films": films,
        "backend": backend,
        "precision": precision,
        "size": size,
        "seconds": seconds,
        "own_cpu": after.user + after.system - before.user - before.system,
        "children_cpu": after.children_user + after.children_system - before.children_user - before.children_system,
        "rooms": {room: count / looks for room, count in watch.met.most_common()},
    }


def _score_options(inputs: given_inputs.Inputs, folder: Path, backend: str, precision: Any) -> ScoreOptions:
    output = inputs.folder / "out.h5"
    return ScoreOptions(
        films=folder,
        output=output,
        model=inputs.model,
        backend=backend,
        precision=precision,
        device="cpu",
        heatmaps=4,
    )


def _train_options(inputs: given_inputs.Inputs, folder: Path, backend: str) -> TrainOptions:
    return TrainOptions(
        films=folder,
        labels=given_inputs.SHARED / "data" / "nih442" / "labels.csv",
        output=inputs.folder / "trained.safetensors",
        weights=str(given_inputs.WEIGHTS),
        backend=backend,
        size=inputs.size,
        solver="adam",
        epochs=80,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("score", "train"))
    parser.add_argument("--films", type=int, default=128, help="how many; there are 442 to train on")
    parser.add_argument("--backend")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    backend = options.backend or {"score": "openvino", "train": "torch"}[options.command]
    told = profile(options.command, options.films, backend, options.precision, options.size)
    if options.json:
        sys.stdout.write(json.dumps(told))
        return
    sys.stdout.write(f"{told['films']} films in {told['seconds']:.1f} s; CPU {told['own_cpu']:.1f} s of its own, ")
    sys.stdout.write(f"{told['children_cpu']:.1f} s of the decoders\n")
    for room, share in told["rooms"].items():
        sys.stdout.write(f"  {room:<36}{share:6.1%}\n")


if __name__ == "__main__":
    main()
