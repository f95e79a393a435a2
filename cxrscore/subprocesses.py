"""Start child processes: Python ones such that none imports a file of the current folder, and other programs."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cxrscore.search_path import import_path

_PIPE, _LARGEST_PIPE = 64 << 10, 1 << 20
"""What a pipe of Linux holds by default, and at most, bytes."""


def python_command(*arguments: str) -> tuple[str, ...]:
    """Command line of a Python process whose search path does not begin with the current folder (``-P``)."""
    return (sys.executable, "-P", *arguments)


def child_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a child process: it imports from import_path(), and so do its own children."""
    own = {"PYTHONPATH": os.pathsep.join(import_path()), "PYTHONSAFEPATH": "1"}
    return {**os.environ, **(variables or {}), **own}


def start_python(
    arguments: Sequence[str],
    *,
    variables: Mapping[str, str] | None = None,
    stderr: int | None = None,
    answer_bytes: int = 0,
) -> subprocess.Popen[bytes]:
    """Start a Python process that reads orders from its standard input and answers on its standard output, unbuffered.

    Parameters
    ----------
    arguments : sequence of str
        Arguments after python_command().
    variables : mapping, optional
        Environment variables to set besides those of this process.
    stderr : int, optional
        As of subprocess.Popen; by default that of this process.
    answer_bytes : int, optional
        Length of an answer. If the system allows it, the pipe holds up to 1 MiB of this, so that the process need not
        wait until its answer is read.
    """
    process = subprocess.Popen(
        python_command(*arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=child_environment(variables),
        bufsize=0,
        start_new_session=True,  # Ctrl-C is handled by the process that the user started, which then ends this one
    )
    _enlarge(process.stdout, answer_bytes)
    return process


def _enlarge(pipe: Any, size: int) -> None:
    """Let a pipe hold so many bytes; does nothing where the system has no such setting, or allows no more."""
    command = getattr(fcntl, "F_SETPIPE_SZ", None)
    if command is not None and size > _PIPE:
        with suppress(OSError):
            fcntl.fcntl(pipe, command, min(size, _LARGEST_PIPE))


def run_python(arguments: Sequence[str]) -> subprocess.CompletedProcess[Any]:
    """Run a Python process to its end; its outputs are returned as text, whatever its exit code."""
    return subprocess.run(
        python_command(*arguments), env=child_environment(), capture_output=True, text=True, check=False
    )


def run_program(command: Sequence[str], *, folder: Path, seconds: float) -> int | None:
    """Run another program, such as a browser, in a folder, without input and output.

    Parameters
    ----------
    command : sequence of str
        The program, as an absolute path, and its arguments.
    folder : Path
        Its working folder.
    seconds : float
        Time after which it is killed.

    Returns
    -------
    int or None
        Its exit code; None if it was killed.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def terminate(process: subprocess.Popen[bytes]) -> None:
    """End the process if it still runs, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
