"""The contenders as processes of their own, that take turns; none may take longer than it is given."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from inputs import Inputs
from progress import Section

PEERS = Path(__file__).parent / "peers"
NOTES = 300
"""Characters of what a contender that failed said last."""
GRACE = 10.0
"""Seconds that a contender may take to end when it is told to."""
NO_TIME = "no time was left for it"


class FailedError(Exception):
    """A contender did not start or did not live to answer; the text says what it said last."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who takes part: a script of peers/, and what it is told besides what all are told.

    does   what it does, in words, for the table
    theirs runs in the environment of the peers, and not in cxrscore's own
    maps   whether it makes heat maps, too
    anew   whether each round has a process of its own
    seldom takes part in the first round only: it is slow, and no target depends on it
    """

    name: str
    script: str
    does: str = ""
    theirs: bool = True
    maps: bool = False
    anew: bool = False
    seldom: bool = False
    told: Mapping[str, Any] | None = None


def forward_films(films: int, batch_size: int) -> int:
    """How many films the bare network is measured with: whole batches, four at most."""
    return max(1, min(films // batch_size, 4)) * batch_size


class Child:
    """One contender's process: asked for a work by name, it answers with seconds.

    startup  seconds until it was ready: Python, imports, network; the first pass, which compiles, is not in them
    works    what it can do
    """

    def __init__(self, contender: Contender, inputs: Inputs, films: int, section: Section) -> None:
        self.contender, self._section = contender, section
        self._answers, self._errors = inputs.folder / "answers", inputs.folder / f"{_plain(contender.name)}.errors"
        told = {
            "name": _plain(contender.name),
            "films": str(inputs.films(films)),
            "model": str(inputs.model),
            "network": str(inputs.folder / "network.npz"),
            "keras": str(inputs.folder / "keras.npz"),
            "onnx": str(inputs.onnx),
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
                start_new_session=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        ready = self._read()
        self.versions, self.works = str(ready["versions"]), tuple(ready["works"])
        self.startup = time.perf_counter() - begun

    def start_anew(self) -> None:
        """Another process in the place of the one that was: some are faster than others, as their memory lies."""
        self.end()
        self._start()

    def seconds(self, work: str) -> float:
        return float(self._ask(work)["seconds"])

    def take(self, films: Path) -> None:
        """Another folder of films from now on."""
        self._ask(f"films {films}")

    def warm_up(self, works: Iterable[str]) -> dict[str, float]:
        """Each work once: the first time compiles, and fills the memory that later ones use again."""
        return {work: self.seconds(work) for work in works}

    def memory(self) -> dict[str, float]:
        """own_mb and workers_mb, at most until now."""
        return self._ask("memory")

    def answer(self) -> np.ndarray:
        """What the last work gave."""
        return np.load(self._answers / f"{_plain(self.contender.name)}.npy")

    def end(self) -> None:
        """Closes its input, which ends it; kills it if it does not end."""
        try:
            self._process.communicate(timeout=GRACE)
        except (subprocess.TimeoutExpired, OSError, ValueError):
            self.kill()

    def kill(self) -> None:
        """Ends it and its workers at once."""
        kill_group(self._process)
        self._process.wait()

    def _ask(self, order: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{order}\n")
            self._process.stdin.flush()
        except OSError as error:  # it is gone
            raise FailedError(self._last_words()) from error
        return self._read()

    def _read(self) -> dict[str, Any]:
        """Its next line. A contender says nothing that it was not asked for, so no line waits in the buffer."""
        assert self._process.stdout is not None
        limit = self._section.step_limit()
        if not select.select([self._process.stdout], [], [], limit)[0]:
            self.kill()
            raise FailedError(f"no answer within {limit:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise FailedError(self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        self.end()
        words = " ".join(self._errors.read_text().split())[-NOTES:]
        return words or f"it ended with exit status {self._process.returncode}"


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def kill_group(process: subprocess.Popen[Any]) -> None:
    """A process that leads a session of its own, and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def started(
    contenders: Sequence[Contender], inputs: Inputs, films: int, section: Section
) -> Iterator[tuple[list[Child], dict[str, str]]]:
    """The contenders that start, one after the other, and for each of the others why it does not. All are ended."""
    children: list[Child] = []
    failed: dict[str, str] = {}
    try:
        for contender in contenders:
            if why := inputs.why_not(contender.theirs):
                failed[contender.name] = why
                continue
            if children and section.over():
                failed[contender.name] = NO_TIME
                continue
            try:
                children.append(Child(contender, inputs, films, section))
                section.say(f"{contender.name} is ready after {children[-1].startup:.1f} s")
            except FailedError as error:
                failed[contender.name] = str(error)
                section.say(f"{contender.name} does not start: {error}")
        yield children, failed
    except BaseException:
        for child in children:
            child.kill()
        raise
    for child in children:
        child.end()


def timed(command: Sequence[str | Path], limit: float) -> tuple[float, float]:
    """Seconds on the clock and MiB at most of a command, without its children. Its output is not kept.

    Raises
    ------
    FailedError
        If it fails or takes longer than `limit` seconds.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    killer = threading.Timer(limit, kill_group, (process,))
    killer.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        kill_group(process)
        raise
    finally:
        killer.cancel()
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == -signal.SIGKILL and seconds >= limit:
        raise FailedError(f"no end within {limit:.0f} s")
    if process.returncode:
        raise FailedError(f"exit status {process.returncode}")
    return seconds, used.ru_maxrss / 1024


def output_of(command: Sequence[str | Path], limit: float) -> str:
    """What a command writes to standard output; FailedError as for `timed`."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired as error:
            kill_group(process)
            raise FailedError(f"no end within {limit:.0f} s") from error
        except BaseException:
            kill_group(process)
            raise
    if process.returncode:
        raise FailedError(" ".join(errors.split())[-NOTES:] or f"exit status {process.returncode}")
    return output
