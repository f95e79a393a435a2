"""Distributed training: the ProcessGroup of the contract, and a training step on a batch of all processes.

Gradients are summed with one all_reduce of all gradients concatenated, without DistributedDataParallel, because that
wraps a complete module, while a head or a tail is trained separately here; it averages over processes, which is not the
mean over films if one has fewer; and it hides when gradients are complete, which clipping must know. It would overlap
communication with computation. That saves at most the time to send the network, 28 MB for DenseNet121, which is short
compared with a training step on one machine or a fast network.
"""

from __future__ import annotations

import importlib
import os
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from cxrscore.errors import InputError, OtherProcessError

_RENDEZVOUS_TIMEOUT = timedelta(minutes=30)
_COLLECTIVE_TIMEOUT = timedelta(days=1)
"""Timeout while one process reads all films. A process that dies is detected at once: its connections close."""


class TorchGroup:
    """The default group of torch.distributed."""

    def gather(self, data: bytes) -> list[bytes]:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size())]
        _collective(dist.all_gather, sizes, torch.tensor([len(data)]))
        longest = max(1, *(int(size) for size in sizes))
        given = torch.frombuffer(bytearray(data.ljust(longest, b"\0")), dtype=torch.uint8)
        found = [torch.empty_like(given) for _ in sizes]
        _collective(dist.all_gather, found, given)
        return [one.numpy().tobytes()[: int(size)] for one, size in zip(found, sizes, strict=True)]

    def leave(self) -> None:
        """Also ends its threads: one that frees a tensor during interpreter shutdown would abort the process (torch
        2.13). NCCL is aborted first, because it would wait for other processes, which may have ended."""
        dist.group.WORLD.abort()
        dist.destroy_process_group()


def join(*, rank: int, of: int, device: str) -> TorchGroup:
    """See contract.SupportsDistributed.join."""
    importlib.import_module(
        "torch.distributed.nn"
    )  # else an optimiser imports it later, and binds the group as a default
    gpu = _take_gpu(rank) if device != "cpu" and torch.cuda.is_available() else ""
    if of == 1:
        dist.init_process_group(_backends([gpu]), store=dist.HashStore(), rank=0, world_size=1)
        return TorchGroup()
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise InputError(f"{of} processes cannot connect without {', '.join(missing)}: start them with torchrun")
    _collective(_rendezvous, gpu, rank, of)
    return TorchGroup()


def _take_gpu(rank: int) -> str:
    """Makes the GPU of this process the current one, and returns its UUID."""
    number = int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count()
    torch.cuda.set_device(number)
    return str(torch.cuda.get_device_properties(number).uuid)


def _backends(gpus: Sequence[str]) -> str:
    """The backends of torch.distributed for processes on these GPUs, "" without one. NCCL refuses two processes on one
    GPU, and gloo also sums tensors of GPUs, by way of host memory."""
    distinct = "" not in gpus and len(set(gpus)) == len(gpus)
    return "cpu:gloo,cuda:nccl" if distinct else "gloo"


def _rendezvous(gpu: str, rank: int, of: int) -> None:
    store, _, _ = next(dist.rendezvous("env://", rank, of, timeout=_RENDEZVOUS_TIMEOUT))
    met = _prefix_store(store, rank, of)
    met.set(f"gpu/{rank}", gpu)
    backends = _backends([met.get(f"gpu/{other}").decode() for other in range(of)])
    dist.init_process_group(backends, store=met, rank=rank, world_size=of, timeout=_COLLECTIVE_TIMEOUT)


def _prefix_store(store: dist.Store, rank: int, of: int) -> dist.Store:
    """A prefix of the store for the present processes.

    Processes that torchrun restarts find the same store with the addresses of the dead ones (torch 2.13). So each
    process sends a request under a unique name, and rank 0 answers with a common prefix until all have received it.
    """
    name = secrets.token_hex(8)
    if rank:
        store.set(f"cxrscore/asks/{rank}", name)
        name = store.get(f"cxrscore/answers/{name}").decode()
        store.set(f"cxrscore/{name}/there/{rank}", "")
    end = time.monotonic() + _RENDEZVOUS_TIMEOUT.total_seconds()
    absent = set(range(1, of)) if rank == 0 else set()
    while absent:
        for other in [other for other in absent if store.check([f"cxrscore/asks/{other}"])]:
            store.set(f"cxrscore/answers/{store.get(f'cxrscore/asks/{other}').decode()}", name)
        absent = {other for other in absent if not store.check([f"cxrscore/{name}/there/{other}"])}
        if time.monotonic() > end:
            raise RuntimeError(f"{len(absent)} of {of} processes did not connect within {_RENDEZVOUS_TIMEOUT}")
        time.sleep(0.02)
    return dist.PrefixStore(f"cxrscore/{name}/", store)


def sum_step(value: Tensor, learning: Collection[Tensor], share: float) -> Tensor:
    """Sums loss and gradients over processes, weighted by the fraction of the batch that each one has."""
    gradients = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in learning]
    flat = torch.cat([value.detach().reshape(1), *(gradient.reshape(-1) for gradient in gradients)]).mul_(share)
    _collective(dist.all_reduce, flat)
    loss, *sums = flat.split([1, *(gradient.numel() for gradient in gradients)])
    for tensor, gradient, total in zip(learning, gradients, sums, strict=True):
        tensor.grad = gradient.copy_(total.view_as(gradient))  # in the layout of the tensor, which may be channels last
    return loss[0]


def _collective(call: Callable[..., object], *arguments: object) -> None:
    """Converts an error because another process ended. It has no traceback, whose frames would hold the group."""
    try:
        call(*arguments)
    except RuntimeError as error:  # torch raises it for closed connections and for missing ones
        reason = str(error).strip().splitlines()[0].partition(". ")[0]
        message = f"another of the processes ended, and this one with it ({reason})"
        raise OtherProcessError(message) from error.with_traceback(None)
