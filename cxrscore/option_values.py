"""Checks of values that callers pass as options: whole numbers, and words of a list; and defaults that a command shows
before it imports what computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from cxrscore.errors import InputError

MAX_DIFFERENCE, MAX_AUC_LOSS = 0.02, 0.002
"""Of `quantize`; see models.precision_effects.PrecisionBound."""


def whole_number(value: Any, name: str, low: int) -> int:
    """The number as an int.

    Parameters
    ----------
    value : int
        As the caller passed it; an integer of NumPy is one, and True is none.
    name : str
        Name of the option, for the error.
    low : int
        The least that it may be.

    Raises
    ------
    InputError
        If it is of another type, or too small.

    Examples
    --------
    >>> whole_number(8, "batch_size", 1)
    8
    >>> whole_number("8", "batch_size", 1)
    Traceback (most recent call last):
    cxrscore.errors.InputError: batch_size is '8', expected a whole number, 1 or more
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} is {value!r}, expected a whole number, {low} or more")
    if value < low:
        raise InputError(f"{name} is {value}, expected {low} or more")
    return int(value)


def comma_list(text: str) -> tuple[str, ...]:
    """The entries of a list separated by commas, without spaces around them; InputError if it is no text.

    Examples
    --------
    >>> comma_list("densenet121, resnet50")
    ('densenet121', 'resnet50')
    """
    if not isinstance(text, str):
        raise InputError(f"{text!r} is not a text, expected a name, or several separated by commas")
    return tuple(entry.strip() for entry in text.split(","))


def check_whole_numbers(options: object, lows: Mapping[str, int]) -> None:
    """Replaces fields of a frozen dataclass by whole numbers; called from ``__post_init__``.

    Parameters
    ----------
    options : dataclass instance
    lows : mapping of str to int
        The names of the fields, each with the least that it may be.
    """
    for name, low in lows.items():
        object.__setattr__(options, name, whole_number(getattr(options, name), name, low))


def check_number(value: Any, name: str) -> None:
    """InputError unless the value is a number.

    Examples
    --------
    >>> check_number("1e-3", "learning_rate")
    Traceback (most recent call last):
    cxrscore.errors.InputError: learning_rate is '1e-3', expected a number
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} is {value!r}, expected a number")


def check_word(value: Any, name: str, words: Sequence[str]) -> None:
    """InputError unless the value is one of the words.

    Examples
    --------
    >>> check_word("fp16", "precision", ("fp32", "bf16"))
    Traceback (most recent call last):
    cxrscore.errors.InputError: precision is 'fp16', expected one of fp32, bf16
    """
    if value not in words:
        raise InputError(f"{name} is {value!r}, expected one of {', '.join(words)}")


def text_list(value: str | Iterable[str], name: str) -> tuple[str, ...]:
    """Texts as a tuple; a single text is one.

    Examples
    --------
    >>> text_list("Mass", "findings"), text_list(["Mass", "Edema"], "findings")
    (('Mass',), ('Mass', 'Edema'))
    """
    found = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    for one in found:
        if not isinstance(one, str):
            raise InputError(f"{name} is {value!r}, expected a text or a list of texts")
    return found
