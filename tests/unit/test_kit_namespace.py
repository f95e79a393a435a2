"""What a loss may use is there in numpy and torch, nothing else is; the conformance tests look at keras.ops, too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrscore.testing import SHARED
from cxrscore.testing.namespace import Namespace, Values

XP = Namespace()


def test_names_are_given_once():
    assert len(set(SHARED)) == len(SHARED)


@pytest.mark.parametrize("name", SHARED)
def test_every_name_is_there(name):
    assert callable(getattr(np, name))
    assert callable(getattr(pytest.importorskip("torch"), name))


def test_a_function_of_numpy_alone_is_refused():
    with pytest.raises(AttributeError, match=r"xp\.percentile is none of the functions"):
        _ = XP.percentile


def test_an_argument_of_numpy_alone_is_refused():
    with pytest.raises(TypeError, match=r"xp\.sum does not take dtype by name"):
        XP.sum(Values(np.ones(3)), dtype=float)


@pytest.mark.parametrize(
    ("use", "error", "word"),
    [
        (lambda x: x.sum(), AttributeError, r"\.sum: use a function of xp"),
        (lambda x: np.log(x), TypeError, "ufunc"),
        (lambda x: x * np.ones(2), TypeError, "ndarray cannot be combined"),
        (lambda x: np.ones(2) * x, TypeError, "ndarray cannot be combined"),
        (lambda x: 1 if x[0] > 0 else 2, TypeError, "cannot branch on values"),
        (lambda x: float(x[0]), TypeError, "Values"),
    ],
)
def test_what_frameworks_do_not_share_is_refused(use, error, word):
    with pytest.raises(error, match=word):
        use(Values(np.array([1.0, 2.0])))


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.floats(0.5, 3))
def test_operators_are_those_of_numpy(numbers, number):
    x, y = np.array(numbers).reshape(2, 2), np.array(numbers[::-1]).reshape(2, 2)

    def every(x, y, xp):
        return [
            *(x + y, x - y, x * y, x / number, x @ y, xp.abs(y) ** 2, -x, abs(x)),
            *(number + x, number - x, number * x, number / (xp.abs(x) + 1), 2**x),
            *(x < y, x <= y, x > y, x >= y, x == y, x != y, (x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0)),
            *(x[0], x[..., 1], x[:, None], x[x > 0]),
            *(xp.sum(x, axis=1, keepdims=True), xp.where(x > y, x, y), xp.stack([x, y], axis=0)),
        ]

    for found, wanted in zip(every(Values(x), Values(y), XP), every(x, y, np), strict=True):
        assert isinstance(found, Values)
        assert np.array_equal(found.array, wanted)
        assert (found.shape, found.ndim, found.dtype) == (wanted.shape, wanted.ndim, wanted.dtype)
