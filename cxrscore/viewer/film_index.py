"""Which films a list has, and in which order: sorting and filtering over the columns in memory."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.scorefile.by_row import ScoresByRow
from cxrscore.scorefile.data import SEEN
from cxrscore.status import Status
from cxrscore.viewer.list_state import ListState, StateError

USUAL_THRESHOLD = 0.5
"""The point of a finding without a threshold."""
SIZE_LIMITS = {"small": (0, 1024), "medium": (1024, 2048), "large": (2048, 1 << 32)}
"""Longer side of a film in pixels, from and below."""
UNSEEN = -2
"""Of ListState.split: any film that the model has not seen."""
KEPT_ORDERS = 16
KEPT_SEARCHES = 100
LONGEST_SEARCH = 200
"""Characters of a text to search for."""

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(OrderedDict[Key, Value]):
    """The last few values; safe to use from several threads."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most, self._turn = most, threading.Lock()

    def recall(self, key: Key) -> Value | None:
        """A value that is kept; None if it is not."""
        with self._turn:
            if key in self:
                self.move_to_end(key)
                return self[key]
        return None

    def keep(self, key: Key, value: Value) -> Value:
        """Keep a value; the one that was not used for the longest time is dropped."""
        with self._turn:
            self[key] = value
            while len(self) > self._most:
                self.popitem(last=False)
        return value


class FilmIndex:
    """The films of the first of several scores files, and the rows of the same films in the others.

    Attributes
    ----------
    points : float32 [C]
        Thresholds of the findings; USUAL_THRESHOLD where the file has none.
    others : list of (rows, columns)
        For each other file int32 [N], the row of the film or -1, and [C], the column of the finding or -1.
    """

    def __init__(self, files: Sequence[ScoresByRow]) -> None:
        self.scores, *rest = files
        self._rest = rest
        self.points: Floats = np.where(np.isfinite(self.scores.thresholds), self.scores.thresholds, USUAL_THRESHOLD)
        self.others = [(same_films(self.scores, other), same_findings(self.scores, other)) for other in rest]
        self._orders: Recent[ListState, Rows] = Recent(KEPT_ORDERS)
        self._searches: Recent[str, str] = Recent(KEPT_SEARCHES)

    def remember_search(self, text: str) -> str:
        """A handle for a text to search for; "" for no text."""
        text = text.strip()[:LONGEST_SEARCH]
        return self._keep_search(text) if text else ""

    def _keep_search(self, text: str) -> str:
        handle = secrets.token_hex(8)
        self._searches.keep(handle, text)
        return handle

    def search_text(self, state: ListState) -> str:
        """The text of a handle. StateError if it is no longer kept."""
        if not state.search:
            return ""
        text = self._searches.recall(state.search)
        if text is None:
            raise StateError("search, which this server does not know any more: search again")
        return text

    def rows(self, state: ListState) -> Rows:
        """Rows of the films of a list, in its order."""
        state = state.filters()
        found = self._orders.recall(state)
        return self._orders.keep(state, self._sorted(state)) if found is None else found

    def values(self, state: ListState) -> Floats | None:
        """What the list is sorted by, float32 [N]; None if it is in the order of the file."""
        measures: dict[str, Callable[[int], Floats]] = {
            "probability": self.probability,
            "uncertainty": self.uncertainty,
            "error": self.error,
            "disagreement": self.disagreement,
        }
        return measures[state.sort](state.finding) if state.sort in measures else None

    def probability(self, finding: int) -> Floats:
        """The probability of a finding, or the highest one, float32 [N]."""
        return _of(self.scores.prob, finding, np.fmax)

    def uncertainty(self, finding: int) -> Floats:
        """1 minus the distance of the probability to the threshold, float32 [N]; the largest of all findings."""
        return _of(1 - np.abs(self.scores.prob - self.points), finding, np.fmax)

    def error(self, finding: int) -> Floats:
        """The distance of the probability to the label, float32 [N]; the largest of all findings."""
        return _of(np.abs(self.scores.prob - self.scores.truth), finding, np.fmax)

    def disagreement(self, finding: int) -> Floats:
        """The largest difference of the probabilities in all files, float32 [N]; NaN for films of one file only."""
        low = high = self.scores.prob
        compared = np.zeros(low.shape, np.bool_)
        for number in range(len(self.others)):
            prob = self.other_probabilities(number)
            low, high = np.fmin(low, prob), np.fmax(high, prob)
            compared |= np.isfinite(prob) & np.isfinite(self.scores.prob)
        return _of(np.where(compared, high - low, np.float32(np.nan)), finding, np.fmax)

    def other_probabilities(self, number: int, rows: Rows | None = None) -> Floats:
        """Probabilities of these films, or all, in another file, float32 [n,C]; NaN where it has none."""
        own_rows, columns = self.others[number]
        own_rows = own_rows if rows is None else own_rows[rows]
        prob = self._rest[number].prob
        found = np.full((len(own_rows), len(columns)), np.nan, np.float32)
        for place, column in enumerate(columns.tolist()):
            if column >= 0:
                found[:, place] = np.where(own_rows >= 0, prob[np.maximum(own_rows, 0), column], np.float32(np.nan))
        return found

    def _sorted(self, state: ListState) -> Rows:
        rows = np.flatnonzero(self._mask(state)).astype(np.int32)
        values = self.values(state)
        if values is None:
            return rows[::-1] if state.ascending else rows
        keys = values[rows] if state.ascending else -values[rows]
        return rows[np.argsort(keys, kind="stable")]  # NaN comes last either way

    def _mask(self, state: ListState) -> Mask:
        found = np.ones(len(self.scores), np.bool_)
        if state.status != -1:
            found &= self.scores.status == state.status if state.status >= 0 else self.scores.status != Status.OK
        if state.split >= 0:
            found &= self.scores.split == state.split
        elif state.split == UNSEEN:
            found &= self.unseen(state.other)
        for name in ("kind", "modality", "view"):
            if (code := getattr(state, name)) >= 0:
                found &= self.scores.codes[name] == code
        if state.size:
            low, high = SIZE_LIMITS[state.size]
            longer = np.maximum(self.scores.width, self.scores.height)
            found &= (longer >= low) & (longer < high)
        found &= self._by_finding(state)
        if state.other:
            found &= self._by_other(state)
        return found & self.scores.path.containing(text) if (text := self.search_text(state)) else found

    def _by_finding(self, state: ListState) -> Mask:
        """Filters of the label and the side of the threshold."""
        columns = slice(None) if state.finding == 0 else slice(state.finding - 1, state.finding)
        truth, prob = self.scores.truth[:, columns], self.scores.prob[:, columns]
        found = np.ones(len(truth), np.bool_)
        if state.label:
            found &= _labelled(truth, state.label)
        return found & _on_side(prob, np.float32(state.at) if state.at else self.points[columns], state.side)

    def _by_other(self, state: ListState) -> Mask:
        """Films with a probability in another file, on one side of its threshold."""
        prob = self.other_probabilities(state.other - 1)
        points = self.other_points(state.other)
        if state.finding:
            prob, points = prob[:, state.finding - 1 : state.finding], points[state.finding - 1 : state.finding]
        scored = np.isfinite(prob).any(axis=1)
        return scored & _on_side(prob, np.float32(state.other_at) if state.other_at else points, state.other_side)

    def other_points(self, other: int) -> Floats:
        """Thresholds of another file, from 1, for the findings of the first; USUAL_THRESHOLD where it has none."""
        columns = self.others[other - 1][1]
        theirs = self._rest[other - 1].thresholds
        found = np.where(columns >= 0, theirs[np.maximum(columns, 0)], np.float32(np.nan))
        return np.where(np.isfinite(found), found, np.float32(USUAL_THRESHOLD))

    def unseen(self, other: int = 0) -> Mask:
        """Films that are neither of the training nor of the validation of the model, nor of that of another file, bool
        [N]."""
        found = ~np.isin(self.scores.split, SEEN)
        if other:
            rows = self.others[other - 1][0]
            found &= (rows < 0) | ~np.isin(self._rest[other - 1].split[np.maximum(rows, 0)], SEEN)
        return found


def _on_side(prob: Floats, points: Floats | np.float32, side: str) -> Mask:
    """Films of prob [N,c] with a probability at or above its threshold, or with none of them; all if side is ""."""
    if not side:
        return np.ones(len(prob), np.bool_)
    above = np.asarray((prob >= points).any(axis=1), np.bool_)
    return above if side == "above" else ~above & np.isfinite(prob).any(axis=1)


def _labelled(truth: Floats, label: str) -> Mask:
    """Films with this label: "positive" of any finding, "negative" of one and positive of none, "unknown" of all."""
    positive = np.any(truth > 0.5, axis=1)
    if label == "positive":
        found = positive
    elif label == "negative":
        found = np.any(truth < 0.5, axis=1) & ~positive
    else:
        found = np.all(np.isnan(truth), axis=1)
    return np.asarray(found, np.bool_)


def _of(values: Floats, finding: int, reduce: np.ufunc) -> Floats:
    """A column [N] of values [N,C], or all columns reduced if ``finding`` is 0."""
    return values[:, finding - 1] if finding else np.asarray(reduce.reduce(values, axis=1), np.float32)


def same_findings(first: ScoresByRow, second: ScoresByRow) -> NDArray[np.int32]:
    """For each finding of the first file its column in the second, -1 if it has none."""
    place = {name: column for column, name in enumerate(second.findings)}
    return np.array([place.get(name, -1) for name in first.findings], np.int32)


def same_films(first: ScoresByRow, second: ScoresByRow) -> Rows:
    """For each film of the first file its row in the second, -1 if it has none: the same bytes, else the same path."""
    wanted, found = first.digests(), np.full(len(first), -1, np.int32)
    theirs = second.digests()
    if len(theirs):
        order = np.argsort(theirs, kind="stable")
        at = order[np.minimum(np.searchsorted(theirs, wanted, sorter=order), len(order) - 1)]
        found = np.where((theirs[at] == wanted) & (wanted != b""), at, -1).astype(np.int32)
    left = np.flatnonzero(found < 0).tolist()
    if left:
        row_of = {path: row for row, path in enumerate(second.path)}
        for row in left:
            found[row] = row_of.get(first.path[row], -1)
    return found
