"""Whether a KeyboardInterrupt comes from the user: foreign code can raise one, too."""

from __future__ import annotations

_watched = False
_came = False


def watch_interrupts() -> None:
    """To be called by the program whose signal handlers call ``note_interrupt``."""
    global _watched
    _watched = True


def note_interrupt() -> None:
    """A signal came that asks this process to end."""
    global _came
    _came = True


def is_interrupt(error: BaseException) -> bool:
    """Whether an exception asks the process to end: a KeyboardInterrupt after a signal. Where nobody watches signals,
    as in a program that uses cxrscore as a library, every KeyboardInterrupt does."""
    return isinstance(error, KeyboardInterrupt) and (_came or not _watched)
