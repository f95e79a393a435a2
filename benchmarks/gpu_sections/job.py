"""What every section is given, and the parts that several use: commands, films, turns and settings of a device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Steps = Mapping[str, Callable[[], dict[str, Any]]]
"""By name, a function that returns figures as JSON, or raises NotRunError."""

END = 400
"""Characters of what a command said last."""


class NotRunError(Exception):
    """This machine or this run lacks what the step needs; the text says what."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """
    kit       the unpacked kit
    work      folder for what a run leaves, that goes with it
    device    as cxrscore takes it: "cuda", "cpu"
    small     a run in miniature, which shows that the script works and measures nothing
    deadline  time.time() at which the section ends
    """

    kit: Path
    work: Path
    device: str
    small: bool
    deadline: float

    @property
    def films(self) -> Path:
        return self.kit / "films"

    @property
    def model(self) -> Path:
        return self.work / "model.safetensors"

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def left(self) -> float:
        """Seconds until the section ends."""
        return self.deadline - time.time()

    def run(
        self, *command: object, most: float = 120, codes: Sequence[int] = (0,), **environment: str
    ) -> tuple[str, float]:
        """Standard output of a command of this Python, and its seconds. RuntimeError if it ends with another exit code
        than these, or takes too long."""
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        most = max(1.0, min(most, self.left() - 1))
        try:
            out, errors = process.communicate(timeout=most)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise RuntimeError(f"stopped after {most:.0f} s: {_words(command)}") from None
        if process.returncode not in codes:
            said = " ".join(f"{out} {errors}".split())[-END:]
            raise RuntimeError(f"exit code {process.returncode}: {said}")
        return out, time.perf_counter() - begun

    def cxrscore(self, *words: object, **more: Any) -> tuple[str, float]:
        """A command of cxrscore, as job.run."""
        return self.run("-m", "cxrscore", *words, **more)

    def largest(self) -> list[Path]:
        """The PNG films of full size."""
        sizes = {film: film.stat().st_size for film in sorted(self.films.glob("*.png"))}
        return [film for film, size in sizes.items() if size > max(sizes.values()) / 2]

    def repeated(self, count: int, films: list[Path] | None = None) -> Path:
        """A folder of so many films: these, else those of full size, again and again."""
        own = films or self.largest()
        folder = self.work / f"{own[0].parent.name}{count}"
        if not folder.is_dir():
            folder.mkdir()
            for number in range(count):
                film = own[number % len(own)]
                os.link(film, folder / f"{number:06}{film.suffix}")
        return folder


def _words(command: tuple[object, ...]) -> str:
    return " ".join(str(word) for word in command if "/" not in str(word))


def in_turns(
    contenders: Mapping[str, Callable[[], object]], films: int, job: Job, *, rounds: int = 3, seconds: float = 0.1
) -> dict[str, float]:
    """Films a second of each contender, the median of the rounds. In each round each one has a turn of about so many
    seconds; one that fails is left out of the answer, and says why under its name and "failed"."""
    times: dict[str, list[float]] = {}
    calls: dict[str, int] = {}
    told: dict[str, Any] = {}
    for name, run in contenders.items():
        try:
            for _ in range(1 if job.small else 4):  # compiles, records graphs, fills memory
                taken = _timed(run, 1, job)
            calls[name] = 1 if job.small else max(1, min(200, round(seconds / taken)))
            times[name] = []
        except (RuntimeError, NotRunError) as error:
            told[f"{name}: failed"] = str(error).splitlines()[0][:END]
    for _ in range(1 if job.small else rounds):
        for name in times:
            times[name].append(_timed(contenders[name], calls[name], job) / calls[name])
    return {**{name: films / median(found) for name, found in times.items()}, **told}


def _timed(run: Callable[[], object], calls: int, job: Job) -> float:
    wait(job)
    begun = time.perf_counter()
    for _ in range(calls):
        run()
    wait(job)
    return time.perf_counter() - begun


def wait(job: Job) -> None:
    """Until the device has done all that it was given."""
    if job.on_gpu:
        import torch

        torch.cuda.synchronize()


@contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Products and convolutions in float32 ("ieee") or in TF32 ("tf32")."""
    import torch

    settings: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [each.fp32_precision for each in settings]
    for each in settings:
        each.fp32_precision = precision
    try:
        yield
    finally:
        for each, value in zip(settings, before, strict=True):
            each.fp32_precision = value
