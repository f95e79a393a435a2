"""The AUC with fewer films, and the power law through it."""

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import folds_by_patient
from cxrscore.training import TrainOptions
from cxrscore.training.learning_curve import (
    LARGEST_EXPONENT,
    RESAMPLES,
    Law,
    _macro_auc,
    _resampled,
    check_patients,
    fit_law,
    measure_learning_curve,
)

FILMS = np.array([50.0, 100, 200, 400])
ERRORS = np.array([0.02, 0.015, 0.01, 0.01])


@pytest.mark.parametrize("exponent", [0.1, 0.5, 1.3])
def test_an_exact_law_is_recovered(exponent):
    law = fit_law(FILMS, 0.8 - 0.6 * FILMS**-exponent, ERRORS)
    assert (law.asymptote, law.factor, law.exponent) == pytest.approx((0.8, 0.6, exponent), abs=1e-6)


def test_the_law_of_one_hundred_films_by_hand():
    law = Law(asymptote=0.8, factor=2.0, exponent=0.5)
    assert law.at(100) == pytest.approx(0.8 - 2 / 10)
    assert law.at(400) == pytest.approx(0.8 - 2 / 20)


def test_points_with_smaller_errors_count_more():
    areas = 0.8 - 0.6 * FILMS**-0.5
    areas[0] -= 0.1  # a law through the other three points only, if the first one has a large error
    law = fit_law(FILMS, areas, np.array([1e3, 1e-3, 1e-3, 1e-3]))
    assert law.at(800) == pytest.approx(0.8 - 0.6 * 800**-0.5, abs=1e-4)
    assert fit_law(FILMS, areas, np.full(4, 0.01)).at(50) == pytest.approx(areas[0], abs=0.01)


@pytest.mark.parametrize("areas", [[0.6, 0.6, 0.6, 0.6], [0.7, 0.68, 0.65, 0.6]])
def test_a_curve_that_does_not_rise_has_factor_0(areas):
    law = fit_law(FILMS, np.array(areas), ERRORS)
    assert law.factor == 0
    assert law.at(1e6) == pytest.approx(law.at(50))


@pytest.mark.parametrize("areas", [[0.5, 0.65, 0.8, 0.95], [0.5, 0.95, 0.96, 0.96], [0.5, 0.51, 0.53, 0.6]])
def test_a_law_stays_within_its_limits(areas):
    law = fit_law(FILMS, np.array(areas), ERRORS)
    assert law.asymptote <= 1
    assert law.factor >= 0
    assert 0 < law.exponent <= LARGEST_EXPONENT * (1 + 1e-9)


def test_an_error_of_0_gives_all_points_the_same_weight():
    areas = np.array([0.55, 0.62, 0.66, 0.68])
    assert fit_law(FILMS, areas, np.array([0, 1.0, 1, 1])) == fit_law(FILMS, areas, np.ones(4))


def films(signal, count=160, width=10):
    """Features that know the labels of two findings as well as `signal` says, labels, folds, patients."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(count, width)).astype(np.float32)
    scores = signal * features @ rng.normal(size=(width, 2)) / np.sqrt(width) + rng.normal(size=(count, 2))
    labels = (scores > 0).astype(np.float32)
    patients = [f"{row // 2}" for row in range(count)]
    return features, labels, folds_by_patient(patients, labels, 3, seed=0), patients


def test_a_learnable_finding_has_a_rising_curve_and_a_law():
    features, labels, folds, patients = films(signal=2)
    curve = measure_learning_curve(features, labels, folds, fitted=np.ones(2, bool), patients=patients, seed=1)
    assert curve["films"] == pytest.approx([13, 27, 53, 107], abs=4)  # eighths of the patients of two thirds
    assert curve["macro_auc"][0] < curve["macro_auc"][2] < curve["macro_auc"][3]
    assert all(0 < error < 0.1 for error in curve["error"])
    assert [found["films"] for found in curve["predicted"]] == [320, 640]
    first, second = (found["macro_auc"] for found in curve["predicted"])
    assert curve["macro_auc"][3] - 0.02 < first["value"] <= second["value"] <= 1
    assert first["low"] <= first["value"] <= first["high"]
    law = Law(**curve["law"])
    assert law.at(320) == pytest.approx(first["value"])
    again = measure_learning_curve(features, labels, folds, fitted=np.ones(2, bool), patients=patients, seed=1)
    assert again == curve


def test_features_that_know_nothing_have_no_law():
    features, labels, folds, patients = films(signal=0)
    curve = measure_learning_curve(features, labels, folds, fitted=np.array([True, False]), patients=patients, seed=1)
    assert curve["law"] is None
    assert curve["predicted"] == []
    assert len(curve["macro_auc"]) == 4


def test_a_macro_auc_by_hand():
    truth = np.array([[0, 1, 0], [1, 1, 0], [0, 1, 1]], np.float32)
    margins = np.array([[0.1, 5, 0], [0.3, 4, 0], [0.2, 3, 0]])
    # 1, not defined with one class, and 1/2 for margins that are all equal
    assert _macro_auc(truth, margins, np.array([True, True, True])) == 0.75
    assert _macro_auc(truth, margins, np.array([True, False, False])) == 1
    assert np.isnan(_macro_auc(truth, margins, np.array([False, True, False])))


def test_resamples_are_means_of_folds_and_repeats():
    areas = np.zeros((2, 3, 4))
    areas[1] = 1.0  # by fold: 0 or 1, so that a resample of two folds has mean 0, 1/2 or 1
    found = _resampled(areas, np.random.default_rng(0))
    assert found.shape == (RESAMPLES, 4)
    assert set(np.unique(found)) == {0.0, 0.5, 1.0}
    assert found.mean() == pytest.approx(0.5, abs=0.05)


def test_too_few_patients_are_refused():
    folds = np.array([0, 1] * 8)
    check_patients([None] * 16, folds)
    with pytest.raises(InputError, match="needs 8 patients in the training part of each fold, and there are 4"):
        check_patients([f"{row // 4}" for row in range(16)], folds)


@pytest.mark.parametrize(
    ("options", "reason"), [({"solver": "adam"}, "solver adam"), ({"trainable": "all"}, "trainable")]
)
def test_a_run_in_epochs_has_no_learning_curve(options, reason):
    with pytest.raises(InputError, match=f"learning_curve needs a linear probe.* because of {reason}"):
        TrainOptions(learning_curve=True, **options)
