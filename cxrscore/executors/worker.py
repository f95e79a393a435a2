"""A worker process: ``python -m cxrscore.executors.worker``, started by executors.local. Its standard input is one line
of JSON that says what to open, then one line for each item.

It answers on its standard output, one line per item. It ends when its input ends, so it outlives its parent process by
at most one item.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import BinaryIO

from cxrscore.executors.work_queue import TaskRunner


def _take_stdout() -> BinaryIO:
    """The standard output for the protocol; other output goes to standard error."""
    own = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return own


def _limit_cores(cores: list[int]) -> None:
    """Frameworks count the available cores, and start as many threads."""
    with suppress(AttributeError, OSError):  # not available on this system, or fewer cores are allowed
        os.sched_setaffinity(0, cores)


def main() -> None:
    """Answer until there are no more items."""
    out, orders = _take_stdout(), sys.stdin.buffer
    first = json.loads(orders.readline())
    _limit_cores(first["cores"])
    opened = TaskRunner(first["opener"], first["arguments"])
    for line in orders:
        out.write(json.dumps(opened.answer(int(line))).encode() + b"\n")


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()
