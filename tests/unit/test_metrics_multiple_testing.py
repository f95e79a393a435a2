"""p-values, their correction, and the word that follows from them."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from cxrscore.metrics import corrected_verdict, delong, difference, holm, p_value
from cxrscore.metrics.confidence_intervals import Estimate

NAN = math.nan


def estimate(value: float, error: float, why: str = "") -> Estimate:
    return Estimate(value=value, influence=np.array([error]), why=why, least=-1.0)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04: times 4, 3, 2, 1 gives .04 .06 .06 .04, and none may be below one before it.
    assert holm([0.04, 0.01, NAN, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, NAN, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([]).tolist() == []
    assert np.isnan(holm([NAN])).all()


@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_its_steps_reject(seed: int) -> None:
    p = np.random.default_rng(seed).random(14) ** 3
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for place, index in enumerate(np.argsort(p)):
            if p[index] > level / (14 - place):
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(holm(p.tolist()) <= level).tolist()) == rejected


def test_p_value_is_the_normal_distributions() -> None:
    assert p_value(estimate(0.02, 0.01)) == pytest.approx(2 * norm.sf(2))
    assert p_value(estimate(-0.02, 0.01)) == pytest.approx(2 * norm.sf(2))
    assert p_value(estimate(0.0, 0.0)) == 1
    assert math.isnan(p_value(estimate(0.1, 0.0)))
    assert math.isnan(p_value(estimate(0.1, 0.1, why="one positive film only")))
    assert math.isnan(p_value(estimate(NAN, 0.1)))


def test_a_score_does_not_differ_from_itself() -> None:
    found = delong(np.array([0, 1, 0, 1.0]), np.array([1, 2, 3, 4.0]))
    assert p_value(difference(found, found)) == 1


@pytest.mark.parametrize(
    ("value", "adjusted", "word"),
    [
        (0.05, 0.001, "better"),
        (-0.05, 0.001, "worse"),
        (0.05, 0.06, "no difference shown"),  # the interval alone leaves out 0
        (0.015, 0.001, "no difference shown"),
        (0.05, NAN, "no difference shown"),
    ],
)
def test_the_word_needs_the_interval_and_the_correction(value: float, adjusted: float, word: str) -> None:
    assert corrected_verdict(estimate(value, 0.01), adjusted) == word


def test_false_claims_are_rare_among_many_tests() -> None:
    random = np.random.default_rng(0)
    claims = sum((holm(random.random(14).tolist()) < 0.05).any() for _ in range(2000))
    assert claims / 2000 == pytest.approx(0.05, abs=0.015)
