"""Films decoded ahead: in order, bounded, and closed cleanly."""

import subprocess
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.images import Preprocessing, Status, decoder_pool, preprocess, read_film, stream_films
from cxrscore.images.decoder_pool import DecoderPool

SIZE = Preprocessing(size=16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), rng.integers(0, 256, (40, 40), dtype=np.uint8))
    (tmp_path / "07.png").write_bytes(b"not a film")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (3, 2), (2, 100)])
def test_films_come_in_order_with_their_squares(folder: Path, workers: int, ahead: int) -> None:
    prepared = list(stream_films(folder, names(folder), SIZE, workers=workers, ahead=ahead))
    assert len(prepared) == 20
    for name, item in zip(names(folder), prepared, strict=True):
        film = read_film(folder / name)
        assert (item.film, item.film.pixels) == (film, None)
        if film.status == Status.OK:
            np.testing.assert_array_equal(item.pixels, preprocess(film.pixels, SIZE))
        else:
            assert (name, item.pixels) == ("07.png", None)


def test_one_decoding_gives_squares_of_several_sizes(folder: Path) -> None:
    also = [Preprocessing(size=24, fit="pad"), Preprocessing(size=8, fit="crop")]
    for name, item in zip(names(folder), stream_films(folder, names(folder), SIZE, also=also, workers=2), strict=True):
        film = read_film(folder / name)
        if film.status != Status.OK:
            assert (name, item.pixels, item.more) == ("07.png", None, ())
            continue
        for square, wanted in zip((item.pixels, *item.more), (SIZE, *also), strict=True):
            np.testing.assert_array_equal(square, preprocess(film.pixels, wanted))


def test_never_more_than_ahead_films_are_begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order is counted before one is given to a process, whenever it is handled."""
    asked: list[Path] = []
    real = DecoderPool.submit
    monkeypatch.setattr(DecoderPool, "submit", lambda self, path: asked.append(path) or real(self, path))
    films = stream_films(folder, names(folder), SIZE, workers=2, ahead=4)
    assert [len(asked) for _ in films] == [*range(5, 20), *[20] * 5]


def test_an_abandoned_stream_leaves_no_thread_and_no_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = decoder_pool._start_process
    monkeypatch.setattr(decoder_pool, "_start_process", lambda *given: started.append(real(*given)) or started[-1])
    before = set(threading.enumerate())
    films = stream_films(folder, names(folder), SIZE, workers=3)
    next(films)
    films.close()
    assert set(threading.enumerate()) <= before
    assert started
    assert all(process.returncode is not None for process in started)


def test_an_unexpected_error_is_raised_not_swallowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> object:
        raise MemoryError

    monkeypatch.setattr(decoder_pool, "_receive", broken)
    with pytest.raises(MemoryError):
        list(stream_films(folder, names(folder), SIZE, workers=2))


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"workers": 1, "ahead": 0}])
def test_numbers_below_one_are_refused_at_once(folder: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        stream_films(folder, [], SIZE, **wrong)
