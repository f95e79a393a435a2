"""Several processes that train one model: the contract's Group, and a step on a batch that they share.

Gradients are summed here, in one all_reduce of all of them laid end to end, and not by DistributedDataParallel: that
wraps a module which is called as a whole, while a head or a tail learns here by itself; it gives the mean over
processes, which is not the mean over films where one has fewer; and it hides when they are complete, which clipping has
to know. It would send first gradients while others are still worked out. What that saves is at most the time to send
the network's size, 28 MB for DenseNet121, which on one machine or a fast network is little beside a step on its films.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from cxrscore.errors import InputError, OtherProcessError

_PATIENCE = timedelta(days=1)
"""The others wait while one reads all films. One that dies is noticed at once: its connections close."""


class TorchGroup:
    """The default group of torch.distributed."""

    def gather(self, data: bytes) -> list[bytes]:
        with _all_there():
            sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size())]
            dist.all_gather(sizes, torch.tensor([len(data)]))
            longest = max(1, *(int(size) for size in sizes))
            given = torch.frombuffer(bytearray(data.ljust(longest, b"\0")), dtype=torch.uint8)
            found = [torch.empty_like(given) for _ in sizes]
            dist.all_gather(found, given)
        return [one.numpy().tobytes()[: int(size)] for one, size in zip(found, sizes, strict=True)]

    def leave(self) -> None:
        dist.destroy_process_group()


def join(*, rank: int, of: int, device: str) -> TorchGroup:
    """See contract.Parallel.join."""
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count())
    backends = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    if of == 1:
        dist.init_process_group(backends, store=dist.HashStore(), rank=0, world_size=1)
        return TorchGroup()
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise InputError(f"{of} processes cannot meet without {', '.join(missing)}: start them with torchrun")
    with _all_there():
        dist.init_process_group(backends, rank=rank, world_size=of, timeout=_PATIENCE)
    return TorchGroup()


def sum_step(value: Tensor, learning: Collection[Tensor], share: float) -> Tensor:
    """The loss of a whole batch, of that of each process's films, which are this share of it; so the gradients."""
    gradients = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in learning]
    flat = torch.cat([value.detach().reshape(1), *(gradient.reshape(-1) for gradient in gradients)]).mul_(share)
    with _all_there():
        dist.all_reduce(flat)
    loss, *sums = flat.split([1, *(gradient.numel() for gradient in gradients)])
    for tensor, gradient, total in zip(learning, gradients, sums, strict=True):
        tensor.grad = gradient.copy_(total.view_as(gradient))  # in its own layout, which may be channels last
    return loss[0]


@contextmanager
def _all_there() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch says so of connections that closed and of those that never came
        reason = str(error).strip().splitlines()[0]
        raise OtherProcessError(f"another of the processes ended, and this one with it ({reason})") from error
