"""A scores file read by row says what the same file says as a whole."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from made_run import made_file

from cxrscore.errors import FileFormatError
from cxrscore.scorefile import by_row, open_scores
from cxrscore.scorefile.by_row import TextColumn, open_by_row


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_file(tmp_path_factory.mktemp("rows") / "out.h5", 150)


def test_columns_and_rows_are_those_of_the_whole_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_row, "BLOCK", 64)
    whole = open_scores(path)
    with open_by_row(path) as rows:
        assert (len(rows), rows.findings, rows.provenance) == (150, whole.findings, whole.provenance)
        for name in ("prob", "truth", "thresholds"):
            np.testing.assert_array_equal(getattr(rows, name), getattr(whole, name))
        for name in ("status", "split", "patient", "width", "height"):
            np.testing.assert_array_equal(getattr(rows, name), getattr(whole.films, name))
        assert tuple(rows.path) == whole.films.path
        for row in (0, 1, 7, 149):
            assert (rows.message(row), rows.sha256(row)) == (whole.films.message[row], whole.films.sha256[row])
            for name in ("kind", "modality", "view"):
                assert rows.words[name][rows.codes[name][row]] == getattr(whole.films, name)[row]
        assert rows.words["view"] == ("", "PA")


def test_maps_and_thumbnails_are_found_by_row(path: Path) -> None:
    whole = open_scores(path)
    with open_by_row(path) as rows:
        for place in (0, 5, len(whole.heat_maps.film) - 1):
            row, finding = int(whole.heat_maps.film[place]), int(whole.heat_maps.finding[place])
            np.testing.assert_array_equal(rows.heat_map(row, finding), whole.heat_maps.map[place].astype(np.float32))
            assert rows.mapped_findings(row) == (0, 2)
        assert rows.heat_map(1, 1) is None
        assert rows.mapped_findings(0) == ()
        np.testing.assert_array_equal(rows.thumbnail(2), whole.thumbnails.pixels[1])
        assert rows.thumbnail(1) is None
        peaks = whole.heat_maps.map.reshape(-1, 15).max(axis=1)
        expected = [max(peaks[whole.heat_maps.finding == column], default=0) for column in range(3)]
        np.testing.assert_array_equal(rows.map_scale(), np.array(expected, np.float32))
        assert rows.map_scale()[1] == 0


def test_a_map_that_is_not_finite_does_not_set_the_scale(tmp_path: Path) -> None:
    path = made_file(tmp_path / "out.h5", 8)
    with h5py.File(path, "r+") as file:
        maps = file["cam/map"][:]
        maps[:] = 0.5
        maps[0], maps[2, 0, 0] = np.inf, 2.0  # both of finding 0
        file["cam/map"][:] = maps
    with open_by_row(path) as rows:
        assert rows.map_scale().tolist() == [2.0, 0.0, 0.5]


def test_a_search_finds_texts_by_a_part_and_never_across_two() -> None:
    column = TextColumn(iter([np.array([b"ab", b"", b"CAB"]), np.array([b"x\xc3\xa4b"])]))
    assert list(column) == ["ab", "", "CAB", "xäb"]
    found = {text: column.containing(text).tolist() for text in ("ab", "AB", "bc", "ä", "", "zz")}
    assert found["ab"] == found["AB"] == [True, False, True, False]
    assert found["bc"] == [False] * 4  # the end of the first and the beginning of the third
    assert found["ä"] == [False, False, False, True]
    assert found[""] == [True] * 4
    assert not any(found["zz"])


def test_what_is_damaged_or_too_large_is_refused(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = tmp_path / "cut.h5"
    cut.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(FileFormatError), open_by_row(cut) as rows:
        rows.map_scale()
    with h5py.File(path, "r") as source, h5py.File(tmp_path / "odd.h5", "w") as target:
        for name in source:
            source.copy(name, target)
        target.attrs.update(source.attrs)
        target["cam/film"][0] = 150
    with pytest.raises(FileFormatError, match="cam/film has values outside"), open_by_row(tmp_path / "odd.h5"):
        pass
    monkeypatch.setattr(by_row, "MAX_IN_MEMORY", 1000)
    with pytest.raises(FileFormatError, match="too many films"), open_by_row(path):
        pass


def test_reading_all_maps_ends_when_the_file_is_closed(path: Path) -> None:
    with open_by_row(path) as rows:
        rows.stop()
        with pytest.raises(FileFormatError, match="was closed"):
            rows.map_scale()
