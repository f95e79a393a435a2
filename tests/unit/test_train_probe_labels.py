"""Soft labels and weights in the linear probe: a film counts as its parts, and a film of weight 0 as none."""

import numpy as np
import pytest

from cxrscore.training.linear_probe import cross_validate, fit_probe
from cxrscore.training.probe import enough_films, prevalence, without_weightless

NAN = float("nan")


@pytest.fixture(scope="module")
def films():
    """Features float32 [60,5] and labels float32 [60,1], some of them soft."""
    random = np.random.default_rng(3)
    features = random.normal(size=(60, 5)).astype(np.float32)
    chance = 1 / (1 + np.exp(-features[:, 0]))
    labels = np.where(random.random(60) < 0.5, chance, random.random(60) < chance)
    return features, labels[:, None].astype(np.float32)


def test_a_soft_label_is_a_film_with_and_a_film_without_the_finding(films):
    features, labels = films
    half = np.full(1, 0.5)
    soft = fit_probe(features, labels, np.array([0.1]), prevalence=half)
    twice = np.concatenate([features, features])
    hard = np.concatenate([np.ones_like(labels), np.zeros_like(labels)])
    parts = np.concatenate([labels[:, 0], 1 - labels[:, 0]]).astype(np.float64)
    split = fit_probe(twice, hard, np.array([0.1]), prevalence=half, weights=parts)
    np.testing.assert_allclose(soft.kernel, split.kernel, atol=1e-6)
    np.testing.assert_allclose(soft.bias, split.bias, atol=1e-6)


def test_a_weight_of_2_is_the_film_twice_and_of_0_not_at_all(films):
    features, labels = films
    half, times = np.full(1, 0.5), np.arange(60) % 3
    weighted = fit_probe(features, labels, np.array([0.1]), prevalence=half, weights=times.astype(np.float64))
    # The same films in both, so that the standardization is the same: copies differ in their weights only.
    thrice = np.concatenate([features] * 3)
    there = np.concatenate([times > 0, times > 1, np.zeros(60, bool)]).astype(np.float64)
    copied = fit_probe(thrice, np.concatenate([labels] * 3), np.array([0.1]), prevalence=half, weights=there)
    np.testing.assert_allclose(weighted.kernel, copied.kernel, atol=1e-6)
    np.testing.assert_allclose(weighted.bias, copied.bias, atol=1e-6)


def test_the_log_loss_of_a_fold_takes_labels_and_weights_as_they_are(films):
    features, labels = films
    weights = np.tile([1.0, 3.0], 30)
    folds = np.arange(60) % 4
    found = cross_validate(features, labels, folds, fitted=np.array([True]), weights=weights)
    equal = cross_validate(features, labels, folds, fitted=np.array([True]), weights=np.full(60, 2.0))
    assert not np.allclose(found.log_loss, equal.log_loss)
    # The entropy of the soft labels, in part 0 for hard ones, is the least that a log loss can be.
    y = np.clip(labels[:, 0].astype(np.float64), 1e-12, 1 - 1e-12)
    entropy = -(y * np.log(y) + (1 - y) * np.log1p(-y))
    assert (found.log_loss[:, 0] > np.average(entropy, weights=weights)).all()


def test_prevalence_is_the_weighted_mean_of_the_labels():
    labels = np.array([[1, 0.5], [0, NAN], [0.5, 0]], np.float32)
    assert prevalence(labels).tolist() == pytest.approx([0.5, 0.25])
    # By hand: (2 + 0 + 0.5) / 4 and (1 + 0) / 3.
    assert prevalence(labels, np.array([2.0, 1, 1])).tolist() == pytest.approx([2.5 / 4, 1 / 3])


def test_a_soft_label_counts_for_its_class_and_a_half_for_none():
    labels = np.array([[0.6, 0.5], [0.4, 1], [0, 0], [NAN, 0.5]], np.float32)
    assert enough_films(labels, 1).tolist() == [True, True]
    assert enough_films(labels, 2).tolist() == [False, False]
    assert enough_films(np.array([[0.6, 0.5], [0.7, 0.5], [0, 0], [0.1, 1]], np.float32), 2).tolist() == [True, False]


def test_a_film_of_weight_0_is_not_counted():
    labels = np.array([[1], [1], [0], [0]], np.float32)
    assert enough_films(without_weightless(labels, None), 2).tolist() == [True]
    assert enough_films(without_weightless(labels, np.array([1.0, 0, 1, 1])), 2).tolist() == [False]
