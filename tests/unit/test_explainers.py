"""Heat maps: by hand, and where methods must agree."""

import numpy as np
import pytest

from cxrscore.contract import CamParts, Explainer
from cxrscore.errors import InputError
from cxrscore.explainers import (
    cam,
    explain,
    explainers,
    faithfulness,
    grad_cam,
    grad_cam_pp,
    grad_cam_relu,
    hires_cam,
    occlusion,
)


def parts(activations, gradients):
    return CamParts(
        logits=np.zeros((len(activations), 1), np.float32),
        activations=np.asarray(activations, np.float32),
        gradients=np.asarray(gradients, np.float32),
        cam_layer="t",
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


def gap_parts(seed=1):
    """A film's map of 3 x 3 places and 4 channels, under a gap head of 5 findings; and the dense layer's kernel."""
    rng = np.random.default_rng(seed)
    activations, kernel = rng.random((2, 3, 3, 4)), rng.normal(size=(4, 5))
    return parts(activations, (kernel.T / 9).reshape(1, 5, 1, 1, 4)), kernel


def test_cam_weighs_with_the_dense_layer():
    given, kernel = gap_parts()
    wanted = np.einsum("nhwk,kf->nfhw", given.activations, kernel)
    assert cam(given) == pytest.approx(wanted, abs=1e-5)
    assert cam(given) == pytest.approx(9 * grad_cam(given), abs=1e-5)


def test_cam_needs_one_weight_for_the_whole_map():
    given, _ = gap_parts()
    flat = parts(given.activations, np.broadcast_to(given.gradients, (1, 5, 3, 3, 4)))
    with pytest.raises(InputError, match="grad-cam"):
        cam(flat)


def test_grad_cam_with_relu_has_no_negative_part():
    given, _ = gap_parts()
    assert np.array_equal(grad_cam_relu(given), np.maximum(grad_cam(given), 0))
    assert grad_cam(given).min() < 0


def test_grad_cam_pp_by_hand():
    # Two places, one channel: A = 1, 3 with gradients 2, -1. Sum of A is 4, so at the first place
    # a = 4 / (8 + 8 * 4) = 0.1 and the weight is 0.1 * 2; the second gradient is negative and adds nothing.
    maps = grad_cam_pp(parts([[[[1], [3]]]], [[[[[2], [-1]]]]]))
    assert maps == pytest.approx(np.array([[[[0.2, 0.6]]]]))


def test_grad_cam_pp_takes_constant_gradients_short_or_long():
    given, _ = gap_parts()
    long = parts(given.activations, np.broadcast_to(given.gradients, (2, 5, 3, 3, 4)))
    assert grad_cam_pp(given) == pytest.approx(grad_cam_pp(long), rel=1e-5)


def test_grad_cam_pp_of_no_gradient_is_zero():
    assert not grad_cam_pp(parts(np.ones((1, 2, 2, 3)), np.zeros((1, 1, 1, 1, 3)))).any()


def test_occlusion_by_hand():
    """A logit that is the sum of the film's bright corner: covering it takes away all but the mean."""
    films = np.zeros((1, 20, 20), np.float32)
    films[0, :2, :2] = 1.0

    def predict(given):
        corner = given[:, :2, :2].sum(axis=(1, 2))
        return np.stack([corner, -corner], axis=1)

    maps = occlusion(predict, films, [1, 0])
    assert maps.shape == (1, 2, 10, 10)
    assert maps[0, 1, 0, 0] == pytest.approx(4 - 4 * 0.01)  # the mean grey is 4 / 400
    assert maps[0, 1, 1, 1] == pytest.approx((4 - 4 * 0.01) / 4)  # one square of four over this cell covers the corner
    assert not maps[0, 1, 2:].any()
    assert np.array_equal(maps[0, 0], -maps[0, 1])


class Blind:
    """A model that only predicts."""

    framework = "abacus 1"

    def predict(self, films):
        return films.mean(axis=(1, 2))[:, None]


def test_a_model_without_activations_is_left_to_occlusion():
    by_name = {explainer.name: explainer for explainer in explainers}
    films = np.random.default_rng(0).random((2, 40, 40), np.float32)
    with pytest.raises(InputError, match="use occlusion"):
        explain(by_name["grad-cam"], Blind(), films, [0])
    logits, maps, cam_layer = explain(by_name["occlusion"], Blind(), films, [0])
    assert logits.shape == (2, 1)
    assert maps.shape == (2, 1, 10, 10)
    assert cam_layer == "input"
    with pytest.raises(InputError, match="remove the layer"):
        explain(by_name["occlusion"], Blind(), films, [0], cam_layer="bn")


def test_an_explainer_starts_from_one_thing():
    with pytest.raises(InputError, match="exactly one"):
        Explainer(name="x", summary="")


def sees(place: tuple[slice, slice]):
    """A model of two findings; the second is the light in one place, the first nothing."""

    def predict(films):
        light = films[:, place[0], place[1]].mean(axis=(1, 2))
        return np.stack([np.zeros(len(films)), 20 * (light - 0.5)], axis=1).astype(np.float32)

    return predict


def test_a_map_of_what_was_used_is_faithful_and_its_opposite_is_not():
    film = np.full((32, 32), 0.1, np.float32)
    place = slice(14, 17), slice(14, 17)
    film[place] = 1
    predict = sees(place)
    right = np.zeros((32, 32), np.float32)
    right[place] = 1
    wrong = 1 - right
    true, false = (faithfulness(predict, film, values, 1, steps=32) for values in (right, wrong))
    # The square is a hundredth of the film: covered at once, or last of all.
    assert true.deletion < 0.1 < 0.9 < false.deletion
    assert true.insertion > 0.9 > 0.3 > false.insertion
    even = faithfulness(predict, film, right, 0)
    assert (even.deletion, even.insertion) == (0.5, 0.5)


def test_faithfulness_by_hand():
    # Two columns, light on the left. Covered from the left: 0.5 covers the left half with the mean grey 1/2.
    film = np.array([[1, 0], [1, 0]], np.float32).repeat(16, 0).repeat(16, 1)
    seen = []

    def predict(films):
        seen.append(films.copy())
        return films.mean(axis=(1, 2))[:, None] * 4 - 2

    found = faithfulness(predict, film, np.array([[1, 0]], np.float32), 0, steps=2)
    light = [0.5, 0.25, 0.5]  # of the films with nothing, the left half, all covered
    np.testing.assert_allclose(seen[0].mean(axis=(1, 2)), light, atol=1e-6)
    prob = [1 / (1 + np.exp(-(4 * value - 2))) for value in light]
    assert found.deletion == pytest.approx((prob[0] / 2 + prob[1] + prob[2] / 2) / 2)
    np.testing.assert_array_equal(seen[1][2], film)
    assert len(np.unique(seen[1][0][0])) > 2  # it begins with a blurred film
