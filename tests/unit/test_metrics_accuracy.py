"""Equation 1 of the paper, its baseline, and average precision: worked by hand."""

import math

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.metrics import average_precision, counts, label_accuracy, negative_baseline

NAN = math.nan
TRUTH = np.array([[1, 0, NAN], [0, 0, 1], [1, 0, 0]], np.float32)
PROB = np.array([[0.9, 0.6, 0.9], [0.5, 0.1, 0.2], [NAN, 0.2, 0.4]], np.float32)


def test_accuracy_worked_by_hand() -> None:
    # Known: nine labels less one without truth, less one without score. Wrong: 0.6 for a 0, and 0.2 for a 1.
    assert label_accuracy(TRUTH, PROB) == 5 / 7
    assert label_accuracy(TRUTH, PROB, threshold=0.45) == 4 / 7  # 0.5 for a 0 is now a yes, too


def test_without_unknown_labels_it_is_equation_1() -> None:
    random = np.random.default_rng(1)
    truth, prob = (random.random((40, 14)) < 0.1).astype(float), random.random((40, 14))
    per_finding = [sum(t == (p > 0.5) for t, p in zip(truth[:, c], prob[:, c], strict=True)) for c in range(14)]
    assert label_accuracy(truth, prob) == pytest.approx(sum(per_finding) / (14 * 40), abs=1e-15)


def test_the_baseline_is_the_share_of_negatives() -> None:
    assert negative_baseline(TRUTH) == 5 / 8


def test_counts_leave_out_the_unknown() -> None:
    positives, negatives = counts(TRUTH)
    assert positives.tolist() == [2, 0, 1]
    assert negatives.tolist() == [1, 3, 1]


def test_nothing_known_is_undefined() -> None:
    nothing = np.full((2, 2), NAN)
    assert math.isnan(label_accuracy(nothing, nothing))
    assert math.isnan(negative_baseline(nothing))
    assert math.isnan(average_precision(np.zeros(2), np.zeros(2)))


def test_average_precision_is_that_of_scikit_learn_without_calling_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand resamples of every finding call it in each training run."""
    from sklearn import metrics

    rng = np.random.default_rng(0)
    cases = [(rng.random(films) < 0.3, rng.random(films).round(1)) for films in range(5, 60)]
    cases = [(truth, score) for truth, score in cases if truth.any()]
    expected = [metrics.average_precision_score(truth, score) for truth, score in cases]
    monkeypatch.delattr(metrics, "average_precision_score")
    found = [average_precision(truth.astype(float), score) for truth, score in cases]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_average_precision_worked_by_hand() -> None:
    # From the top: yes (precision 1), no, yes (precision 2/3), no; the mean over the two positives is 5/6.
    truth, score = np.array([1, 0, 1, 0, NAN]), np.array([0.9, 0.8, 0.7, 0.1, 1.0])
    assert average_precision(truth, score) == pytest.approx(5 / 6, abs=1e-15)


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises(InputError, match="does not fit"):
        label_accuracy(np.zeros((2, 2)), np.zeros(2))
