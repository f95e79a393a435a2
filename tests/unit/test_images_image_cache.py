"""The store of a training run: right pixels, made once, whole or absent."""

import errno
import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrscore.errors import InputError, WriteError
from cxrscore.images import ImageCache, Preprocessing, Status, image_cache, preprocess, read_film, to_unit

SIZE = Preprocessing(size=15)
SQUARE = 15 * 15
NAMES = ["a.png", "b.png", "bad.png", "deep.png"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "user"))
    rng = np.random.default_rng(0)
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(films / name), rng.integers(0, 256, (40, 60), dtype=np.uint8))
    cv2.imwrite(str(films / "deep.png"), rng.integers(0, 65536, (40, 60), dtype=np.uint16))
    (films / "bad.png").write_bytes(b"no film")
    return films


def build(folder: Path, paths: list[str] = NAMES, **options: object) -> ImageCache:
    return ImageCache.build(folder, paths, SIZE, folder.parent / "cache", workers=1, **options)


def other_film(path: Path) -> None:
    """Another film of the same name, size and mtime."""
    before = path.stat()
    film = np.random.default_rng(9).integers(0, 256, (40, 60), dtype=np.uint8)
    data = cv2.imencode(".png", film)[1].tobytes()
    path.write_bytes(data.ljust(before.st_size, b"\0")[: before.st_size])  # what follows the end is ignored
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert read_film(path).status == Status.OK


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The films that are decoded from now on."""
    names: list[str] = []
    stream_films = image_cache.stream_films

    def noted(folder: Path, paths: list[str], *given: object, **more: object) -> object:
        names.extend(paths)
        return stream_films(folder, paths, *given, **more)

    monkeypatch.setattr(image_cache, "stream_films", noted)
    return names


def damage(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


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
    monkeypatch.setattr(image_cache, "stream_films", None)
    second = build(folder)
    assert (second.films, second.rows) == (first.films, first.rows)
    np.testing.assert_array_equal(second.batch(second.rows), first.batch(first.rows))


def test_another_preprocessing_makes_another_store(folder: Path) -> None:
    build(folder)
    ImageCache.build(folder, NAMES, Preprocessing(size=15, fit="pad"), folder.parent / "cache", workers=1)
    assert len(stores(folder)) == 2


def test_other_decoders_make_another_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(folder)
    monkeypatch.setattr(image_cache, "decoder_versions", lambda: {"opencv": "0"})
    build(folder)
    assert len(stores(folder)) == 2


def test_only_a_film_of_other_bytes_is_decoded_whatever_its_name_size_and_mtime(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(folder / "a.png"), np.zeros((400, 600), np.uint8))  # so that the other film is not longer
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes().ljust(9000, b"\0"))
    build(folder)
    other_film(folder / "a.png")
    names = decoded(monkeypatch)
    for _ in range(2):
        built = build(folder)
        assert names == ["a.png"]
        for index in built.rows:
            np.testing.assert_array_equal(built.raw(index), preprocess(read_film(folder / NAMES[index]).pixels, SIZE))
        assert built.rows == (0, 1, 3)


def test_a_film_that_could_not_be_read_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(folder, ["a.png", "late.png"])
    (folder / "late.png").write_bytes((folder / "b.png").read_bytes())
    names = decoded(monkeypatch)
    built = build(folder, ["a.png", "late.png"])
    assert (names, built.rows) == (["late.png"], (0, 1))
    np.testing.assert_array_equal(built.raw(0), preprocess(read_film(folder / "a.png").pixels, SIZE))


@pytest.mark.parametrize("place", [0, SQUARE - 1, SQUARE, 4 * SQUARE - 1], ids=["first", "last of a", "b", "last"])
def test_a_damaged_square_is_decoded_anew(folder: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    built = build(folder)
    expected, whole = built.batch([0, 1, 3]), built.path.read_bytes()
    damage(built.path, place, bytes([whole[place] ^ 1]))
    names = decoded(monkeypatch)
    again = build(folder)
    assert names == [NAMES[{0: 0, 1: 1}.get(place // SQUARE, 3)]]
    assert again.damaged == 1
    np.testing.assert_array_equal(again.batch([0, 1, 3]), expected)
    assert again.path.read_bytes() == whole
    assert build(folder).damaged == 0


def test_a_square_that_is_damaged_while_the_store_is_in_use_is_decoded_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(folder)
    expected = built.batch([0, 1, 3])
    with built.path.open("r+b") as file:
        file.truncate(SQUARE + 3)  # through a memory map this would end the process
    names = decoded(monkeypatch)
    for _ in range(2):
        np.testing.assert_array_equal(built.batch([0, 1, 3]), expected)
    assert (names, built.damaged) == (["b.png", "deep.png"], 2)
    with pytest.raises(ValueError, match="read-only"):
        built.raw(1)[0, 0] = 1


@pytest.mark.parametrize("change", ["other", "gone"])
def test_where_the_film_has_changed_too_that_is_an_error(folder: Path, change: str) -> None:
    built = build(folder)
    damage(built.path, 0, b"\0" * SQUARE)
    np.testing.assert_array_equal(built.raw(1), preprocess(read_film(folder / "b.png").pixels, SIZE))
    if change == "gone":
        (folder / "a.png").unlink()
    else:
        (folder / "a.png").write_bytes((folder / "b.png").read_bytes())
    with pytest.raises(
        InputError, match=r"a\.png is damaged in the cache, and its file has changed since the run began"
    ):
        built.raw(0)


def test_a_store_of_other_films_under_this_name_is_not_used(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name, seed in (("a.png", 5), ("b.png", 6), ("bad.png", 7), ("deep.png", 8)):
        cv2.imwrite(str(other / name), np.random.default_rng(seed).integers(0, 256, (40, 60), dtype=np.uint8))
    built = build(folder)
    expected = built.batch(built.rows)
    foreign = ImageCache.build(other, NAMES, SIZE, tmp_path / "foreign", workers=1)
    built.path.write_bytes(foreign.path.read_bytes())
    again = build(folder)
    assert again.rows == built.rows
    np.testing.assert_array_equal(again.batch(again.rows), expected)


def test_old_stores_are_pruned(folder: Path) -> None:
    for size in range(10, 17):
        ImageCache.build(folder, NAMES, Preprocessing(size=size), folder.parent / "cache", workers=1)
    assert len(stores(folder)) == image_cache._MAX_STORES


def test_progress_counts_every_film(folder: Path) -> None:
    counts: list[int] = []
    build(folder, progress=counts.append)
    assert counts == [1, 2, 3, 4]


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]]) if at >= 0 else flipped(len(data) + at)(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: data[:40],
        lambda data: data[1:],
        lambda data: data[:-8] + b"elsewhat",
        lambda data: data[:-16] + b"\xff" * 8 + data[-8:],
        lambda data: data.replace(b'"status": 3', b'"status": 1'),
        lambda data: data.replace(b'"side": 15', b'"side": 14'),
        *map(flipped, (-1, -9, -17, -48, -49, 4 * SQUARE)),
    ],
)
def test_a_store_whose_index_is_not_whole_is_made_anew(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    built = build(folder)
    whole = built.path.read_bytes()
    built.path.write_bytes(spoil(whole))
    assert built.path.read_bytes() != whole
    again = build(folder)
    assert (again.films, again.path.read_bytes()) == (built.films, whole)


@pytest.mark.parametrize("content", [None, [], {}, {"key": 1}, "deep"])
def test_a_sound_file_of_something_else_is_made_anew(folder: Path, content: object) -> None:
    built = build(folder)
    whole, index = built.path.read_bytes(), image_cache.EntryFile.open(built.path, image_cache._MARK).index
    if content == {"key": 1}:
        content = {**index, "films": index["films"][:1]}
    end = image_cache.index_bytes(content, image_cache._MARK)
    if content == "deep":
        text = b"[" * 100_000
        end = text + struct.pack("<32sQ8s", hashlib.sha256(text).digest(), len(text), image_cache._MARK)
    built.path.write_bytes(whole[: 4 * SQUARE] + end)
    build(folder)
    assert built.path.read_bytes() == whole


def test_a_pipe_in_the_place_of_a_store_is_not_waited_for(folder: Path) -> None:
    built = build(folder)
    built.path.unlink()
    os.mkfifo(built.path)
    np.testing.assert_array_equal(build(folder).raw(0), built.raw(0))


def test_a_full_disk_is_an_error_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_cache, "write_all", full)
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
    reference = json.loads(json.dumps(built.reference()))
    opened = ImageCache.open(reference)
    assert (opened.films, opened.rows, opened.path) == (built.films, built.rows, built.path)
    np.testing.assert_array_equal(opened.raw(3), built.raw(3))
    damage(built.path, 2 * SQUARE, b"\0" * 20)
    np.testing.assert_array_equal(opened.raw(3), preprocess(read_film(folder / "deep.png").pixels, SIZE))
    (folder / "a.png").write_bytes((folder / "b.png").read_bytes())
    build(folder, [*NAMES, "gone.png"])
    for _ in range(2):
        with pytest.raises(InputError, match=r"there is no complete image cache at .*\.store\. Use a cache folder"):
            ImageCache.open(reference)
        built.path.write_bytes(built.path.read_bytes()[:-1])


def test_no_usable_film_at_all(folder: Path) -> None:
    assert build(folder, ["bad.png"]).rows == ()
