"""Threads that score does without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it NumPy multiplies matrices in one thread, where it brings its own OpenBLAS.

    The products of heat maps are small. OpenBLAS' threads gain nothing on them, and go on looking for more work for a
    while after each, on cores that the network wants. A framework's own library is left alone.
    """
    from threadpoolctl import ThreadpoolController

    with ThreadpoolController().select(prefix="libscipy_openblas").limit(limits=1):
        yield
