"""Which films an epoch sees: all of them once, or those with rarer findings more often."""

import numpy as np
import pytest

from cxrscore.training.data_loader import epoch_order, film_weights

NAN = float("nan")
LABELS = np.zeros((10, 2), np.float32)
LABELS[8:, 0] = 1  # eight films without a finding, two with the first


def test_weights_by_hand():
    # Eight films of the commonest kind, none; two of the other: four times as rare, so twice as often.
    assert film_weights(LABELS).tolist() == [1] * 8 + [2] * 2


def test_a_film_weighs_as_much_as_its_rarest_finding_and_unknown_is_not_there():
    labels = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [0, NAN], [NAN, NAN]], np.float32)
    # Four with the first finding (the commonest kind), one with the second, two with none.
    assert film_weights(labels) == pytest.approx([1, 1, 1, 2, np.sqrt(2), np.sqrt(2)])


def test_natural_is_every_film_once_in_another_order_each_epoch():
    first, second = (epoch_order(LABELS, "natural", seed=0, epoch=epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_order(LABELS, "natural", seed=0, epoch=0).tolist()


def test_balanced_draws_every_film_its_share_rounded_up_or_down():
    # By hand: weights 1 and 2 add up to 12, so ten draws give 10/12 to the common and 20/12 to the rare films.
    total = np.zeros(10)
    for epoch in range(300):
        drawn = epoch_order(LABELS, "balanced", seed=0, epoch=epoch)
        assert drawn.shape == (10,)
        count = np.bincount(drawn, minlength=10)
        assert set(count[:8]) <= {0, 1}
        assert set(count[8:]) <= {1, 2}
        total += count
    assert total / 300 == pytest.approx([10 / 12] * 8 + [20 / 12] * 2, abs=0.08)
    same = epoch_order(LABELS, "balanced", seed=0, epoch=299)
    np.testing.assert_array_equal(same, drawn)
    assert epoch_order(LABELS, "balanced", seed=1, epoch=299).tolist() != drawn.tolist()


def test_films_are_drawn_in_proportion_to_their_weights():
    # By hand: weights of sum 10 for ten draws, so each film is drawn as often as its weight, rounded up or down.
    weights = np.array([0, 0, 3, 0.5, 0.5, 1, 1, 1, 1.5, 1.5])
    total = np.zeros(10)
    for epoch in range(300):
        count = np.bincount(epoch_order(LABELS, "natural", seed=0, epoch=epoch, weights=weights), minlength=10)
        assert (np.abs(count - weights) < 1).all()
        total += count
    assert total / 300 == pytest.approx(weights, abs=0.1)
    assert sorted(epoch_order(LABELS, "natural", seed=0, epoch=0, weights=np.ones(10))) == list(range(10))


def test_weights_multiply_those_of_balanced_sampling():
    # By hand: 1 and 2 times 1 and 0 leave the first common and the first rare film with 1 to 2 of ten draws.
    weights = np.array([1.0] + [0] * 7 + [1, 0])
    count = np.zeros(10)
    for epoch in range(30):
        count += np.bincount(epoch_order(LABELS, "balanced", seed=0, epoch=epoch, weights=weights), minlength=10)
    assert count[[1, 2, 3, 4, 5, 6, 7, 9]].sum() == 0
    assert count[[0, 8]] / 30 == pytest.approx([10 / 3, 20 / 3], abs=0.5)


def test_a_soft_label_is_positive_above_a_half():
    soft = np.where(LABELS == 1, np.float32(0.6), np.float32(0.5))
    np.testing.assert_array_equal(film_weights(soft), film_weights(LABELS))


def test_balanced_with_one_kind_only_is_natural_but_for_the_order():
    for labels in (np.zeros((7, 3), np.float32), np.ones((7, 3), np.float32), np.full((7, 3), NAN, np.float32)):
        assert sorted(epoch_order(labels, "balanced", seed=0, epoch=0)) == list(range(7))
