"""The reference of network graphs: one case of each operation worked by hand, and torch as an independent opinion."""

import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cxrscore.contract import ModelSpec, Network, Node
from cxrscore.networks import reference
from cxrscore.networks.graph import FILM
from cxrscore.networks.operations import OPERATIONS
from cxrscore.networks.tensors import position_weights
from cxrscore.testing.fixtures import random_tensors, some_films, spec_of

RNG = np.random.default_rng(0)


def computed(operation, *inputs, own=None, **attributes):
    """The operation on values with a batch axis, with tensors by variable."""
    names = tuple(f"x{number}" for number in range(len(inputs)))
    node = Node(name="it", operation=operation, inputs=names, attributes=attributes)
    tensors = {f"it/{variable}": np.asarray(value, np.float64) for variable, value in (own or {}).items()}
    return reference.FUNCTIONS[operation](reference._Tensors(node, tensors), *map(np.asarray, inputs))


def row(*values):
    """One film, one row, one channel."""
    return np.array(values, np.float64).reshape(1, 1, -1, 1)


def square(*values):
    """One film, a square of one channel."""
    side = math.isqrt(len(values))
    return np.array(values, np.float64).reshape(1, side, side, 1)


def test_every_operation_has_a_function():
    assert set(reference.FUNCTIONS) == set(OPERATIONS)


# --- by hand


def test_conv2d_by_hand():
    """Kernel [[1, 2], [3, 4]] on [[1, 2], [3, 4]]: 1 + 4 + 9 + 16, and 10 for the bias."""
    own = {"kernel": np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1), "bias": [10]}
    found = computed("conv2d", square(1, 2, 3, 4), own=own, filters=1, size=2)
    assert found.tolist() == [[[[40]]]]


def test_conv2d_with_other_padding_before_than_after_by_hand():
    """One row and column of zeros after the map only: the kernel's first value meets every number of the map."""
    own = {"kernel": np.array([[1, 0], [0, 10]]).reshape(2, 2, 1, 1)}
    given = {"filters": 1, "size": 2, "bias": False}
    after = computed("conv2d", square(1, 2, 3, 4), own=own, padding=(0, 1), **given)
    assert after[0, ..., 0].tolist() == [[41, 2], [3, 4]]
    before = computed("conv2d", square(1, 2, 3, 4), own=own, padding=(1, 0), **given)
    assert before[0, ..., 0].tolist() == [[10, 20], [30, 41]]


def test_conv2d_with_a_stride_by_hand():
    """Of 1..9 in a 3 x 3 square, a kernel of one that goes by twos sees the corners."""
    own = {"kernel": np.full((1, 1, 1, 1), 2)}
    found = computed("conv2d", square(*range(1, 10)), own=own, filters=1, size=1, stride=2, bias=False)
    assert found[0, ..., 0].tolist() == [[2, 6], [14, 18]]


def test_grouped_conv2d_by_hand():
    """Four channels in two groups: filter 0 sees channels 0 and 1, filter 1 channels 2 and 3."""
    x = np.array([1, 2, 3, 4]).reshape(1, 1, 1, 4)
    own = {"kernel": np.array([[10, 1], [100, 1000]]).reshape(1, 1, 2, 2)}  # [k, k, K / groups, filters]
    found = computed("conv2d", x, own=own, filters=2, size=1, groups=2, bias=False)
    assert found.ravel().tolist() == [1 * 10 + 2 * 100, 3 * 1 + 4 * 1000]


def test_depthwise_conv2d_by_hand():
    """Each channel has a kernel of its own, and two filters where there are twice as many."""
    x = np.array([3, 5]).reshape(1, 1, 1, 2)
    once = computed("conv2d", x, own={"kernel": [[[[2, 10]]]]}, filters=2, size=1, groups=2, bias=False)
    assert once.ravel().tolist() == [6, 50]
    twice = computed("conv2d", x, own={"kernel": [[[[1, 2, 10, 20]]]]}, filters=4, size=1, groups=2, bias=False)
    assert twice.ravel().tolist() == [3, 6, 50, 100]


def test_dense_by_hand():
    """[1, 2] W + b, on a vector, on tokens and on a map."""
    own = {"kernel": [[1, 10, 100], [2, 20, 200]], "bias": [1, 0, 0]}
    for shape in ((1, 2), (1, 1, 2), (1, 1, 1, 2)):
        found = computed("dense", np.array([1, 2]).reshape(shape), own=own, units=3)
        assert found.shape == (*shape[:-1], 3)
        assert found.ravel().tolist() == [6, 50, 500]
    assert computed("dense", np.ones((1, 2)), own=own, units=3, bias=False).tolist() == [[3, 30, 300]]


def test_batch_norm_by_hand():
    """2 (7 - 3) / sqrt(3 + 1) + 1."""
    own = {"gamma": [2], "beta": [1], "moving_mean": [3], "moving_variance": [3]}
    assert computed("batch_norm", row(7), own=own, epsilon=1.0).item() == 5
    assert computed("batch_norm", row(7), own=own).item() == pytest.approx(1 + 8 / math.sqrt(3.001))


def test_layer_norm_by_hand():
    """1, 3, 5, 7: mean 4, biased variance 5, with epsilon 4 a deviation of 3."""
    own = {"gamma": [3, 3, 3, 6], "beta": [0, 0, 0, 1]}
    found = computed("layer_norm", np.array([[1, 3, 5, 7]]), own=own, epsilon=4.0)
    np.testing.assert_allclose(found, [[-3, -1, 1, 7]], rtol=1e-12)


def test_layer_norm_goes_over_the_channels_of_each_place():
    own = {"gamma": [1, 1], "beta": [0, 0]}
    found = computed("layer_norm", np.array([0, 2, 100, 104]).reshape(1, 1, 2, 2), own=own, epsilon=1e-12)
    np.testing.assert_allclose(found.ravel(), [-1, 1, -1, 1], rtol=1e-9)


def test_scale_by_hand():
    assert computed("scale", np.array([[3, 5]]), own={"gamma": [2, 10]}).tolist() == [[6, 50]]


def test_relu_by_hand():
    assert computed("relu", row(-1, 0, 5, 9)).ravel().tolist() == [0, 0, 5, 9]
    assert computed("relu", row(-1, 0, 5, 9), maximum=6).ravel().tolist() == [0, 0, 5, 6]


def test_gelu_by_hand():
    """Phi(1) is 0.8413447; the tanh approximation would give 0.841192."""
    np.testing.assert_allclose(computed("gelu", row(0, 1, -1)).ravel(), [0, 0.84134475, -0.15865525], rtol=1e-7)


def test_sigmoid_and_silu_by_hand():
    """1 / (1 + exp(-log 3)) is 3 / 4; far from 0 nothing overflows."""
    np.testing.assert_allclose(computed("sigmoid", row(0, math.log(3), -1000, 1000)).ravel(), [0.5, 0.75, 0, 1])
    np.testing.assert_allclose(computed("silu", row(0, math.log(3), -1000)).ravel(), [0, 0.75 * math.log(3), 0])


def test_add_and_multiply_by_hand():
    assert computed("add", row(1, 2), row(10, 20)).ravel().tolist() == [11, 22]
    assert computed("multiply", row(3, 4), row(10, 20)).ravel().tolist() == [30, 80]


def test_multiplication_by_a_gate_by_hand():
    x, gate = np.arange(4).reshape(1, 1, 2, 2), np.array([10, 100]).reshape(1, 1, 1, 2)
    assert computed("multiply", x, gate).ravel().tolist() == [0, 100, 20, 300]


def test_concat_by_hand():
    assert computed("concat", row(1, 2), row(3, 4), row(5, 6)).tolist() == [[[[1, 3, 5], [2, 4, 6]]]]


def test_max_pool_by_hand():
    x = np.arange(25.0).reshape(1, 5, 5, 1)
    found = computed("max_pool", x, size=3, stride=2, padding=1)
    assert found[0, ..., 0].tolist() == [[6, 8, 9], [16, 18, 19], [21, 23, 24]]


def test_padding_is_never_the_largest_of_a_max_pool():
    found = computed("max_pool", square(-4, -3, -2, -1), size=2, stride=1, padding=(0, 1))
    assert found[0, ..., 0].tolist() == [[-1, -1], [-1, -1]]
    before = computed("max_pool", square(-4, -3, -2, -1), size=2, stride=1, padding=(1, 0))
    assert before[0, ..., 0].tolist() == [[-4, -3], [-2, -1]]


def test_avg_pool_by_hand():
    """The fifth row and column fill no window of 2."""
    found = computed("avg_pool", np.arange(25.0).reshape(1, 5, 5, 1), size=2, stride=2)
    assert found[0, ..., 0].tolist() == [[3, 5], [13, 15]]


def test_global_avg_pool_by_hand():
    found = computed("global_avg_pool", np.arange(8.0).reshape(1, 2, 2, 2))
    assert found.tolist() == [[[[3, 4]]]]


def test_attention_by_hand():
    """Two tokens of one channel: scores of query 0 are 0 and log 3, its weights 1/4 and 3/4."""
    q, k, v = (np.array(values, float).reshape(1, 2, 1) for values in ((1, 0), (0, math.log(3)), (4, 8)))
    np.testing.assert_allclose(computed("attention", q, k, v, heads=1).ravel(), [4 / 4 + 3 * 8 / 4, 6], rtol=1e-12)


def test_attention_with_two_heads_by_hand():
    """Each head sees its own two channels: d = 2, so scores are divided by sqrt 2. The second head has no key."""
    step = math.sqrt(2) * math.log(3)
    q = np.array([[[1, 0, 1, 1], [0, 0, 0, 0]]], float)
    k = np.array([[[0, 5, 0, 0], [step, 5, 0, 0]]])
    v = np.array([[[4, 0, 0, 10], [8, 0, 0, 20]]], float)
    found = computed("attention", q, k, v, heads=2)
    np.testing.assert_allclose(found, [[[7, 0, 0, 15], [6, 0, 0, 15]]], rtol=1e-12)


def test_embed_tokens_by_hand():
    """The class token first, then the map row by row, each with its position."""
    own = {"class_token": [100], "position": np.array([1, 10, 20, 30, 40]).reshape(5, 1)}
    found = computed("embed_tokens", square(1, 2, 3, 4), own=own, grid=2)
    assert found.ravel().tolist() == [101, 11, 22, 33, 44]


def test_embed_tokens_of_another_side_by_hand():
    """Four positions for one place. On a line, two are at distance 1/2 (weight 19/32), and their repetitions beyond the
    edges at 3/2 (-3/32): 1/2 each, so the mean of the four."""
    own = {"class_token": [0], "position": np.array([7, 4, 8, 12, 16]).reshape(5, 1)}
    found = computed("embed_tokens", np.zeros((1, 1, 1, 1)), own=own, grid=2)
    np.testing.assert_allclose(found.ravel(), [7, 10], rtol=1e-6)


def test_position_weights_of_a_line_by_hand():
    """From four places to two: the first is centred at 0.5, half way, with -3/32, 19/32, 19/32 and -3/32 of places
    -1 to 2, and place -1 is place 0."""
    line = position_weights(4, 2)[1:, 1:]
    first = np.array([-3 + 19, 19, -3, 0]) / 32
    np.testing.assert_allclose(line, np.kron([first, first[::-1]], [first, first[::-1]]), rtol=1e-6)
    assert position_weights(4, 4) is None


def test_class_token_and_patch_map_by_hand():
    tokens = np.arange(10).reshape(1, 5, 2)
    assert computed("class_token", tokens).tolist() == [[0, 1]]
    assert computed("patch_map", tokens).tolist() == [[[[2, 3], [4, 5]], [[6, 7], [8, 9]]]]


@pytest.mark.parametrize(
    ("operation", "shapes", "attributes", "own"),
    [
        ("conv2d", [(6, 6, 4)], {"filters": 4, "size": 3, "groups": 2, "bias": False}, {"kernel": (3, 3, 2, 4)}),
        ("attention", [(5, 4)] * 3, {"heads": 2}, {}),
        ("embed_tokens", [(2, 2, 3)], {"grid": 3}, {"class_token": (3,), "position": (10, 3)}),
        ("patch_map", [(5, 2)], {}, {}),
    ],
)
def test_no_films_give_no_values_of_the_right_shape(operation, shapes, attributes, own):
    node = Node(name="it", operation=operation, inputs=tuple("xyz"[: len(shapes)]), attributes=attributes)
    inputs = [np.zeros((0, *shape)) for shape in shapes]
    found = computed(operation, *inputs, own={name: np.ones(shape) for name, shape in own.items()}, **attributes)
    assert found.shape == (0, *OPERATIONS[operation].shape(shapes, node.attributes))


# --- an independent opinion


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def first(torch, x):
    """Channels first."""
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def last(tensor):
    return np.moveaxis(tensor.numpy(), 1, -1)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "groups", "filters"),
    [(3, 1, (1, 1), 1, 5), (3, 2, (0, 1), 1, 5), (4, 3, (2, 1), 2, 6), (5, 2, (2, 2), 4, 4), (2, 1, (0, 3), 4, 8)],
)
def test_conv2d_is_that_of_torch(torch, size, stride, padding, groups, filters):
    x, kernel = RNG.normal(size=(2, 9, 9, 4)), RNG.normal(size=(size, size, 4 // groups, filters))
    bias = RNG.normal(size=filters)
    padded = torch.nn.functional.pad(first(torch, x), (*padding, *padding))
    weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    wanted = torch.nn.functional.conv2d(padded, weight, torch.from_numpy(bias), stride, groups=groups)
    given = {"filters": filters, "size": size, "stride": stride, "padding": padding, "groups": groups}
    found = computed("conv2d", x, own={"kernel": kernel, "bias": bias}, **given)
    np.testing.assert_allclose(found, last(wanted), rtol=1e-10, atol=1e-12)


def test_batch_norm_and_layer_norm_are_those_of_torch(torch):
    x, gamma, beta, mean = RNG.normal(size=(2, 3, 3, 4)), *RNG.normal(size=(3, 4))
    variance, functional = RNG.uniform(0.1, 1, 4), torch.nn.functional
    tensors = [torch.from_numpy(value) for value in (mean, variance, gamma, beta)]
    own = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
    wanted = functional.batch_norm(first(torch, x), *tensors, eps=0.01)
    np.testing.assert_allclose(computed("batch_norm", x, own=own, epsilon=0.01), last(wanted), rtol=1e-10)
    wanted = functional.layer_norm(torch.from_numpy(x), (4,), *tensors[2:], eps=0.01)
    np.testing.assert_allclose(computed("layer_norm", x, own=own, epsilon=0.01), wanted.numpy(), rtol=1e-10)


@pytest.mark.parametrize("operation", ["gelu", "silu", "sigmoid"])
def test_functions_of_one_value_are_those_of_torch(torch, operation):
    x = np.linspace(-30, 30, 601).reshape(1, -1)
    wanted = getattr(torch.nn.functional, operation)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(computed(operation, x), wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 1), (2, 0)])
def test_max_pool_is_that_of_torch(torch, padding):
    x = RNG.normal(-5, 1, size=(2, 8, 8, 3))
    padded = torch.nn.functional.pad(first(torch, x), (*padding, *padding), value=-math.inf)
    wanted = torch.nn.functional.max_pool2d(padded, 3, 2)
    np.testing.assert_array_equal(computed("max_pool", x, size=3, stride=2, padding=padding), last(wanted))


def test_avg_pool_is_that_of_torch(torch):
    x = RNG.normal(size=(2, 8, 8, 3))
    wanted = torch.nn.functional.avg_pool2d(first(torch, x), 3, 2)
    np.testing.assert_allclose(computed("avg_pool", x, size=3, stride=2), last(wanted), rtol=1e-10)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_that_of_torch(torch, heads):
    parts = RNG.normal(size=(3, 2, 5, 8))
    split = [torch.from_numpy(part).unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts]
    wanted = torch.nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
    np.testing.assert_allclose(computed("attention", *parts, heads=heads), wanted.numpy(), rtol=1e-10)


@pytest.mark.parametrize(("grid", "side"), [(37, 16), (37, 28), (16, 37), (3, 4), (1, 5), (5, 1)])
def test_positions_are_interpolated_as_by_torch(torch, grid, side):
    position = RNG.normal(size=(1 + grid**2, 3))
    places = torch.from_numpy(position[1:].reshape(1, grid, grid, 3)).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.interpolate(places, size=(side, side), mode="bicubic", align_corners=False)
    found = reference.positions(position, grid, side)
    np.testing.assert_array_equal(found[0], position[0])
    np.testing.assert_allclose(found[1:], last(wanted).reshape(-1, 3), rtol=0, atol=1e-6)
    np.testing.assert_allclose(position_weights(grid, side).sum(axis=1), 1, rtol=1e-6)


# --- films, heads, whole networks


def test_normalisation_by_hand():
    grey = np.array([[0.5]])
    assert reference.normalised(grey, "unit").tolist() == [[[0.5, 0.5, 0.5]]]
    assert reference.normalised(grey, "imagenet-rgb")[0, 0, 0] == pytest.approx((0.5 - 0.485) / 0.229)
    assert reference.normalised(grey, "imagenet-caffe")[0, 0, 2] == pytest.approx(127.5 - 123.68)
    assert reference.normalised(grey, "signed-1024").tolist() == [[[0, 0, 0]]]
    assert reference.normalised(grey, "rad-dino")[0, 0] == pytest.approx([(0.5 - 0.5307) / 0.2583] * 3)


def test_statistics_of_the_batch_by_hand():
    """Two films of two places: mean 4, biased variance 9; they replace the stored ones."""
    nodes = (
        Node(name="grey", operation="conv2d", inputs=(FILM,), attributes={"filters": 1, "size": 1, "bias": False}),
        Node(name="norm", operation="batch_norm", inputs=("grey",), attributes={"epsilon": 16.0}),
    )
    network = Network(name="small", nodes=nodes, output="norm", stages=("grey",))
    tensors = {"grey/kernel": np.array([1.0, 0, 0]).reshape(1, 1, 3, 1), "norm/gamma": np.array([2.0])}
    tensors |= {"norm/beta": np.array([1.0]), "norm/moving_mean": np.zeros(1), "norm/moving_variance": np.ones(1)}
    films = np.array([1.0, 7.0, 1.0, 7.0]).reshape(2, 1, 2, 1).repeat(3, axis=-1)
    found = reference.run(network, tensors, films, ["norm"], norms={"norm"})["norm"]
    np.testing.assert_allclose(found.ravel(), 1 + 2 * np.array([-3, 3, -3, 3]) / 5)
    assert (tensors["norm/moving_mean"].tolist(), tensors["norm/moving_variance"].tolist()) == ([4], [9])


def test_a_flat_embedding_goes_row_column_channel():
    pooled = np.arange(12.0).reshape(1, 2, 3, 2)
    assert reference.pool(spec_of("tinycnn", head="flatten"), pooled).tolist() == [list(range(12))]
    assert reference.pool(spec_of("tinycnn"), pooled).tolist() == [[5, 6]]
    assert reference.pool(spec_of("vit_b14", head="cls"), pooled[0, 0]).tolist() == pooled[0, 0].tolist()


def patches(head):
    """Two patches a side, a class token; K = 1, position 0."""
    nodes = (
        Node(name="grey", operation="conv2d", inputs=(FILM,), attributes={"filters": 1, "size": 16, "stride": 16}),
        Node(name="tokens", operation="embed_tokens", inputs=("grey",), attributes={"grid": 2}),
        Node(name="first", operation="class_token", inputs=("tokens",)),
        Node(name="map", operation="patch_map", inputs=("tokens",)),
    )
    network = Network(name="patches", nodes=nodes, output="map", class_token="first", stages=("grey",), size=32)
    return ModelSpec(architecture="patches", findings=("Mass",), size=32, head=head, normalize="unit", network=network)


@pytest.mark.parametrize(("head", "logit"), [("gap", 3.0), ("flatten", 4 * 3.0), ("cls", 7.0)])
def test_what_each_head_takes_by_hand(head, logit):
    """White film, kernel 3 / 768 everywhere: each patch is 3; the class token is 7."""
    spec = patches(head)
    tensors = {
        "grey/kernel": np.full((16, 16, 3, 1), 3 / 768),
        "grey/bias": np.zeros(1),
        "tokens/class_token": np.array([7.0]),
        "tokens/position": np.zeros((5, 1)),
        "head/kernel": np.ones((4 if head == "flatten" else 1, 1)),
        "head/bias": np.zeros(1),
    }
    films = np.ones((2, 32, 32), np.float32)
    np.testing.assert_allclose(reference.logits(spec, tensors, films), [[logit]] * 2)
    (found,) = reference.features(spec, tensors, films)
    np.testing.assert_allclose(found, np.full((2, 2, 2, 1), 3.0))


@pytest.mark.slow
def test_films_together_are_as_one_by_one_where_no_layer_goes_by_the_batch():
    spec = spec_of("densenet121")
    tensors, films = random_tensors(spec), some_films(2, spec.size)
    together, _ = reference.by_batch(spec, tensors, films, ())
    np.testing.assert_allclose(together, reference.logits(spec, tensors, films), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["tinycnn", "densenet121", "resnet50", "resnet50v1.5"])
def test_every_tensor_counts(architecture):
    """A reference that left one out would not notice a backend that does."""
    spec = spec_of(architecture, size=66 if architecture == "densenet121" else 40)
    tensors, films = random_tensors(spec), some_films(1, spec.size)
    wanted = reference.logits(spec, tensors, films)
    names = sorted(tensors)[:: 1 if architecture == "tinycnn" else 12]
    for name in names:
        with threadpool_limits(1):  # small matrices: threads wait for each other
            found = reference.logits(spec, {**tensors, name: tensors[name] * 1.5 + 0.1}, films)
        assert np.abs(found - wanted).max() > 1e-6, name
