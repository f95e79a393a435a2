"""ROC against scikit-learn and against the definition, on anything: ties, unknown values, one class only."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from cxrscore.metrics import auc, counts, label_accuracy, negative_baseline, roc

LABELS = st.sampled_from([0.0, 1.0, math.nan])
# Few levels make many ties; any float makes nearly none.
SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]), st.floats(-1e6, 1e6, width=32))
PAIRS = st.lists(st.tuples(LABELS, SCORES), max_size=60)


def _arrays(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs, np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _known(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = ~(np.isnan(truth) | np.isnan(score))
    return truth[kept], score[kept]


@given(PAIRS)
def test_the_area_is_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    truth, score = _known(*_arrays(pairs))
    if len(set(truth.tolist())) == 2:
        assert auc(*_arrays(pairs)) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    else:
        assert math.isnan(auc(*_arrays(pairs)))


@given(PAIRS)
def test_the_area_is_the_share_of_pairs_in_order(pairs: list[tuple[float, float]]) -> None:
    truth, score = _known(*_arrays(pairs))
    positive, negative = score[truth == 1][:, None], score[truth == 0][None]
    assume(positive.size and negative.size)
    assert auc(truth, score) == pytest.approx(((positive > negative) + 0.5 * (positive == negative)).mean(), abs=1e-12)


@given(PAIRS)
def test_the_curve_is_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    truth, score = _known(*_arrays(pairs))
    assume(len(set(truth.tolist())) == 2)
    fpr, tpr, thresholds = roc_curve(truth, score, drop_intermediate=False)
    curve = roc(*_arrays(pairs))
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-15)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-15)
    np.testing.assert_array_equal(curve.thresholds, thresholds)


@given(PAIRS)
def test_the_curve_rises_from_corner_to_corner(pairs: list[tuple[float, float]]) -> None:
    truth, score = _arrays(pairs)
    kept, _ = _known(truth, score)
    assume(len(set(kept.tolist())) == 2)
    curve = roc(truth, score)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.thresholds) < 0).all()
    assert (np.diff(curve.fpr) + np.diff(curve.tpr) > 0).all()
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(auc(truth, score), abs=1e-12)


@given(PAIRS)
def test_turning_the_score_round_turns_the_area_round(pairs: list[tuple[float, float]]) -> None:
    truth, score = _arrays(pairs)
    area = auc(truth, score)
    assume(not math.isnan(area))
    assert auc(truth, -score) == pytest.approx(1 - area, abs=1e-12)
    assert auc(1 - truth, score) == pytest.approx(1 - area, abs=1e-12)


@given(st.lists(LABELS, min_size=1, max_size=60))
def test_the_baseline_follows_from_the_counts(labels: list[float]) -> None:
    truth = np.array(labels)[:, None]
    positives, negatives = (int(number[0]) for number in counts(truth))
    assume(positives + negatives)
    assert negative_baseline(truth) == pytest.approx(negatives / (positives + negatives), abs=1e-15)
    assert label_accuracy(truth, np.ones_like(truth)) == pytest.approx(1 - negative_baseline(truth), abs=1e-15)
