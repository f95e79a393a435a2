"""Leaks: each kind is found, named, and allowed only where that is said."""

import numpy as np
import pytest
from test_labels_duplicates import contrast, fields, jpeg

from cxrscore.errors import LeakError
from cxrscore.labels import THUMBNAIL, Leak, Split, check_leakage

PATHS = ["a.png", "b.png", "x/c.png", "d,e.png"]
SPLIT = Split(train=(0, 3), valid=(1,), test=(2,), rule="by hand")
ALONE = [None] * 4
UNKNOWN = [""] * 4


def test_no_leak_no_error() -> None:
    assert check_leakage(SPLIT, ["p", "q", "r", "p"], ["1", "2", "3", "1"], PATHS) == []
    assert check_leakage(SPLIT, ALONE, UNKNOWN, PATHS) == []  # unknown is not the same


@pytest.mark.parametrize(
    ("patients", "hashes", "message"),
    [
        (["p", "q", "p", "r"], UNKNOWN, r"one patient .*: a\.png \(train\) and x/c\.png \(test\)\. Put"),
        (ALONE, ["1", "2", "3", "2"], r"same bytes .*: d,e\.png \(train\) and b\.png \(valid\)"),
        (
            ["p", "q", "p", "r"],
            ["1", "2", "3", "2"],
            r"one patient .*c\.png \(test\)\. files of .*b\.png",
        ),
    ],
)
def test_leaks_name_the_films(patients: list[str | None], hashes: list[str], message: str) -> None:
    with pytest.raises(LeakError, match=message) as caught:
        check_leakage(SPLIT, patients, hashes, PATHS)
    assert caught.value.exit_code == 4


def test_leaks_that_are_allowed_are_returned() -> None:
    leaks = check_leakage(SPLIT, ["p", "q", "p", "r"], ["1", "2", "1", "2"], PATHS, allow=True)
    assert leaks == [
        Leak(why="films of one patient", film="a.png", part="train", other="x/c.png", other_part="test"),
        Leak(why="files of the same bytes", film="d,e.png", part="train", other="b.png", other_part="valid"),
    ]  # a.png and x/c.png have the same bytes, too, and are told once


def test_a_film_in_two_parts_is_a_leak() -> None:
    with pytest.raises(LeakError, match=r"same film .*a\.png \(train\) and a\.png \(test\)"):
        check_leakage(Split(train=(0,), valid=(1,), test=(0,), rule=""), ALONE, UNKNOWN, PATHS)


def test_many_leaks_are_counted() -> None:
    split = Split(train=(0,), valid=(), test=tuple(range(1, 9)), rule="")
    with pytest.raises(LeakError, match="and 3 more"):
        check_leakage(split, ["p"] * 9, [""] * 9, [f"{k}.png" for k in range(9)])


def test_one_picture_in_two_parts_is_a_leak() -> None:
    film, other, third = fields(3, THUMBNAIL, 1)
    thumbnails = np.stack([film, other, contrast(jpeg(film), 1.1), third])
    assert check_leakage(SPLIT, ALONE, UNKNOWN, PATHS, thumbnails=thumbnails, allow=True) == [
        Leak(why="films of nearly the same pixels", film="a.png", part="train", other="x/c.png", other_part="test")
    ]
    with pytest.raises(LeakError, match=r"nearly the same pixels .*: a\.png \(train\) and x/c\.png \(test\)"):
        check_leakage(SPLIT, ALONE, UNKNOWN, PATHS, thumbnails=thumbnails)
    within = Split(train=(0, 2), valid=(1,), test=(3,), rule="")
    assert check_leakage(within, ALONE, UNKNOWN, PATHS, thumbnails=thumbnails) == []


def test_films_without_pixels_are_like_none() -> None:
    blank = np.zeros((4, THUMBNAIL, THUMBNAIL), np.uint8)
    assert check_leakage(SPLIT, ALONE, UNKNOWN, PATHS, thumbnails=blank) == []


def test_films_that_the_base_weights_have_seen_are_a_leak_where_they_tell_something() -> None:
    hashes = [letter * 64 for letter in "abcd"]
    seen = {letter * 16: "train" for letter in "abc"}
    assert check_leakage(SPLIT, ALONE, hashes, PATHS, seen=seen, allow=True) == [
        Leak(why="films that the initial weights were trained on", film=film, part=part, other="", other_part="train")
        for film, part in (("b.png", "valid"), ("x/c.png", "test"))
    ]
    with pytest.raises(LeakError, match=r"test split: b\.png \(valid, there train\); x/c\.png \(test, there train\)\."):
        check_leakage(SPLIT, ALONE, hashes, PATHS, seen=seen)
    # Two stages of training on one split: what chose the first chooses the second, and nothing more is seen.
    assert check_leakage(SPLIT, ALONE, hashes, PATHS, seen={"a" * 16: "train", "b" * 16: "valid"}) == []
    assert len(check_leakage(SPLIT, ALONE, hashes, PATHS, seen={"c" * 16: "valid"}, allow=True)) == 1
    assert check_leakage(SPLIT, ALONE, UNKNOWN, PATHS, seen=seen) == []  # unknown bytes are not seen ones
