"""Virtual files: what other programs see through them, and what is said of them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from made_parts import differing, merged, tampered, three, with_three

from cxrscore.errors import FileFormatError, InputError
from cxrscore.scorefile import open_scores
from cxrscore.verify import verify_file

FILMS = 200
"""Films 0 to 127, 128 to 191 and 192 to 199 in three parts."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_three(tmp_path, FILMS)


def seen(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        names = ("films/status", "scores/prob", "films/path", "films/split", "films/patient", "truth", "cam/map")
        return {name: file[name][()] for name in names}


def test_other_programs_see_all_rows_in_a_virtual_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = merged(three(home), home / "out.h5", virtual=True)
    monkeypatch.chdir("/")
    assert differing(home / "out.h5", home / "whole.h5") == {"@provenance", "@format", "@partial_files"}
    assert (result.virtual, result.films) == (True, FILMS)
    with h5py.File(home / "out.h5") as file:
        assert [name for name in ("scores/prob", "films/path", "cam/map") if file[name].is_virtual] == [
            "scores/prob",
            "films/path",
            "cam/map",
        ]
        assert [dimension[0].name for dimension in file["scores/prob"].dims] == ["/films/path", "/labels"]


def test_a_missing_part_is_never_seen_as_scores(home: Path) -> None:
    whole = seen(home / "whole.h5")
    merged(three(home), home / "out.h5", virtual=True)
    (home / "part-2.h5").unlink()
    found, gone = seen(home / "out.h5"), slice(64, 128)
    assert not found["films/status"][gone].any()
    assert np.isnan(found["scores/prob"][gone]).all()
    assert np.isnan(found["truth"][gone]).all()
    assert set(found["films/path"][gone].tolist()) == {b""}
    assert set(found["films/split"][gone].tolist()) == {255}
    assert set(found["films/patient"][gone].tolist()) == {-1}
    assert np.isnan(found["cam/map"]).any()
    for name in ("films/status", "scores/prob", "films/path"):
        np.testing.assert_array_equal(np.delete(found[name], gone, 0), np.delete(whole[name], gone, 0))


@pytest.mark.parametrize("name", ["50%.h5", "a%b.h5", "two words.h5", "\N{GREEK SMALL LETTER PI}.h5"])
def test_parts_of_odd_names_are_found(home: Path, name: str) -> None:
    (home / "sub").mkdir()
    (home / "part-2.h5").rename(home / "sub" / name)
    merged([home / "part-1.h5", home / "sub" / name, home / "part-3.h5"], home / "out.h5", virtual=True)
    np.testing.assert_array_equal(seen(home / "out.h5")["scores/prob"], seen(home / "whole.h5")["scores/prob"])


def test_a_virtual_file_is_verified_by_its_parts(home: Path) -> None:
    merged(three(home), home / "out.h5", virtual=True)
    assert [verdict.passed for verdict in verify_file(home / "out.h5")] == [True] * 4
    kept = (home / "part-2.h5").read_bytes()
    for data, words in ((kept + b"\0", "part-2.h5 was changed"), (None, "part-2.h5 is missing")):
        (home / "part-2.h5").unlink()
        if data:
            (home / "part-2.h5").write_bytes(data)
        verdicts = {verdict.check: verdict for verdict in verify_file(home / "out.h5")}
        assert (verdicts["files of the parts"].passed, verdicts["files of the parts"].message) == (False, words)
        (home / "part-2.h5").write_bytes(kept)


def test_a_virtual_file_that_names_parts_of_another_run_is_found_out(home: Path) -> None:
    merged(three(home), home / "out.h5", virtual=True)
    tampered(home / "out.h5", "inputs", lambda own: own.update(batch_size=9))
    assert [verdict.passed for verdict in verify_file(home / "out.h5")] == [True, False, True, True]
    tampered(home / "out.h5", "partial_files", lambda own: own.pop())
    verdicts = verify_file(home / "out.h5")
    assert (verdicts[-1].passed, "partition 3/3 is missing" in verdicts[-1].message) == (False, True)


@pytest.mark.parametrize("name", ["../part-2.h5", "/etc/passwd", "", "a\0b"])
def test_a_virtual_file_leads_nowhere_else(home: Path, name: str) -> None:
    merged(three(home), home / "out.h5", virtual=True)
    tampered(home / "out.h5", "partial_files", lambda own: own[1].update(file=name))
    verdicts = verify_file(home / "out.h5")
    assert [verdict.passed for verdict in verdicts] == [False]
    assert "names a partial file outside its folder" in verdicts[0].message


def test_scores_are_not_read_through_a_virtual_file(home: Path) -> None:
    merged(three(home), home / "out.h5", virtual=True)
    with pytest.raises(FileFormatError, match=r"out\.h5: /.* is virtual.*merge its parts without --virtual"):
        open_scores(home / "out.h5")


def test_a_virtual_file_becomes_a_whole_one(home: Path) -> None:
    merged(three(home), home / "out.h5", virtual=True)
    merged(three(home), home / "out.h5")
    assert differing(home / "out.h5", home / "whole.h5") == {"@provenance"}


def test_parts_elsewhere_are_refused_for_a_virtual_file(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(InputError, match=r"part-1\.h5 is outside of .*: put the virtual file in a folder above"):
        merged(three(home), elsewhere / "out.h5", virtual=True)
    assert list(elsewhere.iterdir()) == []
