"""Films that are one picture: found when coded again, resized or cropped; different films are left alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrscore.images import thumbnail
from cxrscore.labels import THUMBNAIL, duplicates, near_duplicates
from cxrscore.labels import image_similarity as fit
from cxrscore.labels.image_similarity import image_similarity

pytestmark = pytest.mark.slow


def fields(count: int, side: int, seed: int) -> np.ndarray:
    """Pictures uint8 [count,side,side] of no meaning with about the spectrum of a film."""
    rng = np.random.default_rng(seed)
    waves = np.fft.rfft2(rng.standard_normal((count, side, side)))
    far = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side
    found = np.fft.irfft2(waves / (1 + far) ** 1.5, s=(side, side))
    found = found / found.std(axis=(1, 2), keepdims=True)
    return np.clip(128 + 45 * found, 0, 255).astype(np.uint8)


def jpeg(film: np.ndarray, quality: int = 50) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)


def contrast(film: np.ndarray, gain: float, add: float = 0) -> np.ndarray:
    return np.clip((film.astype(np.float32) - 127.5) * gain + 127.5 + add, 0, 255).round().astype(np.uint8)


def crop(film: np.ndarray, share: float = 0.01) -> np.ndarray:
    rows, columns = (max(1, round(side * share)) for side in film.shape)
    return film[rows:-rows, columns:-columns]


def corner(film: np.ndarray) -> np.ndarray:
    return film[round(film.shape[0] * 0.01) :, round(film.shape[1] * 0.01) :]


def half(film: np.ndarray) -> np.ndarray:
    return cv2.resize(film, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


COPIES = {
    "the same": lambda film: film,
    "JPEG of quality 50": jpeg,
    "half the size": half,
    "a quarter of the size": lambda film: half(half(film)),
    "contrast + 10 %": lambda film: contrast(film, 1.1),
    "contrast - 10 %": lambda film: contrast(film, 0.9),
    "brighter by a tenth": lambda film: contrast(film, 1, 25),
    "darker by a tenth": lambda film: contrast(film, 1, -25),
    "1 % cropped at each side": crop,
    "1 % cropped at a corner": corner,
    "all of it": lambda film: contrast(jpeg(half(crop(film))), 1.1, 10),
}


def small(films: list[np.ndarray] | np.ndarray) -> np.ndarray:
    return np.stack([thumbnail(film, THUMBNAIL) for film in films])


# --- each step by hand


def test_correlation_by_hand() -> None:
    # Deviations (-1, 0, 1) and (-4, -1, 5) / 3: 3 / sqrt(2 * 14 / 3).
    found = fit._correlation(np.array([[1.0, 2, 3], [5, 5, 5]]), np.array([[1.0, 2, 4], [1, 2, 3]]))
    np.testing.assert_allclose(found, [3 / np.sqrt(28 / 3), 0], rtol=1e-6)


def test_between_by_hand() -> None:
    weights = fit._between(np.array([[10.0, 20.5]]))[0]
    assert weights[0, 9:12].tolist() == [0, 1, 0]
    np.testing.assert_allclose(weights[1, 19:23], np.array([-1, 9, 9, -1]) / 16)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_least_squares_by_hand() -> None:
    terms = np.array([[[0.0, 10, 0, 0], [0, 0, 10, 0]]])
    target = 7 + 2 * terms[:, 0] - 3 * terms[:, 1]
    np.testing.assert_allclose(fit._least_squares(terms, target), [[2, -3]], rtol=1e-4)


def test_blur_keeps_a_grey_and_spreads_a_point() -> None:
    blur = fit._blur(2.0)
    np.testing.assert_allclose(blur @ np.ones(THUMBNAIL), 1, rtol=1e-6)
    assert blur[32, 33] / blur[32, 32] == pytest.approx(np.exp(-1 / 8), rel=1e-6)


def test_a_moved_film_is_laid_upon_the_other() -> None:
    wide = fields(1, 80, 1)[0].astype(np.float32)
    wide = cv2.GaussianBlur(wide, (0, 0), 3)
    film, moved = wide[None, 8:72, 8:72], wide[None, 8:72, 9:73]
    laid = fit._register(film, moved)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert np.abs(laid - moved)[inner].mean() < 0.1 * np.abs(film - moved)[inner].mean()


def test_coefficients_by_hand() -> None:
    wave = np.cos(np.pi * (2 * np.arange(64) + 1) / 128)
    film = np.tile(100 + 50 * wave, (64, 1)).round().astype(np.uint8)
    rows, low = duplicates._coefficients(np.stack([film, np.full_like(film, 7), film.T, 255 - film]), np.arange(4))
    assert rows.tolist() == [0, 2, 3]  # the second is blank
    expected = np.zeros((3, 63))
    expected[0, 0], expected[1, 7], expected[2, 0] = 1, 1, -1
    np.testing.assert_allclose(low, expected, atol=2e-3)


def test_first_copies_by_hand() -> None:
    low = np.array([[1, 2], [3, 4], [1, 2], [1, 2], [3, 4]], np.float32)
    assert duplicates._first_copies(low, np.array([0, 0, 0, 1, 1])).tolist() == [0, 1, 0, 3, 4]


def test_likeness_of_the_same_and_of_others() -> None:
    films = small(fields(20, 256, 2)).astype(np.float32)
    np.testing.assert_allclose(image_similarity(films, films), 1, atol=1e-4)
    np.testing.assert_allclose(image_similarity(films, 0.5 * films + 40), 1, atol=1e-4)
    assert np.abs(image_similarity(films[:10], films[10:])).max() < 0.6
    assert image_similarity(films[:0], films[:0]).shape == (0,)


# --- the whole


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_in_the_other_part_and_nothing_else(name: str) -> None:
    films = fields(60, 512, 3)
    thumbnails = np.concatenate([small(films), small([COPIES[name](film) for film in films[:20]])])
    parts = np.array([0] * 60 + [2] * 20)
    pairs = near_duplicates(thumbnails, parts)
    assert [(pair.first, pair.second) for pair in pairs] == [(k, 60 + k) for k in range(20)]
    assert not near_duplicates(thumbnails[:60], np.arange(60) % 3)


def test_only_parts_are_compared_and_the_most_like_is_named() -> None:
    film, other = small(fields(2, 256, 4))
    rough = contrast(jpeg(film, 10), 0.8)
    thumbnails = np.stack([film, film, other, rough, film])
    assert near_duplicates(thumbnails, np.array([0, 0, 0, 0, 0])) == []
    assert near_duplicates(thumbnails, np.array([0, -1, -1, -1, -1])) == []
    pairs = near_duplicates(thumbnails, np.array([0, -1, 0, 0, 1]))
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 4)]
    assert pairs[0].similarity == pytest.approx(1, abs=1e-4)
    assert near_duplicates(thumbnails, np.array([-1, -1, 0, 1, -1])) == []


def test_blank_films_are_like_none() -> None:
    assert near_duplicates(np.full((4, THUMBNAIL, THUMBNAIL), 128, np.uint8), np.array([0, 0, 1, 1])) == []
    assert near_duplicates(np.empty((0, THUMBNAIL, THUMBNAIL), np.uint8), np.empty(0, int)) == []


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 32, 32\), expected uint8 \[N,64,64\]"):
        near_duplicates(np.zeros((2, 32, 32), np.uint8), np.array([0, 1]))


def test_many_films_are_hashed_and_their_copies_found() -> None:
    films = fields(duplicates._ALL_PAIRS, THUMBNAIL, 5)
    copies = np.stack([contrast(jpeg(film, 70), 1.1) for film in films[:200]])
    thumbnails = np.concatenate([films, copies])
    order = np.random.default_rng(0).permutation(len(thumbnails))
    parts = np.repeat([0, 1], [len(films), len(copies)])
    pairs = near_duplicates(thumbnails[order], parts[order])
    found = {(int(order[pair.first]), int(order[pair.second])) for pair in pairs}
    assert found == {(k, len(films) + k) for k in range(200)}


def test_a_thousand_copies_of_one_picture_cost_as_much_as_one() -> None:
    films = np.concatenate([np.repeat(fields(1, THUMBNAIL, 6), 3000, axis=0), fields(3000, THUMBNAIL, 7)])
    parts = np.arange(6000) % 3
    pairs = near_duplicates(films, parts)
    assert [pair.second for pair in pairs] == [k for k in range(3000) if k % 3]
    assert {(pair.first, pair.second % 3) for pair in pairs} <= {(0, 1), (0, 2), (1, 2)}


# --- real films


@pytest.fixture(scope="module")
def films(shared: Path) -> list[np.ndarray]:
    paths = sorted((shared / "data" / "nih442" / "films").iterdir())
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]


@pytest.mark.shared
def test_films_of_different_patients_are_far_from_alike(films: list[np.ndarray]) -> None:
    thumbnails = small(films)
    assert near_duplicates(thumbnails, np.arange(len(films))) == []
    nearest = near_duplicates(thumbnails, np.arange(len(films)), min_similarity=-1)
    assert 0.5 < max(pair.similarity for pair in nearest) < 0.8


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", COPIES)
def test_copies_of_real_films_are_found(films: list[np.ndarray], name: str) -> None:
    thumbnails = np.concatenate([small(films), small([COPIES[name](film) for film in films])])
    pairs = near_duplicates(thumbnails, np.repeat([0, 1], len(films)))
    assert [(pair.first, pair.second) for pair in pairs] == [(k, len(films) + k) for k in range(len(films))]
