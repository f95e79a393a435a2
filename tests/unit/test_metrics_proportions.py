"""Shares at a threshold and their intervals."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from cxrscore.metrics import Proportion, decisions

NAN = math.nan


def test_wilson_by_hand() -> None:
    # 1 of 2: middle (1/2 + z^2/4) / (1 + z^2/2) = 1/2; half z / (1 + z^2/2) sqrt(1/8 + z^2/16), z^2 = 3.8415.
    low, high = Proportion(hits=1, total=2).interval
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - 0.5 == pytest.approx(1.959964 / (1 + 3.841459 / 2) * math.sqrt(1 / 8 + 3.841459 / 16), abs=1e-6)


@pytest.mark.parametrize(("hits", "total"), [(0, 1), (0, 44), (1, 1), (3, 7), (44, 44), (500, 112_120)])
def test_wilson_is_scipys(hits: int, total: int) -> None:
    wanted = binomtest(hits, total).proportion_ci(method="wilson")
    assert Proportion(hits=hits, total=total).interval == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_of_no_films_there_is_no_share() -> None:
    assert math.isnan(Proportion(hits=0, total=0).value)
    assert all(map(math.isnan, Proportion(hits=0, total=0).interval))


def test_decisions_by_hand() -> None:
    truth = np.array([1, 1, 1, 0, 0, 0, 0, NAN, 1], np.float32)
    prob = np.array([0.9, 0.5, 0.1, 0.7, 0.4, 0.3, 0.2, 0.9, NAN], np.float32)
    found = decisions(truth, prob, 0.5)  # at the threshold itself a film is called positive
    assert (found.tp, found.fp, found.fn, found.tn) == (2, 1, 1, 3)
    shares = (found.sensitivity, found.specificity, found.ppv, found.npv, found.missed, found.false_alarms)
    assert [share.value for share in shares] == pytest.approx([2 / 3, 3 / 4, 2 / 3, 3 / 4, 1 / 3, 1 / 4])


@pytest.mark.parametrize("seed", range(4))
def test_decisions_are_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, prob = (random.random(200) < 0.2).astype(float), random.random(200).round(1)
    tn, fp, fn, tp = confusion_matrix(truth, prob >= 0.6).ravel()
    found = decisions(truth, prob, 0.6)
    assert (found.tn, found.fp, found.fn, found.tp) == (tn, fp, fn, tp)


@pytest.mark.parametrize(
    ("truth", "prob", "threshold", "undefined"),
    [
        ([1, 0], [0.9, 0.1], NAN, {"sensitivity", "specificity", "ppv", "npv"}),
        ([0, 0], [0.9, 0.1], 0.5, {"sensitivity"}),
        ([1, 1], [0.9, 0.1], 0.5, {"specificity"}),
        ([1, 0], [0.9, 0.8], 0.95, {"ppv"}),
        ([1, 0], [0.9, 0.8], 0.1, {"npv"}),
        ([], [], 0.5, {"sensitivity", "specificity", "ppv", "npv"}),
        ([NAN], [0.4], 0.5, {"sensitivity", "specificity", "ppv", "npv"}),
    ],
)
def test_what_nothing_stands_for_is_undefined(
    truth: list[float], prob: list[float], threshold: float, undefined: set[str]
) -> None:
    found = decisions(np.array(truth, float), np.array(prob, float), threshold)
    names = ("sensitivity", "specificity", "ppv", "npv")
    assert {name for name in names if math.isnan(getattr(found, name).value)} == undefined
