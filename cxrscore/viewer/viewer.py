"""What all pages share: the open files, the films, the templates."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from cxrscore.labels import Box
from cxrscore.models.calibration import prevalences
from cxrscore.reporting.page import environment
from cxrscore.scorefile.by_row import ScoresByRow
from cxrscore.viewer.film_files import FilmFiles
from cxrscore.viewer.film_index import FilmIndex
from cxrscore.viewer.heat_maps import HeatMapSource
from cxrscore.viewer.list_state import ListState, StateError

LABEL_WORDS = {1.0: "positive", 0.0: "negative"}


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """The state of the application. Nothing in it changes but caches.

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
        return found

    @functools.cached_property
    def prevalences(self) -> dict[str, float]:
        """The prevalence for which the probabilities of a finding hold, where it is known."""
        return prevalences(self.scores.provenance, self.scores.findings)

    def state(self, request: Request) -> ListState:
        """The state in the address. HTTPException 400 if no page makes such an address."""
        try:
            state = ListState.parse(request.query_params, len(self.scores.findings))
            if state.other >= len(self.files):
                raise StateError(f"other, expected 0 to {len(self.files) - 1}")
            self.index.search_text(state)
        except StateError as error:
            raise HTTPException(400, f"The address has a wrong {error}.") from None
        return state

    def row(self, request: Request) -> int:
        """The row in the address. HTTPException 404 if there is no such film."""
        return _number(request.path_params["row"], len(self.scores))

    def finding(self, request: Request) -> int:
        """The column 0..C-1 of the finding in the address, which counts from 1; errors as row."""
        return _number(request.path_params["finding"] - 1, len(self.scores.findings))

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page."""
        page = self.templates.get_template(template).render(names=self.names, sections=self.sections, **values)
        return HTMLResponse(page, status)


def _number(value: int, length: int) -> int:
    if not 0 <= value < length:
        raise HTTPException(404, "There is no such film or finding.")
    return value


def label_words(truth: float) -> str:
    """A label in words; soft labels as numbers."""
    value = float(truth)
    return "" if np.isnan(value) else LABEL_WORDS.get(value, f"{value:.2f}")
