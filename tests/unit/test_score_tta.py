"""Views for scoring: decided by the film's bytes and the seed, the same for every size, never mirrored."""

import numpy as np
import pytest

from cxrscore.images import resize_maps
from cxrscore.scoring.tta import LIMITS, augmented_copy


def blob(side, across, down):
    """A film with one bright spot whose centre lies at these fractions of the side."""
    y, x = np.mgrid[0:side, 0:side]
    width = side / 20
    at = (np.array([across, down]) * side - 0.5)[:, None, None]
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * width**2)).astype(np.float32)


def centre(film):
    """Of what is bright, in fractions of the side."""
    side = len(film)
    weights = film / film.sum()
    places = (np.arange(side) + 0.5) / side
    return np.array([(weights.sum(axis=0) * places).sum(), (weights.sum(axis=1) * places).sum()])


def test_view_0_is_the_film_itself():
    film = blob(64, 0.5, 0.5)
    assert augmented_copy(film, "ab", 0, 0) is film


def test_bytes_seed_and_number_decide_a_view():
    film = blob(64, 0.3, 0.4)
    np.testing.assert_array_equal(augmented_copy(film, "ab", 0, 1), augmented_copy(film, "ab", 0, 1))
    others = [augmented_copy(film, *given) for given in (("cd", 0, 1), ("ab", 1, 1), ("ab", 0, 2))]
    assert not any(np.array_equal(augmented_copy(film, "ab", 0, 1), other) for other in others)


@pytest.mark.parametrize("number", range(1, 9))
def test_models_of_every_size_see_the_same_view(number):
    small, large = (centre(augmented_copy(blob(side, 0.35, 0.6), "ab", 0, number)) for side in (64, 256))
    np.testing.assert_allclose(small, large, atol=0.004)


@pytest.mark.parametrize("number", range(1, 40))
def test_views_are_near_the_film_and_never_mirrored(number):
    """At 0.35 of the side from the centre 5 degrees and a zoom of 0.05 move by less than 0.035 and 0.0175, and the
    shift by at most 0.03 each way."""
    moved = centre(augmented_copy(blob(128, 0.25, 0.5), "ab", 3, number))
    assert np.abs(moved - [0.25, 0.5]).max() < 0.03 + 0.25 * (0.09 + 0.05) + 0.004
    assert not LIMITS.flip


def test_maps_at_another_size_by_hand():
    """Means where they shrink; where they grow, each old value stays in the middle of its four new ones."""
    maps = np.array([[[[1.0, 3.0], [-5.0, 7.0]]]], np.float32)
    np.testing.assert_array_equal(resize_maps(maps, 2, 2), maps)
    np.testing.assert_array_equal(resize_maps(maps, 1, 1), [[[[1.5]]]])
    np.testing.assert_array_equal(resize_maps(maps, 1, 2), [[[[-2.0, 5.0]]]])
    np.testing.assert_allclose(resize_maps(maps, 2, 4)[0, 0, 0], [1.0, 1.5, 2.5, 3.0])
    assert resize_maps(np.zeros((2, 3, 4, 4), np.float32), 7, 5).shape == (2, 3, 7, 5)
