"""Memory that is freed stays with the process, so that the next forward pass need not ask the kernel for it again."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from contextlib import suppress

# glibc's malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD.
_SETTINGS = ((-1, 2**31 - 1), (-2, 64 << 20), (-3, 1 << 30))


@functools.cache
def keep_freed_memory() -> None:
    """Tells glibc, once a process, to hand no memory back: activations of a batch are tens of megabytes, each of which
    glibc would map and unmap in every pass. Nothing where the C library is another, or CXRSCORE_MALLOC is 0."""
    if sys.platform != "linux" or os.environ.get("CXRSCORE_MALLOC") == "0":
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting, value in _SETTINGS:
            mallopt(setting, value)
