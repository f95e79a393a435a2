"""The log of a marks file as values: films, reading sessions, events, and the marks that follow from the events."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from cxrscore.errors import InputError

MAX_NAME = 80
"""Largest number of characters of the name of a reader."""
MAX_FINDING = 200
MAX_COMMENT = 2000
MAX_PATH = 4096
MAX_BOXES = 100
"""Largest number of boxes of one reader on one film."""
MAX_SIDE = 100_000
"""Largest coordinate of a box, in pixels."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Answer(Enum):
    """What a reader says of a finding on a film."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"
    NOT_ASSESSABLE = "not assessable"


class Kind(Enum):
    """What an event of the log does."""

    ANSWER = "answer"
    """Answers for a finding; without an answer, takes the answer back."""
    COMMENT = "comment"
    """Replaces the comment on the film."""
    BOX = "box"
    """Adds a box."""
    REMOVE_BOX = "remove box"
    UNDO = "undo"
    """Voids an earlier event of the same reader."""
    SEEN = "seen"
    """Scores, labels or the answers of others were shown to the reader: later answers on the film are not blinded."""


@dataclass(frozen=True, kw_only=True)
class MarkedFilm:
    """A film, identified by its bytes.

    sha256         hex digest of the bytes of its file
    path           path below the films folder, for people; "" if the scores file has no paths
    width, height  size of the stored film, pixels; 0 if unknown
    patient        number of the patient in the scores file, -1 if unknown; never an identifier
    """

    sha256: str
    path: str = ""
    width: int = 0
    height: int = 0
    patient: int = -1

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise InputError(f"{self.sha256[:80]!r} is not the SHA-256 of a film, expected 64 hexadecimal digits")
        if len(self.path) > MAX_PATH:
            raise InputError(f"the path of the film has {len(self.path):,} characters, expected at most {MAX_PATH:,}")
        if self.path == self.sha256:  # of a scores file with anonymized paths
            object.__setattr__(self, "path", "")

    @property
    def name(self) -> str:
        """The path, or the digest of a film without a path: its name in the scores file."""
        return self.path or self.sha256


@dataclass(frozen=True, kw_only=True)
class ReadingSession:
    """Who reads, and what the reader sees.

    reader   name of the reader
    blinded  whether scores and labels are hidden from the reader
    scores   fingerprint of the scores file that is open; "" if there is none
    """

    reader: str
    blinded: bool = False
    scores: str = ""

    def __post_init__(self) -> None:
        check_text("the name of the reader", self.reader, MAX_NAME)
        if self.scores and not _SHA256.fullmatch(self.scores):
            raise InputError(f"{self.scores[:80]!r} is not the fingerprint of a scores file")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One entry of the log; entries never change.

    number   from 1, in the order of time
    sha256   of the film
    session  by whom, and what was visible
    time     UTC, ISO 8601, milliseconds
    finding  of an answer or a box, else ""
    answer   None for other events, and for an answer that is taken back
    text     of a comment, else ""
    sides    x, y, width, height of a box in pixels of the stored film, else None
    target   number of the event that is undone, or that added the box that is removed; else None
    """

    number: int
    sha256: str
    session: ReadingSession
    time: str
    kind: Kind
    finding: str = ""
    answer: Answer | None = None
    text: str = ""
    sides: tuple[float, float, float, float] | None = None
    target: int | None = None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The current answer of a reader for one finding of a film, and whether scores and labels were hidden then."""

    answer: Answer
    blinded: bool
    time: str


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box of a reader: left, top, width and height in pixels of the stored film; number: the event that added it."""

    number: int
    finding: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class FilmMarks:
    """The current marks of one reader on one film: marks by finding, the comment, and the boxes in order of time."""

    sha256: str
    reader: str
    marks: Mapping[str, Mark] = field(default_factory=dict)
    comment: str = ""
    boxes: tuple[Box, ...] = ()


def check_text(what: str, text: str, longest: int) -> None:
    """InputError unless a text is not empty, without surrounding blanks, of one printable line, and not too long."""
    if not text or text != text.strip() or not text.isprintable() or len(text) > longest:
        raise InputError(
            f"{what} is {text[:100]!r}, expected 1 to {longest} printable characters without blanks at either end"
        )


def check_comment(text: str) -> None:
    """InputError unless a comment is printable, lines aside, and not too long."""
    if len(text) > MAX_COMMENT:
        raise InputError(f"the comment has {len(text):,} characters, expected at most {MAX_COMMENT:,}")
    if not text.replace("\n", "").isprintable():
        raise InputError("the comment has control characters, expected printable text")


def check_sides(sides: tuple[float, float, float, float], width: int = 0, height: int = 0) -> None:
    """InputError unless a box has a positive size and lies within a film of this size; 0: of any size."""
    x, y, w, h = sides
    right, bottom = width or MAX_SIDE, height or MAX_SIDE
    if not all(map(math.isfinite, sides)) or x < 0 or y < 0 or w <= 0 or h <= 0 or x + w > right or y + h > bottom:
        raise InputError(
            f"the box x {x:g}, y {y:g}, width {w:g}, height {h:g} is not within the film, expected it within "
            f"{right} x {bottom} pixels"
        )


def current_marks(events: Iterable[Event]) -> tuple[FilmMarks, ...]:
    """The marks that follow from a log, or from its part on some films.

    Parameters
    ----------
    events
        In the order of their numbers.

    Returns
    -------
    tuple of FilmMarks
        Sorted by film and reader; without those of which nothing is left.
    """
    log = list(events)
    undone = {event.target for event in log if event.kind is Kind.UNDO}
    marks: dict[tuple[str, str], dict[str, Mark]] = {}
    comments: dict[tuple[str, str], str] = {}
    boxes: dict[tuple[str, str], dict[int, Box]] = {}
    for event in log:
        if event.number in undone:
            continue
        key = (event.sha256, event.session.reader)
        if event.kind is Kind.ANSWER:
            _answer(marks.setdefault(key, {}), event)
        elif event.kind is Kind.COMMENT:
            comments[key] = event.text
        elif event.kind is Kind.BOX and event.sides is not None:
            x, y, width, height = event.sides
            boxes.setdefault(key, {})[event.number] = Box(
                number=event.number, finding=event.finding, x=x, y=y, width=width, height=height
            )
        elif event.kind is Kind.REMOVE_BOX and event.target is not None:
            boxes.get(key, {}).pop(event.target, None)
    found = (
        FilmMarks(
            sha256=key[0],
            reader=key[1],
            marks=marks.get(key, {}),
            comment=comments.get(key, ""),
            boxes=tuple(boxes.get(key, {}).values()),
        )
        for key in sorted({*marks, *comments, *boxes})
    )
    return tuple(one for one in found if one.marks or one.comment or one.boxes)


def _answer(marks: dict[str, Mark], event: Event) -> None:
    if event.answer is None:
        marks.pop(event.finding, None)
    else:
        marks[event.finding] = Mark(answer=event.answer, blinded=event.session.blinded, time=event.time)
