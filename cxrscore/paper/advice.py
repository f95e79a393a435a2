"""What to do about errors of training here, where there is no option of `cxrscore train` to do it with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrscore.errors import FileFormatError, LeakError


@contextmanager
def add_advice(output: Path) -> Iterator[None]:
    """Around a whole run into this folder: films that are one, and Ctrl-C."""
    try:
        yield
    except LeakError as error:
        raise LeakError(error.found, "Remove one of the two from the folder, which is to hold a film once.") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; what is finished is kept in {output}/. The same line goes on") from None


@contextmanager
def anew(place: Path) -> Iterator[None]:
    """Around an experiment: what an earlier run left in its folder and cannot be read."""
    try:
        yield
    except FileFormatError as error:
        if str(place) not in str(error):
            raise
        raise FileFormatError(
            f"what an earlier run left in {place} is damaged. Delete that folder, and the same line trains it anew."
        ) from error
