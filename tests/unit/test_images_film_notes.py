"""Notes on scored films: split, counted by kind, and what to do about them."""

import pytest

from cxrscore.images.film_notes import MOST_KINDS, ROUTINE, count_notes, note_kinds, what_to_do
from cxrscore.images.grey_range import RANGE_FROM_PIXELS, range_note

GUESSED = range_note((0, 4095), 0, 65535)


@pytest.mark.parametrize(
    ("message", "kinds"),
    [
        ("", ()),
        ("orientation tag 6 ignored", ("orientation tag ignored",)),
        ("12 significant bits (sBIT)", ("significant bits (sBIT)",)),
        (f"rescaled, VOI window, {GUESSED}", ("rescaled", "VOI window", RANGE_FROM_PIXELS)),
    ],
)
def test_a_message_is_split_into_kinds(message: str, kinds: tuple[str, ...]) -> None:
    assert note_kinds(message) == kinds


def test_notes_to_know_and_routine_ones_are_counted_apart() -> None:
    notes = count_notes(
        [
            ("a.png", ""),
            ("b.png", GUESSED),
            ("c.dcm", f"rescaled, {range_note((0, 255), 0, 65535)}, orientation tag 3 ignored"),
            ("d.dcm", "rescaled, VOI window"),
            ("e.jpg", "orientation tag 6 ignored"),
            ("f.png", GUESSED),
        ]
    )
    assert notes.films == 4
    assert [(one.kind, one.films, one.example) for one in notes.kinds] == [
        (RANGE_FROM_PIXELS, 3, "b.png"),
        ("orientation tag ignored", 2, "c.dcm"),
    ]
    assert [(one.kind, one.films, one.what_to_do) for one in notes.routine] == [
        ("rescaled", 2, ""),
        ("VOI window", 1, ""),
    ]
    assert notes.sentence() == ("notes on 4 films: grey range taken from its pixels (3), orientation tag ignored (2)")
    assert notes.describe_routine() == "rescaled (2), VOI window (1)"


def test_without_notes_there_is_nothing_to_say() -> None:
    notes = count_notes([("a.png", ""), ("b.dcm", "VOI LUT")])
    assert (notes.films, notes.sentence()) == (0, "")
    assert notes.as_dict() == {"films": 0, "kinds": [], "routine": {"VOI LUT": 1}}


@pytest.mark.parametrize(
    "kind",
    [
        RANGE_FROM_PIXELS,
        "orientation tag ignored",
        "bytes after its end ignored",
        "transparency ignored",
        "padding",
        "VOI window ignored",
        "VOI LUT ignored",
        "high bit ignored",
    ],
)
def test_every_kind_says_something_of_its_own_to_do(kind: str) -> None:
    assert what_to_do(kind)
    assert what_to_do(kind) != what_to_do("a kind of a later version")


def test_routine_kinds_need_nothing() -> None:
    assert {what_to_do(kind) for kind in ROUTINE} == {""}


def test_messages_of_others_make_no_endless_table() -> None:
    notes = count_notes([*((f"{row}.png", "x" * row) for row in range(1, 99)), ("a.png", "often"), ("b.png", "often")])
    assert (notes.films, len(notes.kinds), notes.kinds[0].kind) == (100, MOST_KINDS, "often")
