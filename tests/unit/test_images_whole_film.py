"""A film to look at: whole, in its proportions, decoded in a worker process."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrscore.images import DecoderPool, Preprocessing, Status, decoder_pool
from cxrscore.images.preprocess import shrink_to


def test_the_longer_side_shrinks_by_means_and_the_proportions_stay() -> None:
    film = np.array([[0, 10, 100, 200], [20, 30, 100, 200]], np.uint16)
    assert shrink_to(film, 2).tolist() == [[15, 150]]  # of 4 pixels each: 60 / 4, 600 / 4
    assert shrink_to(film.T, 2).tolist() == [[15], [150]]
    assert shrink_to(film, 4) is film
    assert shrink_to(np.zeros((100, 1), np.uint8), 10).shape == (10, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_worker_gives_the_whole_film_and_squares_by_turns(tmp_path: Path, dtype: type) -> None:
    top = np.iinfo(dtype).max
    pixels = np.linspace(0, top, 40 * 50).reshape(40, 50).astype(dtype)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (tmp_path / "b.png").write_bytes(b"none")
    pool = DecoderPool(1, Preprocessing(size=8), also=[Preprocessing(size=4)])
    try:
        whole = pool.load_whole(tmp_path / "a.png", 50)
        np.testing.assert_array_equal(whole.pixels, pixels)
        assert (whole.film.width, whole.film.height, whole.more) == (50, 40, ())
        assert pool.load_whole(tmp_path / "a.png", 25).pixels.shape == (20, 25)
        squares = pool.prepare(tmp_path / "a.png")
        assert (squares.pixels.shape, squares.more[0].shape) == ((8, 8), (4, 4))
        failed = pool.load_whole(tmp_path / "b.png", 25)
        assert (failed.film.status, failed.pixels) == (Status.NOT_AN_IMAGE, None)
    finally:
        pool.close()


def test_a_worker_is_not_believed_whatever_shape_it_says() -> None:
    order = {"longest": 25}
    assert decoder_pool._shapes(order, [8], [[20, 25]]) == [(20, 25)]
    for told in ([[26, 1]], [[0, 5]], [[-1, 5]], [[5, 5], [5, 5]], [], [[5]]):
        with pytest.raises((ValueError, TypeError)):
            decoder_pool._shapes(order, [8], told)
    assert decoder_pool._shapes({}, [8, 4], [[10**9, 10**9]]) == [(8, 8), (4, 4)]
    with pytest.raises(ValueError):
        decoder_pool._shapes({"header_only": True}, [8], [[8, 8]])
