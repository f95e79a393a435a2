"""The list of films: sorted, filtered, in pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from cxrscore.scorefile.data import SPLITS
from cxrscore.status import Status, status_name
from cxrscore.viewer.film_files import BusyError, NoFilmError
from cxrscore.viewer.film_index import SIZE_LIMITS, UNSEEN
from cxrscore.viewer.list_state import LABELS, SIDES, SORTS, ListState, StateError
from cxrscore.viewer.marking import Reading
from cxrscore.viewer.marks_panel import summary
from cxrscore.viewer.viewer import Viewer, label_words

SECTION = ("Films", "/")
HIDES_SCORES = True
"""This page hides from blinded readers itself what they may not see."""
ROWS = 50
"""Films on a page."""
MOST_NAMED = 3
"""Findings of a film that the list names."""
NOT_OK = -2
NO_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96"><text x="48" y="53" font-family="sans-serif" '
    'font-size="16" text-anchor="middle" fill="#c0c6cd">no picture</text></svg>'
)
"""In place of a thumbnail that there is not; browsers show it whatever the status."""
SORT_WORDS = {
    "row": "order of the file",
    "probability": "probability",
    "uncertainty": "uncertainty",
    "error": "error against the label",
    "disagreement": "disagreement of the files",
}
_MARKS_WORDS = {
    "mine": "marked by me",
    "left": "not marked by me",
    "marked": "marked",
    "unmarked": "not marked",
    "differ": "readers differ",
}
_MEASURE_TITLES = {"uncertainty": "Uncertainty", "error": "Error", "disagreement": "Disagreement"}

Options = list[tuple[Any, str]]


def routes(viewer: Viewer) -> list[BaseRoute]:
    """The routes of this page."""
    page = ListPage(viewer)
    return [
        Route("/", page.show, name="list"),
        Route("/search", page.search, methods=["POST"]),
        Route("/film/{row:int}/thumbnail", page.thumbnail),
    ]


class ListPage:
    """The answers of the list."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._choices = _choices(viewer)

    def show(self, request: Request) -> Response:
        """A page of the list."""
        viewer, fault = self._viewer, self._viewer.refresh_marks()
        state, reading = viewer.state(request), viewer.marking.reading(request)
        listed = viewer.listed(state, reading)
        rows = listed.shown
        pages = max(1, -(-len(rows) // ROWS))
        state = replace(state, page=min(state.page, pages))
        start = (state.page - 1) * ROWS
        shown = rows[start : start + ROWS]
        if not reading.blinded:
            viewer.marking.saw(reading, shown.tolist())
        done = viewer.marking.marked(reading)
        response = viewer.render(
            "list.html.j2",
            films_fault=viewer.films.fault,
            state=state,
            findings=viewer.scores.findings,
            choices={**self._choices_for(reading), **self._marks_choices(reading)},
            search=viewer.index.search_text(state),
            films=self._films(state, shown, reading),
            total=len(viewer.scores),
            found=len(rows),
            first=start + 1 if len(rows) else 0,
            pages=pages,
            measure=_MEASURE_TITLES.get(state.sort, ""),
            filtered=state.filters() != ListState(finding=state.finding, sort=state.sort, ascending=state.ascending),
            fault=fault,
            reading=reading,
            has_marks=self._has_marks(reading),
            done=int(done[listed.rows].sum()),
            listed=len(listed.rows),
            next=listed.next_of(-1, ~done) if reading.reader else None,
        )
        return viewer.with_reading(response, request, reading)

    def _has_marks(self, reading: Reading) -> bool:
        return bool(reading.reader) or (not reading.blinded and bool(self._viewer.marking.log.marks()))

    def _choices_for(self, reading: Reading) -> dict[str, Options]:
        """What a reader can choose: blinded, nothing that follows from scores or labels."""
        if not reading.blinded:
            return self._choices
        return {name: options for name, options in self._choices.items() if name not in ("sort", "label", "side")}

    def _marks_choices(self, reading: Reading) -> dict[str, Options]:
        queues = [
            (one.number, f"{one.name(reading)} ({len(one.rows):,})" + ("" if reading.blinded else f" {one.rule}"))
            for one in self._viewer.queues.all()
        ]
        if not self._has_marks(reading):
            return {"queue": queues}
        own, others = ("mine", "left"), ("marked", "unmarked", "differ")
        names = [*(own if reading.reader else ()), *(() if reading.blinded else others)]
        return {"queue": queues, "marks": [(name, _MARKS_WORDS[name]) for name in names]}

    async def search(self, request: Request) -> Response:
        """Keeps a text to search for, and leads to the list of films with it in their paths: the text may be of a
        patient, so that it does not stand in the address."""
        try:
            form = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=50)
            given = {name: values[-1] for name, values in form.items()}
            state = ListState.parse({**given, "search": ""}, len(self._viewer.scores.findings))
        except (StateError, ValueError):
            raise HTTPException(400, "The form has wrong values.") from None
        handle = self._viewer.index.remember_search(given.get("text", ""))
        return RedirectResponse(f"/?{state.query(page=1, search=handle)}", 303)

    def thumbnail(self, request: Request) -> Response:
        """A small picture of a film."""
        try:
            data = self._viewer.films.thumbnail(self._viewer.row(request))
        except NoFilmError:
            return Response(NO_PICTURE, 404, media_type="image/svg+xml")
        except BusyError:
            raise HTTPException(503, "Too many films are asked for at once.", {"Retry-After": "1"}) from None
        return Response(data, media_type="image/jpeg")

    def _films(self, state: ListState, rows: Any, reading: Reading) -> list[dict[str, Any]]:
        index, marking = self._viewer.index, self._viewer.marking
        values = index.values(state) if state.sort in _MEASURE_TITLES else None
        others = [index.other_probabilities(number, rows) for number in range(len(index.others))]
        return [
            {
                **self._film(state, row),
                "measure": None if values is None else float(values[row]),
                "marks": summary(marking.log.marks_of(marking.sha256(row)), reading),
                "others": [_shown_probability(prob[place], state.finding) for prob in others],
            }
            for place, row in enumerate(rows.tolist())
        ]

    def _film(self, state: ListState, row: int) -> dict[str, Any]:
        scores, points = self._viewer.scores, self._viewer.index.points
        prob, truth = scores.prob[row], scores.truth[row]
        code, column = int(scores.status[row]), state.finding - 1
        above = np.flatnonzero(prob >= points)
        above = above[np.argsort(-prob[above], kind="stable")]
        shown = column if column >= 0 else int(np.argmax(np.nan_to_num(prob)))
        point = np.float32(state.at) if state.at else points[shown]
        return {
            "row": row,
            "path": scores.path[row],
            "address": f"/film/{row}?{state.query()}",
            "status": "" if code == Status.OK else status_name(code),
            "split": SPLITS[scores.split[row]],
            "has_thumbnail": self._viewer.films.has_thumbnail(row),
            "facts": [scores.words[name][scores.codes[name][row]] for name in ("modality", "view", "kind")],
            "size": f"{scores.width[row]} × {scores.height[row]}" if scores.width[row] else "",
            "prob": float(prob[shown]),
            "is_above": bool(prob[shown] >= point),
            "of": scores.findings[shown] if column < 0 else "",
            "above": [scores.findings[one] for one in above[:MOST_NAMED]],
            "more": max(len(above) - MOST_NAMED, 0),
            "label": label_words(truth[column]) if column >= 0 else self._labels(truth),
        }

    def _labels(self, truth: Any) -> str:
        """The positive labels of a film in words."""
        names = [self._viewer.scores.findings[one] for one in np.flatnonzero(truth > 0.5)]
        if names:
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            return ", ".join(names[:MOST_NAMED]) + more
        return "" if np.isnan(truth).all() else "none positive"


def _shown_probability(prob: Any, finding: int) -> float:
    return float(prob[finding - 1] if finding else np.fmax.reduce(prob))


def _choices(viewer: Viewer) -> dict[str, Options]:
    """What can be chosen for each filter, with the number of films in the file; filters with one value are left out."""
    scores = viewer.scores
    counts = np.bincount(scores.status, minlength=1)
    status = [(code, f"{status_name(code)} ({count:,})") for code, count in enumerate(counts.tolist()) if count]
    failed = int(len(scores) - np.count_nonzero(scores.status == Status.OK))
    if failed and len(status) > 2:
        status.append((NOT_OK, f"any without scores ({failed:,})"))
    splits = np.bincount(scores.split, minlength=len(SPLITS)).tolist()
    found: dict[str, Options] = {
        "finding": [(0, "any finding"), *((n, f"{n} {name}") for n, name in enumerate(scores.findings, start=1))],
        "sort": [(one, SORT_WORDS[one]) for one in SORTS if one != "disagreement" or len(viewer.files) > 1],
        "status": status,
        "split": [(n, f"{SPLITS[n] or 'not used'} ({count:,})") for n, count in enumerate(splits) if count],
        "label": [(one, one) for one in LABELS if one],
        "side": [(one, {"above": "at or above", "below": "below"}[one]) for one in SIDES if one],
        "size": _sizes(viewer),
    }
    unseen = int(np.count_nonzero(viewer.index.unseen()))
    if 0 < unseen < len(scores):
        found["split"].append((UNSEEN, f"not seen by the model ({unseen:,})"))
    for name, words in scores.words.items():
        counts = np.bincount(scores.codes[name], minlength=len(words))
        found[name] = [(n, f"{word or 'none'} ({counts[n]:,})") for n, word in enumerate(words)][:MOST_WORDS]
    if not np.isfinite(scores.truth).any():
        found["label"] = []
        found["sort"] = [one for one in found["sort"] if one[0] != "error"]
    kept = ("finding", "sort", "label", "side")
    return {name: options for name, options in found.items() if name in kept or len(options) > 1}


MOST_WORDS = 200
"""Values of a filter that can be chosen."""


def _sizes(viewer: Viewer) -> Options:
    longer = np.maximum(viewer.scores.width, viewer.scores.height)
    words = {"small": "below 1024 pixels", "medium": "1024 to 2047 pixels", "large": "2048 pixels or more"}
    counts = {name: int(np.count_nonzero((longer >= a) & (longer < b))) for name, (a, b) in SIZE_LIMITS.items()}
    return [(name, f"{words[name]} ({count:,})") for name, count in counts.items() if count]
