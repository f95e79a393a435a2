"""The page of one film: pixels, heat maps, boxes, probabilities, labels, provenance."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from cxrscore.models.calibration import describe_probabilities, times_prevalence
from cxrscore.reporting.provenance import has_leakage
from cxrscore.reporting.tables import provenance_table
from cxrscore.scorefile.data import SEEN, SPLITS
from cxrscore.status import Status, status_name
from cxrscore.viewer.film_files import BusyError, NoFilmError
from cxrscore.viewer.heat_maps import scale_picture
from cxrscore.viewer.list_page import ROWS
from cxrscore.viewer.list_state import ListState
from cxrscore.viewer.marking import Reading
from cxrscore.viewer.marks_panel import ANSWERS, film_panel
from cxrscore.viewer.viewer import Viewer, label_words

HIDES_SCORES = True
"""This page hides from blinded readers itself what they may not see."""

PIECE = 256 << 10
"""Bytes of a film that are sent at a time."""


def routes(viewer: Viewer) -> list[BaseRoute]:
    """The routes of this page."""
    page = FilmPage(viewer)
    return [
        Route("/film/{row:int}", page.show, name="film"),
        Route("/film/{row:int}/pixels", page.pixels),
        Route("/film/{row:int}/picture", page.picture),
        Route("/film/{row:int}/map/{finding:int}", page.heat_map),
        Route("/scale", page.scale),
    ]


class FilmPage:
    """The answers of the page."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._scale = scale_picture()
        provenance = viewer.scores.provenance
        self._facts = provenance_table(provenance)
        self._probabilities = describe_probabilities(provenance)
        self._leaked = has_leakage(provenance)

    def show(self, request: Request) -> Response:
        """The page."""
        viewer, row, fault = self._viewer, self._viewer.row(request), self._viewer.refresh_marks()
        state, reading = viewer.state(request), viewer.marking.reading(request)
        hidden = viewer.marking.hides(reading, row)
        if not hidden:
            viewer.marking.saw(reading, [row])
        code = int(viewer.scores.status[row])
        split = int(viewer.scores.split[row])
        response = viewer.render(
            "film.html.j2",
            state=state,
            hidden=hidden,
            panel=film_panel(viewer, reading, row, state, fault),
            answers=ANSWERS,
            told="",
            other=None,
            row=row,
            path=viewer.scores.path[row],
            failure="" if code == Status.OK else status_name(code),
            message=viewer.scores.message(row),
            split=SPLITS[split],
            is_seen=split in SEEN,
            findings=[] if hidden else self._findings(row),
            others=viewer.names[1:],
            boxes=[] if hidden else self._boxes(row),
            facts=self._film_facts(row),
            provenance=self._facts,
            probabilities=self._probabilities,
            leaked=self._leaked,
            width=int(viewer.scores.width[row]),
            height=int(viewer.scores.height[row]),
            named=viewer.films.are_named,
            has_thumbnail=viewer.scores.has_thumbnail(row) and not hidden,  # which films have one follows from scores
            computes=viewer.maps.computes,
            **self._neighbours(row, state, reading),
        )
        return viewer.with_reading(response, request, reading)

    def pixels(self, request: Request) -> Response:
        """The grey of a film, row by row, 8 or 16 bits (little-endian) a pixel."""
        film = _or_error(lambda: self._viewer.films.film(self._viewer.row(request)))
        height, width = film.pixels.shape
        headers = {
            "X-Width": str(width),
            "X-Height": str(height),
            "X-Bits": str(8 * film.pixels.itemsize),
            "X-Same-Bytes": str(int(film.same_bytes)),
        }
        little = film.pixels.astype(film.pixels.dtype.newbyteorder("<"), copy=False)
        data = np.ascontiguousarray(little).reshape(-1).view(np.uint8).data
        headers["Content-Length"] = str(len(data))
        if request.method == "HEAD":
            return Response(media_type="application/octet-stream", headers=headers)
        return StreamingResponse(_pieces(data), media_type="application/octet-stream", headers=headers)

    def picture(self, request: Request) -> Response:
        """A film as JPEG, for browsers without JavaScript and films that are not there."""
        data = _or_error(lambda: self._viewer.films.picture(self._viewer.row(request)))
        return Response(data, media_type="image/jpeg")

    def heat_map(self, request: Request) -> Response:
        """A heat map, and its words, as JSON."""
        viewer = self._viewer
        viewer.refresh_marks()
        if viewer.marking.hides(viewer.marking.reading(request), viewer.row(request)):
            raise HTTPException(403, "Blinded reading: heat maps are hidden until you have marked the film.")
        found = _or_error(lambda: viewer.maps.film_map(viewer.row(request), viewer.finding(request)))
        layer = f"data:image/png;base64,{base64.b64encode(found.layer).decode()}" if found.layer else ""
        return JSONResponse({"words": found.words, "place": list(found.place), "layer": layer})

    def scale(self, request: Request) -> Response:
        """The colour scale of heat maps."""
        return Response(self._scale, media_type="image/png")

    def _findings(self, row: int) -> list[dict[str, Any]]:
        """The table of findings."""
        viewer, scores = self._viewer, self._viewer.scores
        mapped = scores.mapped_findings(row)
        others = [viewer.index.other_probabilities(n, np.array([row]))[0] for n in range(len(viewer.index.others))]
        return [
            {
                "number": column + 1,
                "name": name,
                "prob": float(scores.prob[row, column]),
                "threshold": float(scores.thresholds[column]),
                "is_above": bool(scores.prob[row, column] >= scores.thresholds[column]),
                "prevalence": viewer.prevalences.get(name, float("nan")),
                "times": times_prevalence(float(scores.prob[row, column]), viewer.prevalences.get(name)),
                "label": label_words(scores.truth[row, column]),
                "others": [float(prob[column]) for prob in others],
                "has_map": column in mapped,
            }
            for column, name in enumerate(scores.findings)
        ]

    def _boxes(self, row: int) -> list[dict[str, Any]]:
        return [
            {"finding": column + 1, "x": box.x, "y": box.y, "width": box.width, "height": box.height}
            for column in range(len(self._viewer.scores.findings))
            for box in self._viewer.boxes.get((row, column), ())
        ]

    def _film_facts(self, row: int) -> list[tuple[str, str]]:
        scores = self._viewer.scores
        words = {name: scores.words[name][scores.codes[name][row]] for name in ("kind", "modality", "view")}
        size = f"{scores.width[row]} × {scores.height[row]} pixels" if scores.width[row] else ""
        facts = [
            ("File type", words["kind"]),
            ("Modality", words["modality"]),
            ("View", words["view"]),
            ("Size", size),
            ("Split", SPLITS[scores.split[row]]),
            ("Patient number", str(scores.patient[row]) if scores.patient[row] >= 0 else ""),
            ("Row", str(row)),
            ("SHA-256", scores.sha256(row)),
        ]
        return [(term, text) for term, text in facts if text]

    def _neighbours(self, row: int, state: ListState, reading: Reading) -> dict[str, Any]:
        """The place of a film in its list, and the films before and after it."""
        listed = self._viewer.listed(state, reading)
        place, before, after = listed.around(row)
        page = (place - 1) // ROWS + 1 if place else state.page
        return {
            "place": place,
            "listed": len(listed.shown),
            "before": before,
            "after": after,
            "back": f"/?{state.query(page=page)}" + (f"#film-{row}" if place else ""),
        }


async def _pieces(data: memoryview) -> AsyncIterator[memoryview]:
    """Pieces of the film that is kept: a browser that is slow to receive them costs one piece, not a copy."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


def _or_error(make: Any) -> Any:
    """What a function makes; HTTPException with the reason if there is none."""
    try:
        return make()
    except NoFilmError as error:
        raise HTTPException(404, str(error)) from None
    except BusyError:
        raise HTTPException(503, "Too many films are asked for at once.", {"Retry-After": "1"}) from None
