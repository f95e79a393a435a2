"""Squares of films: by hand, and against NumPy."""

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.images import Preprocessing, film_in_square, preprocess, thumbnail, to_unit


def film(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (height, width), dtype=dtype)


def test_shrinking_by_whole_numbers_is_the_mean_over_the_area() -> None:
    pixels = np.array([[0, 10, 20, 40], [30, 40, 60, 80], [1, 1, 9, 9], [3, 3, 9, 9]], np.uint8)
    assert preprocess(pixels, Preprocessing(size=2)).tolist() == [[20, 50], [2, 9]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shrinking_agrees_with_numpy(dtype: type) -> None:
    pixels = film(96, 160, dtype)
    mean = pixels.reshape(16, 6, 16, 10).mean((1, 3))
    small = preprocess(pixels, Preprocessing(size=16))
    assert small.dtype == dtype
    np.testing.assert_allclose(small, mean, atol=0.5001)


def test_growing_is_bilinear() -> None:
    pixels = np.array([[0, 100], [0, 100]], np.uint8)
    assert preprocess(pixels, Preprocessing(size=4)).tolist() == [[0, 25, 75, 100]] * 4


def test_one_side_may_shrink_while_the_other_grows() -> None:
    pixels = np.repeat(np.array([[0, 100]], np.uint8), 8, axis=0)
    pixels[1::2] += 50  # rows average to 25 and 125
    assert preprocess(pixels, Preprocessing(size=4)).tolist() == [[25, 50, 100, 125]] * 4


def test_crop_takes_the_middle_square() -> None:
    pixels = film(4, 10)
    np.testing.assert_array_equal(preprocess(pixels, Preprocessing(size=4, fit="crop")), pixels[:, 3:7])


@pytest.mark.parametrize(("height", "width"), [(4, 8), (8, 4)])
def test_pad_keeps_the_proportions_on_black(height: int, width: int) -> None:
    pixels = film(height, width)
    square = preprocess(pixels, Preprocessing(size=8, fit="pad"))
    inner = square[2:6] if height == 4 else square[:, 2:6]
    np.testing.assert_array_equal(inner, pixels)
    assert square.sum() == pixels.sum()


def test_pad_of_a_very_long_film_keeps_a_line() -> None:
    assert preprocess(np.full((1, 1000), 9, np.uint8), Preprocessing(size=10, fit="pad")).sum() == 90


@pytest.mark.parametrize(
    ("fit", "height", "width", "rows", "columns"),
    [
        ("stretch", 4, 2, (0, 1), (0, 1)),
        ("pad", 4, 2, (0, 1), (2 / 8, 4 / 8)),
        ("pad", 3, 5, (1 / 8, 5 / 8), (0, 1)),  # 4.8 rows are 5, and of 3 rows of black one is above
        ("pad", 1, 1000, (3 / 8, 1 / 8), (0, 1)),
        ("crop", 4, 2, (-1 / 2, 2), (0, 1)),
        ("crop", 3, 6, (0, 1), (-1 / 3, 2)),
        ("crop", 5, 2, (-1 / 2, 5 / 2), (0, 1)),  # of 3 rows left out one is above
    ],
)
def test_the_place_of_a_film_in_the_square(
    fit: str, height: int, width: int, rows: tuple[float, float], columns: tuple[float, float]
) -> None:
    assert film_in_square(height, width, Preprocessing(size=8, fit=fit)) == (rows, columns)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_a_square_of_the_size_is_left_alone(fit: str) -> None:
    pixels = film(20, 20, np.uint16)
    np.testing.assert_array_equal(preprocess(pixels, Preprocessing(size=20, fit=fit)), pixels)


def test_unit_is_the_same_number_for_both_depths() -> None:
    levels = np.arange(256, dtype=np.uint8)
    unit = to_unit(levels)
    assert unit.dtype == np.float32
    assert (unit[0], unit[51], unit[255]) == (0, np.float32(0.2), 1)
    np.testing.assert_array_equal(unit, to_unit(levels.astype(np.uint16) * np.uint16(257)))


def test_thumbnail_is_8_bit() -> None:
    deep = np.array([[0, 128, 129], [257 * 7, 65535, 65406]], np.uint16)
    np.testing.assert_array_equal(
        thumbnail(np.kron(deep, np.ones((3, 2), np.uint16)), 6)[::3, ::2], [[0, 0, 1], [7, 255, 254]]
    )
    assert thumbnail(film(9, 7), 5).dtype == np.uint8


def test_preprocessing_goes_through_json_and_back() -> None:
    preprocessing = Preprocessing(size=224, fit="pad")
    assert preprocessing.as_dict() == {"size": 224, "fit": "pad", "resize": "area"}
    assert Preprocessing.from_dict(preprocessing.as_dict()) == preprocessing


@pytest.mark.parametrize(
    "values",
    [
        {"size": 0, "fit": "pad", "resize": "area"},
        {"size": 5000, "fit": "pad", "resize": "area"},
        {"size": 224, "fit": "squeeze", "resize": "area"},
        {"size": 224, "fit": "pad", "resize": "nearest"},
        {"size": 224, "fit": "pad"},
        {"size": 224, "fit": "pad", "resize": "area", "colour": True},
    ],
)
def test_wrong_preprocessing_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"expected|outside"):
        Preprocessing.from_dict(values)
