"""What every contender does besides scoring: it starts, says so, and then works whenever it is its turn.

A contender is a process that is started as `python CONTENDER.py JOB`, JOB a JSON object:

    films   folder of films, taken in the order of their names
    model   model file of cxrscore; network: the same tensors under torchvision's names, as .npz
    size    side of the square, pixels; batch_size; answers: folder for what is to be compared
    name    of the contender; what else it needs stands under other names

It writes one line when it is ready, with its versions and the works that it can do, and then a line for every line that
it reads: the seconds that the asked work took. Two orders are no works: "memory", and "films FOLDER", which puts
another folder in the place of the one that was given at the start.
Runs on nothing but the standard library and NumPy, as it is imported in several environments.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], Any]


@functools.cache
def job() -> dict[str, Any]:
    """One and the same object at each call: "films" may change while the contender lives."""
    return json.loads(sys.argv[1])


def film_paths(folder: str) -> list[str]:
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


def serve(works: Mapping[str, Work], versions: str, answer: Callable[[Any], Any] | None = None) -> None:
    """Answers orders until there are no more: each names a work, and is answered with the seconds it took.

    answer  what is kept of the last result, to be compared; called outside of what is timed
    """
    own, out = _taken_stdout(), job()
    memory = _Memory()
    _say(own, {"versions": versions, "works": list(works)})
    for line in sys.stdin:
        name = line.strip()
        if name == "memory":
            _say(own, memory.peaks())
            continue
        if name.startswith("films "):
            out["films"] = name.removeprefix("films ")
            _say(own, {})
            continue
        begun = time.perf_counter()
        result = works[name]()
        seconds = time.perf_counter() - begun
        if answer is not None and result is not None:
            np.save(Path(out["answers"]) / f"{out['name']}.npy", answer(result))
        _say(own, {"seconds": seconds})


def _say(own: Any, told: Mapping[str, Any]) -> None:
    own.write(json.dumps(told) + "\n")
    own.flush()


def _taken_stdout() -> Any:
    """The standard output for our lines alone: what frameworks print goes to standard error."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


class _Memory(threading.Thread):
    """The largest resident memory of this process and, four times a second, that of all its workers together.

    A worker counts from the second time it is seen: a process that has just been forked has its parent's memory.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._workers = 0.0
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        before: set[int] = set()
        while not self._ended.wait(0.05):
            now = set(_children(os.getpid()))
            self._workers = max(self._workers, sum(map(_peak_mb, now & before)))
            before = now

    def peaks(self) -> dict[str, float]:
        return {"own_mb": _peak_mb(os.getpid()), "workers_mb": self._workers}


def _children(process: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            yield from map(int, thread.read_text().split())
        except OSError:  # a thread that is gone
            continue


def _peak_mb(process: int) -> float:
    """MiB, 0 of a process that is gone. ru_maxrss would count what a worker's parent had when it was forked."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM"))
