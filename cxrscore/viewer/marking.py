"""Who reads in which browser, what may be shown there, and what was shown: the state that blinded reading rests on.

A browser keeps the name of its reader and the switch of blinded reading in a cookie, so that both outlast the server.
The marks file keeps which films a reader has seen with scores, so that no later mark on them counts as blinded.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from cxrscore.contract import Array
from cxrscore.errors import CxrscoreError, InputError
from cxrscore.marks import Answer, FilmMarks, MarkedFilm, ReadingSession
from cxrscore.scorefile.by_row import ScoresByRow
from cxrscore.viewer.film_index import Mask, Recent, Rows
from cxrscore.viewer.list_state import ListState
from cxrscore.viewer.marks_log import MarksLog

KEPT_BROWSERS = 1000
"""Browsers without a reader of whom it is known what they have shown."""
KEPT_MASKS = 16
COOKIE_DAYS = 90
"""How long a browser keeps who reads; without a name, a day."""
_ID = re.compile(r"[0-9a-f]{16}")
_LONGEST_COOKIE = 1500
_SHOWN_BLINDED = ("finding", "ascending", "status", "split", "kind", "modality", "view", "size", "search", "page")
"""Parts of the state of a list that tell nothing of scores or labels; what other pages add to it is not among them."""
OWN_FILTERS = ("mine", "left")
"""Filters by marks that tell nothing of other readers."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Who looks at a page.

    browser     random number of the browser; it is no secret
    reader      name of the reader, "" if it is not given
    blinded     whether scores, labels and the marks of others are hidden until a film is marked
    is_new      whether the browser has no cookie yet
    """

    browser: str
    reader: str = ""
    blinded: bool = False
    is_new: bool = False


class Marking:
    """The marks of readers on the films of a scores file; safe to use from several threads.

    Parameters
    ----------
    scores : ScoresByRow
        The films.
    log : MarksLog
        The marks.
    reader : str
        The reader of browsers that name none; "": they are asked.
    blinded : bool
        Whether all readers are blinded; else each browser has a switch.
    """

    def __init__(self, scores: ScoresByRow, log: MarksLog, *, reader: str = "", blinded: bool = False) -> None:
        self.scores, self.log, self.is_forced = scores, log, blinded
        self._reader = reader
        place = hashlib.sha256(str(log.path and log.path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
        self._cookie = f"cxrscore_reader_{place[:12]}"
        self._seen: Recent[str, set[int]] = Recent(KEPT_BROWSERS)
        self._masks: Recent[tuple[int, str, int, str], Mask] = Recent(KEPT_MASKS)
        self._turn = threading.Lock()
        log.use_films(scores.fingerprint, self._films)

    # --- who

    def reading(self, request: Request) -> Reading:
        """Who asks; what a cookie says that no page of this server sets is ignored."""
        text = request.cookies.get(self._cookie, "")[:_LONGEST_COOKIE]
        try:
            browser, blinded, name = json.loads(unquote(text))
            found = Reading(browser=str(browser), reader=_checked_name(name), blinded=blinded == 1)
        except (ValueError, TypeError, CxrscoreError, RecursionError):
            found = Reading(browser=secrets.token_hex(8), is_new=True)
        if not _ID.fullmatch(found.browser):
            found = Reading(browser=secrets.token_hex(8), is_new=True)
        return replace(found, reader=found.reader or self._reader, blinded=found.blinded or self.is_forced)

    def remember(self, reading: Reading, response: Response, *, secure: bool) -> None:
        """Keep who reads in the browser."""
        name = "" if reading.reader == self._reader else reading.reader
        text = quote(json.dumps([reading.browser, int(reading.blinded and not self.is_forced), name]))
        age = (COOKIE_DAYS if reading.reader else 1) * 86_400
        response.set_cookie(self._cookie, text, max_age=age, httponly=True, samesite="strict", secure=secure)

    def named(self, reading: Reading, name: str) -> Reading:
        """The same browser with the name of its reader. What it has shown without a name counts for the first one.
        InputError for no name."""
        name = name.strip()
        ReadingSession(reader=name)
        found = replace(reading, reader=name)
        if not reading.reader:
            self.saw(found, sorted(self._shown(reading)))
        return found

    # --- films

    @functools.cached_property
    def digests(self) -> Array:
        """Digests of all films, S64 [N]; b"" of films that could not be read."""
        return self.scores.digests()

    @functools.cached_property
    def order(self) -> NDArray[np.intp]:
        """Rows in the order of their digests."""
        return np.argsort(self.digests, kind="stable")

    def sha256(self, row: int) -> str:
        """The digest of a film, "" if it could not be read."""
        return bytes(self.digests[row]).decode("ascii", "replace")

    def film(self, row: int) -> MarkedFilm:
        """What the marks file says of a film. InputError for a film without a digest."""
        if not self.sha256(row):
            raise InputError("the film could not be read when it was scored, so that it has no SHA-256 to mark it by")
        scores = self.scores
        path = scores.path[row]
        return MarkedFilm(
            sha256=self.sha256(row),
            path=path if _encodable(path) else "",
            width=int(scores.width[row]),
            height=int(scores.height[row]),
            patient=int(scores.patient[row]),
        )

    def _films(self, digests: Iterable[str]) -> list[MarkedFilm]:
        """What the scores file says of those of these films that it has."""
        rows = self.rows_of(digests)
        return list({self.sha256(row): self.film(row) for row in rows.tolist()[::-1]}.values())

    def rows_of(self, digests: Iterable[str]) -> Rows:
        """The rows of films, in the order of their digests here; a film in two folders has two rows."""
        wanted = np.array([digest.encode() for digest in digests], "S64")
        low, high = (np.searchsorted(self.digests, wanted, side=side, sorter=self.order) for side in ("left", "right"))
        places = [np.arange(first, last) for first, last in zip(low, high, strict=True) if last > first]
        return np.asarray(self.order[np.concatenate(places)] if places else [], np.int32)

    # --- what is hidden, and what was shown

    def session(self, reading: Reading, row: int) -> ReadingSession:
        """Of a mark on a film now. InputError without a name."""
        if not reading.reader:
            raise InputError("the name of the reader is not given; give it first")
        blinded = reading.blinded and not self.has_seen(reading, row)
        return ReadingSession(reader=reading.reader, blinded=blinded, scores=self.scores.fingerprint)

    def hides(self, reading: Reading, row: int) -> bool:
        """Whether scores, labels and marks of others on a film are hidden."""
        return reading.blinded and not (self.has_seen(reading, row) and self.own_marks(reading, row))

    def has_seen(self, reading: Reading, row: int) -> bool:
        """Whether scores of a film were shown to the reader."""
        return self.sha256(row) in self.log.seen(reading.reader) or row in self._shown(reading)

    def saw(self, reading: Reading, rows: Sequence[int]) -> None:
        """Record that scores of films are shown. If the marks file cannot be written, it is known until the server
        ends: no mark can be saved either."""
        rows = [row for row in rows if self.sha256(row)]
        if reading.reader and rows:
            session = ReadingSession(reader=reading.reader, scores=self.scores.fingerprint)
            try:
                self.log.record_seen(session, [self.film(row) for row in rows])
                return
            except CxrscoreError:
                pass
        key = _key(reading)
        with self._turn:
            self._seen.keep(key, (self._seen.recall(key) or set()) | set(rows))

    def _shown(self, reading: Reading) -> set[int]:
        return self._seen.recall(_key(reading)) or set()

    def own_marks(self, reading: Reading, row: int) -> FilmMarks | None:
        """The marks of the reader on a film."""
        if not reading.reader:
            return None
        return next((one for one in self.log.marks_of(self.sha256(row)) if one.reader == reading.reader), None)

    def allowed(self, reading: Reading, state: ListState) -> ListState:
        """The state of a list without what would show scores, labels or marks of others to a blinded reader."""
        if not reading.blinded:
            return state
        kept = {name: getattr(state, name) for name in _SHOWN_BLINDED}
        marks = state.marks if state.marks in OWN_FILTERS else ""
        return ListState(**kept, queue=state.queue, marks=marks)

    # --- filters by marks

    def marked(self, reading: Reading, finding: int = 0) -> Mask:
        """Films that the reader has marked, bool [N]; with a finding 1..C, that finding."""
        return self.mask("mine", reading, finding)

    def mask(self, marks: str, reading: Reading, finding: int) -> Mask:
        """The films of a filter by marks, bool [N]."""
        key = (self.log.version, marks, finding, reading.reader)
        kept = self._masks.recall(key)
        return self._masks.keep(key, self._mask(*key[1:])) if kept is None else kept

    def _mask(self, marks: str, finding: int, reader: str) -> Mask:
        name = self.scores.findings[finding - 1] if finding else ""
        if marks in OWN_FILTERS:
            films = [sha256 for sha256, of in self.log.marks().items() if _has_answer(of, name, reader)]
        elif marks == "differ":
            films = [sha256 for sha256, of in self.log.marks().items() if differing(of, name)]
        else:
            films = [sha256 for sha256, of in self.log.marks().items() if _has_answer(of, name)]
        found = np.zeros(len(self.scores), np.bool_)
        found[self.rows_of(films)] = True
        return ~found if marks in ("left", "unmarked") else found


def _key(reading: Reading) -> str:
    return f"reader {reading.reader}" if reading.reader else f"browser {reading.browser}"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked_name(name: object) -> str:
    """A name of a cookie; ValueError or InputError for another value."""
    if not isinstance(name, str):
        raise TypeError("the name is no text")
    return ReadingSession(reader=name).reader if name else ""


def _has_answer(marks: Sequence[FilmMarks], finding: str, reader: str | None = None) -> bool:
    """Whether the reader, or any if None, has answered for a finding, or for any if it is empty."""
    return any((finding in one.marks if finding else bool(one.marks)) for one in marks if reader in (None, one.reader))


def differing(marks: Sequence[FilmMarks], finding: str = "") -> set[str]:
    """The findings, or this one, of which the readers of a film have different answers, "not assessable" aside."""
    answers: dict[str, set[Answer]] = {}
    for one in marks:
        for name, mark in one.marks.items():
            if mark.answer is not Answer.NOT_ASSESSABLE and finding in ("", name):
                answers.setdefault(name, set()).add(mark.answer)
    return {name for name, different in answers.items() if len(different) > 1}
