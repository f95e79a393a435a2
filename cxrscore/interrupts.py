"""Whether a KeyboardInterrupt comes from the user: plugin code can raise one, too."""

from __future__ import annotations

_watched = False
_came = False


def watch_interrupts() -> None:
    """Called by the program whose signal handlers call ``note_interrupt``."""
    global _watched
    _watched = True


def note_interrupt() -> None:
    """Record that a signal asked this process to end."""
    global _came
    _came = True


def is_interrupt(error: BaseException) -> bool:
    """Whether an exception asks the process to end: a KeyboardInterrupt after a signal. If no handlers are installed,
    as in a program that uses cxrscore as a library, every KeyboardInterrupt does."""
    return isinstance(error, KeyboardInterrupt) and (_came or not _watched)
