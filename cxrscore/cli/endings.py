"""How a command ends: one line on standard error and an exit code for every exception."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from cxrscore.cli.resources import refusal
from cxrscore.cli.signals import ignore_late_interrupts, received, take_signals
from cxrscore.cli.streams import close_results, take_streams
from cxrscore.errors import CxrscoreError, OtherProcessError, WriteError
from cxrscore.escape_control_chars import class_name, error_message, escape_control_characters

EXIT_FAULT = 70
"""An exception that cxrscore does not expect: a bug of the program or of a plugin."""

_words: frozenset[str] = frozenset()
"""Words of the command line that a log file may contain."""


def run_as_program(run: Callable[[], object], words: frozenset[str]) -> int:
    """Run the command line as the program of this process, which must then end with the returned exit code.

    Parameters
    ----------
    run
        Parses the command line and runs the command.
    words
        Names of commands and options that a log file may contain.
    """
    global _words
    _words = words
    os.umask(0o077)  # output of libraries and child processes is readable only by its owner, too
    try:
        take_signals()
        take_streams()
        threading.excepthook = _end_thread
        code = exit_code(run)
        ignore_late_interrupts()
        try:
            close_results()
        except WriteError as error:
            code = code or end(error)
    except KeyboardInterrupt as stop:  # between two of these lines
        code = end(stop)
    return code


def exit_code(run: Callable[[], object]) -> int:
    """The exit code that a function returns or ends with; None is 0."""
    try:
        found = run()
    except BaseException as error:  # noqa: BLE001 - this is the last handler
        return end(error)
    return found if isinstance(found, int) else 0


def end(error: BaseException) -> int:
    """Report in one line on standard error how a command ended.

    Returns
    -------
    int
        The exit code: that of the error; 130 after Ctrl-C; 1 if memory, descriptors or
        threads are exhausted; 74 if a disk is full; 70 for any other exception, whose traceback goes to a log file, and
        for one whose own methods fail.
    """
    try:
        return _ended(error)
    except BaseException:  # noqa: BLE001 - attributes of a foreign exception may raise another one
        _say(f"unexpected error {class_name(error)} in cxrscore or a plugin. Please report it as a bug.")
        return EXIT_FAULT


def _ended(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return _end_stopped(error)
    if isinstance(error, CxrscoreError):
        return _end_expected(error)
    if refused := refusal(error):
        _say(refused[0])
        return refused[1]
    return fault(error)


def fault(error: BaseException) -> int:
    """Report an exception as a bug, with the log file of its traceback; exit code 70."""
    log = _log(error)
    number = getattr(error, "errno", None)
    reason = f" ({os.strerror(number)})" if isinstance(number, int) else ""
    where = f" and attach {log}, which has the traceback and no values" if log else "; no log file could be written"
    _say(f"unexpected error {class_name(error)}{reason} in cxrscore or a plugin. Please report it as a bug{where}.")
    return EXIT_FAULT


def _log(error: BaseException) -> Path | None:
    """The log file of an exception; None if it cannot be written for any reason."""
    with suppress(Exception):
        from cxrscore.cli.fault_log import write_fault_log

        return write_fault_log(error, sys.argv[1:], _words)
    return None


def _say(text: str) -> None:
    click.echo(f"cxrscore: {escape_control_characters(text)}", err=True)


def _end_stopped(error: BaseException) -> int:
    ignore_late_interrupts()
    signal = received()
    how = escape_control_characters(error_message(error) or "stopped")
    if signal.name != "SIGINT":
        by = f"stopped by {signal.name}"
        how = by + how.removeprefix("stopped") if how.startswith("stopped") else f"{how} ({by})"
    click.echo(f"\ncxrscore: {how}", err=True)
    return 128 + signal


def _end_expected(error: CxrscoreError) -> int:
    if message := error_message(error):
        _say(message)
    if isinstance(error, OtherProcessError):
        time.sleep(
            1
        )  # torchrun kills all processes when the first one ends: it should be the one that reports the reason
    return error.exit_code


def _end_thread(arguments: threading.ExceptHookArgs) -> None:
    """Exception of a thread that no other code waits for."""
    error = arguments.exc_value
    if error is not None and not isinstance(error, SystemExit):
        end(error)
