"""Views of a film: single amounts by hand, the rest by what must hold."""

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.images import Augmentation, augment
from cxrscore.images.augment import _matrix

STILL = {"rotation": 0.0, "shift": 0.0, "shear": 0.0, "zoom": 0.0}


def film(side: int = 33) -> np.ndarray:
    return np.random.default_rng(2).random((side, side), dtype=np.float32)


def test_nothing_asked_nothing_changed() -> None:
    np.testing.assert_array_equal(augment(film(), Augmentation(**STILL), 5), film())


def test_flip_mirrors_about_half_of_the_views() -> None:
    mirrored = [
        np.array_equal(augment(film(), Augmentation(**STILL, flip=True), seed), film()[:, ::-1]) for seed in range(60)
    ]
    unchanged = [np.array_equal(augment(film(), Augmentation(**STILL, flip=True), seed), film()) for seed in range(60)]
    assert sum(mirrored) + sum(unchanged) == 60
    assert 15 <= sum(mirrored) <= 45


def test_same_seed_same_view_and_another_seed_another() -> None:
    views = [augment(film(), Augmentation(), seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(views[0], views[1])
    assert np.abs(views[0] - views[2]).max() > 0.1
    assert views[0].dtype == np.float32


def test_shift_moves_by_the_drawn_fraction_and_leaves_black() -> None:
    side = 101
    centred = np.zeros((side, side), np.float32)
    centred[48:53, 48:53] = 1
    seed = 3
    across, down = np.random.default_rng(seed).uniform(-1, 1, 5)[1:3] * 0.2 * side
    moved = augment(centred, Augmentation(**{**STILL, "shift": 0.2}), seed)
    y, x = np.mgrid[:side, :side]
    place = (moved * x).sum() / moved.sum(), (moved * y).sum() / moved.sum()
    assert place == pytest.approx((50 + across, 50 + down), abs=0.05)
    gone = augment(np.ones((side, side), np.float32), Augmentation(**{**STILL, "shift": 0.2}), seed)
    assert (gone.min(), gone.max()) == (0, 1)


def test_matrix_of_known_draws() -> None:
    draws = np.random.default_rng(4).uniform(-1, 1, 5)
    turn, slant, size = np.radians(10 * draws[0]), np.tan(np.radians(5 * draws[3])), 1 + 0.1 * draws[4]
    matrix = _matrix(Augmentation(rotation=10, shift=0, shear=5, zoom=0.1), 11, np.random.default_rng(4))
    np.testing.assert_allclose(matrix @ [5, 5, 1], [5, 5], atol=1e-12)  # the centre stays
    along = matrix @ [6, 5, 1] - [5, 5]  # one pixel to the right
    np.testing.assert_allclose(along, size * np.array([np.cos(turn), np.sin(turn)]), atol=1e-12)
    downward = matrix @ [5, 6, 1] - [5, 5]
    expected = size * np.array([slant * np.cos(turn) - np.sin(turn), slant * np.sin(turn) + np.cos(turn)])
    np.testing.assert_allclose(downward, expected, atol=1e-12)


def test_switching_one_amount_off_leaves_the_others() -> None:
    both = _matrix(Augmentation(shift=0.05), 64, np.random.default_rng(9))
    turned = _matrix(Augmentation(shift=0.0), 64, np.random.default_rng(9))
    np.testing.assert_array_equal(both[:, :2], turned[:, :2])


@pytest.mark.parametrize("wrong", [{"rotation": -1.0}, {"shift": 2.0}, {"zoom": 1.0}, {"shear": 90.0}])
def test_amounts_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected 0"):
        Augmentation(**wrong)


def test_augmentation_as_json() -> None:
    assert Augmentation().as_dict() == {"rotation": 7.0, "shift": 0.05, "shear": 0.0, "zoom": 0.1, "flip": False}
