"""How much time each section of a run may take, and the lines on standard error that say how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

LEAST, MOST = 15.0, 180.0
"""Seconds that one step may take at least, however little of the budget is left, and at most."""


class Progress:
    """The budget of a run, divided among its sections.

    Parameters
    ----------
    planned
        Seconds of each section on the reference machine, in order.
    total
        Seconds of the whole run at most. A section gets its part of what is left when it begins, so that what one
        section saves or takes too much is shared by all later ones.
    """

    def __init__(
        self,
        planned: Mapping[str, float],
        total: float,
        clock: Callable[[], float] = time.monotonic,
        stream: TextIO | None = None,
    ) -> None:
        self._planned, self._total, self.clock = dict(planned), total, clock
        self._stream = sys.stderr if stream is None else stream
        self._begun = clock()

    def plan(self) -> str:
        """What the run is going to take, for its first line."""
        parts = ", ".join(f"{name} {length(seconds)}" for name, seconds in self._planned.items())
        return f"about {length(sum(self._planned.values()))}, at most {length(self._total)}: {parts}"

    def begin(self, name: str, keep: Callable[[Any], None] = lambda found: None) -> Section:
        """The section of that name, from now on."""
        names = list(self._planned)
        later = sum(self._planned[one] for one in names[names.index(name) + 1 :])
        left = max(0.0, self._total - (self.clock() - self._begun))
        budget = left * self._planned[name] / (self._planned[name] + later)
        return Section(self, name, budget, later, keep)

    def say(self, text: str, estimate: float | None = None) -> None:
        """One line: time since the begin, text, and what is left at most."""
        passed = self.clock() - self._begun
        left = "" if estimate is None else f" (about {length(max(0.0, min(estimate, self._total - passed)))} left)"
        self._stream.write(f"[{length(passed)}] {text}{left}\n")
        self._stream.flush()


class Section:
    """One section while it is measured: its clock, its notes, and where it leaves what it has so far.

    Attributes
    ----------
    keep
        Takes the section as far as it is measured: it goes to the record at once.
    notes
        What the page says of this section besides its figures: fewer rounds, contenders that failed.
    """

    def __init__(self, progress: Progress, name: str, budget: float, later: float, keep: Callable[[Any], None]) -> None:
        self.name, self.budget, self.keep, self.notes = name, budget, keep, list[str]()
        self._progress, self._later, self._begun = progress, later, progress.clock()

    def used(self) -> float:
        """Seconds since the section began."""
        return self._progress.clock() - self._begun

    def left(self) -> float:
        """Seconds of the budget that are left; below 0 if it is exceeded."""
        return self.budget - self.used()

    def spent(self) -> bool:
        """Whether half the budget again is used: not even the first round goes on then."""
        return self.left() < -self.budget / 2

    def step_limit(self) -> float:
        """Seconds that the next step may take: half the budget again is for a step that began in time."""
        return min(MOST, max(LEAST, 1.5 * self.budget - self.used()))

    def over(self, seconds: float = 0.0) -> bool:
        """Whether the budget is used, or will be after a step of so many seconds."""
        return self.left() < seconds

    def say(self, text: str) -> None:
        """A line of progress."""
        self._progress.say(f"{self.name}: {text}", max(0.0, self.left()) + self._later)

    def note(self, text: str) -> None:
        """What the page must say; a line of progress, too."""
        self.notes.append(text)
        self.say(text)


def length(seconds: float) -> str:
    """A time in words: 42 s, 3 min 05 s."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02} s"
