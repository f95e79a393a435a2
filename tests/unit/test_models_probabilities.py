"""Probabilities of logits, by hand and at the ends of what floats can hold."""

import numpy as np
import pytest

from cxrscore.models.probabilities import LARGEST_LOGIT, ModelOutput, mean_logits, mean_probabilities, probabilities


def test_sigmoid_by_hand():
    logits = np.array([[0.0, np.log(3), -np.log(3)]], np.float32)
    assert probabilities(logits, "sigmoid") == pytest.approx(np.array([[0.5, 0.75, 0.25]]))


def test_softmax_by_hand():
    logits = np.log(np.array([[1.0, 2.0, 5.0]], np.float32))
    assert probabilities(logits, "softmax") == pytest.approx(np.array([[0.125, 0.25, 0.625]]))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_nothing_overflows(activation):
    found = probabilities(np.array([[-1e30, 0, 1e30]], np.float32), activation)
    assert found.dtype == np.float32
    assert (found[0, 0], found[0, 2]) == (0, 1)


def test_calibration_by_hand():
    """Logit 2 of slope 1/2 and intercept -1 is 0, so 1/2; the second finding is left as it is."""
    line = {"method": "platt", "slope": [0.5, 1.0], "intercept": [-1.0, 0.0]}
    found = probabilities(np.array([[2.0, np.log(3)]], np.float32), "sigmoid", line)
    assert found == pytest.approx(np.array([[0.5, 0.75]]))


def output(*probs, activation="sigmoid", calibration=None):
    """One film whose probabilities are these, without a calibration."""
    p = np.array([probs])
    logits = np.log(p / (1 - p)) if activation == "sigmoid" else np.log(p)
    return ModelOutput(logits=logits.astype(np.float32), activation=activation, calibration=calibration)


def test_the_mean_of_two_models_by_hand():
    """(1/2 + 3/4) / 2 = 5/8, whose odds are 5 to 3; a softmax of 1 : 3 beside it counts like any other."""
    two = [output(0.5, 0.2), output(0.75, 0.6)]
    assert mean_probabilities(two) == pytest.approx(np.array([[0.625, 0.4]]))
    assert mean_logits(two) == pytest.approx(np.log(np.array([[5 / 3, 2 / 3]])), abs=1e-6)
    three = [*two, output(0.25, 0.75, activation="softmax")]
    assert mean_probabilities(three) == pytest.approx(np.array([[0.5, 1.55 / 3]]))
    assert mean_logits(three) == pytest.approx(np.log(np.array([[1.0, 1.55 / 1.45]])), abs=1e-6)


def test_the_mean_is_of_calibrated_probabilities():
    """Logit 2 of slope 1/2 and intercept -1 is 0, so 1/2; with 3/4 beside it 5/8."""
    line = {"slope": [0.5], "intercept": [-1.0]}
    logits = np.array([[2.0]], np.float32)
    two = [ModelOutput(logits=logits, activation="sigmoid", calibration=line), output(0.75)]
    assert mean_probabilities(two) == pytest.approx(np.array([[0.625]]))
    assert mean_logits(two) == pytest.approx(np.log(np.array([[5 / 3]])), abs=1e-6)


RESCALED = {"method": "op-thresholds", "slope": [1, 1, 1], "intercept": [0, 0, 0], "half_at": [0.2, 0.2, 0.5]}


def test_rescaling_by_hand():
    """Of a half at 0.2: 0.1 becomes 0.1 / 0.4 = 1/4, 0.2 becomes 1/2, 0.6 becomes 1 - 0.4 / 1.6 = 3/4; 0.5 changes
    nothing."""
    p = np.array([[0.1, 0.6, 0.6], [0.2, 0.9999, 0.3]])
    logits = np.log(p / (1 - p)).astype(np.float32)
    found = probabilities(logits, "sigmoid", RESCALED)
    expected = np.array([[0.25, 0.75, 0.6], [0.5, 1 - 0.0001 / 1.6, 0.3]])
    assert found == pytest.approx(expected, abs=1e-7)
    output = ModelOutput(logits=logits, activation="sigmoid", calibration=RESCALED)
    assert mean_logits([output]) == pytest.approx(np.log(expected / (1 - expected)), abs=3e-4)


def test_rescaled_logits_are_exact_where_probabilities_are_rounded_to_0_and_1():
    """Far below the half odds grow by 1 / (2 half), far above by 2 (1 - half)."""
    logits = np.array([[-200.0, 200.0, 30.0]], np.float32)
    output = ModelOutput(logits=logits, activation="sigmoid", calibration=RESCALED)
    np.testing.assert_allclose(mean_logits([output]), [[-200 + np.log(2.5), 200 + np.log(1.6), 30]], rtol=1e-6)
    assert output.prob.tolist() == [[0, 1, 1]]


def test_rescaling_is_monotone_and_a_mean_is_of_rescaled_probabilities():
    logits = np.linspace(-8, 8, 999, dtype=np.float32)[:, None].repeat(3, axis=1)
    output = ModelOutput(logits=logits, activation="sigmoid", calibration=RESCALED)
    assert (np.diff(output.prob, axis=0) > 0).all()
    mean = probabilities(mean_logits([output, output]), "sigmoid")
    np.testing.assert_allclose(mean, output.prob, atol=2e-7)


@pytest.mark.parametrize("copies", [1, 2, 3, 7])
def test_the_mean_of_a_model_with_itself_is_the_model_to_the_bit(copies):
    logits = np.random.default_rng(copies).normal(0, 8, (500, 3)).astype(np.float32)
    own = ModelOutput(logits=logits, activation="sigmoid")
    np.testing.assert_array_equal(mean_probabilities([own] * copies), own.prob)
    np.testing.assert_array_equal(mean_logits([own] * copies), logits)


def test_the_order_of_models_changes_no_more_than_rounding():
    rng = np.random.default_rng(0)
    several = [
        ModelOutput(logits=rng.normal(0, 4, (200, 2)).astype(np.float32), activation="sigmoid") for _ in range(5)
    ]
    for mean in (mean_probabilities, mean_logits):
        np.testing.assert_allclose(mean(several), mean(several[::-1]), rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_logits_of_means_are_finite_and_tell_apart_what_probabilities_cannot(activation):
    ends = [
        ModelOutput(logits=np.array([[-150.0, 0.0, top]], np.float32), activation=activation)
        for top in (140.0, 150.0, 160.0)
    ]
    assert all(one.prob[0, 2] == 1 for one in ends)
    near, far = mean_logits(ends[:2]), mean_logits(ends[1:])
    assert np.isfinite([near, far]).all()
    assert near[0, 2] < far[0, 2]
    np.testing.assert_allclose(probabilities(near, "sigmoid"), mean_probabilities(ends[:2]), atol=1e-7)


def test_a_softmax_over_one_finding_is_always_sure_and_its_logit_finite():
    sure = ModelOutput(logits=np.array([[-3.0]], np.float32), activation="softmax")
    assert mean_probabilities([sure, sure])[0, 0] == 1
    assert mean_logits([sure, sure])[0, 0] == LARGEST_LOGIT
