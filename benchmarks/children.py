"""The contenders as processes of their own, that take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from inputs import Inputs

PEERS = Path(__file__).parent / "peers"
NOTES = 300
"""Characters of what a contender that failed said last."""


class FailedError(Exception):
    """A contender did not start or did not live to answer; the text says what it said last."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who takes part: a script of peers/, and what it is told besides what all are told.

    does   what it does, in words, for the table
    theirs runs in the environment of the peers, and not in cxrscore's own
    maps   whether it makes heat maps, too
    anew   whether each round has a process of its own
    """

    name: str
    script: str
    does: str = ""
    theirs: bool = True
    maps: bool = False
    anew: bool = False
    told: Mapping[str, Any] | None = None


def forward_films(films: int, batch_size: int) -> int:
    """How many films the bare network is measured with: whole batches, four at most."""
    return max(1, min(films // batch_size, 4)) * batch_size


class Child:
    """One contender's process: asked for a work by name, it answers with seconds.

    startup  seconds until it was ready: Python, imports, network; the first pass, which compiles, is not in them
    """

    def __init__(self, contender: Contender, inputs: Inputs, films: int) -> None:
        self.contender = contender
        self._answers, self._errors = inputs.folder / "answers", inputs.folder / f"{_plain(contender.name)}.errors"
        told = {
            "name": _plain(contender.name),
            "films": str(inputs.films(films)),
            "model": str(inputs.model),
            "network": str(inputs.folder / "network.npz"),
            "keras": str(inputs.folder / "keras.npz"),
            "onnx": str(inputs.folder / "network.onnx"),
            "square": str(inputs.folder / "square.npy"),
            "size": inputs.size,
            "batch_size": inputs.batch_size,
            "findings": 14,
            "answers": str(self._answers),
            "forward_batches": forward_films(films, inputs.batch_size) // inputs.batch_size,
            **(contender.told or {}),
        }
        python = str(inputs.peers) if contender.theirs else sys.executable
        self._command = [python, str(PEERS / f"{contender.script}.py"), json.dumps(told)]
        self._start()

    def _start(self) -> None:
        begun = time.perf_counter()
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        self.versions = str(self._read()["versions"])
        self.startup = time.perf_counter() - begun

    def start_anew(self) -> None:
        """Another process in the place of the one that was: some are faster than others, as their memory lies."""
        self.end()
        self._start()

    def seconds(self, work: str) -> float:
        return float(self._ask(work)["seconds"])

    def warm_up(self, works: Iterable[str]) -> None:
        """Each work once: the first time compiles, and fills the memory that later ones use again."""
        for work in works:
            self.seconds(work)

    def memory(self) -> dict[str, float]:
        """own_mb and workers_mb, at most until now."""
        return self._ask("memory")

    def answer(self) -> np.ndarray:
        """What the last work gave."""
        return np.load(self._answers / f"{_plain(self.contender.name)}.npy")

    def end(self) -> None:
        self._process.communicate()  # closes its input, which ends it

    def _ask(self, order: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.end()
            raise FailedError(" ".join(self._errors.read_text().split())[-NOTES:])
        return json.loads(line)


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


@contextmanager
def started(
    contenders: Sequence[Contender], inputs: Inputs, films: int
) -> Iterator[tuple[list[Child], dict[str, str]]]:
    """The contenders that start, one after the other, and for each of the others why it does not. All are ended."""
    with ExitStack() as stack:
        children, failed = [], {}
        for contender in contenders:
            try:
                child = Child(contender, inputs, films)
            except FailedError as error:
                failed[contender.name] = str(error)
                continue
            stack.callback(child.end)
            children.append(child)
        yield children, failed
