"""Tasks of worker processes. Public in contract.py."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """Numbered items that an executor lets worker processes compute.

    A worker stores each item itself, completely or not at all. Only numbers and short texts are passed between
    processes, and computing an item twice does no harm.

    Parameters
    ----------
    items
        Numbers of the items that are not done.
    opener
        "module:function". A worker calls it once with ``arguments`` as keywords; it loads the models and returns
        compute(item) -> a short text about what was stored, such as its SHA-256.
    arguments
        JSON-ready, the same on every machine.
    device
        "auto", "cpu", "cuda", "cuda:1": device that the executor must give the workers.
    is_done
        function(item) -> bool: whether the item is stored. The executor calls it for items of dead workers.
    """

    items: tuple[int, ...] = ()
    opener: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    is_done: Callable[[int], bool] = field(default=lambda item: False, compare=False)

    def open(self) -> Callable[[int], str]:
        """Call the opener, and return compute."""
        module, _, function = self.opener.partition(":")
        compute: Callable[[int], str] = getattr(importlib.import_module(module), function)(**self.arguments)
        return compute
