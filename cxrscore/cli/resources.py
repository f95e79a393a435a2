"""Errors caused by exhausted resources of the machine: memory, descriptors, threads, disk space."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator

from cxrscore.errors import CxrscoreError, WriteError
from cxrscore.escape_control_chars import error_message
from cxrscore.system_resources import is_memory_error

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def refusal(error: BaseException) -> tuple[str, int] | None:
    """Find the exhausted resource in an exception or its causes.

    Returns
    -------
    tuple of str and int, or None
        A message with advice, and the exit code: 74 for the disk, else 1. None for any other exception.
    """
    chain = list(_chain(error))
    if any(map(is_memory_error, chain)):
        advice = "Use a smaller --batch-size, fewer --workers or --processes, or a machine with more memory."
        return f"out of memory. {advice}", CxrscoreError.exit_code
    if any(_tells(one, _DESCRIPTORS) for one in chain):
        advice = "Allow more with `ulimit -n`, or use fewer --workers or --processes."
        return f"too many open files{_limit()}. {advice}", CxrscoreError.exit_code
    if any(map(_is_thread, chain)):
        advice = "Allow more with `ulimit -u`, or use fewer --workers or --processes."
        return f"the system cannot start more threads or processes. {advice}", CxrscoreError.exit_code
    if reasons := [os.strerror(number) for one in chain for number in _DISK if _tells(one, (number,))]:
        return f"cannot write: {reasons[0]}. Free some space, then rerun the same command.", WriteError.exit_code
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _tells(error: BaseException, numbers: tuple[int, ...]) -> bool:
    """Whether an exception has one of these system error numbers or, raised by a library, these words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in numbers
    return any(os.strerror(number) in error_message(error) for number in numbers)


def _is_thread(error: BaseException) -> bool:
    """Words of a failed start of a thread or process: HDF5 uses the same number for a locked file."""
    if isinstance(error, BlockingIOError):
        return error.strerror == os.strerror(errno.EAGAIN)
    return isinstance(error, RuntimeError) and "can't start new thread" in error_message(error)


def _limit() -> str:
    return f": this process may have {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"
