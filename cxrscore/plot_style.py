"""Style of all figures: Matplotlib's built-in defaults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def default_style() -> Iterator[None]:
    """Draw with Matplotlib's built-in defaults within the block.

    Matplotlib reads a file ``matplotlibrc`` in the current folder, which may come from anywhere, and a notebook may
    have set a style. Figures depend on neither.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield
