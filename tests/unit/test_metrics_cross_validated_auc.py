"""The AUC of out-of-fold predictions: the mean over the folds, with its interval."""

import numpy as np

from cxrscore.metrics import cross_validated_auc, delong


def test_cross_validated_auc_by_hand():
    """Fold 0: positive 3 above negatives 1 and 2, AUC 1. Fold 1: positives 10 and 30 around negative 20, AUC 1/2.
    Pooled, the positive 3 would be below the negative 20."""
    truth = np.array([1, 0, 0, 1, 1, 0], np.float32)
    score = np.array([3, 1, 2, 10, 30, 20], np.float32)
    folds = np.array([0, 0, 0, 1, 1, 1])
    found = cross_validated_auc(truth, score, folds)
    assert found.value == 0.75
    # Positives: shares 1, 0, 1 minus their fold's 1, 1/2, 1/2; over 3 positives, corrected by sqrt(3/2).
    terms = np.array([0, -0.5, 0.5]) / 3 * np.sqrt(1.5)
    np.testing.assert_allclose(found.influence[[0, 3, 4]], terms)
    np.testing.assert_allclose(found.influence[[1, 2, 5]], 0)
    one = cross_validated_auc(truth, score, np.zeros(6, int))
    np.testing.assert_allclose([one.value, one.error], [delong(truth, score).value, delong(truth, score).error])


def test_a_fold_without_both_classes_does_not_count():
    truth = np.array([1, 0, 1, 0, 0, 0], np.float32)
    score = np.array([2, 1, 1, 2, 5, 6], np.float32)
    found = cross_validated_auc(truth, score, np.array([0, 0, 0, 0, 1, 1]))
    assert found.value == delong(truth[:4], score[:4]).value
    assert np.isnan(cross_validated_auc(truth, score, np.arange(6)).value)
