"""The AUC of out-of-fold predictions: the mean over the folds, with its interval."""

import numpy as np
import pytest

from cxrscore.metrics import cross_validated_auc, delong


def test_cross_validated_auc_by_hand():
    """Fold 0: positive 3 above negatives 1 and 2, AUC 1. Fold 1: positives 10 and 30 around negative 20, AUC 1/2.
    Pooled, the positive 3 would be below the negative 20."""
    truth = np.array([1, 0, 0, 1, 1, 0], np.float32)
    score = np.array([3, 1, 2, 10, 30, 20], np.float32)
    folds = np.array([0, 0, 0, 1, 1, 1])
    found = cross_validated_auc(truth, score, folds)
    assert found.value == 0.75
    # Shares of the positives 1, 0, 1 minus 3/4, the mean over folds, for the only one of fold 0, and 1/2, the AUC of
    # fold 1, for the others; over 3 positives, corrected by sqrt(2) for 2 folds, and for 2 films of a fold. Likewise
    # the negatives 1, 1, 1/2 minus 1, 1, 3/4.
    np.testing.assert_allclose(found.influence[[0, 3, 4]], np.array([0.25, -0.5, 0.5]) / 3 * np.sqrt(2))
    np.testing.assert_allclose(found.influence[[1, 2, 5]], np.array([0, 0, -0.25]) / 3 * np.sqrt(2))
    one = cross_validated_auc(truth, score, np.zeros(6, int))
    np.testing.assert_allclose([one.value, one.error], [delong(truth, score).value, delong(truth, score).error])


def test_a_fold_without_both_classes_does_not_count():
    truth = np.array([1, 0, 1, 0, 0, 0], np.float32)
    score = np.array([2, 1, 1, 2, 5, 6], np.float32)
    found = cross_validated_auc(truth, score, np.array([0, 0, 0, 0, 1, 1]))
    assert found.value == delong(truth[:4], score[:4]).value
    assert np.isnan(cross_validated_auc(truth, score, np.arange(6)).value)


def test_folds_of_one_patient_vary_as_their_aucs_do():
    """Two folds of one patient with AUC 1 and 1/2, and as many films of each class: the standard error is that of the
    mean of the two numbers, 1/4."""
    truth = np.array([1, 1, 0, 1, 1, 0], np.float32)
    score = np.array([3, 3, 2, 10, 30, 20], np.float32)
    folds = np.array([0, 0, 0, 1, 1, 1])
    found = cross_validated_auc(truth, score, folds, folds)
    assert found.value == 0.75
    np.testing.assert_allclose(found.error, 0.25)
    equal = cross_validated_auc(truth, np.array([1, 3, 2, 10, 30, 20], np.float32), folds, folds)
    assert np.isnan(equal.error)  # both have AUC 1/2: no interval, instead of one of width 0


@pytest.mark.parametrize("folds", [5, 10])
def test_the_interval_of_few_positives_is_as_wide_as_the_auc_varies(folds):
    """10 positives and 90 negatives: in 10 folds each positive is alone in its fold."""
    rng = np.random.default_rng(1)
    truth, fold = np.repeat([1.0, 0.0], [10, 90]), np.arange(100) % folds
    found = [cross_validated_auc(truth, rng.normal(size=100) + 0.74 * truth, fold) for _ in range(300)]
    ratio = np.mean([one.error for one in found]) / np.std([one.value for one in found])
    assert 0.9 < ratio < 1.25, ratio
