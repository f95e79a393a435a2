"""The style of all figures: Matplotlib's own defaults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def default_style() -> Iterator[None]:
    """Draws with Matplotlib's built-in defaults within the block.

    Matplotlib reads a file ``matplotlibrc`` of the current folder, which may come from anybody, and a notebook may have
    set a style of its own. A figure does not depend on either.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield
