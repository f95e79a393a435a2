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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from cxrscore.escape_control_chars import error_message

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_WAITING = 256
"""Tasks of bounded_map that wait for a thread, or for their result to be taken."""
MAX_DEFAULT_WORKERS = 32
"""Largest default number of decoder processes, each of some 100 MB."""


def usable_cores() -> int:
    """Number of cores that this process may use, at least 1; fewer than the machine has if a job scheduler or taskset
    restricts them. Limits on CPU time, as containers set them, are not detected."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """One per core, up to MOST."""
    return min(usable_cores(), MAX_DEFAULT_WORKERS)


_BF16 = {"avx512_bf16", "amx_bf16"}
_INT8 = {"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"}
"""Flags of x86 processors with dot products of bfloat16 and of 8-bit integers, as Linux names them."""


@functools.cache
def processor_has() -> frozenset[str]:
    """ "bf16" and "int8" if the processor multiplies them in instructions of its own, by the flags in /proc/cpuinfo.
    Empty where there is no such file: what is not known is not claimed."""
    flags: set[str] = set()
    with suppress(OSError, UnicodeDecodeError):
        lines = Path("/proc/cpuinfo").read_text("ascii").splitlines()
        flags.update(next((line for line in lines if line.startswith("flags")), "").split())
    return frozenset(name for name, known in (("bf16", _BF16), ("int8", _INT8)) if flags & known)


# Option numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


@functools.cache
def one_arena() -> None:
    """Use one memory arena for all threads, so that memory freed by one thread serves another. Additional arenas also
    end at 64 MiB each, so larger arrays would be mapped and unmapped each time, in every thread except the first."""
    _set(_ARENA_MAX, 1)


@functools.cache
def keep_freed_memory() -> None:
    """Return no memory to the kernel, so that the next forward pass need not request it again: activations of a batch
    have tens of megabytes, which would be mapped and unmapped in every pass."""
    one_arena()
    for setting, value in ((_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20), (_MMAP_THRESHOLD, 1 << 30)):
        _set(setting, value)


@functools.cache
def reuse_freed_memory() -> None:
    """Keep freed arrays of up to 32 MiB, and at most 64 MiB of free memory, for the next arrays of a similar size. A
    process that decodes film after film would otherwise request the memory of each film from the kernel again, which
    takes up to a tenth of its time."""
    for setting, value in ((_TRIM_THRESHOLD, 64 << 20), (_MMAP_THRESHOLD, 32 << 20)):
        _set(setting, value)


def _set(setting: int, value: int) -> None:
    if sys.platform != "linux" or os.environ.get("CXRSCORE_MALLOC") == "0":
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(setting, value)


_WORDS = ("out of memory", "can't allocate memory", "insufficient memory", "failed to map segment")
"""Parts of the messages by which frameworks, OpenCV and the dynamic loader report that memory is exhausted."""
_KINDS = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError")
"""The exceptions of Python, torch and TensorFlow."""


def is_memory_error(error: BaseException) -> bool:
    """Whether the exception, by its class, its number or its message, says that memory is exhausted."""
    if any(vars(type)["__name__"].__get__(kind) in _KINDS for kind in type(error).__mro__):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    words = error_message(error).lower()
    return any(known in words for known in (*_WORDS, os.strerror(errno.ENOMEM).lower()))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """In the block, NumPy multiplies matrices in one thread, if it uses its own OpenBLAS.

    The products of heat maps are small. OpenBLAS' threads do not speed them up, and after each product they wait
    actively for a while, on cores that the network needs. A framework's own library is not changed.
    """
    from threadpoolctl import ThreadpoolController

    with ThreadpoolController().select(prefix="libscipy_openblas").limit(limits=1):
        yield


def bounded_map(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """As ``pool.map``, which makes all tasks at once, each of more than a kilobyte: here few wait at a time."""
    rest = iter(items)
    waiting: deque[Future[Result]] = deque(pool.submit(function, item) for item in islice(rest, MOST_WAITING))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, item) for item in islice(rest, 1))
        yield result
