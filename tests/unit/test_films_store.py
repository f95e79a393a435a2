"""The store of a training run: right pixels, made once, whole or absent."""

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrscore.errors import InputError, WriteError
from cxrscore.films import FilmStore, Preprocessing, Status, preprocess, read_film, store, to_unit

SIZE = Preprocessing(size=15)
NAMES = ["a.png", "b.png", "bad.png", "deep.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(films / name), rng.integers(0, 256, (40, 60), dtype=np.uint8))
    cv2.imwrite(str(films / "deep.png"), rng.integers(0, 65536, (40, 60), dtype=np.uint16))
    (films / "bad.png").write_bytes(b"no film")
    return films


def build(folder: Path, paths: list[str] = NAMES, **options: object) -> FilmStore:
    return FilmStore.build(folder, paths, SIZE, folder.parent / "cache", workers=2, **options)


def stores(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder.parent / "cache").iterdir())


def test_every_film_in_its_own_depth(folder: Path) -> None:
    built = build(folder)
    assert built.rows == (0, 1, 3)
    assert [film.status for film in built.films] == [Status.OK, Status.OK, Status.NOT_AN_IMAGE, Status.OK]
    for index in built.rows:
        expected = preprocess(read_film(folder / NAMES[index]).pixels, SIZE)
        assert built.raw(index).dtype == (np.uint16 if NAMES[index] == "deep.png" else np.uint8)
        np.testing.assert_array_equal(built.raw(index), expected)
        np.testing.assert_array_equal(built.unit(index), to_unit(expected))
    batch = built.batch(np.array([3, 0]))
    assert (batch.dtype, batch.shape) == (np.float32, (2, 15, 15))
    np.testing.assert_array_equal(batch, [built.unit(3), built.unit(0)])
    assert built.batch([]).shape == (0, 15, 15)


def test_a_film_without_pixels_says_why(folder: Path) -> None:
    with pytest.raises(InputError, match="film 2 has no pixels: neither PNG"):
        build(folder).raw(2)


def test_pixels_cannot_be_changed(folder: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        build(folder).raw(0)[0, 0] = 1


def test_a_second_build_reads_no_film(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(folder)
    monkeypatch.setattr(store, "stream_films", None)
    second = build(folder)
    assert (second.films, second.rows) == (first.films, first.rows)
    np.testing.assert_array_equal(second.batch(second.rows), first.batch(first.rows))


def test_a_changed_film_or_preprocessing_makes_another_store(folder: Path) -> None:
    before = build(folder).unit(0).copy()
    cv2.imwrite(str(folder / "a.png"), np.random.default_rng(9).integers(0, 256, (50, 60), dtype=np.uint8))
    assert not np.array_equal(build(folder).unit(0), before)
    FilmStore.build(folder, NAMES, Preprocessing(size=15, fit="pad"), folder.parent / "cache", workers=1)
    assert len(stores(folder)) == 3


def test_old_stores_are_pruned(folder: Path) -> None:
    for size in range(10, 17):
        FilmStore.build(folder, NAMES, Preprocessing(size=size), folder.parent / "cache", workers=1)
    assert len(stores(folder)) == store._KEPT


def test_progress_counts_every_film(folder: Path) -> None:
    counts: list[int] = []
    build(folder, progress=counts.append)
    assert counts == [1, 2, 3, 4]


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-8] + b"elsewhat"])
def test_a_store_that_is_not_whole_is_made_anew(folder: Path, damage: object) -> None:
    expected = build(folder).batch([0, 1, 3]).copy()
    path = next((folder.parent / "cache").iterdir())
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(build(folder).batch([0, 1, 3]), expected)


def test_a_full_disk_is_an_error_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "write_all", full)
    with pytest.raises(WriteError, match="No space left"):
        build(folder)
    assert stores(folder) == []


def test_a_cache_that_cannot_be_made_is_an_error(folder: Path) -> None:
    (folder.parent / "cache").write_text("a file where the folder should be")
    with pytest.raises(WriteError):
        build(folder)


def test_an_interrupted_build_leaves_nothing(folder: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(folder, progress=stop)
    assert stores(folder) == []


def test_a_film_that_is_gone_is_a_film_with_that_status(folder: Path) -> None:
    built = build(folder, ["a.png", "gone.png"])
    assert (built.rows, built.films[1].status) == ((0,), Status.UNREADABLE)


def test_another_process_opens_what_was_made(folder: Path) -> None:
    built = build(folder, [*NAMES, "gone.png"])
    opened = FilmStore.open(built.path)
    assert (opened.films, opened.rows, opened.path) == (built.films, built.rows, built.path)
    np.testing.assert_array_equal(opened.raw(3), built.raw(3))
    built.path.write_bytes(built.path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"there is no whole store of films at .*\.store, wanted in a cache folder"):
        FilmStore.open(built.path)


def test_no_usable_film_at_all(folder: Path) -> None:
    assert build(folder, ["bad.png"]).rows == ()
