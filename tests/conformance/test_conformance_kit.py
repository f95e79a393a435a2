"""Every backend passes the kit that plugin authors use, and its namespace is the one that losses may count on."""

import importlib

import numpy as np
import pytest

from cxrscore.testing import SHARED, BackendCases

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(0.1, 0.9, (3, 4)).astype(np.float32), RNG.uniform(-2, 2, (3, 4)).astype(np.float32)
ODD = np.array([[np.nan, np.inf, -np.inf, 2.5]], np.float32)

OF_X = "sqrt reciprocal exp exp2 expm1 log log1p log2 log10 sin cos tan sinh cosh tanh"
OF_X += " arcsin arccos arctan arcsinh arctanh"
OF_Y = "abs absolute negative sign square floor ceil trunc round"
OF_BOTH = "logaddexp arctan2 add subtract multiply divide maximum minimum hypot"
OF_BOTH += " greater greater_equal less less_equal not_equal"
OVER_AXES = ("sum", "mean", "prod", "amax", "amin", "any", "all")

CALLS = {
    **{name: lambda f, x, y, odd: f(x) for name in OF_X.split()},
    **{name: lambda f, x, y, odd: f(y) for name in OF_Y.split()},
    **{name: lambda f, x, y, odd: f(x, y) for name in OF_BOTH.split()},
    **{name: lambda f, x, y, odd: f(odd) for name in ("isnan", "isfinite", "isinf", "nan_to_num")},
    **{name: lambda f, x, y, odd: f(y, axis=1) for name in OVER_AXES[:5]},
    **{name: lambda f, x, y, odd: f(y > 0, axis=1) for name in OVER_AXES[5:]},
    **{f"logical_{word}": lambda f, x, y, odd: f(x > 0.5, y > 0) for word in ("and", "or", "xor")},
    "logical_not": lambda f, x, y, odd: f(y > 0),
    "where": lambda f, x, y, odd: f(y > 0, x, y),
    "clip": lambda f, x, y, odd: f(y, -1.0, 0.5),
    "cumsum": lambda f, x, y, odd: f(y, axis=1),
    "zeros_like": lambda f, x, y, odd: f(x),
    "ones_like": lambda f, x, y, odd: f(x),
    "full_like": lambda f, x, y, odd: f(x, 3.0),
    "reshape": lambda f, x, y, odd: f(x, (2, 6)),
    "broadcast_to": lambda f, x, y, odd: f(x[:1], (5, 4)),
    "moveaxis": lambda f, x, y, odd: f(x[None], 0, 2),
    "swapaxes": lambda f, x, y, odd: f(x, 0, 1),
    "stack": lambda f, x, y, odd: f([x, y], axis=1),
    "concatenate": lambda f, x, y, odd: f([x, y], axis=1),
    "matmul": lambda f, x, y, odd: f(x, y[0]),
    "outer": lambda f, x, y, odd: f(x[0], y[0]),
    "einsum": lambda f, x, y, odd: f("nk,nk->n", x, y),
}
"""How a loss would call each function."""


class TestBackend(BackendCases):
    """The fixture stands in conftest.py."""


@pytest.fixture(scope="module")
def framework(backend):
    """The namespace that this backend gives to losses, NumPy arrays into it, and its arrays to NumPy."""
    if backend.name == "keras":
        ops = importlib.import_module("keras").ops
        return ops, ops.convert_to_tensor, ops.convert_to_numpy
    if backend.name == "torch":
        torch = importlib.import_module("torch")
        return torch, torch.tensor, lambda tensor: tensor.numpy()
    return pytest.skip(f"{backend.name} gives losses no namespace")


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_function_means_the_same_as_in_numpy(framework, name):
    namespace, into, out_of = framework
    wanted = CALLS[name](getattr(np, name), X, Y, ODD)
    found = out_of(CALLS[name](getattr(namespace, name), into(X), into(Y), into(ODD)))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", OVER_AXES)
def test_an_axis_can_be_kept(framework, name):
    namespace, into, _ = framework
    values = Y > 0 if name in ("any", "all") else Y
    assert tuple(getattr(namespace, name)(into(values), axis=1, keepdims=True).shape) == (3, 1)
