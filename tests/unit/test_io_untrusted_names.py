"""A name from outside is a label: it leads into no other folder, however it is spelled."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrscore.io.untrusted_names import is_plain_relative_path, plain_relative_path, safe_file_name

NAMES = st.text(st.characters(codec="utf-8") | st.sampled_from("/\\.\0:%~ \n"), max_size=200)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("out.h5", "out.h5"),
        ("/home/me/notes.txt", "_home_me_notes.txt"),
        ("..", "_."),
        (".", "_"),
        ("", "_"),
        ("../up.h5", "_._up.h5"),
        ("C:\\films\\a.h5", "C:_films_a.h5"),
        (".bashrc", "_bashrc"),
        ("a\0b\nc\u202ed", "a_b_c_d"),
        ("x" * 300 + ".h5", "x" * 117 + ".h5"),
    ],
)
def test_a_label_keeps_what_is_plain(name, shown):
    assert safe_file_name(name) == shown


@given(NAMES)
def test_a_label_is_the_name_of_one_file_in_one_folder(name):
    found = safe_file_name(name)
    assert Path("folder", found).parent == Path("folder")
    assert found not in ("", ".", "..")
    assert found.isprintable()
    assert len(found) <= 120


@pytest.mark.parametrize("name", ["a", "a/b.png", "a b/c%2Fd", "...", "a\\b"])
def test_a_plain_path_lies_below(name):
    assert is_plain_relative_path(name)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "/a", "a/..", "../a", "a/../b", "./a", "a//b", "a/", "a\0b"])
def test_other_paths_do_not(name):
    assert not is_plain_relative_path(name)


@given(NAMES)
def test_what_lies_below_stays_below(name):
    if is_plain_relative_path(name):
        assert Path("/folder", name).resolve().is_relative_to("/folder")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b.dcm", "a/b.dcm"),
        ("./a.dcm", "a.dcm"),
        ("a//b/././c.dcm", "a/b/c.dcm"),
        ("a\\b.dcm", "a\\b.dcm"),
        ("..a/b...dcm", "..a/b...dcm"),
        *((name, "") for name in ("../a", "a/../b", "/a", "//a", "\\a", "C:\\a", "c:/a", "..\\a", "a/..\\b", "a\\..")),
        *((name, "") for name in ("", ".", "./", "a/", "a/.", "a\0b", "./" * 3000 + "a")),
    ],
)
def test_the_path_that_a_member_means(name, path):
    assert plain_relative_path(name) == path


@given(NAMES)
def test_a_path_of_a_member_is_plain_and_means_itself(name):
    path = plain_relative_path(name)
    assert not path or (is_plain_relative_path(path) and plain_relative_path(path) == path)
