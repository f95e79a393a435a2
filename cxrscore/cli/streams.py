"""Standard output is reserved for the result of a command; all other output goes to standard error.

Plugins, libraries and child processes may write to standard output at import or during a run: with ``print``, from C,
or through an inherited descriptor. A program that reads the result would read that as well. So the result goes to a
private duplicate of descriptor 1, and descriptor 1 and ``sys.stdout`` lead to standard error.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from cxrscore.errors import WriteError

_results: list[TextIO] = []
"""The streams of the commands that run now, the innermost last."""


class _Descriptor(io.RawIOBase):
    """Writes to a file descriptor.

    Parameters
    ----------
    number
        The descriptor; -1 if there is none.
    required
        Whether lost bytes are an error. If so, ``write`` raises WriteError; else it drops what it cannot write.
    """

    def __init__(self, number: int, *, required: bool) -> None:
        self._number = number
        self.required = required

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._number < 0:
            raise io.UnsupportedOperation("fileno")
        return self._number

    def isatty(self) -> bool:
        return self._number >= 0 and os.isatty(self._number)

    def write(self, data: Any) -> int:
        try:
            return os.write(self._number, data)
        except OSError as error:
            if self.required:
                raise _lost(error) from error
            return len(data)


def take_streams() -> None:
    """Take over the standard streams of this process for the command line, until the process ends.

    Afterwards ``sys.stdout`` writes results to a private duplicate of descriptor 1, with WriteError if that fails, and
    descriptor 1 leads to standard error. ``sys.stderr`` drops what cannot be written: an unreadable message must not
    end a run. A closed stream is replaced by the null device, so that no file opened later gets its number. Streams
    that were replaced in Python are not changed.
    """
    closed = sys.stdout is None
    if not closed and not _leads_to(sys.stdout, 1):
        return
    _fill_low_descriptors()
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it is open as long as the process runs
    if sys.stderr is None or _leads_to(sys.stderr, 2):
        sys.stderr = _text(_Descriptor(2, required=False), sys.stderr)
    if not closed:
        with suppress(OSError):
            sys.stdout.flush()
    own = -1 if closed else os.dup(1)
    os.dup2(2, 1)
    sys.stdout = _text(_Descriptor(own, required=True), sys.stdout)


def close_results() -> None:
    """Write the rest of the results and close their stream; from then on ``sys.stdout`` is standard error.

    Raises
    ------
    WriteError
        If standard output cannot be written.
    """
    stream, sys.stdout = sys.stdout, sys.stderr
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if not isinstance(raw, _Descriptor):
        sys.stdout = stream  # not opened here
        _flush(stream)
        return
    try:
        _flush(stream)
    finally:
        raw.required = False  # data that cannot be written is dropped, so that nothing tries again at exit
        stream.close()
        with suppress(io.UnsupportedOperation):
            os.close(raw.fileno())


@contextmanager
def command_output() -> Iterator[None]:
    """Reserve standard output for the result of the command in this block: ``print`` writes to standard error.

    Raises
    ------
    WriteError
        If the block ends without an error and the rest of the result cannot be written.
    """
    before = sys.stdout
    own = _text(_Descriptor(-1, required=True), None) if before is None else before
    _results.append(own)
    sys.stdout = sys.stderr
    try:
        yield
        _flush(own)
    finally:
        _results.pop()
        sys.stdout = before


def results() -> TextIO:
    """The stream for the result of the current command, or standard output if no command runs."""
    return _results[-1] if _results else sys.stdout


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError as error:
        raise _lost(error) from error


def _lost(error: OSError) -> WriteError:
    reason = "it is closed" if error.errno == errno.EBADF else error.strerror or error
    return WriteError(f"cannot write to standard output: {reason}. The output is missing or incomplete.")


def _leads_to(stream: TextIO, descriptor: int) -> bool:
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError, AttributeError):
        return False


def _fill_low_descriptors() -> None:
    """Open the null device as 0, 1 and 2 if these are closed; child processes inherit them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _text(raw: _Descriptor, like: TextIO | None) -> TextIO:
    """A text stream with the same encoding, UTF-8 if there is none; characters that the encoding lacks are escaped."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(raw)
    return cast(TextIO, io.TextIOWrapper(buffer, encoding, "backslashreplace", write_through=True, line_buffering=True))
