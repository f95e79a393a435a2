"""The protocol that all executors share: the queue of items, and how a worker answers for one."""

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
"""An item is given up after so many of its workers died. Most die of something else, such as a lost machine: where
that befalls one item in a hundred, five times in a row befalls one in 10^10."""


class WorkQueue:
    """The items of a work, each of which is done once, whatever becomes of workers."""

    def __init__(self, work: TaskBatch, done: Callable[[int, str], None]) -> None:
        self._work, self._done = work, done
        self._waiting = deque(dict.fromkeys(work.items))
        self._deaths: Counter[int] = Counter()

    def next_item(self) -> int | None:
        """The next item to hand out; None where there is none now, though one may come back from a dead worker."""
        return self._waiting.popleft() if self._waiting else None

    def finish(self, item: int, answer: Mapping[str, Any]) -> None:
        """Takes a worker's answer about the item it had in hand; raises the error that it is."""
        if "error" in answer:
            raise _error(answer)
        self._done(item, answer["text"])

    def worker_lost(self, item: int, how: str) -> None:
        """The worker that had this item in hand is dead. WorkerError where that has happened too often."""
        self._deaths[item] += 1
        if self._work.is_done(item):
            self._done(item, "")
        elif self._deaths[item] < MAX_TRIES:
            self._waiting.append(item)  # last: should it be the item that kills, the others are done before
        else:
            raise WorkerError(
                f"item {item} was given up: {MAX_TRIES} workers died of it, the last one {how}. What was done "
                f"before is "
                "kept. If memory is short, use fewer processes."
            )


def _error(answer: Mapping[str, Any]) -> CxrscoreError:
    known = getattr(errors, answer["error"], None)
    if isinstance(known, type) and issubclass(known, CxrscoreError):
        return known(answer["message"])
    return WorkerError(answer["message"])


class TaskRunner:
    """A work as a worker has it: opened when the first item comes, so that an error of that is an answer, too."""

    def __init__(self, opener: str, arguments: Mapping[str, Any]) -> None:
        self._work = TaskBatch(opener=opener, arguments=arguments)
        self._compute: Callable[[int], str] | None = None

    def answer(self, item: int) -> dict[str, str]:
        """The answer about an item, JSON-ready: its text, or the error that it ended with, for WorkQueue.finish."""
        try:
            self._compute = self._compute or self._work.open()
            return {"text": self._compute(item)}
        except CxrscoreError as error:
            return {"error": type(error).__name__, "message": error_message(error)}
        except Exception as error:  # noqa: BLE001 - it is raised again where the work was begun
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = f"{Path(place.filename).name}, line {place.lineno}: {error_words(error)}"
            return {"error": "WorkerError", "message": f"a worker failed at item {item}: {words}"}
