"""What a loss may use: functions that numpy, torch and keras.ops share, and arrays that can no more than theirs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Number
from typing import Any

import numpy as np

SHARED = (
    # one value at a time, of arrays
    *("abs", "absolute", "negative", "sign", "square", "sqrt", "reciprocal"),
    *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "logaddexp"),
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "arcsinh", "arctanh"),
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "hypot"),
    *("floor", "ceil", "trunc", "round"),
    *("isnan", "isfinite", "isinf", "greater", "greater_equal", "less", "less_equal", "not_equal"),
    *("logical_and", "logical_or", "logical_xor", "logical_not", "where", "clip", "nan_to_num"),
    # over axes: axis=, keepdims=
    *("sum", "mean", "prod", "amax", "amin", "any", "all", "cumsum"),
    # shapes and products
    *("zeros_like", "ones_like", "full_like", "reshape", "broadcast_to", "moveaxis", "swapaxes"),
    *("stack", "concatenate", "matmul", "outer", "einsum"),
)
"""Names that mean the same in numpy, torch and keras.ops, called with arrays in order and, by name, axis and keepdims.

Left out on purpose, though all three have them: ``equal`` (torch: one truth value), ``max``, ``min`` and ``sort``
(torch: a pair along an axis), ``std`` and ``var`` (torch divides by N-1), ``median`` (torch: the lower of two),
``dot``, ``transpose``, ``squeeze`` and ``split`` (other arguments). Arithmetic is written with operators.
"""

_KEYWORDS = frozenset(("axis", "keepdims"))


class Values:
    """An array with what arrays of every framework have and no more: operators, indexing, shape, ndim, dtype."""

    __slots__ = ("array",)
    __array_ufunc__ = None  # NumPy's own functions refuse it, and its operators leave it to ours
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.array)

    @property
    def ndim(self) -> int:
        return np.ndim(self.array)

    @property
    def dtype(self) -> Any:
        return np.asarray(self.array).dtype

    def __getitem__(self, key: Any) -> Values:
        return Values(self.array[_bare(key)])

    def __bool__(self) -> bool:
        raise TypeError("a loss cannot branch on values, because frameworks trace it: use xp.where")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"not every framework's arrays have .{name}: use a function of xp")


def _operators() -> None:
    """Gives Values the operators that all frameworks' arrays have, with numbers and with each other."""

    def method(function: Callable[[Any, Any], Any], *, swapped: bool = False) -> Callable[[Values, Any], Values]:
        def apply(self: Values, other: Any) -> Values:
            if not isinstance(other, Values | Number):
                raise TypeError(f"an array of xp and a {type(other).__name__} cannot be combined in every framework")
            pair = (_bare(other), self.array) if swapped else (self.array, _bare(other))
            return Values(function(*pair))

        return apply

    for name in ("add", "sub", "mul", "truediv", "pow", "matmul", "and", "or"):
        function = getattr(operator, f"__{name}__")
        setattr(Values, f"__{name}__", method(function))
        setattr(Values, f"__r{name}__", method(function, swapped=True))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Values, f"__{name}__", method(getattr(operator, name)))
    for name, unary in (("neg", operator.neg), ("abs", operator.abs), ("invert", operator.invert)):
        setattr(Values, f"__{name}__", lambda self, unary=unary: Values(unary(self.array)))


_operators()


class Namespace:
    """NumPy, cut down to SHARED, for Values: what works with it works in every framework."""

    def __getattr__(self, name: str) -> Callable[..., Values]:
        if name not in SHARED:
            raise AttributeError(f"xp.{name} is none of the functions that numpy, torch and keras.ops share")
        function = getattr(np, name)

        def call(*args: Any, **kwargs: Any) -> Values:
            if other := sorted(set(kwargs) - _KEYWORDS):
                raise TypeError(f"xp.{name} does not take {', '.join(other)} by name in every framework")
            return Values(function(*map(_bare, args), **kwargs))

        return call


def _bare(value: Any) -> Any:
    """The NumPy array of Values, also of those in a list or tuple."""
    if isinstance(value, list | tuple):
        return type(value)(map(_bare, value))
    return value.array if isinstance(value, Values) else value
