"""Probabilities of logits, by hand and at the ends of what floats can hold."""

import numpy as np
import pytest

from cxrscore.models.output import probabilities


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
