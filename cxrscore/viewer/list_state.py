"""What a list shows: the state of a page in its address. It holds numbers and fixed words only, no text of a film."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

import numpy as np

SORTS = ("row", "probability", "uncertainty", "error", "disagreement")
LABELS = ("", "positive", "negative", "unknown")
SIDES = ("", "above", "below")
SIZES = ("", "small", "medium", "large")
MARKS = ("", "marked", "unmarked", "mine", "left", "differ")
_SEARCH = re.compile(r"[0-9a-f]{16}|")


class StateError(ValueError):
    """An address that no page of this program makes."""


@dataclass(frozen=True, kw_only=True)
class ListState:
    """Order and filters of the list of films.

    Attributes
    ----------
    finding : int
        1..C: the finding by which the list is sorted and filtered; 0: any finding.
    sort : str
        One of SORTS.
    ascending : bool
        Whether the smallest value comes first.
    status : int
        Code of a Status, -1: any; -2: any but OK.
    split : int
        Index into SPLITS, -1: any; -2: any that the model has not seen, and that of the other file, if there is one.
    label : str
        One of LABELS: the label of the finding.
    side : str
        One of SIDES: of the threshold of the finding.
    at : str
        The threshold, see threshold_text; "": that of the file.
    other : int
        1..: number of another file, whose scored films are listed; 0: none.
    other_side, other_at : str
        As side and at, for the probabilities of the other file.
    kind, modality, view : int
        Indexes into the words of the file, -1: any.
    size : str
        One of SIZES: the longer side of the film.
    marks : str
        One of MARKS: films with marks, without, with marks of the reader who looks, without these, or with different
        answers of readers; with a finding, marks of this finding.
    queue : int
        Number of a reading queue, whose films are listed in its order; 0: all films.
    search : str
        Handle of a text that the server holds; "": none.
    page : int
        From 1.
    """

    finding: int = 0
    sort: str = "row"
    ascending: bool = False
    status: int = -1
    split: int = -1
    label: str = ""
    side: str = ""
    at: str = ""
    other: int = 0
    other_side: str = ""
    other_at: str = ""
    kind: int = -1
    modality: int = -1
    view: int = -1
    size: str = ""
    marks: str = ""
    queue: int = 0
    search: str = ""
    page: int = 1

    @classmethod
    def parse(cls, query: Mapping[str, str], findings: int) -> ListState:
        """The state in a query; StateError for values that are outside their range. Other parameters are ignored."""
        state = cls()
        for field in fields(cls):
            if field.name in query:
                state = replace(state, **{field.name: _value(field.name, query[field.name])})
        if state.finding > findings:
            raise StateError(f"finding {state.finding}, expected 0 to {findings}")
        return state

    def query(self, **changed: Any) -> str:
        """The state, with changes, as the query of an address; what is as usual is left out."""
        new = replace(self, **changed)
        usual = ListState()
        given = {name: value for name, value in vars(new).items() if value != getattr(usual, name)}
        return urlencode({name: int(value) if isinstance(value, bool) else value for name, value in given.items()})

    def filters(self) -> ListState:
        """The same films in the same order: all but the page."""
        return replace(self, page=1)


def threshold_text(value: float) -> str:
    """A threshold, rounded to float32 as probabilities are, with as many digits as tell it from all others.

    Examples
    --------
    >>> threshold_text(0.3)
    '0.3'
    >>> threshold_text(1e-7)
    '0.0000001'
    """
    return np.format_float_positional(np.float32(value), trim="-")


_WORDS: Mapping[str, Sequence[str]] = {
    "sort": SORTS,
    "label": LABELS,
    "side": SIDES,
    "other_side": SIDES,
    "size": SIZES,
    "marks": MARKS,
}
_LEAST = {
    **dict.fromkeys(("finding", "other", "queue"), 0),
    **dict.fromkeys(("kind", "modality", "view"), -1),
    **dict.fromkeys(("status", "split"), -2),
    "page": 1,
}
_NUMBER = re.compile(r"(?=\.?\d)\d{0,9}(\.\d{0,60})?(e-\d{1,2})?", re.IGNORECASE | re.ASCII)


def parse_threshold(name: str, text: str) -> str:
    """A threshold in an address, or ""; StateError unless it is from 0 to 1."""
    if not text:
        return ""
    if not _NUMBER.fullmatch(text) or float(text) > 1:
        raise StateError(f"{name}, expected a number from 0 to 1")
    return threshold_text(float(text))


def _value(name: str, text: str) -> Any:
    if name in _WORDS:
        if text not in _WORDS[name]:
            raise StateError(f"{name}, expected one of {', '.join(filter(None, _WORDS[name]))}")
        return text
    if name in ("at", "other_at"):
        return parse_threshold(name, text)
    if name == "search":
        if not _SEARCH.fullmatch(text):
            raise StateError("search, expected 16 hexadecimal digits")
        return text
    if name == "ascending":
        return text == "1"
    if not re.fullmatch(r"-?[0-9]{1,9}", text) or int(text) < _LEAST[name]:
        raise StateError(f"{name}, expected a whole number of at least {_LEAST[name]}")
    return int(text)
