"""The worker's side of every executor."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cxrscore.contract import TaskBatch
from cxrscore.errors import CxrscoreError
from cxrscore.escape_control_chars import error_message, error_words


class TaskRunner:
    """A work as a worker has it: opened when the first item comes, so that an error of that is an answer, too."""

    def __init__(self, opener: str, arguments: Mapping[str, Any]) -> None:
        self._work = TaskBatch(opener=opener, arguments=arguments)
        self._compute: Callable[[int], str] | None = None

    def answer(self, item: int) -> dict[str, str]:
        """What is told about an item, JSON-ready: its text, or the error that it ended with, for WorkQueue.finish."""
        try:
            self._compute = self._compute or self._work.open()
            return {"text": self._compute(item)}
        except CxrscoreError as error:
            return {"error": type(error).__name__, "message": error_message(error)}
        except Exception as error:  # noqa: BLE001 - it is raised again where the work was begun
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = f"{Path(place.filename).name}, line {place.lineno}: {error_words(error)}"
            return {"error": "WorkerError", "message": f"a worker failed at item {item}: {words}"}
