"""How a run tells whoever started it how far it is. The library calls; only the command line draws."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, how much of it is done, and how much there is."""
Log = Callable[[str], None]
"""Called with a line that is worth reading at once."""


def no_progress(step: str, done: int, total: int) -> None:
    """Tells nobody."""


def no_log(text: str) -> None:
    """Tells nobody."""
