"""Tasks on Ray actors. Items are dispatched one at a time, and only numbers and short texts return: actors write
results to files, so at-least-once execution is sufficient."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported; disables its usage statistics
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayActorError

import cxrscore
from cxrscore.contract import TaskBatch
from cxrscore.errors import InputError
from cxrscore.executors import THREAD_VARIABLES, TaskRunner, WorkQueue
from cxrscore.search_path import import_path

STORE = 100 << 20
"""Size of the Ray object store on this machine in bytes: about the minimum, because it is not used."""


class Worker(TaskRunner):
    """What an actor is made of."""

    def __init__(self, path: Sequence[str], threads: int, opener: str, arguments: Mapping[str, Any]) -> None:
        sys.path += [folder for folder in path if folder not in sys.path]  # so that it finds all that was found here
        for name in THREAD_VARIABLES:  # before the framework is imported
            os.environ.setdefault(name, str(threads))
        super().__init__(opener, arguments)


def run(work: TaskBatch, done: Callable[[int, str], None], *, processes: int, address: str | None) -> None:
    """See contract.Executor.run."""
    if not work.items:
        return
    with _connected(address, processes):
        pool = _ActorPool(work, min(processes, len(work.items)))
        try:
            _run_all(pool, WorkQueue(work, done))
        finally:
            pool.dismiss()


def _run_all(pool: _ActorPool, ledger: WorkQueue) -> None:
    """Dispatches items to idle actors until all are done."""
    idle = [pool.hire() for _ in range(pool.size)]
    in_hand: dict[Any, tuple[Any, int]] = {}
    while True:
        while idle and (item := ledger.next_item()) is not None:
            actor = idle.pop()
            in_hand[actor.answer.remote(item)] = (actor, item)
        if not in_hand:
            return
        (answer, *_), _ = ray.wait(list(in_hand), num_returns=1)
        actor, item = in_hand.pop(answer)
        try:
            ledger.finish(item, ray.get(answer))
        except RayActorError as error:
            ledger.worker_lost(item, str(error).partition("\n")[0])
            actor = pool.hire()
        idle.append(actor)


class _ActorPool:
    """The actors of a work; each has the cores, and the GPU or the share of one, that its machine can give it."""

    def __init__(self, work: TaskBatch, size: int) -> None:
        self.size, self._work, self._actors = size, work, list[Any]()
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._cores = _cores_per_actor([int(one.get("CPU", 0)) for one in machines], size)
        gpus = 0.0 if work.device == "cpu" else sum(one.get("GPU", 0.0) for one in machines)
        options = {"num_cpus": self._cores, "num_gpus": min(1.0, gpus / size), "max_restarts": 0}
        self._kind = ray.remote(Worker).options(**options)

    def hire(self) -> Any:
        actor = self._kind.remote(import_path(), self._cores, self._work.opener, dict(self._work.arguments))
        self._actors.append(actor)
        return actor

    def dismiss(self) -> None:
        for actor in self._actors:
            ray.kill(actor)


def _cores_per_actor(cores: list[int], size: int) -> int:
    """Maximum cores per actor such that so many actors fit on machines with these cores; InputError if not even one
    core each fits."""
    fitting = [share for share in range(1, max(cores) + 1) if sum(own // share for own in cores) >= size]
    if not fitting:
        raise InputError(f"Ray has {sum(cores)} cores, too few for {size} processes. Lower --processes.")
    return fitting[-1]


@contextmanager
def _connected(address: str | None, processes: int) -> Iterator[None]:
    """Connects to Ray at the address; without an address, starts a local Ray for this task, without network. A running
    Ray is used and not stopped."""
    if ray.is_initialized():
        yield
        return
    own = {"num_cpus": max(processes, os.cpu_count() or 1), "object_store_memory": STORE, "include_dashboard": False}
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    ray._private.worker._worker_logs_enabled = False  # otherwise it prints messages on dead actors to stdout
    try:
        with _in_folder(Path(cxrscore.__file__).parents[1]):
            ray.init(address or "local", **quiet, **({} if address else own))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"no Ray answers at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Changes the current folder during the block, because Ray workers import first from the folder in which Ray is
    started."""
    before = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)
