"""Numbered cases, and how to list them and run them without pytest.

A case is a method ``test_x01_title(self, fixture, ...)`` of a plain class. pytest runs it if a class named Test...
inherits from it and has the fixtures; run_cases does the same with plain values.
"""

from __future__ import annotations

import inspect
import re
import time
import unittest
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from cxrscore.contract import Array
from cxrscore.escape_control_chars import error_words
from cxrscore.interrupts import is_interrupt
from cxrscore.progress import Progress, no_progress

CaseStatus = Literal["passed", "failed", "skipped"]

_NAME = re.compile(r"test_([a-z]\d\d)_(\w+)")
_Method = TypeVar("_Method", bound=Callable[..., None])


@dataclass(frozen=True, kw_only=True)
class Case:
    """One requirement of the kit.

    Parameters
    ----------
    number
        Such as "B07"; it does not change between releases.
    title
        The requirement in a few words.
    text
        The requirement in full: the specification.
    ability
        Name of the Protocol of contract.py that a model needs for the case; "": none.
    """

    number: str
    title: str
    text: str
    ability: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """Result of a case: why it failed or was skipped, and what it measured."""

    number: str
    title: str
    status: CaseStatus
    reason: str = ""
    measured: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


class Cases:
    """Base class of cases. A case records a measurement with note()."""

    measured = ""

    def note(self, text: str) -> None:
        self.measured = text


def needs(ability: type) -> Callable[[_Method], _Method]:
    """Mark a case for models of this Protocol only; the case itself skips for others."""

    def mark(method: _Method) -> _Method:
        vars(method)["ability"] = ability.__name__
        return method

    return mark


def cases(cls: type) -> list[Case]:
    """Return the cases of a class by number."""
    return [case for _, case in _numbered(cls)]


def _numbered(cls: type) -> Iterator[tuple[str, Case]]:
    """Yield the name of each method and its case."""
    found = {name: match for name in dir(cls) if (match := _NAME.fullmatch(name))}
    for name in sorted(found):
        method = getattr(cls, name)
        yield (
            name,
            Case(
                number=found[name][1].upper(),
                title=found[name][2].replace("_", " "),
                text=" ".join((inspect.getdoc(method) or "").split()),
                ability=vars(method).get("ability", ""),
            ),
        )


def run_cases(
    cls: type[Cases], *, only: Collection[str] = (), progress: Progress = no_progress, **fixtures: Any
) -> list[CaseResult]:
    """Run cases without pytest. A failure does not stop the others.

    Parameters
    ----------
    cls
        Such as BackendCases.
    only
        Numbers of the cases to run; empty: all.
    progress
        function(text, done, total), called before each case.
    **fixtures
        Values of the fixtures, such as ``backend``.

    Returns
    -------
    list of CaseResult
        In the order of the numbers.

    Examples
    --------
    >>> from cxrscore.metrics import metrics
    >>> from cxrscore.testing import MetricCases, run_cases
    >>> results = run_cases(MetricCases, metric=metrics[0], only=["M01"])
    >>> [(result.number, result.status) for result in results]
    [('M01', 'passed')]
    """
    numbered = [(name, case) for name, case in _numbered(cls) if not only or case.number in only]
    outcomes = []
    for done, (name, case) in enumerate(numbered):
        progress(f"{case.number} {case.title}", done, len(numbered))
        outcomes.append(_run(cls, name, case, fixtures))
    progress("cases", len(numbered), len(numbered))
    return outcomes


def _run(cls: type[Cases], name: str, case: Case, fixtures: dict[str, Any]) -> CaseResult:
    instance, start = cls(), time.monotonic()
    status, reason = _status_and_reason(getattr(instance, name), fixtures)
    return CaseResult(
        number=case.number,
        title=case.title,
        status=status,
        reason=reason,
        measured=instance.measured,
        seconds=round(time.monotonic() - start, 3),
    )


def _status_and_reason(method: Callable[..., None], fixtures: dict[str, Any]) -> tuple[CaseStatus, str]:
    try:
        method(**{name: fixtures[name] for name in inspect.signature(method).parameters})
    except unittest.SkipTest as skip:
        return "skipped", str(skip)
    except AssertionError as failure:
        return "failed", str(failure)
    except BaseException as error:
        if is_interrupt(error):
            raise
        return "failed", error_words(error)
    return "passed", ""


# --- assertions


def expect(holds: object, otherwise: str) -> None:
    """Raise an AssertionError with this message unless the condition holds, also under ``python -O``."""
    if not holds:
        raise AssertionError(otherwise)


def expect_within(found: Array | float, wanted: Array | float, bound: float, what: str) -> float:
    """Return the largest difference relative to the largest wanted value; AssertionError if it exceeds the bound."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    expect(found.shape == wanted.shape, f"{what}: shape {list(found.shape)}, expected {list(wanted.shape)}")
    if not wanted.size:
        return 0.0
    unit = max(float(np.abs(wanted).max()), 1e-30)
    difference = float(np.abs(found.astype(np.float64) - wanted).max()) / unit
    expect(difference <= bound, f"{what}: differs by {difference:.2g} of the largest value, expected at most {bound:g}")
    return difference


def expect_close(found: Array | float, wanted: Array | float, bound: float, what: str) -> None:
    """Raise an AssertionError if a value differs from the wanted one by more than the bound."""
    difference = float(np.max(np.abs(np.asarray(found, np.float64) - wanted)))
    expect(difference <= bound, f"{what}: met {_short(found)}, expected {_short(wanted)} within {bound:.2g}")


def _short(values: Array | float) -> str:
    return ", ".join(f"{value:.7g}" for value in np.ravel(np.asarray(values, np.float64))[:8])


def expect_refusal(call: Callable[[], object], error: type[Exception], word: str, what: str) -> None:
    """Raise an AssertionError unless the call raises this error with the word in its message."""
    try:
        call()
    except error as refusal:
        expect(word in str(refusal), f"{what}: refused with {str(refusal)!r}, expected a message that says {word!r}")
    except Exception as other:
        raise AssertionError(f"{what}: raised {type(other).__name__}: {other}, expected {error.__name__}") from other
    else:
        raise AssertionError(f"{what}: was accepted, expected {error.__name__}")
