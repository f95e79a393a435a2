"""The protocol that all executors share: the queue of items, and how a worker reports an item."""

from __future__ import annotations

import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cxrscore import errors
from cxrscore.contract import TaskBatch
from cxrscore.errors import CxrscoreError, WorkerError
from cxrscore.escape_control_chars import error_message, error_words

MAX_TRIES = 5
"""Number of worker deaths after which an item is given up. Most deaths have another cause, such as a lost machine: if
that happens for one item in a hundred, it happens five times in a row for one in 10^10."""


class WorkQueue:
    """The items of a task; each is done once, even if workers die."""

    def __init__(self, work: TaskBatch, done: Callable[[int, str], None]) -> None:
        self._work, self._done = work, done
        self._waiting = deque(dict.fromkeys(work.items))
        self._deaths: Counter[int] = Counter()

    def next_item(self) -> int | None:
        """The next item to compute; None if there is none now, though one may come back from a dead worker."""
        return self._waiting.popleft() if self._waiting else None

    def finish(self, item: int, answer: Mapping[str, Any]) -> None:
        """Record a worker's answer about its item; raises the error that the answer reports."""
        if "error" in answer:
            raise _error(answer)
        self._done(item, answer["text"])

    def worker_lost(self, item: int, how: str) -> None:
        """Record that the worker with this item died. WorkerError if that happened too often."""
        self._deaths[item] += 1
        if self._work.is_done(item):
            self._done(item, "")
        elif self._deaths[item] < MAX_TRIES:
            self._waiting.append(item)  # last: if this item kills its workers, the others are done first
        else:
            raise WorkerError(
                f"item {item} was given up: {MAX_TRIES} workers died while computing it, the last one {how}. Finished "
                "items are saved. If memory is short, use fewer processes."
            )


def _error(answer: Mapping[str, Any]) -> CxrscoreError:
    known = getattr(errors, answer["error"], None)
    if isinstance(known, type) and issubclass(known, CxrscoreError):
        return known(answer["message"])
    return WorkerError(answer["message"])


class TaskRunner:
    """The task in a worker: opened when the first item arrives, so that an error of opening it is an answer, too."""

    def __init__(self, opener: str, arguments: Mapping[str, Any]) -> None:
        self._work = TaskBatch(opener=opener, arguments=arguments)
        self._compute: Callable[[int], str] | None = None

    def answer(self, item: int) -> dict[str, str]:
        """The answer about an item, JSON-ready: its text, or its error, for WorkQueue.finish."""
        try:
            self._compute = self._compute or self._work.open()
            return {"text": self._compute(item)}
        except CxrscoreError as error:
            return {"error": type(error).__name__, "message": error_message(error)}
        except Exception as error:  # noqa: BLE001 - it is raised again in the process that started the task
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = f"{Path(place.filename).name}, line {place.lineno}: {error_words(error)}"
            return {"error": "WorkerError", "message": f"a worker failed at item {item}: {words}"}
