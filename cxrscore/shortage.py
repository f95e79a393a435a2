"""Whether an exception says that memory ran out: frameworks and libraries have classes and words of their own."""

from __future__ import annotations

import errno
import os

from cxrscore.escape_control_chars import error_message

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
