"""Marks: what a reader says of a film, who reads, blinded or not, queues, and the tables that follow from the marks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from cxrscore.errors import CxrscoreError, InputError
from cxrscore.marks import Answer, Event, MarkedFilm, MarksFile, ReadingSession
from cxrscore.reading import MarksOptions, MarksTables, make_tables
from cxrscore.viewer.film_files import BusyError
from cxrscore.viewer.list_state import ListState, StateError
from cxrscore.viewer.marking import Reading
from cxrscore.viewer.marks_panel import ANSWERS, event_words, film_panel
from cxrscore.viewer.viewer import Viewer, sentence

SECTION = ("Marks", "/marks")
HIDES_SCORES = True
"""These pages hide from blinded readers themselves what they may not see."""
MOST_FIELDS = 3000
MOST_DRAWN = 100_000
_FRAGMENT = "x-fragment"
_NUMBER = re.compile(r"[0-9]{1,9}")
_SIDE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_ANSWERS: dict[str, Answer | None] = {**dict(ANSWERS), "": None}
CONSENSUS_WORDS = {
    "majority": "the answer of more than half, else unsure",
    "any": "yes if one says yes",
    "all": "yes if all say yes",
}

Form = dict[str, str]
Change = Callable[[MarksFile], Event | None]


def routes(viewer: Viewer) -> list[BaseRoute]:
    """The routes of these pages."""
    page = MarksPage(viewer)
    return [
        Route("/marks", page.show, name="marks"),
        Route("/film/{row:int}/mark", page.mark, methods=["POST"]),
        Route("/reader", page.reader, methods=["POST"]),
        Route("/blinded", page.blinded, methods=["POST"]),
        Route("/queue", page.queue, methods=["POST"]),
        Route("/marks/labels.csv", page.labels, methods=["POST"]),
        Route("/marks/boxes.csv", page.boxes, methods=["POST"]),
    ]


class MarksPage:
    """The answers of these pages."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    # --- what a reader says of a film

    async def mark(self, request: Request) -> Response:
        """Saves what a reader says of a film. With a header X-Fragment the answer is the panel, else the page of the
        film; 409 with the reason in a line if it is not saved."""
        row = self._viewer.row(request)
        form = await _form(request)
        return await run_in_threadpool(self._mark, request, row, form)

    def _mark(self, request: Request, row: int, form: Form) -> Response:
        viewer, reading = self._viewer, self._viewer.marking.reading(request)
        state = self._state(form, reading)
        try:
            viewer.marking.log.refresh()
            words, other = self._save(reading, row, form)
        except CxrscoreError as error:
            raise HTTPException(409, sentence("Not saved", error)) from None
        if _FRAGMENT in request.headers:
            panel = film_panel(viewer, reading, row, state, "")
            values = {"panel": panel, "told": words, "other": other, "answers": ANSWERS}
            return HTMLResponse(viewer.templates.get_template("marks_panel.html.j2").render(values))
        return _to_film(row if other is None else other, state)

    def _save(self, reading: Reading, row: int, form: Form) -> tuple[str, int | None]:
        """Saves a form; what was done in words, and the row of another film that it concerns."""
        marking, log = self._viewer.marking, self._viewer.marking.log
        film, session = marking.film(row), marking.session(reading, row)
        action = form.get("do", "")
        if action == "undo":
            return self._undo(session, row)
        if action == "reveal":
            if not marking.own_marks(reading, row):
                raise InputError("scores are shown when you have marked the film")
            marking.saw(reading, [row])
            return "", None
        if "remove" in form:
            box = _whole(form, "remove")
            log.write(lambda file: file.remove_box(session, film, box))
            return "Box removed.", None
        if self._viewer.films.is_other(row):
            raise InputError("the picture is not of the film that was scored, so that a mark would be on another film")
        for change in self._changes(form, session, film):
            log.write(change)
        return "Saved.", None

    def _undo(self, session: ReadingSession, row: int) -> tuple[str, int | None]:
        marking = self._viewer.marking
        event = marking.log.write(lambda file: file.undo(session))
        if event is None:
            return "There is nothing to undo.", None
        events = {one.number: one for one in marking.log.events(event.sha256)}
        rows = marking.rows_of([event.sha256]).tolist()
        words = f"Undone: {event_words(event, events)}."
        if row in rows:
            return words, None
        return f"{words} It was on another film.", rows[0] if rows else None

    def _changes(self, form: Form, session: ReadingSession, film: MarkedFilm) -> list[Change]:
        """What a form changes: one answer, one box, or all fields of the film that differ from what was shown."""
        if form.get("do") == "answer":
            name, answer = self._finding(form.get("finding", "")), _answer(form.get("answer", ""))
            return [lambda file: file.answer(session, film, name, answer)]
        if form.get("do") == "box":
            name, sides = self._finding(form.get("finding", "")), _sides(form)
            return [lambda file: file.add_box(session, film, name, sides)]
        found: list[Change] = []
        for number, name in enumerate(self._viewer.scores.findings, start=1):
            given = form.get(f"answer-{number}", form.get(f"was-{number}", ""))
            if given != form.get(f"was-{number}", ""):
                found.append(_answering(session, film, name, _answer(given)))
        if "comment" in form and (text := _lines(form["comment"])) != _lines(form.get("was-comment", "")):
            found.append(lambda file: file.comment(session, film, text))
        return found

    def _finding(self, text: str) -> str:
        """The finding of a number from 1."""
        findings = self._viewer.scores.findings
        number = int(text) if _NUMBER.fullmatch(text) else 0
        if not 1 <= number <= len(findings):
            raise HTTPException(400, "The form has wrong values.")
        return findings[number - 1]

    # --- who reads, and how

    async def reader(self, request: Request) -> Response:
        """Keeps the name of the reader in the browser."""
        form = await _form(request)
        return await run_in_threadpool(self._reader, request, form)

    def _reader(self, request: Request, form: Form) -> Response:
        marking = self._viewer.marking
        reading = marking.reading(request)
        try:
            found = marking.named(reading, form.get("name", ""))
        except CxrscoreError as error:
            raise HTTPException(409, sentence("The name is not kept", error)) from None
        response = self._back(form, found)
        marking.remember(found, response, secure=request.url.scheme == "https")
        return response

    async def blinded(self, request: Request) -> Response:
        """Turns blinded reading on or off in the browser."""
        form = await _form(request)
        marking = self._viewer.marking
        reading = marking.reading(request)
        on = form.get("on") == "1"
        if not reading.reader or (on and not self._viewer.films.are_named) or (marking.is_forced and not on):
            raise HTTPException(409, "Blinded reading cannot be changed here: expected a name, and films (--films).")
        found = Reading(browser=reading.browser, reader=reading.reader, blinded=on)
        response = self._back(form, found)
        marking.remember(found, response, secure=request.url.scheme == "https")
        return response

    def _back(self, form: Form, reading: Reading) -> Response:
        """To the film, the list or the marks, whence a form came."""
        state = self._state(form, reading)
        if _NUMBER.fullmatch(form.get("row", "")) and int(form["row"]) < len(self._viewer.scores):
            return RedirectResponse(f"/film/{int(form['row'])}?{state.query()}", 303)
        return RedirectResponse("/marks" if form.get("row") == "marks" else f"/?{state.query()}", 303)

    def _state(self, form: Form, reading: Reading) -> ListState:
        """The state of the list that a form carries. HTTPException 400 if no page makes it."""
        try:
            given = {name: values[-1] for name, values in parse_qs(form.get("state", ""), max_num_fields=50).items()}
            state = ListState.parse(given, len(self._viewer.scores.findings))
            self._viewer.index.search_text(state)
        except (StateError, ValueError):
            raise HTTPException(400, "The form has wrong values.") from None
        return self._viewer.marking.allowed(reading, state)

    # --- queues and tables

    async def queue(self, request: Request) -> Response:
        """Draws a queue, and leads to its films, or to the page of all marks if it takes long."""
        form = await _form(request)
        reading = self._viewer.marking.reading(request)
        rule, finding = form.get("rule", ""), form.get("finding", "0")
        if rule not in self._viewer.queues.rules(reading):
            raise HTTPException(409, "A queue by this rule cannot be drawn here.")
        if finding != "0" and rule not in ("random", "useful"):
            rule = f"{rule}:{self._finding(finding)}"
        count, seed = _whole(form, "count"), _whole(form, "seed")
        if not 1 <= count <= MOST_DRAWN:
            raise HTTPException(409, f"A queue of {count:,} films cannot be drawn, expected 1 to {MOST_DRAWN:,}.")
        try:
            found = await run_in_threadpool(self._viewer.queues.draw, rule, count, seed)
        except CxrscoreError as error:
            raise HTTPException(409, sentence("The queue is not drawn", error)) from None
        except BusyError:
            raise HTTPException(503, "Another queue is being drawn.", {"Retry-After": "10"}) from None
        return RedirectResponse("/marks" if found is None else f"/?queue={found.number}", 303)

    def show(self, request: Request) -> Response:
        """The page of all marks."""
        viewer, reading = self._viewer, self._viewer.marking.reading(request)
        path, fault = viewer.marking.log.path, viewer.refresh_marks()
        tables, reason = self._tables(reading, "majority") if not fault else (None, fault)
        return viewer.render(
            "marks.html.j2",
            path="" if path is None else str(path),
            command="" if path is None else f"cxrscore marks {shlex.quote(str(path))} -o labels.csv --boxes boxes.csv",
            fault=fault or ("" if path else "There is no marks file. Name one with --marks FILE."),
            reason=reason,
            result=None if tables is None else tables.result,
            reading=reading,
            is_forced=viewer.marking.is_forced,
            can_blind=viewer.films.are_named,
            queues=self._queues(reading),
            told="" if reading.blinded else viewer.queues.told,
            rules=viewer.queues.rules(reading) if path else [],
            findings=viewer.scores.findings,
            rows=self._rows(reading),
            consensus=self._consensus(reading),
        )

    async def labels(self, request: Request) -> Response:
        """The label table, as `cxrscore marks -o` writes it."""
        return await self._table(request, "labels.csv", lambda tables: tables.labels)

    async def boxes(self, request: Request) -> Response:
        """The table of boxes, as `cxrscore marks --boxes` writes it."""
        return await self._table(request, "boxes.csv", lambda tables: tables.boxes)

    async def _table(self, request: Request, name: str, choose: Callable[[MarksTables], bytes]) -> Response:
        form = await _form(request)
        reading = self._viewer.marking.reading(request)
        tables, reason = await run_in_threadpool(self._tables, reading, form.get("consensus", "majority"))
        if tables is None:
            raise HTTPException(409, sentence("There is no table", reason))
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(choose(tables), media_type="text/csv; charset=utf-8", headers=headers)

    def _tables(self, reading: Reading, consensus: str) -> tuple[MarksTables | None, str]:
        """The tables, of which a blinded reader gets those of the own marks; None, and why, if there are none."""
        path = self._viewer.marking.log.path
        if path is None or not path.exists():
            return None, "there are no marks yet"
        if reading.blinded and reading.reader not in self._viewer.marking.log.readers():
            return None, "you have marked no film yet, and the marks of others are hidden"
        readers = (reading.reader,) if reading.blinded else ()
        try:
            return make_tables(MarksOptions(marks=path, consensus=consensus, readers=readers)), ""
        except CxrscoreError as error:
            return None, str(error)

    def _consensus(self, reading: Reading) -> list[tuple[str, str]]:
        readers = [] if reading.blinded else self._viewer.marking.log.readers()
        named = [(f"reader={name}", f"the answer of {name}") for name in readers]
        named += [(f"adjudicated={name}", f"of {name}, else what all others agree on") for name in readers]
        return [*CONSENSUS_WORDS.items(), *(named if len(readers) > 1 else [])]

    def _rows(self, reading: Reading) -> list[dict[str, Any]]:
        """What each reader has done."""
        found: dict[str, dict[str, Any]] = {}
        for marks in self._viewer.marking.log.marks().values():
            for one in marks:
                if reading.blinded and one.reader != reading.reader:
                    continue
                row = found.setdefault(one.reader, dict.fromkeys(("films", "marks", "blinded", "boxes", "comments"), 0))
                row["films"] += bool(one.marks)
                row["marks"] += len(one.marks)
                row["blinded"] += sum(mark.blinded for mark in one.marks.values())
                row["boxes"] += len(one.boxes)
                row["comments"] += bool(one.comment)
        return [{"reader": name, **found[name]} for name in sorted(found)]

    def _queues(self, reading: Reading) -> list[dict[str, Any]]:
        done = self._viewer.marking.marked(reading)
        return [
            {
                "number": one.number,
                "name": one.name(reading),
                "rule": "" if reading.blinded else one.rule,
                "films": len(one.rows),
                "done": int(done[one.rows].sum()),
                "missing": one.missing,
            }
            for one in self._viewer.queues.all()
        ]


async def _form(request: Request) -> Form:
    """The fields of a form. HTTPException 400 if there are too many, or it is no form."""
    try:
        text = (await request.body()).decode()
        found = parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HTTPException(400, "The form has wrong values.") from None
    return {name: values[-1] for name, values in found.items()}


def _to_film(row: int, state: ListState) -> Response:
    return RedirectResponse(f"/film/{row}?{state.query()}#marks", 303)


def _answering(session: ReadingSession, film: MarkedFilm, name: str, answer: Answer | None) -> Change:
    return lambda file: file.answer(session, film, name, answer)


def _answer(text: str) -> Answer | None:
    if text not in _ANSWERS:
        raise HTTPException(400, "The form has wrong values.")
    return _ANSWERS[text]


def _whole(form: Form, name: str) -> int:
    text = form.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise HTTPException(400, "The form has wrong values.")
    return int(text)


def _sides(form: Form) -> tuple[float, float, float, float]:
    texts = [form.get(name, "") for name in ("x", "y", "width", "height")]
    if not all(map(_SIDE.fullmatch, texts)):
        raise HTTPException(400, "The form has wrong values.")
    x, y, width, height = map(float, texts)
    return x, y, width, height


def _lines(text: str) -> str:
    """A comment as the marks file keeps it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
