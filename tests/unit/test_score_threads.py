"""NumPy's matrix products take one thread while films are scored, and as many as before afterwards."""

import pytest
from threadpoolctl import threadpool_info

from cxrscore.system_resources import one_blas_thread


def threads():
    """Of NumPy's own OpenBLAS, None where it has another library."""
    found = [one["num_threads"] for one in threadpool_info() if one.get("prefix") == "libscipy_openblas"]
    return max(found, default=None)


def test_one_thread_within_and_the_old_number_after():
    before = threads()
    if before is None:
        pytest.skip("NumPy has no OpenBLAS of its own here")
    with one_blas_thread():
        assert threads() == 1
    assert threads() == before


def test_they_come_back_after_an_error():
    before = threads()
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert threads() == before
