"""Origin of a plugin value, and the error message about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import CxrscoreError, PluginError
from cxrscore.escape_control_chars import class_name, error_words
from cxrscore.interrupts import is_interrupt
from cxrscore.system_resources import is_memory_error
from cxrscore.types import finite_rows

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The plugin object that a value comes from.

    Parameters
    ----------
    kind
        "backend", "dataset", "loss", "explainer" or "executor".
    name
        Name of the object, as in its descriptor.
    distribution
        Name of the distribution that provides it.
    own
        Whether the distribution is cxrscore itself.
    """

    kind: str
    name: str
    distribution: str
    own: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} (distribution {self.distribution})"

    @property
    def advice(self) -> str:
        """What the user can do about a fault of the plugin."""
        target = self.name if self.kind == "backend" else f"{self.kind}:{self.name}"
        table = " --table FILE" if self.kind == "dataset" else ""
        return f"Report this to the authors of {self.distribution}; `cxrscore check {target}{table}` tests it."

    def fault(self, call: str, found: str, wanted: str) -> PluginError:
        """The error for a value that violates the contract.

        Parameters
        ----------
        call
            Name of the call, such as ``predict``.
        found, expected
            Short descriptions of the returned and the expected value.
        """
        return PluginError(f"{self}: {call} returned {found}, expected {wanted}. {self.advice}")

    @contextmanager
    def calling(self, call: str, core: Callbacks | None = None) -> Iterator[None]:
        """Convert exceptions of plugin code in the block into a PluginError.

        Errors of class CxrscoreError pass through, because they are raised on purpose. So do errors that the core
        itself raised in functions of ``core`` that the plugin code called.

        Raises
        ------
        PluginError
            With the class and the message of the original exception. A KeyboardInterrupt of the user passes
            through.
        """
        try:
            yield
        except CxrscoreError:
            raise
        except BaseException as error:
            if core is not None:
                core.reraise()
            if is_interrupt(error):
                raise
            raise PluginError(f"{self}: {call} {self._raised(error)}") from error
        if core is not None:
            core.reraise()

    def _raised(self, error: BaseException) -> str:
        if is_memory_error(error):
            return f"ran out of memory ({class_name(error)}). Use a smaller batch, fewer processes, or another device."
        return f"raised {error_words(error)}. {self.advice}"


class Callbacks:
    """Functions of the core that plugin code calls back. An error that one of them raises is not a fault of the plugin,
    even if the plugin converts it."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def function(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """The same function; exceptions are recorded."""

        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                self._error = error
                raise

        return call

    def iterable(self, values: Iterable[_T]) -> Iterator[_T]:
        """The same values; exceptions of their source are recorded."""
        try:
            yield from values
        except GeneratorExit:
            raise
        except BaseException as error:
            self._error = error
            raise

    def reraise(self) -> None:
        """Raise the error that a callback raised, if there is one."""
        if self._error is not None:
            raise self._error


def class_of(value: object) -> type:
    """The class of a value from a plugin; ``isinstance`` would call code of the value, which may return anything."""
    return type(value)


def plain_array(value: object) -> Array | None:
    """The same values as an array of NumPy's own class, without code of the plugin; None if it is not an array."""
    return np.asarray(value) if issubclass(class_of(value), np.ndarray) else None


def read_only(values: Array) -> Array:
    """A read-only view of the same values."""
    view = values.view()
    view.flags.writeable = False
    return view


def describe(value: object) -> str:
    """A short description of a value: dtype and shape of an array, else its class."""
    if value is None:
        return "None"
    array = np.asarray(value) if issubclass(class_of(value), np.generic) else plain_array(value)
    if array is not None:
        return f"{array.dtype} {list(array.shape)}"
    if issubclass(class_of(value), type):
        return f"the class {vars(type)['__name__'].__get__(value)}"
    name = class_name(value)
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def checked_array(
    origin: Origin,
    call: str,
    value: object,
    shape: Sequence[int | str | tuple[int, ...]],
    *,
    finite: bool = True,
    any_float: bool = False,
) -> Array:
    """Return the value as a plain float32 array of this shape.

    Parameters
    ----------
    origin, call
        Origin of the value, for the message.
    value
        The returned value.
    shape
        For each axis its length, or several allowed lengths, or a letter if any length from 1 is allowed.
    finite
        Whether NaN and infinities are rejected.
    any_float
        Whether other floating dtypes are accepted; the result is always float32.

    Raises
    ------
    PluginError
        If it is not such an array.
    """
    kind = "float" if any_float else "float32"
    wanted = f"{'finite ' * finite}{kind} [{', '.join(_length_words(length) for length in shape)}]"
    array = plain_array(value)
    if array is None:
        raise origin.fault(call, describe(value), wanted)
    fits = array.ndim == len(shape) and all(map(_fits, array.shape, shape))
    right_kind = np.issubdtype(array.dtype, np.floating) if any_float else array.dtype == np.float32
    if not fits or not right_kind:
        raise origin.fault(call, describe(array), wanted)
    with np.errstate(over="ignore"):
        found = np.asarray(array, np.float32)
    if finite and not all_finite(found):
        rows = np.flatnonzero(~finite_rows(found)) if found.ndim else [0]
        where = f" in {len(rows)} of {len(found)} rows" if found.ndim else ""
        raise origin.fault(call, f"{describe(array)} with values that are not finite{where}", wanted)
    return found


def _length_words(length: int | str | tuple[int, ...]) -> str:
    return " or ".join(map(str, length)) if isinstance(length, tuple) else str(length)


def _fits(length: int, wanted: int | str | tuple[int, ...]) -> bool:
    if isinstance(wanted, str):
        return length >= 1
    return length in wanted if isinstance(wanted, tuple) else length == wanted


def all_finite(values: Array) -> bool:
    """Whether all values are finite. A finite sum shows this at a third of the cost; only if it is not finite are all
    values checked."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())
