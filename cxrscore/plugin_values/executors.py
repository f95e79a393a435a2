"""Executors: every item is reported as done exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from cxrscore.contract import Executor, TaskBatch
from cxrscore.plugin_values.origin import Callbacks, Origin, describe


class CheckedExecutor:
    """Wrap an executor so that its reports of items are checked.

    Parameters
    ----------
    executor
        As ``cxrscore_executors`` returns it.
    origin
        Origin of the executor.
    """

    def __init__(self, executor: Executor, origin: Origin) -> None:
        self._inner, self._origin = executor, origin
        self.name, self.summary = executor.name, executor.summary
        self.requires, self.install = tuple(executor.requires), executor.install

    def run(
        self, work: TaskBatch, done: Callable[[int, str], None], *, processes: int, address: str | None = None
    ) -> None:
        """See contract.Executor. PluginError if an unknown item is reported, an item is reported twice, from another
        thread or without a text, or if some items are not reported at the end."""
        core, left, thread = Callbacks(), set(work.items), threading.get_ident()

        def report_done(*given: Any, **named: Any) -> None:
            if named or len(given) != 2:
                raise self._origin.fault("run", f"{len(given) + len(named)} values to done()", "an item and its text")
            item, text = given
            item = int(item) if isinstance(item, np.integer) else item
            if threading.get_ident() != thread:
                raise self._origin.fault("run", "an item to done() in another thread", "the thread of its caller")
            if not isinstance(item, int) or isinstance(item, bool):
                raise self._origin.fault("run", f"{describe(item)} as an item to done()", "an integer")
            if item not in left:
                known = "an item that is already done" if item in work.items else "an unknown item"
                raise self._origin.fault("run", f"{known}, {item!r:.20}, to done()", "each item once")
            if not isinstance(text, str):
                raise self._origin.fault("run", f"{describe(text)} to done()", "what the worker answered, a text")
            left.remove(item)
            done(item, text)

        with self._origin.calling("run", core):
            self._inner.run(work, core.function(report_done), processes=processes, address=address)
        if left:
            some = ", ".join(map(str, sorted(left)[:3]))
            found = f"although {len(left)} of {len(work.items)} items are not done ({some}{', ...' * (len(left) > 3)})"
            raise self._origin.fault("run", found, "all items done")


def checked_executor(executor: Executor, origin: Origin) -> Executor:
    """The executor, with its reports of items checked."""
    return cast(Executor, CheckedExecutor(executor, origin))
