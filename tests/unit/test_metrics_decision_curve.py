"""Decision curves: worked by hand, at the edges, and against counts."""

import numpy as np
import pytest

from cxrscore.metrics import decisions, net_benefit, supported_thresholds

NAN = np.nan

# Ten films, four positive. At 0.25 six are acted on, four positive and two negative: 0.4 - 0.2 / 3. At 0.5 there are
# three and one: 0.3 - 0.1. At 0.8 two and none: 0.2. Acting on all: 0.4 - 0.6 / 3, 0.4 - 0.6, 0.4 - 0.6 * 4.
TRUTH = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0, NAN, 1], np.float32)
PROB = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1, 0.1, 0.05, 0.9, NAN], np.float64)


def test_net_benefits_worked_by_hand() -> None:
    curve = net_benefit(TRUTH, PROB, np.array([0.25, 0.5, 0.8]))
    np.testing.assert_allclose(curve.model, [0.4 - 0.2 / 3, 0.2, 0.2], rtol=1e-15)
    np.testing.assert_allclose(curve.treat_all, [0.2, -0.2, -2.0], rtol=1e-14)


def test_net_benefits_are_those_of_counted_decisions() -> None:
    random = np.random.default_rng(4)
    truth = (random.random(300) < 0.2).astype(np.float32)
    prob = np.round(random.beta(1 + truth, 4), 2).astype(np.float32)  # with ties
    thresholds = np.array([0.05, 0.1, 0.2, 0.5])
    curve = net_benefit(truth, prob.astype(np.float64), thresholds)
    for t, found in zip(thresholds, curve.model, strict=True):
        made = decisions(truth, prob.astype(np.float64), t)
        assert found == pytest.approx(made.tp / 300 - made.fp / 300 * t / (1 - t), abs=1e-15)


def test_no_film_has_no_net_benefit() -> None:
    curve = net_benefit(np.array([NAN]), np.array([0.5]), np.array([0.5]))
    assert np.isnan(curve.model).all()
    assert np.isnan(curve.treat_all).all()


def test_thresholds_have_five_films_on_each_side() -> None:
    prob = np.linspace(0.01, 0.2, 20)
    truth = np.tile([0.0, 1.0], 10)
    found = supported_thresholds(truth, prob)
    assert len(found) == 100
    assert (np.diff(found) > 0).all()
    for t in found[[0, -1]]:
        assert min((prob >= t).sum(), (prob < t).sum()) == 5
    assert found[-1] == pytest.approx(0.16)


@pytest.mark.parametrize("prob", [np.linspace(0.1, 0.9, 9), np.full(20, 0.3), np.r_[np.full(18, 0.0), 0.5, 0.6]])
def test_few_films_or_one_probability_support_no_threshold(prob: np.ndarray) -> None:
    assert len(supported_thresholds(np.zeros(len(prob)), prob)) == 0
