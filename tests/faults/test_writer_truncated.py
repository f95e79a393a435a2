"""Files cut short: never read as if they were whole."""

import random
from pathlib import Path

import pytest
from made_run import contents, made_file, made_run, merge, score

from cxrscore.errors import FileFormatError
from cxrscore.scorefile import open_scores


def _cuts(size: int) -> list[int]:
    """The first bytes one by one, the last ones, and some between."""
    return [*range(0, 100, 7), *random.Random(3).sample(range(100, size), 40), size - 2, size - 1]


def test_a_scores_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    data = made_file(tmp_path / "out.h5").read_bytes()
    cut = tmp_path / "cut.h5"
    for length in _cuts(len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(FileFormatError, match=r"cut\.h5"):
            open_scores(cut)


def test_a_shard_that_was_cut_is_scored_again(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5")
    score(run)
    shard = tmp_path / "out.h5.parts" / "s00000001.h5"
    data = shard.read_bytes()
    for length in _cuts(len(data)):
        shard.write_bytes(data[:length])
        assert not run.done(1)
        with pytest.raises(FileFormatError, match="s00000001"):
            run.read(1)
    assert run.done(0)
    score(run)
    assert contents(merge(run)) == contents(made_file(tmp_path / "again" / "out.h5"))


def test_a_shard_whose_values_are_damaged_is_named_by_the_merge(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5")
    score(run)
    shard = tmp_path / "out.h5.parts" / "s00000001.h5"
    data = bytearray(shard.read_bytes())
    with_maps = max(range(0, len(data) - 512, 512), key=lambda place: len(set(data[place : place + 512])))
    data[with_maps + 256] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"s00000001\.h5.*Remove this file"):
        merge(run)
    shard.unlink()
    score(run)
    assert contents(merge(run)) == contents(made_file(tmp_path / "again" / "out.h5"))
