"""The parts of the reference by hand; as a whole it is held to keras.applications by the conformance tests."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cxrscore.networks import reference as numpy_reference
from cxrscore.testing.fixtures import random_tensors, some_films, spec_of

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("size", [7, 8])
def test_a_convolution_is_a_sum_of_products(side, stride, size):
    x, kernel, bias = RNG.normal(size=(size, size, 2)), RNG.normal(size=(side, side, 2, 3)), RNG.normal(size=3)
    found = numpy_reference._conv({"it/kernel": kernel, "it/bias": bias}, "it", x, stride)
    assert found.shape == (-(-size // stride), -(-size // stride), 3)
    for row, column in np.ndindex(found.shape[:2]):
        wanted = bias.copy()
        for down, right in np.ndindex(side, side):
            y, z = stride * row + down - side // 2, stride * column + right - side // 2
            if 0 <= y < size and 0 <= z < size:
                wanted += x[y, z] @ kernel[down, right]
        np.testing.assert_allclose(found[row, column], wanted, rtol=1e-12)


def test_pools_by_hand():
    x = np.arange(25.0).reshape(5, 5, 1)
    assert numpy_reference._max_pool(x)[..., 0].tolist() == [[6, 8, 9], [16, 18, 19], [21, 23, 24]]
    assert numpy_reference._mean_pool(x)[..., 0].tolist() == [[3, 5], [13, 15]]


def test_normalisation_by_hand():
    grey = np.array([[0.5]])
    assert numpy_reference.normalised(grey, "unit").tolist() == [[[0.5, 0.5, 0.5]]]
    assert numpy_reference.normalised(grey, "imagenet-rgb")[0, 0, 0] == pytest.approx((0.5 - 0.485) / 0.229)
    assert numpy_reference.normalised(grey, "imagenet-caffe")[0, 0, 2] == pytest.approx(127.5 - 123.68)
    statistics = {"it/gamma": 2.0, "it/beta": 1.0, "it/moving_mean": 3.0, "it/moving_variance": 4.0}
    assert numpy_reference._norm(statistics, "it", np.array(7.0)) == pytest.approx(1 + 2 * 4 / np.sqrt(4 + 1.001e-5))


def test_statistics_of_the_batch_by_hand():
    """Two films of two places: mean 4, biased variance 9."""
    layers = numpy_reference._ByBatch(
        {"it/gamma": 2.0, "it/beta": 1.0, "it/moving_mean": 0.0, "it/moving_variance": 1.0}
    )
    layers.norms = frozenset({"it"})
    found = numpy_reference._norm(layers, "it", np.array([1.0, 7.0, 1.0, 7.0]).reshape(2, 1, 2, 1))
    np.testing.assert_allclose(found.ravel(), 1 + np.array([-6, 6, -6, 6]) / np.sqrt(9 + 1.001e-5))
    assert (layers["it/moving_mean"].tolist(), layers["it/moving_variance"].tolist()) == ([4], [9])


def test_films_together_are_as_one_by_one_where_no_layer_goes_by_the_batch():
    spec = spec_of("densenet121")
    tensors, films = random_tensors(spec), some_films(2, spec.size)
    together, _ = numpy_reference.by_batch(spec, tensors, films, ())
    np.testing.assert_allclose(together, numpy_reference.logits(spec, tensors, films), rtol=1e-10)


def test_a_flat_embedding_goes_row_column_channel():
    pooled = np.arange(12.0).reshape(1, 2, 3, 2)
    flat = numpy_reference.embedding(spec_of("tinycnn", head="flatten"), pooled)
    assert flat.tolist() == [list(range(12))]
    assert numpy_reference.embedding(spec_of("tinycnn"), pooled).tolist() == [[5, 6]]


@pytest.mark.parametrize("architecture", ["tinycnn", "densenet121", "resnet50"])
def test_every_tensor_counts(architecture):
    """A reference that left one out would not notice a backend that does."""
    spec = spec_of(architecture, size=66 if architecture == "densenet121" else 40)
    tensors, films = random_tensors(spec), some_films(1, spec.size)
    wanted = numpy_reference.logits(spec, tensors, films)
    names = sorted(tensors)[:: 1 if architecture == "tinycnn" else 12]
    for name in names:
        with threadpool_limits(1):  # small matrices: threads wait for each other
            found = numpy_reference.logits(spec, {**tensors, name: tensors[name] * 1.5 + 0.1}, films)
        assert np.abs(found - wanted).max() > 1e-6, name
