"""The log file of an unexpected error: information for a bug report, without data of films or patients.

It contains versions, the command, the names of its options, and for each exception of the chain its type and the
positions in the code. It contains no values: no message of an exception, no argument, no path except those of source
files.
"""

from __future__ import annotations

import os
import platform
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import cxrscore
from cxrscore.errors import WriteError
from cxrscore.io.atomic import atomic_write_bytes, make_folder
from cxrscore.io.entries import cache_folder

MAX_LOGS = 10
"""Number of log files in the cache; older ones are removed."""
_LIBRARIES = ("numpy", "h5py", "opencv-python-headless", "torch", "keras", "tensorflow", "openvino", "pydicom", "ray")
_FRAMES = 60
"""Number of frames listed per exception, the innermost ones; a recursion has a thousand."""


def write_fault_log(error: BaseException, arguments: Sequence[str], options: frozenset[str]) -> Path | None:
    """Write a log file of an exception, readable by its owner only.

    Parameters
    ----------
    error
        The exception, with its traceback and chain.
    arguments
        The command line without the program: a command and its arguments.
    options
        Words of the command line that may appear in the log: names of commands and options.

    Returns
    -------
    Path or None
        The file, in the folder ``logs`` of the cache or else in the temporary folder; None if neither can be written.
    """
    data = "\n".join(_lines(error, arguments, options)).encode("utf-8", "backslashreplace") + b"\n"
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(8)}.log"
    for folder in (cache_folder() / "logs", Path(tempfile.gettempdir())):
        with suppress(WriteError, OSError):
            path = folder / f"cxrscore-{name}"
            make_folder(folder)
            atomic_write_bytes(path, data)
            if folder.name == "logs":
                _remove_old(folder, path)
            return path
    return None


def _remove_old(folder: Path, new: Path) -> None:
    with suppress(OSError):  # another process may remove one at the same moment
        old = sorted((path.stat().st_mtime_ns, path) for path in folder.glob("cxrscore-*.log") if path != new)
        for _, path in old[: 1 - MAX_LOGS]:
            path.unlink(missing_ok=True)


def _lines(error: BaseException, arguments: Sequence[str], options: frozenset[str]) -> Iterator[str]:
    system = f"{platform.system()} {platform.machine()}"
    yield f"cxrscore {cxrscore.__version__}, Python {platform.python_version()}, {system}"
    yield ", ".join(f"{name} {version}" for name, version in _versions())
    yield " ".join(["command: cxrscore", *_names(arguments, options)])
    yield f"environment: {' '.join(sorted(name for name in os.environ if name.startswith('CXRSCORE_')))}"
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield ""
        yield _kind(one)
        yield from _frames(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _names(arguments: Sequence[str], options: frozenset[str]) -> Iterator[str]:
    """Commands and options of a command line, without their values, also for ``--seed=1`` and ``-j4``."""
    for argument in arguments:
        for name in (argument.partition("=")[0], argument[:2]):
            if name in options:
                yield name
                break


def _kind(error: BaseException) -> str:
    """The type of an exception, with its module unless it is built in; no part of its message."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def _frames(error: BaseException) -> Iterator[str]:
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    if len(frames) > _FRAMES:
        yield f"  {len(frames) - _FRAMES} frames before"
    for frame in frames[-_FRAMES:]:
        yield f"  {_short(frame.filename)}, line {frame.lineno}, in {frame.name}"


def _short(filename: str) -> str:
    """The source file relative to the folder that it is imported from: the folders above may contain a person's
    name."""
    roots = sorted((root for root in sys.path if root), key=len, reverse=True)
    for root in roots:
        with suppress(ValueError):
            return Path(filename).relative_to(root).as_posix()
    return "/".join(Path(filename).parts[-2:])
