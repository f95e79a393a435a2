"""Calibration: by hand, against scikit-learn and a fine grid, and where there is nothing to fit."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cxrscore.metrics import calibration
from cxrscore.metrics.calibration import platt, temperature

NAN = float("nan")


def drawn(slope, intercept, n=4000, seed=0):
    """Logits, and labels whose probability is sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, n)
    p = 1 / (1 + np.exp(-(slope * logit + intercept)))
    return (rng.random(n) < p).astype(float), logit


def test_platt_by_hand():
    """Logits -1 and 1 only, three positives of four at 1 and one of four at -1: the targets' means are the fit."""
    logit = np.repeat([-1.0, 1.0], 4)
    truth = np.array([1, 0, 0, 0, 1, 1, 1, 0], float)
    high, low = 5 / 6, 1 / 6  # (4 + 1) / (4 + 2), 1 / (4 + 2)
    at_one = (3 * high + low) / 4
    slope, intercept = platt(truth, logit)
    assert slope == pytest.approx(np.log(at_one / (1 - at_one)))
    assert intercept == pytest.approx(0, abs=1e-9)


def test_platt_finds_the_line_again():
    slope, intercept = platt(*drawn(0.4, -1.5))
    assert slope == pytest.approx(0.4, abs=0.05)
    assert intercept == pytest.approx(-1.5, abs=0.15)


def test_platt_is_logistic_regression_but_for_the_smoothed_targets():
    truth, logit = drawn(1.3, 0.5, n=50_000)
    model = LogisticRegression(C=1e12, tol=1e-10).fit(logit[:, None], truth)
    slope, intercept = platt(truth, logit)
    assert slope == pytest.approx(model.coef_[0, 0], rel=2e-3)
    assert intercept == pytest.approx(model.intercept_[0], rel=2e-3)


def test_separated_classes_get_a_finite_line():
    slope, intercept = platt(np.array([0.0, 0, 1, 1]), np.array([-2.0, -1, 1, 2]))
    assert 0 < slope <= 50
    assert np.isfinite(intercept)


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_the_wrong_order_keep_it(seed):
    truth, logit = drawn(-0.8, 1.0, n=200, seed=seed)
    slope, intercept = platt(truth, logit)
    assert slope == 1
    # The likeliest intercept makes the mean probability that of the smoothed targets.
    n_pos, n_neg = truth.sum(), (1 - truth).sum()
    mean = (n_pos * (n_pos + 1) / (n_pos + 2) + n_neg / (n_neg + 2)) / len(truth)
    assert (1 / (1 + np.exp(-(logit + intercept)))).mean() == pytest.approx(mean, abs=1e-6)


def test_equal_logits_get_the_share_of_positives_by_hand():
    """One of four: targets 2/3 and three times 1/5, mean 19/60; logit 3 + intercept is log(19/41)."""
    slope, intercept = platt(np.array([1.0, 0, 0, 0]), np.full(4, 3.0))
    assert slope == 1
    assert intercept == pytest.approx(np.log(19 / 41) - 3)


@pytest.mark.parametrize("seed", range(8))
def test_far_and_nearly_equal_logits_have_a_line_that_is_no_worse_than_none(seed):
    rng = np.random.default_rng(seed)
    truth, logit = (
        (rng.random(12) < 0.3).astype(float),
        100 * rng.normal() + 10.0 ** rng.integers(-9, 3) * rng.normal(size=12),
    )
    truth[:2] = 0, 1
    slope, intercept = platt(truth, logit)
    assert 0 < slope <= 50

    def loss(z):
        return (np.logaddexp(0, z) - np.where(truth > 0.5, p_target, n_target) * z).sum()

    p_target, n_target = (truth.sum() + 1) / (truth.sum() + 2), 1 / ((1 - truth).sum() + 2)
    assert loss(slope * logit + intercept) <= loss(logit) + 1e-9
    for shift in (-0.01, 0.01):
        assert loss(slope * logit + intercept) <= loss(slope * logit + intercept + shift)


def test_a_step_that_does_not_help_is_not_made(monkeypatch):
    """Where every half of a step is worse, the line stays where it was."""
    monkeypatch.setattr(calibration, "_loss", lambda z, targets, mass: float(np.abs(z - 1.0).sum()))
    at = calibration._newton(np.array([[1.0, 1.0], [2.0, 1.0]]), np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert at.tolist() == [0.0, 1.0]


def test_one_class_has_no_line():
    assert np.isnan(platt(np.ones(5), np.arange(5.0))).all()
    assert np.isnan(platt(np.full(5, NAN), np.arange(5.0))).all()


def test_temperature_by_hand():
    """At logit 2, three of four are positive: sigmoid(2 / T) = 3/4 where T = 2 / log 3."""
    assert temperature(np.array([[1.0, 1, 1, 0]]), np.full((1, 4), 2.0)) == pytest.approx(2 / np.log(3), rel=1e-6)


def test_temperature_is_the_best_of_a_grid():
    truth, logit = drawn(0.5, 0.0)
    found = temperature(truth, logit)

    def loss(t):
        return (np.logaddexp(0, logit / t) - truth * logit / t).sum()

    grid = np.geomspace(0.1, 10, 2001)
    assert found == pytest.approx(grid[np.argmin([loss(t) for t in grid])], rel=3e-3)
    assert found == pytest.approx(2, rel=0.1)


def test_nothing_known_has_no_temperature():
    assert np.isnan(temperature(np.full((2, 2), NAN), np.zeros((2, 2))))
