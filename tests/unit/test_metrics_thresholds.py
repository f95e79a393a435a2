"""Thresholds: by hand, against a search over all thresholds, and undefined where there is one class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from cxrscore.errors import InputError
from cxrscore.metrics.thresholds import check_rule, operating_point

TRUTH = np.array([0, 0, 1, 0, 1, 1, np.nan])
SCORE = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9, 0.5])


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        # At 0.8: sensitivity 2/3, specificity 1, sum 5/3. At 0.3: 1 and 2/3, the same; the higher is taken.
        ("youden", 0.8),
        ("corner", 0.8),
        ("sensitivity=0.9", 0.3),
        ("sensitivity=0.5", 0.8),
        ("specificity=0.9", 0.8),
        ("specificity=0.6", 0.3),
        ("sensitivity=1", 0.3),
    ],
)
def test_by_hand(rule, wanted):
    assert operating_point(TRUTH, SCORE, rule) == pytest.approx(wanted)


def test_of_equally_good_thresholds_the_highest() -> None:
    # From 0.2 on specificity is 3/4, from 0.4 on it is 1, and sensitivity is 1 at both: a film less is called.
    truth, score = np.array([0, 0, 0, 0, 1.0]), np.array([0.0, 0.1, 0.1, 0.2, 0.4])
    for rule in ("specificity=0.5", "specificity=0.75", "sensitivity=1", "youden", "corner"):
        assert operating_point(truth, score, rule) == 0.4


def test_specificity_is_compared_as_the_fraction_that_it_is() -> None:
    # 7 of 100 negative films lie above the lowest positive one: specificity 93/100, though 1 - 0.07 < 0.93 in floats.
    assert 1 - 0.07 < 0.93
    truth, score = np.r_[np.zeros(100), 1, 1], np.r_[np.linspace(0, 0.5, 93), np.linspace(0.7, 0.8, 7), 0.6, 0.9]
    assert operating_point(truth, score, "specificity=0.93") == 0.6


@pytest.mark.parametrize("truth", [np.zeros(4), np.ones(4), np.full(4, np.nan), np.zeros(0)])
def test_one_class_has_none(truth):
    assert np.isnan(operating_point(truth, np.linspace(0, 1, len(truth)), "youden"))


@pytest.mark.parametrize("rule", ["best", "sensitivity", "sensitivity=2", "specificity=-1", "youden "])
def test_an_unknown_rule_is_refused(rule):
    with pytest.raises(InputError, match="expected one of youden"):
        check_rule(rule)


def rates(truth, score, threshold):
    called = score >= threshold
    return called[truth == 1].mean(), (~called[truth == 0]).mean()


@given(
    nps.arrays(np.float64, 12, elements=st.sampled_from([0.0, 1.0])),
    nps.arrays(np.float64, 12, elements=st.sampled_from(np.linspace(0.05, 0.95, 7).tolist())),
    st.sampled_from(["youden", "corner", "sensitivity=0.8", "specificity=0.8"]),
)
def test_no_other_score_is_a_better_threshold(truth, score, rule):
    if truth.min() == truth.max():
        return
    found = operating_point(truth, score, rule)
    candidates = np.unique(score)
    assert found in candidates
    table = {t: rates(truth, score, t) for t in candidates}
    sens, spec = table[found]
    if rule == "youden":
        assert sens + spec == pytest.approx(max(a + b for a, b in table.values()))
    elif rule == "corner":
        assert np.hypot(1 - sens, 1 - spec) == pytest.approx(min(np.hypot(1 - a, 1 - b) for a, b in table.values()))
    elif rule.startswith("sensitivity"):
        assert sens >= 0.8
        assert spec == pytest.approx(max(b for a, b in table.values() if a >= 0.8))
    elif any(b >= 0.8 for _, b in table.values()):
        assert spec >= 0.8
        assert sens == pytest.approx(max(a for a, b in table.values() if b >= 0.8))
