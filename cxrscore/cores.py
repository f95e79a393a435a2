"""How many cores this process may use."""

from __future__ import annotations

import os

MAX_DEFAULT_WORKERS = 32
"""Decoding processes, each of some 100 MB, that are started without being asked for."""


def usable_cores() -> int:
    """Those that the system lets this process run on, at least 1; fewer than the machine has where a job scheduler or
    taskset gives it a part. A limit on CPU time, as containers set it, is not seen."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """One a core, up to MOST."""
    return min(usable_cores(), MAX_DEFAULT_WORKERS)
