"""Notes on how scored films were read: their kinds, and what to do about those that a user must know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SEPARATOR = ", "
_NUMBERS = re.compile(r"\d+ | \d+")

MOST_KINDS = 30
"""Number of kinds that are kept, the most frequent ones: the messages of a file that others made may be anything."""
ROUTINE = frozenset(
    {
        "rescaled",
        "modality LUT",
        "VOI window",
        "VOI LUT",
        "inverted",
        "significant bits (sBIT)",
        "bits as in its code stream",
        "range of its code stream",
        "range of its largest pixel value",
    }
)
"""Kinds of notes that say what a film asks for itself: nothing to do."""

_WHAT_TO_DO = (
    (
        "grey range",
        "The file declares more bits than its film uses, and not which. Compare a film with a viewer. If it is too "
        "dark or too bright, export the films with all bits, or as DICOM.",
    ),
    ("orientation", "Films are scored as stored. If viewers show them turned, store them upright."),
    ("bytes after", "The first picture is scored. If the file holds several films, store each in its own file."),
    ("transparency", "All pixels are scored, hidden ones too. If hidden pixels matter, store the films without them."),
    ("bit", "The file contradicts its pixels, which decide. Compare a film with a viewer."),
    ("padding", "These pixels are shown as background. Compare a film with a viewer."),
    ("window", "The film is shown without this window. Compare a film with a viewer."),
    ("LUT", "The film is shown without this table. Compare a film with a viewer."),
)
"""Words in kinds of notes, and what to do."""
_OTHERWISE = "Compare a film with a viewer: its message in the scores file says how it was read."


@dataclass(frozen=True, kw_only=True)
class NoteKind:
    """Notes of one kind: number of films, the path of one of them, and what a user can do ("" for routine notes)."""

    kind: str
    films: int
    example: str
    what_to_do: str


@dataclass(frozen=True, kw_only=True)
class FilmNotes:
    """The notes on scored films, by kind, the most frequent first.

    films    number of films with notes that a user must know
    kinds    these notes, at most MOST_KINDS
    routine  notes that need nothing, such as that a DICOM film was rescaled
    """

    films: int = 0
    kinds: tuple[NoteKind, ...] = ()
    routine: tuple[NoteKind, ...] = ()

    def sentence(self) -> str:
        """The notes to know in one line; "" if there are none."""
        return describe_notes(self.films, {one.kind: one.films for one in self.kinds})

    def describe_routine(self) -> str:
        """The routine notes in one line; "" if there are none."""
        return _counted({one.kind: one.films for one in self.routine})

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "films": self.films,
            "kinds": [dict(vars(one)) for one in self.kinds],
            "routine": {one.kind: one.films for one in self.routine},
        }


def describe_notes(films: int, kinds: Mapping[str, int]) -> str:
    """Number of films with notes, and number of films of each kind, in one line; "" if there are none.

    Examples
    --------
    >>> describe_notes(3, {"transparency ignored": 2, "bytes after its end ignored": 1})
    'notes on 3 films: transparency ignored (2), bytes after its end ignored (1)'
    """
    return f"notes on {films:,} film{'s' * (films != 1)}: {_counted(kinds)}" if films else ""


def _counted(kinds: Mapping[str, int]) -> str:
    return _SEPARATOR.join(f"{kind} ({films:,})" for kind, films in kinds.items())


def note_kinds(message: str) -> tuple[str, ...]:
    """The kinds of the notes in the message of a scored film: each note up to its colon, without numbers.

    Examples
    --------
    >>> note_kinds("orientation tag 6 ignored, grey range taken from its pixels: 0 to 4095 of 0 to 65535")
    ('orientation tag ignored', 'grey range taken from its pixels')
    """
    return tuple(filter(None, (_NUMBERS.sub("", one.partition(":")[0]).strip() for one in message.split(_SEPARATOR))))


def count_notes(films: Iterable[tuple[str, str]]) -> FilmNotes:
    """The notes on scored films, given as (path, message)."""
    messages: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for path, message in films:
        if message:
            messages[message] += 1
            examples.setdefault(message, path)
    counted: Counter[str] = Counter()
    example: dict[str, str] = {}
    noted = 0
    for message, number in messages.items():
        kinds = set(note_kinds(message))
        noted += number * bool(kinds - ROUTINE)
        for kind in kinds:
            counted[kind] += number
            example.setdefault(kind, examples[message])
    found = [
        NoteKind(kind=kind, films=number, example=example[kind], what_to_do=what_to_do(kind))
        for kind, number in sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    ]
    return FilmNotes(
        films=noted,
        kinds=tuple(one for one in found if one.kind not in ROUTINE)[:MOST_KINDS],
        routine=tuple(one for one in found if one.kind in ROUTINE),
    )


def what_to_do(kind: str) -> str:
    """What a user can do about notes of this kind; "" for routine ones."""
    if kind in ROUTINE:
        return ""
    return next((words for word, words in _WHAT_TO_DO if word in kind), _OTHERWISE)
