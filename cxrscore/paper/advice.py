"""Advice in errors of training within `cxrscore paper`, which lacks the options of `cxrscore train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrscore.errors import FileFormatError, LeakError


@contextmanager
def add_advice(output: Path) -> Iterator[None]:
    """Adds advice to errors of a run into this folder: duplicate films, and Ctrl-C."""
    try:
        yield
    except LeakError as error:
        raise LeakError(error.found, "Remove one of the two films from the folder.") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped; finished results are in {output}/. Rerun the same command to resume"
        ) from None


@contextmanager
def anew(place: Path) -> Iterator[None]:
    """Adds advice to errors about damaged results of an earlier run in the folder of an experiment."""
    try:
        yield
    except FileFormatError as error:
        if str(place) not in str(error):
            raise
        raise FileFormatError(
            f"the result of an earlier run in {place} is damaged. Delete that folder and rerun the same command."
        ) from error
