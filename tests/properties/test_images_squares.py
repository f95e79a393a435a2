"""What must hold for the square of any film."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cxrscore.images import Augmentation, Preprocessing, augment, preprocess, thumbnail, to_unit

FILMS = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda dtype: arrays.arrays(dtype, st.tuples(st.integers(1, 40), st.integers(1, 40)))
)
FITS = st.sampled_from(["stretch", "pad", "crop"])


@settings(deadline=None)
@given(FILMS, st.integers(1, 50), FITS)
def test_a_square_of_the_size_asked_within_the_greys_of_the_film(pixels: np.ndarray, size: int, fit: str) -> None:
    square = preprocess(pixels, Preprocessing(size=size, fit=fit))
    assert (square.shape, square.dtype) == ((size, size), pixels.dtype)
    low = 0 if fit == "pad" else pixels.min()
    assert low <= square.min() <= square.max() <= pixels.max()
    unit = to_unit(square)
    assert 0 <= unit.min() <= unit.max() <= 1
    assert thumbnail(pixels, size).shape == (size, size)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(1, 50))
def test_an_even_film_stays_even(height: int, width: int, grey: int, size: int) -> None:
    square = preprocess(np.full((height, width), grey, np.uint8), Preprocessing(size=size))
    assert (square == grey).all()


@settings(deadline=None)
@given(FILMS, st.integers(1, 30), st.sampled_from(["stretch", "crop"]))
def test_mirroring_before_or_after_is_the_same(pixels: np.ndarray, size: int, fit: str) -> None:
    if fit == "crop" and (pixels.shape[1] - min(pixels.shape)) % 2:
        pixels = pixels[:, :-1] if pixels.shape[1] > 1 else pixels
    preprocessing = Preprocessing(size=size, fit=fit)
    mirrored = preprocess(np.ascontiguousarray(pixels[:, ::-1]), preprocessing)
    difference = np.abs(mirrored[:, ::-1].astype(int) - preprocess(pixels, preprocessing))
    assert difference.max() <= 1 + 1e-3 * np.iinfo(pixels.dtype).max


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.booleans())
def test_a_view_stays_in_range_and_comes_again(seed: int, side: int, flip: bool) -> None:
    film = np.random.default_rng(0).random((side, side), dtype=np.float32)
    augmentation = Augmentation(shear=5, flip=flip)
    view = augment(film, augmentation, seed)
    assert (view.shape, view.dtype) == ((side, side), np.float32)
    assert 0 <= view.min() <= view.max() <= film.max() + 1e-6
    np.testing.assert_array_equal(view, augment(film, augmentation, seed))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_to_unit_keeps_order_and_is_reversible(dtype: type) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    unit = to_unit(levels)
    assert (np.diff(unit) > 0).all()
    np.testing.assert_array_equal(np.rint(unit.astype(np.float64) * np.iinfo(dtype).max), levels)
