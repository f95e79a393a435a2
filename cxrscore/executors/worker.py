"""A worker process: ``python -m cxrscore.executors.worker``, started by executors.local. Its standard input is one
line of JSON that says what to open, then one line for each item.

It answers on its standard output, a line an item. It ends when its input does, so it outlives whoever started it by
one item at most.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import BinaryIO

from cxrscore.executors.work_queue import TaskRunner


def _take_stdout() -> BinaryIO:
    """The standard output for our own use; what others write to it goes to standard error."""
    own = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return own


def _limit_cores(cores: list[int]) -> None:
    """Frameworks count the cores that they may use, and start as many threads."""
    with suppress(AttributeError, OSError):  # a system that has no such thing, or allows less
        os.sched_setaffinity(0, cores)


def main() -> None:
    """Answers until there are no more items."""
    out, orders = _take_stdout(), sys.stdin.buffer
    first = json.loads(orders.readline())
    _limit_cores(first["cores"])
    opened = TaskRunner(first["opener"], first["arguments"])
    for line in orders:
        out.write(json.dumps(opened.answer(int(line))).encode() + b"\n")


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()
