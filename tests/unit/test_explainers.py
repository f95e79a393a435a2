"""Heat maps: by hand, and where methods must agree."""

import numpy as np
import pytest

from cxrscore.contract import CamParts
from cxrscore.explainers import grad_cam, hires_cam


def parts(activations, gradients):
    return CamParts(
        logits=np.zeros((len(activations), 1), np.float32),
        activations=np.asarray(activations, np.float32),
        gradients=np.asarray(gradients, np.float32),
        tap="t",
    )


def test_grad_cam_by_hand():
    # A 1x2 map of two channels; gradients differ by place: their means are 2 and -1.
    activations = [[[[1, 10], [2, 20]]]]
    gradients = [[[[[1, -1], [3, -1]]]]]
    assert grad_cam(parts(activations, gradients)).tolist() == [[[[2 - 10, 4 - 20]]]]
    assert hires_cam(parts(activations, gradients)).tolist() == [[[[1 - 10, 6 - 20]]]]


def test_with_a_gap_head_all_agree():
    rng = np.random.default_rng(0)
    activations = rng.random((3, 4, 5, 6))
    constant = rng.normal(size=(1, 2, 1, 1, 6))
    full = np.broadcast_to(constant, (3, 2, 4, 5, 6))
    short, long = grad_cam(parts(activations, constant)), grad_cam(parts(activations, full))
    assert short.shape == (3, 2, 4, 5)
    assert short == pytest.approx(long, abs=1e-5)
    assert hires_cam(parts(activations, constant)) == pytest.approx(short, abs=1e-5)


def test_for_a_gap_head_the_mean_of_the_map_is_the_logit_without_bias():
    rng = np.random.default_rng(1)
    activations, kernel = rng.random((2, 3, 3, 4)), rng.normal(size=(4, 5))
    gradients = (kernel.T / 9).reshape(1, 5, 1, 1, 4)
    logits = activations.mean(axis=(1, 2)) @ kernel
    assert grad_cam(parts(activations, gradients)).sum(axis=(2, 3)) == pytest.approx(logits, rel=1e-5, abs=1e-6)
