"""What the marks of a film are, as values for the templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cxrscore.marks import Answer, Event, FilmMarks, Kind
from cxrscore.viewer.list_state import ListState
from cxrscore.viewer.marking import Reading
from cxrscore.viewer.viewer import Viewer

ANSWERS = (("yes", Answer.YES), ("no", Answer.NO), ("unsure", Answer.UNSURE), ("n.a.", Answer.NOT_ASSESSABLE))
"""Words of the answers on the page; "not assessable" would not fit."""
MOST_HISTORY = 200
"""Events of a film that the page shows, the last ones."""
MOST_NAMED = 3
"""Findings of an answer that the list names."""


def film_panel(viewer: Viewer, reading: Reading, row: int, state: ListState, fault: str) -> dict[str, Any]:
    """The marks on a film that the reader may see.

    fault  why the marks file cannot be read, or ""
    """
    marking = viewer.marking
    hidden = marking.hides(reading, row)
    own = marking.own_marks(reading, row)
    marks = [] if fault else [one for one in marking.log.marks_of(marking.sha256(row)) if not hidden or one is own]
    listed = viewer.listed(state, reading)
    done = marking.marked(reading)
    return {
        "row": row,
        "fault": fault or _no_marks(viewer, row),
        "reader": reading.reader,
        "is_blinded": reading.blinded,
        "is_forced": marking.is_forced,
        "can_blind": viewer.films.are_named,
        "has_seen": marking.has_seen(reading, row),
        "hidden": hidden,
        "is_marked": bool(own and own.marks),
        "findings": _findings(viewer.scores.findings, own, [one for one in marks if one is not own]),
        "comment": own.comment if own else "",
        "comments": [(one.reader, one.comment) for one in marks if one is not own and one.comment],
        "boxes": _boxes(viewer.scores.findings, own, marks),
        "history": _history(marking.log.events(marking.sha256(row)), reading, hidden=hidden),
        "done": int(done[listed.rows].sum()),
        "listed": len(listed.rows),
        "next": listed.next_of(row, ~done),
        "state": state,
    }


def _no_marks(viewer: Viewer, row: int) -> str:
    """Why a film cannot be marked; "" if it can."""
    if viewer.marking.log.path is None:
        return "There is no marks file: the scores file is on another machine. Name one with --marks FILE."
    if not viewer.marking.sha256(row):
        return "This film could not be read when it was scored. It has no SHA-256, by which marks are kept."
    return ""


def _findings(names: Sequence[str], own: FilmMarks | None, others: Sequence[FilmMarks]) -> list[dict[str, Any]]:
    """The answers by finding: the reader's own, and those of others."""
    words = {answer: word for word, answer in ANSWERS}
    return [
        {
            "number": number,
            "name": name,
            "answer": words[own.marks[name].answer] if own and name in own.marks else "",
            "others": [(one.reader, words[one.marks[name].answer]) for one in others if name in one.marks],
        }
        for number, name in enumerate(names, start=1)
    ]


def _boxes(names: Sequence[str], own: FilmMarks | None, marks: Sequence[FilmMarks]) -> list[dict[str, Any]]:
    numbers = {name: number for number, name in enumerate(names, start=1)}
    return [
        {
            "number": box.number,
            "finding": numbers.get(box.finding, 0),
            "name": box.finding,
            "reader": one.reader,
            "own": one is own,
            "x": box.x,
            "y": box.y,
            "width": box.width,
            "height": box.height,
        }
        for one in marks
        for box in one.boxes
    ]


def _history(events: Sequence[Event], reading: Reading, *, hidden: bool) -> list[dict[str, str]]:
    """The log of a film, the last event first; for a blinded reader only what this reader did."""
    by_number = {event.number: event for event in events}
    shown = [event for event in events if not hidden or event.session.reader == reading.reader]
    return [
        {
            "who": event.session.reader,
            "time": f"{event.time[:10]} {event.time[11:19]}",
            "what": event_words(event, by_number),
            "blinded": "blinded" if event.session.blinded else "",
        }
        for event in reversed(shown[-MOST_HISTORY:])
    ]


def event_words(event: Event, events: Mapping[int, Event]) -> str:
    """What an event did.

    events  of the same film by number, for what is undone
    """
    if event.kind is Kind.ANSWER:
        return f"{event.finding}: {event.answer.value if event.answer else 'answer taken back'}"
    if event.kind is Kind.COMMENT:
        return "comment" if event.text else "comment removed"
    if event.kind is Kind.BOX and event.sides is not None:
        x, y, width, height = event.sides
        return f"{event.finding}: box at {x:g}, {y:g} of {width:g} × {height:g}"
    if event.kind is Kind.SEEN:
        return "scores shown"
    target = events.get(event.target or 0)
    words = event_words(target, events) if target and target.kind is not Kind.UNDO else ""
    return f"undone: {words}" if event.kind is Kind.UNDO else f"removed: {words}"


def summary(marks: Iterable[FilmMarks], reading: Reading) -> list[dict[str, str]]:
    """The answers of each reader on a film in few words, for the list; of a blinded reader only the own ones."""
    return [
        {"reader": "" if one.reader == reading.reader else one.reader, "words": _answers(one)}
        for one in sorted(marks, key=lambda one: (one.reader != reading.reader, one.reader))
        if one.marks and (not reading.blinded or one.reader == reading.reader)
    ]


def _answers(marks: FilmMarks) -> str:
    found = []
    for word, answer in ANSWERS[0], ANSWERS[2]:
        names = [name for name, mark in marks.marks.items() if mark.answer is answer]
        if names:
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            found.append(f"{word} {', '.join(sorted(names)[:MOST_NAMED])}{more}")
    return "; ".join(found) or f"{len(marks.marks)} of other answers"
