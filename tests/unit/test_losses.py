"""Losses: one case by hand, their gradient against finite differences, and unknown labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrscore.losses import (
    asymmetric,
    bce,
    class_weights,
    focal,
    losses,
    paper_equation_7,
    softmax_cross_entropy,
    softplus,
    weighted_bce,
)

NAN = np.nan


def test_weighted_bce_by_hand():
    # One film, two findings, logits 0: softplus(0) = log 2. Positive weighs 3, negative of the second weighs 5.
    value = weighted_bce(np, np.zeros((1, 2)), np.array([[1.0, 0.0]]), np.array([[3.0, 1.0], [1.0, 5.0]]))
    assert value == pytest.approx(8 * np.log(2))


def test_it_is_summed_over_findings_and_averaged_over_films():
    logits = np.zeros((4, 3))
    assert bce(np, logits, np.ones((4, 3)), None) == pytest.approx(3 * np.log(2))


def test_focal_by_hand():
    # p = 3/4 at logit log 3. Positive: -2 (1/4)^2 log(3/4); negative: -5 (3/4)^2 log(1/4).
    value = focal(np, np.full((1, 2), np.log(3)), np.array([[1.0, 0.0]]), np.array([[2.0, 1.0], [1.0, 5.0]]))
    assert value == pytest.approx(-2 / 16 * np.log(3 / 4) - 5 * 9 / 16 * np.log(1 / 4))


def test_asymmetric_by_hand():
    # p = 3/4: positive -(1/4) log(3/4). Negative: q = 0.70, -q^4 log(1 - q).
    value = asymmetric(np, np.full((1, 2), np.log(3)), np.array([[1.0, 0.0]]), None)
    assert value == pytest.approx(-np.log(3 / 4) / 4 - 0.7**4 * np.log(0.3))


@pytest.mark.parametrize("loss", losses, ids=lambda loss: loss.name)
def test_a_soft_label_mixes_the_losses_of_both_classes(loss):
    # A label of 0.25 is a quarter of the loss of a positive film and three quarters of that of a negative one.
    logits, weights = np.array([[0.4, -1.0]]), np.array([[2.0, 1.0], [1.0, 5.0]])
    soft, positive, negative = (
        float(loss.function(np, logits, np.array([[label, 0.0]]), weights)) for label in (0.25, 1.0, 0.0)
    )
    assert soft == pytest.approx(0.25 * positive + 0.75 * negative)


def test_a_soft_label_by_hand():
    # Logit log 3, p = 3/4: -0.2 log(3/4) - 0.8 log(1/4).
    value = bce(np, np.full((1, 1), np.log(3)), np.array([[0.2]]), None)
    assert value == pytest.approx(-0.2 * np.log(3 / 4) - 0.8 * np.log(1 / 4))


def test_class_weights_add_soft_labels():
    # Shares of 0.5 / 4 and 1.75 / 2.
    labels = np.array([[0.5, 1], [0, 0.75], [0, NAN], [0, NAN]], np.float32)
    np.testing.assert_allclose(class_weights(labels), [[0.875, 0.125], [0.125, 0.875]])


def test_easy_negatives_cost_nothing_in_the_asymmetric_loss():
    assert asymmetric(np, np.full((1, 1), -3.0), np.zeros((1, 1)), None) == 0  # p = 0.047 < 0.05


def test_softmax_cross_entropy_by_hand():
    # Softmax of log 1, log 2, log 5 is 1/8, 2/8, 5/8; two findings are present.
    value = softmax_cross_entropy(np, np.log([[1.0, 2.0, 5.0]]), np.array([[0.0, 1.0, 1.0]]), None)
    assert value == pytest.approx(-np.log(2 / 8) - np.log(5 / 8))


def test_softmax_is_taken_among_known_findings():
    value = softmax_cross_entropy(np, np.log([[1.0, 2.0, 5.0]]), np.array([[NAN, 1.0, 0.0]]), None)
    assert value == pytest.approx(-np.log(2 / 7))


def test_equation_7_as_printed_by_hand():
    # Softmax is 1/8, 2/8, 5/8. Crossed weights 0.9 and 0.1 of the first finding, so that literally its positives weigh
    # 0.1; its negatives would weigh 0.9. Both branches are -log P: the two negatives add theirs with 0.7 and 0.6.
    weights = np.array([[0.9, 0.7, 0.6], [0.1, 0.3, 0.4]])
    value = paper_equation_7(np, np.log([[1.0, 2.0, 5.0]]), np.array([[1.0, 0.0, 0.0]]), weights)
    assert value == pytest.approx(-0.1 * np.log(1 / 8) - 0.7 * np.log(2 / 8) - 0.6 * np.log(5 / 8))


def test_equation_7_as_printed_pushes_a_negative_up():
    weights = np.array([[0.9, 0.9], [0.1, 0.1]])
    labels = np.array([[1.0, 0.0]])
    worse = paper_equation_7(np, np.array([[0.0, 2.0]]), labels, weights)
    assert worse < paper_equation_7(np, np.array([[0.0, 0.0]]), labels, weights)


@pytest.mark.parametrize("loss", losses, ids=lambda loss: loss.name)
@pytest.mark.parametrize("logit", [-700.0, 700.0])
def test_saturated_logits_give_finite_losses(loss, logit):
    labels = np.array([[0.0, 1.0, NAN]])
    assert np.isfinite(loss.function(np, np.array([[logit, -logit, logit]]), labels, np.ones((2, 3))))


def test_the_papers_initial_loss_at_the_prevalences_of_nih():
    # shared facts: p = 1/2 with crossed weights gives sum over findings of 2 f (1 - f) log 2.
    counts = np.array([11559, 2776, 13317, 19894, 5782, 6331, 1431, 5302, 4667, 2303, 2516, 1686, 3385, 227])
    share = counts / 112_120
    films = 112_120
    positive = 2 * share * (1 - share) * np.log(2)
    assert positive.sum() == pytest.approx(0.908, abs=0.001)
    labels = np.zeros((films, 14), np.float32)
    for column, count in enumerate(counts):
        labels[:count, column] = 1
    assert weighted_bce(np, np.zeros_like(labels), labels, class_weights(labels)) == pytest.approx(0.908, abs=0.001)


@pytest.mark.parametrize("loss", losses, ids=lambda loss: loss.name)
def test_unknown_labels_add_nothing(loss):
    weights = np.array([[0.7, 0.4], [0.3, 0.6]])
    logits = np.array([[0.3, -2.0], [1.5, 4.0]])
    full = loss.function(np, logits, np.array([[1.0, NAN], [0.0, NAN]]), weights)
    first = loss.function(np, logits[:, :1], np.array([[1.0], [0.0]]), weights[:, :1])
    assert full == pytest.approx(first)
    assert loss.function(np, logits, np.full((2, 2), NAN), weights) == 0


@given(st.floats(-700, 700))
def test_softplus_neither_overflows_nor_differs_from_logaddexp(x):
    assert softplus(np, np.float64(x)) == pytest.approx(np.logaddexp(0.0, x), rel=1e-12, abs=1e-300)


def test_class_weights_balance_positives_and_negatives():
    labels = np.array([[1, 0, NAN], [0, 0, NAN], [0, 0, NAN], [NAN, 0, NAN]], np.float32)
    weights = class_weights(labels)
    assert weights[:, 0] == pytest.approx([2 / 3, 1 / 3])
    assert weights[:, 1:].tolist() == [[1, 1], [1, 1]]  # one class only, or nothing known: weights of one
