"""The linear probe: its optimum, its cross-validation, and what it makes of few, soft and weighted labels."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cxrscore.errors import InputError
from cxrscore.labels import folds_by_patient
from cxrscore.metrics import auc, shrunken_platt
from cxrscore.metrics.calibration import _shrunken
from cxrscore.training.linear_probe import cross_validate, fit_probe

NAN = np.nan


def drawn(films=120, width=6, findings=2, seed=0):
    """Features of different scale, and labels that depend on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(films, width)) * 10.0 ** rng.integers(-1, 2, width) + rng.normal(size=width)
    z = (x - x.mean(axis=0)) / x.std(axis=0) @ rng.normal(size=(width, findings))
    return x.astype(np.float32), (rng.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.float32)


def loss_gradient(x, y, w, b, strength):
    """Of the sum of log losses times the strength plus |w|^2 / 2, as scikit-learn states it."""
    p = 1 / (1 + np.exp(-(x @ w + b)))
    return np.append(strength * x.T @ (p - y) + w, strength * (p - y).sum())


def test_the_optimum_by_hand():
    """Two films of features -1 and 1, one of each class: by symmetry the bias is 0 and w solves
    w = 2 C sigmoid(-w); with C = (1 + e) / 2 that is w = 1."""
    probe = fit_probe(
        np.array([[-1.0], [1.0]], np.float32),
        np.array([[0.0], [1.0]], np.float32),
        np.array([(1 + np.e) / 2]),
        prevalence=np.array([0.5]),
    )
    assert probe.kernel[0, 0] == pytest.approx(1.0, abs=1e-6)
    assert probe.bias[0] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("width", [6, 200])
def test_the_gradient_vanishes_at_the_result(width):
    """With fewer features than films and with more, where the problem is solved in the space of the films."""
    x, y = drawn(width=width)
    probe = fit_probe(x, y, np.array([0.01, 1.0]), prevalence=np.array([0.5, 0.5]))
    z = x.astype(float)
    scale = np.maximum(z.std(axis=0), 0.01 * z.std(axis=0).mean())
    standardized = (z - z.mean(axis=0)) / scale
    for c, strength in enumerate((0.01, 1.0)):
        gradient = loss_gradient(standardized, y[:, c], probe.kernel[:, c] * scale, probe.intercept[c], strength)
        assert np.abs(gradient).max() < 1e-5 * strength * len(x)


def test_it_is_scikit_learns_own_pipeline():
    x, y = drawn()
    probe = fit_probe(x, y, np.array([0.1, 0.1]), prevalence=np.array([0.5, 0.5]))
    for c in range(2):
        peer = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000))
        peer.fit(x.astype(float), y[:, c])
        wanted = peer.decision_function(x.astype(float))
        np.testing.assert_allclose(x @ probe.kernel[:, c] + probe.bias[c], wanted, atol=1e-4)


def test_unknown_labels_are_left_out_and_a_soft_label_is_a_film_of_each_class():
    x, y = drawn(findings=1)
    unknown = y.copy()
    unknown[:30] = NAN
    strength, share = np.array([0.3]), np.array([0.5])
    found = fit_probe(x, unknown, strength, prevalence=share)
    scaled = fit_probe(x, unknown, strength, prevalence=share, weights=np.ones(len(x)))
    np.testing.assert_array_equal(found.kernel, scaled.kernel)
    soft = y.copy()
    soft[:20] = 0.25
    doubled = np.concatenate([x, x[:20]])
    hard = np.concatenate([np.where(soft == 0.25, 1, soft), np.zeros((20, 1))]).astype(np.float32)
    mass = np.concatenate([np.where(soft[:, 0] == 0.25, 0.25, 1.0), np.full(20, 0.75)])
    one = fit_probe(x, soft, strength, prevalence=share)
    # The doubled films would change the mean and deviation of the features: compare on the standardized scale.
    other = LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000)
    mean, deviation = x.astype(float).mean(axis=0), x.astype(float).std(axis=0)
    other.fit((doubled - mean) / deviation, hard[:, 0], sample_weight=mass)
    np.testing.assert_allclose(one.kernel[:, 0] * deviation, other.coef_[0], atol=1e-4)


def test_a_film_of_weight_two_is_two_films():
    x, y = drawn(findings=1)
    weights = np.where(np.arange(len(x)) < 40, 2.0, 1.0)
    weighted = fit_probe(x, y, np.array([0.3]), prevalence=np.array([0.5]), weights=weights)
    mean, deviation = x.astype(float).mean(axis=0), x.astype(float).std(axis=0)
    peer = LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000)
    twice = (np.concatenate([x, x[:40]]) - mean) / deviation
    peer.fit(twice, np.concatenate([y, y[:40]])[:, 0])
    np.testing.assert_allclose(weighted.kernel[:, 0] * deviation, peer.coef_[0], atol=1e-4)


def test_a_finding_that_is_not_fitted_has_its_prevalence_and_no_coefficients():
    x, y = drawn()
    probe = fit_probe(x, y, np.array([NAN, 0.1]), prevalence=np.array([0.2, 0.5]))
    assert not probe.kernel[:, 0].any()
    assert probe.bias[0] == pytest.approx(np.log(0.2 / 0.8))


def test_out_of_fold_margins_are_those_of_a_probe_without_the_fold():
    x, y = drawn(findings=1)
    folds = np.arange(len(x)) % 4
    found = cross_validate(x, y, folds, fitted=np.array([True]))
    losses = found.log_loss[:, 0]
    assert (
        found.strengths[0] == found.tried[losses.argmin()]
        or losses.min() + 1e-4 >= losses[list(found.tried).index(found.strengths[0])]
    )
    for fold in range(4):
        others = folds != fold
        candidates = [
            fit_probe(x[others], y[others], np.array([strength]), prevalence=np.array([0.5]))
            for strength in found.tried
        ]
        margins = [x[~others] @ one.kernel[:, 0] + one.bias[0] - one.intercept[0] for one in candidates]
        assert min(np.abs(found.margins[~others, 0] - margin).max() for margin in margins) < 1e-3


def test_noise_gets_strong_shrinkage_and_signal_little():
    x, y = drawn(films=200, width=30, findings=1)
    noise = np.random.default_rng(1).permutation(y)
    folds = np.arange(len(x)) % 5
    signal = cross_validate(x, y, folds, fitted=np.array([True]))
    nothing = cross_validate(x, noise, folds, fitted=np.array([True]))
    assert signal.strengths[0] > 10 * nothing.strengths[0]
    assert auc(y[:, 0], signal.margins[:, 0]) > 0.8


def test_strengths_beyond_the_usual_ones_are_tried():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1)).astype(np.float32)
    y = (rng.random((400, 1)) < 1 / (1 + np.exp(-6 * x))).astype(np.float32)
    found = cross_validate(x, y, np.arange(400) % 5, fitted=np.array([True]))
    assert found.tried.max() > 0.1
    assert found.strengths[0] > 0.1


def test_folds_hold_whole_patients_and_as_many_films_of_each_finding():
    rng = np.random.default_rng(3)
    patients = [f"p{number}" for number in rng.integers(0, 60, 200)]
    labels = (rng.random((200, 3)) < [0.1, 0.3, 0.5]).astype(np.float32)
    folds = folds_by_patient(patients, labels, 5, seed=0)
    assert all(
        len({fold for fold, other in zip(folds, patients, strict=True) if other == one}) == 1 for one in patients
    )
    for c, share in enumerate((0.1, 0.3, 0.5)):
        counts = [labels[folds == fold, c].sum() for fold in range(5)]
        assert max(counts) - min(counts) <= max(6, 200 * share * 0.15), counts
    with pytest.raises(InputError, match="2 patients cannot be divided into 3 folds: expected 2 to 2 folds"):
        folds_by_patient(["a", "b", "a"], labels[:3], 3, seed=0)


def test_shrinking_by_hand():
    """Slopes 1 and 3, each with standard error 1: the common mean is 2, Q = 2, one degree of freedom, and the variance
    between findings (2 - 1) / (2 - 1) = 1, so each moves half of the way."""
    np.testing.assert_allclose(_shrunken(np.array([1.0, 3.0]), np.array([1.0, 1.0])), [1.5, 2.5])
    # Slopes that differ by less than their errors are equal; one without an error has the common slope.
    np.testing.assert_allclose(_shrunken(np.array([1.0, 1.2, NAN]), np.array([1.0, 1.0, np.inf])), [1.1, 1.1, 1.1])
    np.testing.assert_allclose(_shrunken(np.array([NAN, NAN]), np.array([np.inf, np.inf])), [1.0, 1.0])


def test_the_mean_probability_is_the_share_of_positives():
    rng = np.random.default_rng(0)
    truth = (rng.random((500, 3)) < [0.02, 0.2, 0.6]).astype(np.float32)
    logit = (truth * [0.5, 1.0, 2.0] + rng.normal(size=truth.shape)).astype(np.float32)
    slope, intercept = shrunken_platt(truth, logit)
    prob = 1 / (1 + np.exp(-(slope * logit + intercept)))
    np.testing.assert_allclose(prob.mean(axis=0), truth.mean(axis=0), atol=1e-6)
    assert (slope > 0).all()


def test_calibration_of_findings_without_classes_or_without_spread():
    truth = np.array([[1, 1, NAN], [1, 0, NAN], [1, 0, NAN], [1, 0, NAN]], np.float32)
    logit = np.array([[0, 2, 1], [1, 2, 2], [2, 2, 3], [3, 2, 4]], np.float32)
    slope, intercept = shrunken_platt(truth, logit)
    assert (slope[0], intercept[0]) == (1, 0)
    assert intercept[1] + slope[1] * 2 == pytest.approx(np.log(0.25 / 0.75))
    assert (slope[2], intercept[2]) == (1, 0)


def test_a_channel_that_varies_little_beside_others_counts():
    """A channel with a thousandth of the deviation of the others decides the label: as in scikit-learn's pipeline."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    x[:, 0] = 0.2 + 1e-3 * x[:, 0]
    y = (x[:, :1] > 0.2).astype(np.float32)
    found = cross_validate(x, y, np.arange(300) % 5, fitted=np.array([True]))
    assert auc(y[:, 0], found.margins[:, 0]) > 0.98


@pytest.mark.parametrize("width", [4, 100])
def test_features_that_are_the_same_on_all_films_give_the_prevalence(width):
    features, (_, labels) = np.full((60, width), 3.0, np.float32), drawn(60)
    share = labels.mean(axis=0, dtype=np.float64)
    found = cross_validate(features, labels, np.arange(60) % 5, fitted=np.array([True, True]))
    probe = fit_probe(features, labels, found.strengths, prevalence=share)
    assert not found.margins.any()
    assert not probe.kernel.any()
    np.testing.assert_allclose(1 / (1 + np.exp(-probe.bias)), share, atol=1e-6)
