"""Data-parallel training by several processes: the rank of this process, its films of each batch, and collectives.

torchrun, or any launcher that sets the same environment variables, starts the processes. All of them run the same
code on the same data, but each takes its own films of a batch, and only rank 0 writes files and messages. Between two
synchronisation points an error is either raised in every process or ends its process at once, so no process hangs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrscore import plugins
from cxrscore.contract import Backend, Floats, ProcessGroup, SupportsDistributed
from cxrscore.errors import CxrscoreError, InputError, OtherProcessError

_EXIT_STOPPED = 130

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class ProcessRank:
    """The rank of this process.

    rank, of  the rank, from 0, and the world size
    local     the rank on this machine
    restarts  how often the launcher restarted all processes after one died; None if it does not restart them
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    restarts: int | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ProcessRank:
        """From the variables that torchrun sets: RANK, WORLD_SIZE, LOCAL_RANK, TORCHELASTIC_RESTART_COUNT. InputError
        if they are invalid."""

        def number(name: str, otherwise: int | None) -> Any:
            value = environment.get(name, "")
            if value and not (value.isascii() and value.isdecimal()):
                raise InputError(f"{name} is {value!r} in the environment, expected a number: torchrun sets it")
            return int(value) if value else otherwise

        rank, of = number("RANK", None), number("WORLD_SIZE", 1)
        if of > 1 and rank is None:
            raise InputError(f"WORLD_SIZE is {of} in the environment, but there is no RANK: torchrun sets both")
        if not (rank or 0) < of:
            raise InputError(
                f"RANK is {rank} and WORLD_SIZE is {of} in the environment, expected a rank below the size"
            )
        restarts = number("TORCHELASTIC_RESTART_COUNT", None)
        return cls(rank=rank or 0, world_size=of, local_rank=number("LOCAL_RANK", rank or 0), restarts=restarts)

    @contextmanager
    def raise_once_per_node(self) -> Iterator[None]:
        """Before the process group exists, all processes meet the same error: only local rank 0 reports it."""
        try:
            yield
        except CxrscoreError as error:
            if self.local_rank:
                raise OtherProcessError(exit_code=error.exit_code) from error
            raise


@dataclass(frozen=True, kw_only=True)
class LocalBatch:
    """The films of a batch that belong to this rank, as indexes of training films: at least one. ``of`` as in Batch."""

    places: NDArray[np.intp]
    of: int | None = None
    idle: bool = False
    """Whether this rank has no film of the batch: it takes a film of another rank with weight 0."""

    def labels(self, labels: Floats) -> Floats:
        """Labels of these films, from the labels [N,C] of all training films."""
        own = labels[self.places]
        return np.full_like(own, np.nan) if self.idle else own


class DistributedContext:
    """The processes that train one model together; a single process never waits."""

    def __init__(self, place: ProcessRank | None = None, group: ProcessGroup | None = None) -> None:
        self.place = place or ProcessRank()
        self._group = group

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is rank 0, which writes files and messages."""
        return self.place.rank == 0

    def local_batch(self, batch: NDArray[np.intp]) -> LocalBatch:
        """The films of a batch that belong to this rank."""
        if self._group is None:
            return LocalBatch(places=batch)
        own = batch[self.local_slice(len(batch))]
        return LocalBatch(places=own if len(own) else batch[:1], of=len(batch), idle=not len(own))

    def local_slice(self, count: int) -> slice:
        """The slice of ``count`` items that belongs to this rank; slice lengths differ by one at most."""
        rank, of = self.place.rank, self.place.world_size
        return slice(rank * count // of, (rank + 1) * count // of)

    def all_gather(self, count: int, function: Callable[[slice], Floats], width: int) -> Floats:
        """float32 [count,width] in every process; each one computes its slice, which may be empty."""
        own = self.local_slice(count)
        found = function(own) if own.start < own.stop else np.empty((0, width), np.float32)
        parts = self._gather(np.ascontiguousarray(found, np.float32).tobytes())
        return np.concatenate([np.frombuffer(part, np.float32).reshape(-1, width) for part in parts])

    def all_reduce_and(self, holds: bool) -> bool:
        """Whether it holds in every process."""
        return all(self._gather(b"1" if holds else b""))

    @contextmanager
    def collective(self) -> Iterator[None]:
        """Runs a task in every process without synchronisation. If it fails in one, it fails in all: the lowest failed
        rank raises its error, the others an OtherProcessError without a message."""
        error: CxrscoreError | None = None
        try:
            yield
        except CxrscoreError as caught:
            error = caught
        codes = self._gather(b"" if error is None else str(error.exit_code).encode())
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed and failed[0] != self.place.rank:
            raise OtherProcessError(exit_code=int(codes[failed[0]])) from error
        if error is not None:
            raise error

    def once_per_node(self, function: Callable[[], _Found]) -> _Found:
        """Runs a task in every process: first local rank 0 of each machine, then the others, which use its cache."""
        found: list[_Found] = []
        for turn in (True, False):
            with self.collective():
                if (self.place.local_rank == 0) is turn:
                    found.append(function())
        return found[0]

    def on_rank_zero_broadcast(self, function: Callable[[], Any]) -> Any:
        """Runs a task on rank 0 and broadcasts its JSON-ready result."""
        found: Any = None
        with self.collective():
            if self.is_rank_zero:
                found = function()
        return json.loads(self._gather(json.dumps(found).encode())[0])

    def check_same(self, what: Mapping[str, Any]) -> None:
        """InputError if the JSON-ready values, which must be equal in all processes, differ."""
        found = [json.loads(text) for text in self._gather(json.dumps(dict(what)).encode())]
        with self.collective():
            for rank, other in enumerate(found):
                if differ := sorted(name for name in found[0] if other.get(name) != found[0][name]):
                    raise InputError(
                        f"processes 0 and {rank} do not have the same {', '.join(differ)}: all need the same options, "
                        "and the same films, labels, weights and output folder, as on a disk that machines share"
                    )

    def _gather(self, data: bytes) -> list[bytes]:
        return [data] if self._group is None else self._group.gather(data)


@contextmanager
def init_process_group(
    backend: Callable[[], Backend], place: ProcessRank, *, device: str, batch_norm: str, alone: bool = True
) -> Iterator[DistributedContext]:
    """The processes of a run, with the backend that trains it. All of them raise an error or an interrupt by Ctrl-C,
    but only one reports it.

    alone  whether each process runs the frozen layers itself, which several processes must

    InputError if there are several processes and the options or the backend do not support them.
    """
    processes = DistributedContext(place)
    try:
        if place.world_size > 1:
            with place.raise_once_per_node():
                able = _distributed_backend(backend(), device, batch_norm, alone)
            processes = DistributedContext(place, able.join(rank=place.rank, of=place.world_size, device=device))
        yield processes
    except KeyboardInterrupt:
        if processes.is_rank_zero:
            raise
        raise OtherProcessError(exit_code=_EXIT_STOPPED) from None
    except OtherProcessError as error:
        raise OtherProcessError(str(error) if processes.is_rank_zero else "", error.exit_code) from error
    finally:
        if processes._group is not None:
            processes._group.leave()


def _distributed_backend(backend: Backend, device: str, batch_norm: str, alone: bool) -> SupportsDistributed:
    if not isinstance(backend, SupportsDistributed):
        able = [name for name, other in plugins.available_backends().items() if isinstance(other, SupportsDistributed)]
        use = f"use --backend {able[0]}, or start" if able else "start"
        raise InputError(
            f"backend {backend.name!r} trains in one process only, and there are several: {use} one process"
        )
    if not alone:
        raise InputError(
            "several processes train, but --processes, --executor and --address work with one training process: leave "
            "them out, or first train one epoch in one process with them, which caches the features for all processes"
        )
    if batch_norm == "batch":
        raise InputError(
            "batch_norm is 'batch', but each of several processes would use the statistics of its own films only: "
            "expected 'frozen', or one process"
        )
    if ":" in device:
        raise InputError(
            f"device is {device!r} for several processes, expected auto, cpu or cuda: each selects its own"
        )
    return backend
