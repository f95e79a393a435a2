"""Cores, threads and memory of this process.

A backend may call ``one_arena`` and ``keep_freed_memory`` to set glibc's allocator. They change nothing with another
C library, or if the environment variable CXRSCORE_MALLOC is 0.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cxrscore.escape_control_chars import error_message

MAX_DEFAULT_WORKERS = 32
"""Decoding processes, each of some 100 MB, that are started by default."""


def usable_cores() -> int:
    """Those that the system lets this process run on, at least 1; fewer than the machine has where a job scheduler or
    taskset gives it a part. A limit on CPU time, as containers set it, is not seen."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """One a core, up to MOST."""
    return min(usable_cores(), MAX_DEFAULT_WORKERS)


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


_WORDS = ("out of memory", "can't allocate memory", "insufficient memory", "failed to map segment")
"""Part of the messages by which frameworks, OpenCV and the loader of libraries say that memory is short."""
_KINDS = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError")
"""Python's exception, torch's and TensorFlow's."""


def is_memory_error(error: BaseException) -> bool:
    """Whether the exception, by its class, its number or its message, says that memory ran out."""
    if any(vars(type)["__name__"].__get__(kind) in _KINDS for kind in type(error).__mro__):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    words = error_message(error).lower()
    return any(known in words for known in (*_WORDS, os.strerror(errno.ENOMEM).lower()))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it NumPy multiplies matrices in one thread, where it brings its own OpenBLAS.

    The products of heat maps are small. OpenBLAS' threads gain nothing on them, and go on looking for more work for a
    while after each, on cores that the network wants. A framework's own library is left alone.
    """
    from threadpoolctl import ThreadpoolController

    with ThreadpoolController().select(prefix="libscipy_openblas").limit(limits=1):
        yield
