"""Worker processes on this machine, each with its own model and an equal number of cores."""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cxrscore.contract import TaskBatch
from cxrscore.errors import InputError
from cxrscore.executors.work_queue import WorkQueue
from cxrscore.io.atomic import write_all
from cxrscore.subprocesses import start_python, terminate

COMMAND = ("-m", "cxrscore.executors.worker")
"""Arguments of the Python process; see subprocesses.start_python."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
"""Variables that set the number of threads of a library; they must be set before it is imported. Those that the user
has set do not change."""


class LocalExecutor:
    """Restarts workers when they die."""

    name = "local"
    summary = "worker processes on this machine; they share its cores and GPUs"
    requires: tuple[str, ...] = ()
    install = "pip install cxrscore"

    def run(
        self, work: TaskBatch, done: Callable[[int, str], None], *, processes: int, address: str | None = None
    ) -> None:
        if address is not None:
            raise InputError(f"executor 'local' runs on this machine only; remove the address {address!r}")
        ledger = WorkQueue(work, done)
        workers = [_Worker(number, processes, work) for number in range(min(processes, len(work.items)))]
        with selectors.DefaultSelector() as answers:
            try:
                _run(workers, ledger, answers)
            finally:
                for worker in workers:
                    worker.close()


def _run(workers: list[_Worker], ledger: WorkQueue, answers: selectors.BaseSelector) -> None:
    """Give work to every worker until all items are done."""
    idle = list(workers)
    while True:
        while idle and (item := ledger.next_item()) is not None:
            worker = idle.pop()
            answers.register(worker.assign(item), selectors.EVENT_READ, worker)
        if not answers.get_map():
            return
        for key, _ in answers.select():
            answers.unregister(key.fileobj)
            key.data.collect(ledger)
            idle.append(key.data)


class _Worker:
    """One process, with the item it computes. It starts when first needed, and again after it ended."""

    def __init__(self, number: int, processes: int, work: TaskBatch) -> None:
        self._cores, self._device = _cores(number, processes), _device(number, work.device)
        self._work, self._item = work, -1
        self._process: subprocess.Popen[bytes] | None = None

    def assign(self, item: int) -> int:
        """Send the process an item; returns the descriptor on which its answer arrives."""
        order, self._item = f"{item}\n".encode(), item
        if self._process is None:
            self._process, order = self._started(), self._first_order() + order
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):  # it has ended: reading its answer reports that
            write_all(self._process.stdin.fileno(), order)
        return self._process.stdout.fileno()

    def collect(self, ledger: WorkQueue) -> None:
        """Read the answer about the current item, or detect that the process has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.endswith(b"\n"):
            ledger.finish(self._item, json.loads(line))
        else:
            how = f"ended with {self._process.wait()}"
            self.close()
            ledger.worker_lost(self._item, how)

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            terminate(process)

    def _started(self) -> subprocess.Popen[bytes]:
        threads = {name: os.environ.get(name, str(len(self._cores))) for name in THREAD_VARIABLES}
        return start_python(COMMAND, variables={**threads, **self._device})

    def _first_order(self) -> bytes:
        """What to open; the items follow in later lines."""
        work = self._work
        order = {"opener": work.opener, "arguments": dict(work.arguments), "cores": self._cores}
        return json.dumps(order).encode() + b"\n"


def _cores(number: int, processes: int) -> list[int]:
    """Number of cores of a worker: an equal part of all; at least one, which workers may have to share."""
    there = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    size = max(1, len(there) // processes)
    start = number * size % len(there)
    return there[start : start + size]


def _device(number: int, device: str) -> dict[str, str]:
    """Show each worker one of the CUDA devices in turn, unless a specific one was requested. It is then cuda:0 to each
    of them, so that all report the same device."""
    devices = _cuda_devices() if device in ("auto", "cuda") else []
    return {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if len(devices) > 1 else {}


def _cuda_devices() -> list[str]:
    """NVIDIA devices that are visible to this process, detected without a framework."""
    if (shown := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in shown.split(",") if name]
    found = [re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*")]
    return sorted((match[1] for match in found if match), key=int)
