"""What all pages share: the open files, the films, the templates."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from cxrscore.errors import CxrscoreError
from cxrscore.labels import Box
from cxrscore.models.calibration import prevalences
from cxrscore.reporting.page import environment
from cxrscore.scorefile.by_row import ScoresByRow
from cxrscore.viewer.film_files import FilmFiles
from cxrscore.viewer.film_index import FilmIndex, Mask, Rows
from cxrscore.viewer.heat_maps import HeatMapSource
from cxrscore.viewer.list_state import ListState, StateError
from cxrscore.viewer.marking import Marking, Reading
from cxrscore.viewer.reading_queues import ReadingQueues

LABEL_WORDS = {1.0: "positive", 0.0: "negative"}


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """The state of the application. Nothing in it changes but marks, queues and caches.

    Attributes
    ----------
    names : sequence of str
        Names of the scores files, for headings.
    files : sequence of ScoresByRow
        The scores files; the list has the films of the first.
    index : FilmIndex
        Order of the films.
    films : FilmFiles
        Their pixels.
    maps : HeatMapSource
        Their heat maps.
    marking : Marking
        What readers say of them, and what is hidden from blinded readers.
    queues : ReadingQueues
        Films to read.
    boxes : mapping
        Boxes of readers by row and column of the finding.
    sections : list of (title, address)
        Links in the head of each page; route modules add theirs.
    """

    names: Sequence[str]
    files: Sequence[ScoresByRow]
    index: FilmIndex
    films: FilmFiles
    maps: HeatMapSource
    marking: Marking
    queues: ReadingQueues
    boxes: Mapping[tuple[int, int], Sequence[Box]] = field(default_factory=dict)
    sections: list[tuple[str, str]] = field(default_factory=list)

    @property
    def scores(self) -> ScoresByRow:
        """The first file."""
        return self.files[0]

    @functools.cached_property
    def templates(self) -> jinja2.Environment:
        """All output is escaped, with control characters made visible."""
        found = environment("viewer")
        found.filters["label"] = label_words
        found.filters["own_lines"] = _lines
        return found

    @functools.cached_property
    def prevalences(self) -> dict[str, float]:
        """The prevalence for which the probabilities of a finding hold, where it is known."""
        return prevalences(self.scores.provenance, self.scores.findings)

    def state(self, request: Request) -> ListState:
        """The state in the address, without what a blinded reader may not see. HTTPException 400 if no page makes such
        an address."""
        try:
            state = ListState.parse(request.query_params, len(self.scores.findings))
            if state.other >= len(self.files):
                raise StateError(f"other, expected 0 to {len(self.files) - 1}")
            self.index.search_text(state)
        except StateError as error:
            raise HTTPException(400, f"The address has a wrong {error}.") from None
        return self.marking.allowed(self.marking.reading(request), state)

    def refresh_marks(self) -> str:
        """Read what was added to the marks file; why it cannot be read, or ""."""
        if self.marking.log.path is None:
            return ""
        try:
            self.marking.log.refresh()
        except CxrscoreError as error:
            return str(error)
        return ""

    def listed(self, state: ListState, reading: Reading) -> Listed:
        """The films of a list. HTTPException 404 if its queue is gone."""
        rows = self.index.rows(replace(state, queue=0, marks=""))
        if state.queue:
            rows = self._queued(state, reading, rows)
        chosen = self.marking.mask(state.marks, reading, state.finding)[rows] if state.marks else None
        return Listed(rows=rows, chosen=chosen)

    def _queued(self, state: ListState, reading: Reading, rows: Rows) -> Rows:
        """Those of the rows that a queue has, in the order of the queue unless another one is chosen."""
        try:
            queue = self.queues.rows(state.queue, reading)
        except CxrscoreError as error:
            raise HTTPException(404, sentence("The queue cannot be shown", error)) from None
        if state.sort != "row":
            return rows[np.isin(rows, queue)]
        queue = queue[np.isin(queue, rows)]
        return queue[::-1] if state.ascending else queue

    def row(self, request: Request) -> int:
        """The row in the address. HTTPException 404 if there is no such film."""
        return _number(request.path_params["row"], len(self.scores))

    def finding(self, request: Request) -> int:
        """The column 0..C-1 of the finding in the address, which counts from 1; errors as row."""
        return _number(request.path_params["finding"] - 1, len(self.scores.findings))

    def with_reading(self, response: HTMLResponse, request: Request, reading: Reading) -> HTMLResponse:
        """A page that gives a browser its cookie, if it has none."""
        if reading.is_new:
            self.marking.remember(reading, response, secure=request.url.scheme == "https")
        return response

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page."""
        page = self.templates.get_template(template).render(names=self.names, sections=self.sections, **values)
        return HTMLResponse(page, status)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The films of a list in order, int [n], and which of them a filter by marks chooses, bool [n]; None: all.

    The filter changes while films are marked, so that the place of a film does not depend on it.
    """

    rows: Rows
    chosen: Mask | None = None

    @property
    def shown(self) -> Rows:
        """The rows that are listed."""
        return self.rows if self.chosen is None else self.rows[self.chosen]

    def around(self, row: int) -> tuple[int, int | None, int | None]:
        """The place of a row among those that are listed, from 1, or 0; and the rows before and after it."""
        at = np.flatnonzero(self.rows == row)
        if not at.size:
            return 0, None, None
        chosen = np.ones(len(self.rows), np.bool_) if self.chosen is None else self.chosen
        here = int(at[0])
        before, after = np.flatnonzero(chosen[:here]), here + 1 + np.flatnonzero(chosen[here + 1 :])
        return (
            len(before) + 1 if chosen[here] else 0,
            int(self.rows[before[-1]]) if before.size else None,
            int(self.rows[after[0]]) if after.size else None,
        )

    def next_of(self, row: int, wanted: Mask) -> int | None:
        """The first row after a row, else from the beginning of the list, for which the mask [N] holds."""
        at = np.flatnonzero(self.rows == row)
        start = int(at[0]) + 1 if at.size else 0
        rows = np.roll(self.rows, -start) if len(self.rows) else self.rows
        found = rows[wanted[rows] & (rows != row)]
        return int(found[0]) if found.size else None


def _number(value: int, length: int) -> int:
    if not 0 <= value < length:
        raise HTTPException(404, "There is no such film or finding.")
    return value


def sentence(beginning: str, reason: object) -> str:
    """A reason as the end of a sentence: those of the library end with a point only if they have several sentences."""
    return f"{beginning}: {str(reason).rstrip('.')}."


def _lines(text: str) -> Markup:
    """A comment, escaped, with its line ends; the marks file has no other control characters in it."""
    return Markup(escape(text))


def label_words(truth: float) -> str:
    """A label in words; soft labels as numbers."""
    value = float(truth)
    return "" if np.isnan(value) else LABEL_WORDS.get(value, f"{value:.2f}")
