"""What a backend may ask of glibc's allocator, for the whole process.

Nothing is changed where the C library is another, or where the environment variable CXRSCORE_MALLOC is 0.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from contextlib import suppress

# By their numbers in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


@functools.cache
def one_arena() -> None:
    """Memory of all threads is taken from one place: what one has freed serves another. Arenas of their own also end at
    64 MiB each, so that larger arrays are mapped and unmapped anew each time, in every thread but the first."""
    _set(_ARENA_MAX, 1)


@functools.cache
def keep_freed_memory() -> None:
    """No memory is handed back, so that the next forward pass need not ask the kernel for it again: activations of a
    batch are tens of megabytes, each of which would be mapped and unmapped in every pass."""
    one_arena()
    for setting, value in ((_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20), (_MMAP_THRESHOLD, 1 << 30)):
        _set(setting, value)


def _set(setting: int, value: int) -> None:
    if sys.platform != "linux" or os.environ.get("CXRSCORE_MALLOC") == "0":
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(setting, value)
