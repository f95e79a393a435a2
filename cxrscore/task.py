"""What worker processes are given to do. Its public name is in cxrscore.contract, as all of an author's are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """What an executor has done by worker processes: numbered items, each computed and stored by the worker itself,
    whole or not at all. Only numbers and short texts pass between, and an item that is done twice does no harm.

    items      the numbers of those that are not done
    opener     "module:function". A worker calls it once, with ``arguments`` by name; it loads what is needed, and
               returns compute(item) -> a short text about what was stored, such as its SHA-256
    arguments  JSON-ready, the same on every machine
    device     "auto", "cpu", "cuda", "cuda:1": what the workers compute on, which the executor is to give them
    is_done    whether an item is stored by now; asked by the executor where it runs, about items of dead workers
    """

    items: tuple[int, ...] = ()
    opener: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    is_done: Callable[[int], bool] = field(default=lambda item: False, compare=False)

    def open(self) -> Callable[[int], str]:
        """compute, from the opener."""
        module, _, function = self.opener.partition(":")
        compute: Callable[[int], str] = getattr(importlib.import_module(module), function)(**self.arguments)
        return compute
