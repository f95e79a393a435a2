"""What TensorFlow reads from the environment at import, and the messages that it writes then."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SEVERITIES = "IWEF"
"""Of a log line, in the order of TF_CPP_MIN_LOG_LEVEL."""
_LINE = re.compile(rb"([IWEF])\d{4} \d\d:?\d\d:?\d\d[^\n]*\] |WARNING: All log messages before absl::InitializeLog")
THREAD = "standard error"
_END = b"end of the messages of the import\n"


def set_defaults() -> None:
    """Sets what the user has not set."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if platform.machine().lower() in ("x86_64", "amd64"):
        # TensorFlow's own default leaves oneDNN out on a CPU without AVX512_VNNI or the like: 1.4 times the CPU time.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def import_keras() -> None:
    """Imports Keras with its engine, without log lines below TF_CPP_MIN_LOG_LEVEL.

    TensorFlow's libraries write some while they are loaded, before they look at that level.
    """
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "")
    if "keras" not in sys.modules:
        with log_lines_removed(SEVERITIES[: int(level) if level.isdecimal() else 0]):
            importlib.import_module("keras")


@contextmanager
def log_lines_removed(severities: str) -> Iterator[None]:
    """Lets through what anything writes to file descriptor 2, but for log lines of these severities.

    A process that starts meanwhile inherits the pipe, so its lines are passed on as long as it runs.
    """
    try:
        stderr = os.dup(2) if severities else None
    except OSError:  # there is no standard error
        stderr = None
    if stderr is None:
        yield
        return
    reader, writer = os.pipe()
    ended = threading.Event()
    threading.Thread(
        target=_pass_on, args=(reader, stderr, severities.encode(), ended), name=THREAD, daemon=True
    ).start()
    os.dup2(writer, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.write(writer, _END)
        os.close(writer)
        ended.wait()


def _pass_on(reader: int, stderr: int, severities: bytes, ended: threading.Event) -> None:
    with os.fdopen(reader, "rb") as lines, os.fdopen(stderr, "wb", buffering=0) as out:
        for line in lines:
            if line.endswith(_END):
                out.write(line.removesuffix(_END))
                ended.set()
            elif not ((found := _LINE.match(line)) and (found[1] or b"I") in severities):
                out.write(line)
    ended.set()
