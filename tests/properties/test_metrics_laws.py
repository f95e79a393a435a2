"""ROC against scikit-learn and against the definition, on anything: ties, unknown values, one class only."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from cxrscore.metrics import (
    auc,
    brier,
    calibration_error,
    counts,
    decisions,
    delong,
    label_accuracy,
    negative_baseline,
    reliability,
    roc,
)
from cxrscore.metrics.bootstrap import _SortedScores

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


@given(PAIRS)
def test_delongs_variance_is_that_of_the_pairs(pairs: list[tuple[float, float]]) -> None:
    truth, score = _known(*_arrays(pairs))
    positive, negative = score[truth == 1][:, None], score[truth == 0][None]
    found = delong(*_arrays(pairs))
    if not positive.size or not negative.size:
        assert math.isnan(found.value)
        assert found.why == f"{positive.size} positive and {negative.size} negative films"
        return
    above = (positive > negative) + 0.5 * (positive == negative)
    assert found.value == pytest.approx(above.mean(), abs=1e-12)
    if min(positive.size, negative.size) < 2:
        assert math.isnan(found.error)
        return
    wanted = sum(np.var(above.mean(axis=axis), ddof=1) / above.shape[1 - axis] for axis in (0, 1))
    # No variance: the classes do not overlap, or all scores are equal.
    assert (wanted == 0) == (above.mean() in (0, 1) or len(set(score.tolist())) == 1)
    assert math.isnan(found.error) if wanted == 0 else found.error**2 == pytest.approx(wanted, abs=1e-12)


@given(PAIRS, st.integers(0, 2**32 - 1))
def test_a_resamples_area_is_the_share_of_its_pairs(pairs: list[tuple[float, float]], seed: int) -> None:
    truth, score = _arrays(pairs)
    random = np.random.default_rng(seed)
    groups = random.integers(0, 5, len(truth))
    drawn = random.integers(0, 3, 5).astype(float)
    kept = ~(np.isnan(truth) | np.isnan(score))
    weight = np.where(kept, drawn[groups], 0.0)
    ones, zeros = weight * (truth == 1), weight * (truth == 0)
    above = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
    found = _SortedScores(truth, score, groups).auc(drawn)
    if not ones.sum() or not zeros.sum():
        assert math.isnan(found)
    else:
        assert found == pytest.approx(ones @ above @ zeros / ones.sum() / zeros.sum(), abs=1e-12)


@given(st.lists(st.tuples(LABELS, st.one_of(st.just(math.nan), st.floats(0, 1))), max_size=60), st.floats(0, 1))
def test_decisions_count_every_known_film_once(pairs: list[tuple[float, float]], threshold: float) -> None:
    truth, prob = _arrays(pairs)
    found = decisions(truth, prob, threshold)
    counted = [0, 0, 0, 0]
    for label, score in pairs:
        if not math.isnan(label) and not math.isnan(score):
            counted[2 * int(label) + int(score >= threshold)] += 1
    assert [found.tn, found.fp, found.fn, found.tp] == counted
    for share in (found.sensitivity, found.specificity, found.ppv, found.npv):
        low, high = share.interval
        assert (
            math.isnan(share.value) if not share.total else 0 <= low <= share.value + 1e-12 <= high + 2e-12 <= 1 + 2e-12
        )


@given(st.lists(st.tuples(LABELS, st.one_of(st.just(math.nan), st.floats(0, 1))), max_size=60))
def test_probabilities_are_as_wrong_as_their_bins_say(pairs: list[tuple[float, float]]) -> None:
    truth, prob = _arrays(pairs)
    known, score = _known(truth, prob)
    if not len(known):
        assert math.isnan(calibration_error(truth, prob))
        assert math.isnan(brier(truth, prob))
        return
    assert brier(truth, prob) == pytest.approx(np.mean((known - score) ** 2), abs=1e-12)
    assert abs(known.mean() - score.mean()) - 1e-9 <= calibration_error(truth, prob) <= 1
    assert reliability(truth, prob).films.sum() == len(known)
