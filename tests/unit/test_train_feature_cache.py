"""Outputs of frozen layers on disk: what is known is not worked out again, and a bad cache costs only time."""

import os
import time

import numpy as np
import pytest

from cxrscore.training.features import cache as feature_cache
from cxrscore.training.features.cache import cached_features

KEY = {"frozen": "ab", "copy": None}


@pytest.fixture
def asked():
    return []


@pytest.fixture
def compute(asked):
    """Outputs float32 [n,2,1] that are the place of a film, two films a batch, and a note of what was asked for."""

    def of(places):
        asked.append(list(places))
        for start in range(0, len(places), 2):
            yield np.array([[[place], [10 * place]] for place in places[start : start + 2]], np.float32)

    return of


def stored_films(folder):
    """The films of the one file."""
    (path,) = folder.glob("*.rows")
    return feature_cache.EntryFile.open(path, feature_cache._MARK).index["films"]


def values(found, count):
    return found.take(np.arange(count))[:, :, 0].tolist()


def test_only_new_films_are_worked_out(tmp_path, asked, compute):
    first = cached_features(tmp_path, KEY, ["a", "b"], compute)
    again = cached_features(tmp_path, KEY, ["b", "c", "a", "c"], compute)
    assert asked == [[0, 1], [1]]
    assert values(first, 2) == [[0, 0], [1, 10]]
    assert values(again, 4) == [[1, 10], [1, 10], [0, 0], [1, 10]]
    assert again.rows.shape == (3, 2, 1)
    assert again.take(np.array([0])).dtype == np.float32


def test_numbers_come_back_to_the_bit(tmp_path):
    rows = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float32)
    rows[0, 0, 0] = np.nextafter(np.float32(1), np.float32(2))
    for _ in range(2):
        found = cached_features(tmp_path, KEY, list("abcde"), lambda places: iter([rows[list(places)]]))
        assert found.take(np.arange(5)).tobytes() == rows.tobytes()


def test_another_key_has_a_file_of_its_own(tmp_path, asked, compute):
    cached_features(tmp_path, KEY, ["a"], compute)
    cached_features(tmp_path, {**KEY, "copy": 1}, ["a"], compute)
    assert asked == [[0], [0]]
    assert len(list(tmp_path.glob("*.rows"))) == 2
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.glob("*.rows"))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:30],
        lambda data: b"",
        lambda data: data[4:],
        lambda data: data[:-1] + b"x",
        lambda data: data.replace(b'"shape"', b'"share"'),
        lambda data: data.replace(b'"films"', b'"filmy"'),
        lambda data: data.replace(b"[2, 1]", b"[2, 9]"),
        lambda data: data.replace(b'["a"]', b'["b"]'),
        lambda data: data[:-16] + b"\xff" * 8 + data[-8:],
    ],
)
def test_a_file_whose_index_is_damaged_is_made_anew(tmp_path, asked, compute, change):
    cached_features(tmp_path, KEY, ["a"], compute)
    (path,) = tmp_path.glob("*.rows")
    path.write_bytes(change(path.read_bytes()))
    for _ in range(2):
        assert values(cached_features(tmp_path, KEY, ["a"], compute), 1) == [[0, 0]]
    assert asked == [[0], [0]]


@pytest.fixture(params=["in memory", "on disk"])
def where(request, monkeypatch):
    """Whether outputs are loaded, or read when they are taken."""
    if request.param == "on disk":
        monkeypatch.setattr(feature_cache, "MAX_MEMORY_BYTES", 0)
    return request.param


def spoil(folder, place, data=None):
    """Changes a byte of the one file, or writes these."""
    (path,) = folder.glob("*.rows")
    with path.open("r+b") as file:
        file.seek(place)
        one = file.read(1)
        file.seek(place)
        file.write(bytes([one[0] ^ 1]) if data is None else data)


@pytest.mark.parametrize("place", [0, 8, 15, 23])
def test_a_damaged_output_is_computed_again_and_mended(tmp_path, asked, compute, where, place):
    cached_features(tmp_path, KEY, ["a", "b", "c"], compute)
    spoil(tmp_path, place)
    asked.clear()
    found = cached_features(tmp_path, KEY, ["a", "b", "c"], compute)
    assert values(found, 3) == [[0, 0], [1, 10], [2, 20]]
    assert (asked, found.damaged) == ([[place // 8]], 1)
    again = cached_features(tmp_path, KEY, ["a", "b", "c"], compute)
    assert (asked, again.damaged) == ([[place // 8]], 0)


def test_an_output_that_is_damaged_while_it_is_in_use_is_computed_again(tmp_path, asked, compute, monkeypatch):
    monkeypatch.setattr(feature_cache, "MAX_MEMORY_BYTES", 0)
    found = cached_features(tmp_path, KEY, ["a", "b", "c"], compute)
    (path,) = tmp_path.glob("*.rows")
    with path.open("r+b") as file:
        file.truncate(9)  # through a memory map this would end the process
    assert values(found, 3) == [[0, 0], [1, 10], [2, 20]]
    assert asked == [[0, 1, 2], [1], [2]]


def test_damage_to_an_output_that_nobody_wants_is_not_copied_as_whole(tmp_path, asked, compute, where):
    cached_features(tmp_path, KEY, ["a", "b"], compute)
    spoil(tmp_path, 8)
    cached_features(tmp_path, KEY, ["a", "c"], compute)
    assert values(cached_features(tmp_path, KEY, ["a", "b"], compute), 2) == [[0, 0], [1, 10]]
    assert asked == [[0, 1], [1], [1]]


def test_outputs_of_something_else_under_this_name_are_not_used(tmp_path, asked, compute, where):
    cached_features(tmp_path / "one", KEY, ["a", "b"], compute)
    other = {**KEY, "frozen": "cd"}
    cached_features(tmp_path / "two", other, ["a", "b"], lambda places: (rows + 5 for rows in compute(places)))
    (mine,), (foreign,) = (tmp_path / "one").glob("*.rows"), (tmp_path / "two").glob("*.rows")
    mine.write_bytes(foreign.read_bytes())
    assert values(cached_features(tmp_path / "one", KEY, ["a", "b"], compute), 2) == [[0, 0], [1, 10]]


def test_a_run_that_is_stopped_leaves_nothing_under_the_name(tmp_path, compute):
    def stopped(places):
        yield from list(compute(places))[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_features(tmp_path, KEY, ["a", "b", "c"], stopped)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, asked, compute):
    (tmp_path / "file").write_bytes(b"")
    found = cached_features(tmp_path / "file" / "below", KEY, ["a", "b", "c"], compute)
    assert values(found, 3) == [[0, 0], [1, 10], [2, 20]]
    assert asked == [[0, 1, 2]]


def test_a_disk_that_fills_up_is_done_without(tmp_path, compute, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_cache, "write_all", full)
    assert values(cached_features(tmp_path, KEY, ["a", "b", "c"], compute), 3) == [[0, 0], [1, 10], [2, 20]]
    assert not list(tmp_path.iterdir())


def test_what_has_no_room_on_disk_or_in_memory_is_not_kept(tmp_path, compute, monkeypatch):
    monkeypatch.setattr(feature_cache, "MAX_DISK_BYTES", 31)
    monkeypatch.setattr(feature_cache, "MAX_MEMORY_BYTES", 31)
    assert cached_features(tmp_path, KEY, list("abcd"), compute) is None  # 4 films of 8 bytes
    assert cached_features(tmp_path, KEY, list("ab"), compute, sets=2) is None
    assert not list(tmp_path.iterdir())
    assert cached_features(tmp_path, KEY, list("abc"), compute) is not None


def test_films_of_other_runs_stay_as_long_as_there_is_room(tmp_path, asked, compute, monkeypatch):
    cached_features(tmp_path, KEY, list("abcdef"), compute)
    monkeypatch.setattr(feature_cache, "MAX_MEMORY_BYTES", 0)
    monkeypatch.setattr(
        feature_cache, "MAX_DISK_BYTES", (7 + 2 * 2) * 8
    )  # seven films once, and two more sets of the two wanted ones
    assert values(cached_features(tmp_path, KEY, ["f", "g"], compute, sets=3), 2) == [[5, 50], [1, 10]]
    cached_features(tmp_path, KEY, list("abcdefg"), compute)
    assert asked == [[0, 1, 2, 3, 4, 5], [1]]


def test_films_of_other_runs_go_where_they_would_take_the_room(tmp_path, asked, compute, monkeypatch):
    cached_features(tmp_path, KEY, list("abcdef"), compute)
    monkeypatch.setattr(feature_cache, "MAX_MEMORY_BYTES", 0)
    monkeypatch.setattr(feature_cache, "MAX_DISK_BYTES", 3 * 2 * 8)  # three sets of two films, and no film more
    found = cached_features(tmp_path, KEY, ["g", "f", "g"], compute, sets=3)
    assert values(found, 3) == [[0, 0], [5, 50], [0, 0]]
    assert found.rows is None
    assert asked == [[0, 1, 2, 3, 4, 5], [0]]
    assert stored_films(tmp_path) == ["f", "g"]
    monkeypatch.setattr(feature_cache, "MAX_DISK_BYTES", 3 * 2 * 8 - 1)
    assert cached_features(tmp_path, KEY, ["f", "h"], compute, sets=3) is None


def test_in_memory_there_are_the_wanted_films_alone(tmp_path, compute, monkeypatch):
    cached_features(tmp_path, KEY, list("abcdef"), compute)
    monkeypatch.setattr(feature_cache, "MAX_DISK_BYTES", 0)
    found = cached_features(tmp_path, KEY, ["g", "c"], compute)
    assert values(found, 2) == [[0, 0], [2, 20]]
    assert len(found.rows) == 2


def test_those_used_longest_ago_go_when_there_are_too_many(tmp_path, compute, monkeypatch):
    monkeypatch.setattr(feature_cache, "MAX_DISK_BYTES", 200)
    for view in range(6):
        cached_features(tmp_path, {"copy": view}, ["a"], compute)
        for path in tmp_path.glob("*.rows"):
            os.utime(path, times=(path.stat().st_mtime - 10,) * 2)
        cached_features(tmp_path, {"copy": 0}, ["a"], compute)
    left = list(tmp_path.glob("*.rows"))
    assert 2 <= len(left) < 6
    asked_again = []
    cached_features(tmp_path, {"copy": 0}, ["a"], lambda places: asked_again.append(places) or compute(places))
    assert not asked_again


def test_what_a_killed_run_left_goes_after_a_day(tmp_path, compute):
    old, new = tmp_path / ".outputs-1.rows.ab.part", tmp_path / ".outputs-2.rows.cd.part"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, times=(time.time() - 25 * 3600,) * 2)
    cached_features(tmp_path, KEY, ["a"], compute)
    assert not old.exists()
    assert new.exists()
