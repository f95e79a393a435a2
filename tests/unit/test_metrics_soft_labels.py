"""Labels between 0 and 1: a class above or below 0.5 where classes count, the number itself where it can be used."""

import numpy as np
import pytest

from cxrscore.contract import Metric
from cxrscore.metrics import (
    auc,
    average_precision,
    balanced_accuracy_estimate,
    bootstrap_auc,
    brier,
    calibration_error,
    count_soft,
    counts,
    decisions,
    delong,
    estimate_metric,
    hard_truth,
    label_accuracy,
    label_accuracy_estimate,
    operating_point,
    platt,
    reliability,
    roc,
    temperature,
)

NAN = float("nan")
SOFT = np.array([0.9, 0.6, 0.5, 0.4, 0.0, 1.0, NAN, 0.2], np.float32)
HARD = np.array([1, 1, NAN, 0, 0, 1, NAN, 0], np.float32)
SCORE = np.array([0.8, 0.3, 0.99, 0.5, 0.1, 0.7, 0.2, 0.3], np.float32)


def test_the_class_of_a_soft_label():
    np.testing.assert_array_equal(hard_truth(SOFT), HARD)
    assert hard_truth(SOFT).dtype == np.float32
    assert hard_truth(SOFT.reshape(2, 4)).shape == (2, 4)
    assert count_soft(SOFT) == 5
    assert count_soft(HARD) == 0


def test_what_needs_classes_takes_the_class():
    # By hand: positives 0.8, 0.3, 0.7; negatives 0.5, 0.1, 0.3: 3 + 1.5 + 3 of 9 pairs are in order.
    assert auc(SOFT, SCORE) == pytest.approx(7.5 / 9)
    for function in (auc, average_precision, label_accuracy):
        assert function(SOFT, SCORE) == function(HARD, SCORE)
    assert delong(SOFT, SCORE).value == pytest.approx(7.5 / 9)
    assert delong(SOFT, SCORE).error == delong(HARD, SCORE).error
    assert balanced_accuracy_estimate(SOFT, SCORE).value == balanced_accuracy_estimate(HARD, SCORE).value
    assert operating_point(SOFT, SCORE, "youden") == operating_point(HARD, SCORE, "youden")
    np.testing.assert_array_equal(roc(SOFT, SCORE).tpr, roc(HARD, SCORE).tpr)
    # Threshold 0.5: 0.8 and 0.7 are found, 0.3 is missed; 0.5 is a false alarm; 0.1 and 0.3 are right.
    found = decisions(SOFT, SCORE, 0.5)
    assert (found.tp, found.fn, found.fp, found.tn) == (2, 1, 1, 2)
    assert [int(number) for number in counts(SOFT)] == [3, 3]
    pair = np.column_stack([SOFT, HARD]), np.column_stack([SCORE, SCORE])
    estimate = label_accuracy_estimate(*pair)
    assert estimate.value == pytest.approx(5 / 6)
    areas = bootstrap_auc(*pair, np.arange(8), resamples=20).values
    np.testing.assert_array_equal(areas[:, 0], areas[:, 1])


def test_a_metric_of_a_plugin_gets_classes():
    seen = []
    metric = Metric(name="any", summary="", function=lambda truth, score: float(seen.append(truth) or len(truth)))
    found = estimate_metric(
        metric, SOFT[:, None], SCORE[:, None], thresholds=np.array([0.5]), groups=np.arange(8), resamples=0
    )
    assert found.estimates[0].films == 6
    assert seen[0].tolist() == [1, 1, 0, 0, 1, 0]


def test_the_brier_score_takes_the_number():
    # By hand: (0.7 - 0.5)^2 and (0.2 - 0.0)^2.
    assert brier(np.array([0.5, 0.0, NAN]), np.array([0.7, 0.2, 0.9])) == pytest.approx(0.04)


def test_calibration_compares_the_mean_label():
    # By hand: one bin of mean probability 0.3 and mean label 0.5.
    truth, prob = np.array([0.5, 0.2, 0.8, 0.5]), np.full(4, 0.3)
    curve = reliability(truth, prob)
    assert (curve.prob.tolist(), curve.share.tolist()) == ([pytest.approx(0.3)], [pytest.approx(0.5)])
    assert calibration_error(truth, prob) == pytest.approx(0.2)


def test_temperature_recovers_the_probabilities_that_are_the_labels():
    logit = np.linspace(-3, 3, 41)
    truth = 1 / (1 + np.exp(-logit / 2.5))
    assert temperature(truth, logit) == pytest.approx(2.5, rel=1e-4)


def test_platt_counts_a_soft_label_in_two_parts():
    # A label of 0.75 at a logit is three films with the finding and one without, each of a quarter of the weight.
    logit = np.array([-2.0, -1.0, 0.5, 1.5])
    soft = np.array([0.0, 0.25, 0.75, 1.0])
    hard = np.array([0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1.0])
    # n+ = n- = 2 gives targets 3/4 and 1/4 for a label of 1 and 0.
    targets = soft * 3 / 4 + (1 - soft) / 4
    slope, intercept = platt(soft, logit)
    prob = 1 / (1 + np.exp(-(slope * logit + intercept)))
    # At the maximum of the likelihood, both derivatives are 0.
    assert float((prob - targets).sum()) == pytest.approx(0, abs=1e-6)
    assert float(((prob - targets) * logit).sum()) == pytest.approx(0, abs=1e-6)
    assert platt(hard, np.repeat(logit, 4))[0] > slope  # sixteen films are smoothed less than four
    assert np.isnan(platt(np.array([0.2, 0.5, 0.0]), logit[:3])).all()


def test_a_weight_of_2_is_the_film_twice_and_of_0_not_at_all():
    rng = np.random.default_rng(4)
    logit, times = rng.normal(size=60), np.arange(60) % 3
    truth = (rng.random(60) < 1 / (1 + np.exp(-logit))).astype(float)
    copied = np.repeat(truth, times), np.repeat(logit, times)
    np.testing.assert_allclose(platt(truth, logit, times), platt(*copied), atol=1e-6)
    column = truth[:, None], logit[:, None]
    found = temperature(*column, times)
    assert found == pytest.approx(temperature(copied[0][:, None], copied[1][:, None]), rel=1e-6)
    assert found != pytest.approx(temperature(*column), rel=1e-3)
