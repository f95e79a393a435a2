"""Types of the progress callbacks. The library calls them; only the command line prints."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, the amount done, and the total."""
Log = Callable[[str], None]
"""Called with a line to be shown at once."""


def no_progress(step: str, done: int, total: int) -> None:
    """Tells nobody."""


def no_log(text: str) -> None:
    """Tells nobody."""
