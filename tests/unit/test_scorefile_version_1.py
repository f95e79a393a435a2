"""Scores files of version 1, which lack scores/prob_uncalibrated, stay readable."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from made_parts import merged, three, with_three
from made_run import made_run, merge, score

from cxrscore.errors import FileFormatError
from cxrscore.scorefile import check_content, open_scores, read_films, read_label_columns, shard_of
from cxrscore.verify import verify_file


def as_version_1(path: Path) -> Path:
    """Makes the file what the earlier layout wrote."""
    with h5py.File(path, "r+") as file:
        del file["scores/prob_uncalibrated"]
        file.attrs["version"] = 1
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    run = made_run(tmp_path / "out.h5", 9)
    score(run)
    return as_version_1(merge(run))


def test_a_file_of_version_1_is_read_with_nan(old: Path) -> None:
    with h5py.File(old) as file:
        prob = file["scores/prob"][()]
    scores = open_scores(old)
    np.testing.assert_array_equal(scores.prob, prob)
    assert scores.prob_uncalibrated.shape == prob.shape
    assert scores.prob_uncalibrated.dtype == np.float32
    assert np.isnan(scores.prob_uncalibrated).all()
    assert np.isfinite(scores.prob).any()
    check_content(old)
    assert len(read_films(old).path) == len(read_label_columns(old)[0]["truth"]) == 9
    assert np.isnan(shard_of(scores, range(4)).prob_uncalibrated).all()
    assert [one.passed for one in verify_file(old) if one.check == "format, schema and checksums"] == [True]


@pytest.mark.parametrize(
    ("version", "words"), [(2, "lacks scores/prob_uncalibrated"), (3, "this cxrscore reads 1 and 2")]
)
def test_each_version_has_its_datasets(old: Path, version: int, words: str) -> None:
    with h5py.File(old, "r+") as file:
        file.attrs["version"] = version
    with pytest.raises(FileFormatError, match=words):
        open_scores(old)


def test_a_file_of_version_1_has_no_other_datasets(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5", 9)
    score(run)
    with h5py.File(merge(run), "r+") as file:
        file.attrs["version"] = 1
    with pytest.raises(FileFormatError, match="holds unknown scores/prob_uncalibrated"):
        open_scores(tmp_path / "out.h5")


def test_partial_files_of_both_versions_are_merged(tmp_path: Path) -> None:
    home = with_three(tmp_path, 200)
    as_version_1(three(home)[1])  # films 64 to 127
    merged(three(home), home / "out.h5")
    found, whole = open_scores(home / "out.h5"), open_scores(home / "whole.h5")
    assert np.isnan(found.prob_uncalibrated[64:128]).all()
    for rows in (slice(0, 64), slice(128, 200)):
        np.testing.assert_array_equal(found.prob_uncalibrated[rows], whole.prob_uncalibrated[rows])
    np.testing.assert_array_equal(found.prob, whole.prob)
    assert "nan" not in next(one.message for one in verify_file(home / "out.h5") if one.check == "scores")
    merged(three(home), home / "virtual.h5", virtual=True)
    with h5py.File(home / "virtual.h5") as file:
        np.testing.assert_array_equal(file["scores/prob_uncalibrated"][()], found.prob_uncalibrated)
