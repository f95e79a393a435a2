"""Brier, calibration error and reliability curve."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from cxrscore.metrics import brier, calibration_error, mean_calibration, reliability

NAN = math.nan


def made(films: int, seed: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    prob = random.beta(1, 4, films).round(decimals)
    return (random.random(films) < prob**1.3).astype(float), prob


def test_by_hand() -> None:
    # Two bins of the error: .1 and .3 hold no positive, .6 and .8 both; |0 - .2| and |1 - .7|, two films each.
    truth, prob = np.array([0, 0, 1, 1, NAN, 1]), np.array([0.1, 0.3, 0.6, 0.8, 0.2, NAN])
    assert calibration_error(truth, prob, bins=2) == pytest.approx((0.2 + 0.3) / 2)
    assert brier(truth, prob) == pytest.approx((0.01 + 0.09 + 0.16 + 0.04) / 4)
    curve = reliability(truth, prob, points=2)
    assert curve.prob.tolist() == pytest.approx([0.2, 0.7])
    assert (curve.share.tolist(), curve.films.tolist()) == ([0, 1], [2, 2])


@pytest.mark.parametrize("decimals", [1, 2, 9])
@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_its_definition(seed: int, decimals: int) -> None:
    truth, prob = made(300, seed, decimals)
    total = 0.0
    for k in range(15):
        inside = [i for i in range(300) if (k / 15 < prob[i] <= (k + 1) / 15) or (k == 0 and prob[i] == 0)]
        total += abs(sum(truth[i] - prob[i] for i in inside))
    assert calibration_error(truth, prob) == pytest.approx(total / 300, abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 9])
def test_the_curve_and_the_score_are_scikit_learns(decimals: int) -> None:
    truth, prob = made(400, 3, decimals)
    share, mean = calibration_curve(truth, prob, n_bins=10, strategy="quantile")
    curve = reliability(truth, prob)
    np.testing.assert_allclose(curve.share, share, atol=1e-12)
    np.testing.assert_allclose(curve.prob, mean, atol=1e-12)
    assert curve.films.sum() == 400
    assert brier(truth, prob) == pytest.approx(brier_score_loss(truth, prob), abs=1e-12)


def test_films_of_one_probability_share_a_bin() -> None:
    curve = reliability(np.array([0, 1, 0, 0.0]), np.full(4, 0.3))
    assert (curve.prob.tolist(), curve.share.tolist(), curve.films.tolist()) == (pytest.approx([0.3]), [0.25], [4])


@pytest.mark.parametrize("truth", [[], [NAN, NAN]])
def test_without_labels_all_is_undefined(truth: list[float]) -> None:
    t, p = np.array(truth, float), np.full(len(truth), 0.5)
    assert math.isnan(brier(t, p))
    assert math.isnan(calibration_error(t, p))
    assert not len(reliability(t, p).films)


def test_one_class_and_the_ends_of_the_scale() -> None:
    assert calibration_error(np.array([0, 0.0]), np.array([0, 1.0])) == 0.5
    assert calibration_error(np.array([1, 1.0]), np.array([1, 1.0])) == 0
    assert brier(np.array([0, 0.0]), np.array([0, 1.0])) == 0.5


def test_mean_calibration_by_hand() -> None:
    # Mean 0.3; standard deviation sqrt((0.04 + 0 + 0.04 + 0) / 3), of the mean half of it. Wilson of 1 of 4.
    found = mean_calibration(np.array([0, 0, 1, 0, NAN, 1]), np.array([0.1, 0.3, 0.5, 0.3, 0.9, NAN]))
    half = 1.959964 * math.sqrt(0.08 / 3) / 2
    assert (found.prob, found.share, found.films) == (pytest.approx(0.3), 0.25, 4)
    assert found.prob_interval == pytest.approx((0.3 - half, 0.3 + half), rel=1e-6)
    z = 1.959964
    middle, width = (0.25 + z**2 / 8) / (1 + z**2 / 4), z * math.sqrt(0.25 * 0.75 / 4 + z**2 / 64) / (1 + z**2 / 4)
    assert found.share_interval == pytest.approx((middle - width, middle + width), rel=1e-6)


def test_mean_calibration_without_films_and_with_one() -> None:
    nothing = mean_calibration(np.array([NAN]), np.array([0.5]))
    assert nothing.films == 0
    assert math.isnan(nothing.prob)
    one = mean_calibration(np.array([1.0]), np.array([0.5]))
    assert math.isnan(one.prob_interval[0])
    assert one.share_interval[1] == 1
