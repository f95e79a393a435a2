"""ROC curves and areas: worked by hand, at the edges, and on real scores."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import FINDINGS
from cxrscore.metrics import auc, auc_per_finding, average_precision, macro, metrics, precision_recall, roc

NAN = math.nan

# Two positives (0.8, 0.4), three negatives (0.6, 0.4, 0.2). Of the six pairs the positive is higher in 3 + 1, equal in
# one: (4 + 1/2) / 6 = 0.75. One label and one score are unknown.
TRUTH = np.array([1, 0, 1, 0, 0, NAN, 1])
SCORE = np.array([0.8, 0.6, 0.4, 0.4, 0.2, 0.9, NAN])


def test_an_area_worked_by_hand() -> None:
    assert auc(TRUTH, SCORE) == 0.75


def test_a_curve_worked_by_hand() -> None:
    curve = roc(TRUTH, SCORE)
    assert curve.thresholds.tolist() == [math.inf, 0.8, 0.6, 0.4, 0.2]
    assert curve.tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curve.fpr.tolist() == [0, 0, 1 / 3, 2 / 3, 1]
    # Mann-Whitney with ties 1/2 is the trapezoidal rule under this curve.
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(0.75, abs=1e-15)


@pytest.mark.parametrize("truth", [[], [1, 1], [0, 0], [NAN, NAN], [1, NAN]])
def test_an_area_of_one_class_is_undefined(truth: list[float]) -> None:
    assert math.isnan(auc(np.array(truth, float), np.arange(len(truth), dtype=float)))


def test_a_curve_of_one_class_has_one_rate() -> None:
    curve = roc(np.array([1, 1]), np.array([0.3, 0.6]))
    assert curve.tpr.tolist() == [0, 0.5, 1]
    assert np.isnan(curve.fpr[1:]).all()


def test_a_perfect_a_reversed_and_a_constant_score() -> None:
    truth = np.array([0, 0, 1, 1])
    assert auc(truth, np.array([1, 2, 3, 4])) == 1
    assert auc(truth, np.array([4, 3, 2, 1])) == 0
    assert auc(truth, np.zeros(4)) == 0.5
    assert auc(truth, np.array([-np.inf, 0, np.inf, np.inf])) == 1


def test_areas_by_finding_and_their_mean() -> None:
    truth = np.array([[0, 1], [1, 1], [1, 1]], np.float32)
    score = np.array([[0.1, 0], [0.2, 0], [0.0, 0]], np.float32)
    areas = auc_per_finding(truth, score)
    assert areas.dtype == np.float64
    assert areas[0] == 0.5
    assert math.isnan(areas[1])
    assert macro(areas) == 0.5
    assert math.isnan(macro(areas[1:]))


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises(InputError, match=r"\[3\] does not fit scores of shape \[2\]"):
        auc(np.zeros(3), np.zeros(2))


@pytest.mark.parametrize("metric", metrics, ids=lambda metric: metric.name)
def test_each_metric_of_a_perfect_score_is_one(metric: object) -> None:
    assert metric.function(np.array([0, 0, 1, NAN]), np.array([0.1, 0.2, 0.9, 0.5])) == 1
    assert math.isnan(metric.function(np.array([NAN]), np.array([0.5])))


def test_the_names_of_the_metrics() -> None:
    assert [metric.name for metric in metrics] == ["auc", "average_precision", "label_accuracy"]


@pytest.mark.shared
def test_areas_of_a_published_model_on_real_films(shared: Path) -> None:
    """As its scores and scikit-learn have it: about 0.78 in the mean over these 442 films."""
    from sklearn.metrics import roc_auc_score

    folder = shared / "data" / "nih442"
    with open(folder / "labels.csv", newline="") as file:
        rows = csv.reader(file)
        next(rows)  # its brackets hold commas, so it names more columns than there are
        found = {row[0]: set(row[1].split("|")) for row in rows}
    with open(folder / "peer_preds.csv", newline="") as file:
        table = list(csv.DictReader(file))
    truth = np.array([[finding in found[row["Image Index"]] for finding in FINDINGS] for row in table], float)
    score = np.array([[float(row[f"prob_{finding}"]) for finding in FINDINGS] for row in table])
    areas = auc_per_finding(truth, score)
    assert len(table) == 442
    assert macro(areas) == pytest.approx(0.78, abs=0.01)
    np.testing.assert_allclose(areas, [roc_auc_score(t, s) for t, s in zip(truth.T, score.T, strict=True)], atol=1e-12)


def test_a_precision_recall_curve_worked_by_hand() -> None:
    curve = precision_recall(TRUTH, SCORE)
    assert curve.thresholds.tolist() == [0.8, 0.6, 0.4, 0.2]
    assert curve.recall.tolist() == [0.5, 0.5, 1, 1]
    assert curve.precision.tolist() == [1, 1 / 2, 2 / 4, 2 / 5]
    # Each step of recall at its precision: 0.5 * 1 + 0.5 * 0.5.
    assert np.sum(np.diff(np.r_[0, curve.recall]) * curve.precision) == average_precision(TRUTH, SCORE) == 0.75
    assert np.isnan(precision_recall(np.array([0, 0]), np.array([0.3, 0.6])).recall).all()


def test_a_precision_recall_curve_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_curve

    random = np.random.default_rng(2)
    truth = (random.random(400) < 0.15).astype(np.float32)
    score = np.round(random.normal(truth, 1), 1)  # with ties
    precision, recall, thresholds = precision_recall_curve(truth, score)
    curve = precision_recall(truth, score)
    np.testing.assert_allclose(curve.precision[::-1], precision[:-1], rtol=1e-15)
    np.testing.assert_allclose(curve.recall[::-1], recall[:-1], rtol=1e-15)
    np.testing.assert_array_equal(curve.thresholds[::-1], thresholds)
