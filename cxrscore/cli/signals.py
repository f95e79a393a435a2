"""Signals that end the program: Ctrl-C, and those of batch systems and closed terminals."""

from __future__ import annotations

import os
import signal
from types import FrameType

from cxrscore.interrupts import note_interrupt, watch_interrupts

_taken = False
_received = signal.SIGINT


def take_signals() -> None:
    """Make SIGTERM and SIGHUP end a command like Ctrl-C, so that temporary files and locks are removed.

    Processes of distributed training wait for each other inside a library, where no handler runs; there both signals
    end the process at once. A signal that is already ignored, as under ``nohup``, is still ignored.
    """
    global _taken
    _taken = True
    if "WORLD_SIZE" in os.environ:
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        watch_interrupts()


def received() -> signal.Signals:
    """The signal that stopped the command, after a KeyboardInterrupt."""
    return _received


def ignore_late_interrupts() -> None:
    """From here on, Ctrl-C ends the process without a traceback, because the command is finished."""
    if _taken and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _interrupt):
        signal.signal(signal.SIGINT, _leave)


def _stop(number: int, frame: FrameType | None) -> None:
    global _received
    _received = signal.Signals(number)
    note_interrupt()
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    note_interrupt()
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + signal.SIGINT)
