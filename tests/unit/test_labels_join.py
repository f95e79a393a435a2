"""Rows to films, and what is too ambiguous to guess."""

import numpy as np
import pytest

from cxrscore.contract import LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import join_labels


def table(*films: str, patients: tuple[str, ...] | None = None) -> LabelTable:
    """A table in which the label of row k is k."""
    return LabelTable(
        films=films,
        findings=("Mass",),
        labels=np.arange(len(films), dtype=np.float32)[:, None],
        patients=patients,
        columns={"age": tuple(str(40 + k) for k in range(len(films)))},
    )


def test_join_by_hand() -> None:
    joined = join_labels(
        table("b.png", "gone.png", "x/a.png", patients=("p", "q", "")), ["x/a.png", "y/b.png", "y/new.png"]
    )
    np.testing.assert_array_equal(joined.labels, np.array([[2], [0], [np.nan]], np.float32))
    assert joined.labels.dtype == np.float32
    assert joined.findings == ("Mass",)
    assert joined.patients == (None, "p", None)
    assert joined.columns == {"age": ("42", "40", "")}
    assert (joined.unmatched_films, joined.unused_rows) == (1, 1)


def test_a_path_is_matched_before_a_base_name() -> None:
    joined = join_labels(table("x/a.png", "y/a.png"), ["y/a.png", "x/a.png"])
    assert joined.labels.ravel().tolist() == [1, 0]


def test_a_path_of_another_root_is_matched_by_its_base_name() -> None:
    joined = join_labels(table("nih/images/a.png", ".\\set\\b.png", "./c.png"), ["a.png", "set/b.png", "c.png"])
    assert joined.labels.ravel().tolist() == [0, 1, 2]


def test_without_patients_all_are_unknown() -> None:
    assert join_labels(table("a.png"), ["a.png"]).patients == (None,)


def test_a_film_whose_row_went_to_another_is_without_row() -> None:
    joined = join_labels(table("x/a.png"), ["x/a.png", "y/a.png"])
    assert (joined.unmatched_films, joined.unused_rows) == (1, 0)
    assert np.isnan(joined.labels[1, 0])


@pytest.mark.parametrize(
    ("films", "paths", "message"),
    [
        (("a.png",), ["x/a.png", "y/a.png"], "'a.png' could mean 'x/a.png' or 'y/a.png'"),
        (("a.png",), ["a.png", "y/a.png"], "'a.png' could mean 'a.png' or 'y/a.png'"),
        (("a.png", "a.png"), ["a.png"], "2 rows for the film 'a.png'"),
        (("x/a.png", "x/a.png"), ["x/a.png"], "2 rows for the film 'x/a.png'"),
        (("p/a.png", "q/a.png"), ["a.png"], "2 rows for the film 'a.png'"),
        (("a",), ["a.png", "a.dcm"], "'a' could mean 'a.png' or 'a.dcm'"),
        (("x/a",), ["a.png", "a.dcm"], "'x/a' could mean 'a.png' or 'a.dcm'"),
        (("x/a.png",), ["y/a.png", "z/a.png"], "'x/a.png' could mean 'y/a.png' or 'z/a.png'"),
        (("s1/", "s1/"), ["s1/a.png"], "2 rows for the film 's1/a.png'"),
    ],
)
def test_ambiguity_is_an_error_that_names_the_film(films: tuple[str, ...], paths: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        join_labels(table(*films), paths)


@pytest.mark.parametrize(
    ("name", "path", "meant"),
    [
        ("1.2.840", "x/1.2.840.dcm", True),  # an identifier means a film with any suffix
        ("abc", "abc.PNG", True),
        ("abc", "abc", True),
        ("abc.png", "abc.jpg", False),  # a suffix is meant
        ("s1/abc", "p/s1/abc.jpg", True),
        ("p/s1/", "root/p/s1/any.jpg", True),  # a folder means all films in it
        ("s1/", "s1/any.jpg", True),
        ("s1/", "p/xs1/any.jpg", False),
        ("p1/", "root/p1/s1/any.jpg", False),  # but none deeper
        ("a/b/c.png", "b/c.png", True),
        ("b/c.png", "a/b/c.png", True),
        ("b/c.png", "xb/c.png", True),  # another root: the only film of that file name
        ("root/abc", "other/abc.dcm", True),
    ],
)
def test_what_a_name_means(name: str, path: str, meant: bool) -> None:
    assert join_labels(table(name), [path]).unmatched_films == (not meant)


def test_the_longest_name_is_meant() -> None:
    joined = join_labels(table("c.png", "b/c.png", "a/b/c.png"), ["x/a/b/c.png", "x/b/c.png", "x/c.png"])
    assert joined.labels.ravel().tolist() == [2, 1, 0]


def test_a_film_is_meant_before_its_folder() -> None:
    joined = join_labels(table("s1/", "s1/a"), ["p/s1/b.jpg", "p/s1/a.jpg", "p/s1/c.jpg", "p/s2/a.jpg"])
    np.testing.assert_array_equal(joined.labels.ravel(), np.array([0, 1, 0, np.nan], np.float32))
    assert (joined.unmatched_films, joined.unused_rows) == (1, 0)


def test_a_file_name_of_many_films_tells_nothing_without_its_folders() -> None:
    names = ("p1/s1/view1.jpg", "p2/s1/view1.jpg", "p3/s1/view1.jpg")
    assert join_labels(table(*names), ["p4/s1/view1.jpg"]).unmatched_films == 1
    assert join_labels(table(names[0]), ["p4/s1/view1.jpg", "p1/s1/view1.jpg"]).unmatched_films == 1
    with pytest.raises(InputError, match=r"3 rows for the film 's1/view1\.jpg'"):
        join_labels(table(*names), ["s1/view1.jpg"])


def test_rows_of_films_that_are_not_there_may_repeat() -> None:
    assert join_labels(table("a.png", "gone.png", "gone.png"), ["a.png"]).unused_rows == 2


def test_nothing_to_join() -> None:
    assert join_labels(table("a.png"), []).labels.shape == (0, 1)
    assert join_labels(table(), ["a.png"]).unmatched_films == 1
