"""Tensors of the built-in networks: counts that keras.applications publishes, shapes and sides worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from cxrscore.contract import GraphBuilder, ModelSpec, Network
from cxrscore.errors import InputError
from cxrscore.networks.builtin import BUILT_IN
from cxrscore.networks.graph import FILM
from cxrscore.networks.tensors import (
    NORMALISATIONS,
    check_adam_state,
    check_cam_layer,
    check_inputs,
    check_tensors,
    closed_form,
    depth_of,
    feature_count,
    initial_tensors,
    map_shape,
    tail_names,
    tail_shape,
    tensor_shapes,
    trainable_names,
    trainable_of,
)

TINY = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule"), size=32)


def spec_of(architecture, **changes):
    return replace(TINY, architecture=architecture, network=None, **changes)


DENSE = spec_of("densenet121")
RES = spec_of("resnet50")
VIT = spec_of("vit_b14", size=56)
HEAD = {"head/kernel", "head/bias"}


def base_of(spec):
    return {name: value for name, value in initial_tensors(spec, 1).items() if name not in HEAD}


# --- names and shapes


def test_the_small_networks_shapes_by_hand():
    assert tensor_shapes(TINY) == {
        "conv1/kernel": (3, 3, 3, 16),
        "conv1/bias": (16,),
        "conv2/kernel": (3, 3, 16, 32),
        "conv2/bias": (32,),
        "conv3/kernel": (3, 3, 32, 64),
        "conv3/bias": (64,),
        "conv4/kernel": (3, 3, 64, 64),
        "conv4/bias": (64,),
        "head/kernel": (64, 2),
        "head/bias": (2,),
    }


@pytest.mark.parametrize(
    ("spec", "tensors", "parameters", "fixed"),
    [(DENSE, 604, 7_037_504, 83_648), (RES, 318, 23_587_712, 53_120)],
)
def test_counts_are_those_that_keras_prints_without_top(spec, tensors, parameters, fixed):
    """Total and non-trainable parameters as in the summary of keras.applications with include_top=False."""
    sizes = {name: int(np.prod(shape)) for name, shape in tensor_shapes(spec).items() if name not in HEAD}
    assert len(sizes) == tensors
    assert sum(sizes.values()) == parameters
    learning = trainable_names(replace(spec, trainable="all"))
    assert sum(size for name, size in sizes.items() if name not in learning) == fixed


def test_the_vision_transformer_by_hand():
    """DINOv2 ViT-B/14 without its mask token: 86,579,712 (its published size is 86.6 million)."""
    shapes = tensor_shapes(VIT)
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items() if name not in HEAD}
    width, hidden = 768, 3072
    layer = 4 * (width * width + width) + 2 * width * hidden + hidden + width + 4 * width + 2 * width
    tokens = (14 * 14 * 3 + 1) * width + width + (1 + 37 * 37) * width
    assert sum(sizes.values()) == tokens + 12 * layer + 2 * width == 86_579_712
    assert shapes["tokens/position"] == (1370, 768)  # also where the film is smaller
    assert map_shape(VIT) == (4, 4, 768)


@pytest.mark.parametrize(
    ("spec", "name", "shape"),
    [
        (DENSE, "conv1_conv/kernel", (7, 7, 3, 64)),
        (DENSE, "conv3_block12_1_conv/kernel", (1, 1, 128 + 11 * 32, 128)),
        (DENSE, "pool4_conv/kernel", (1, 1, 1024, 512)),
        (DENSE, "bn/gamma", (1024,)),
        (RES, "conv1_conv/bias", (64,)),
        (RES, "conv3_block1_0_conv/kernel", (1, 1, 256, 512)),
        (RES, "conv3_block1_1_conv/kernel", (1, 1, 256, 128)),
        (RES, "conv5_block3_2_conv/kernel", (3, 3, 512, 512)),
        (RES, "conv5_block3_3_bn/moving_variance", (2048,)),
    ],
)
def test_shapes_of_some_layers_by_hand(spec, name, shape):
    assert tensor_shapes(spec)[name] == shape


@pytest.mark.shared
@pytest.mark.parametrize("spec", [DENSE, RES], ids=lambda spec: spec.architecture)
def test_names_and_shapes_are_those_of_the_imagenet_files(spec, shared):
    from safetensors.numpy import load_file

    stored = load_file(shared / "weights" / f"{spec.architecture}_imagenet_notop.safetensors")
    ours = {name: shape for name, shape in tensor_shapes(spec).items() if name not in HEAD}
    assert {name: value.shape for name, value in stored.items()} == ours


@pytest.mark.parametrize(
    ("architecture", "sides"),
    [
        ("densenet121", {32: 1, 64: 2, 65: 2, 224: 7, 400: 12}),
        ("resnet50", {32: 1, 64: 2, 65: 3, 224: 7, 400: 13}),
        ("tinycnn", {32: 4, 33: 5, 40: 5, 224: 28, 400: 50}),
    ],
)
def test_side_of_the_feature_map(architecture, sides):
    assert {size: map_shape(spec_of(architecture, size=size))[:2] for size in sides} == {
        size: (side, side) for size, side in sides.items()
    }


@pytest.mark.parametrize("function", [map_shape, tensor_shapes, trainable_names, tail_shape])
def test_a_network_that_only_a_backend_knows_is_named(function):
    with pytest.raises(InputError, match="cxrscore does not know the layers of 'vgg': only its backend does"):
        function(spec_of("vgg"))


def test_a_flatten_head_takes_every_place():
    assert feature_count(TINY) == 64
    assert feature_count(replace(TINY, head="flatten")) == 4 * 4 * 64
    assert tensor_shapes(replace(RES, size=400, head="flatten"))["head/kernel"] == (13 * 13 * 2048, 2)


@pytest.mark.parametrize(
    ("normalize", "white"),
    [
        ("imagenet-rgb", [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]),
        ("imagenet-caffe", [255 - 103.939, 255 - 116.779, 255 - 123.68]),
        ("unit", [1, 1, 1]),
        ("signed-1024", [1024, 1024, 1024]),
        ("rad-dino", [(1 - 0.5307) / 0.2583] * 3),
    ],
)
def test_normalisation_of_a_white_pixel(normalize, white):
    mean, sd = (np.array(values) for values in NORMALISATIONS[normalize])
    np.testing.assert_allclose((1 - mean) / sd, white, rtol=1e-12)


# --- what may learn


def test_the_head_alone_may_learn():
    assert all(trainable_names(spec_of(name)) == HEAD for name in BUILT_IN)


def test_the_last_block_by_hand():
    assert trainable_names(replace(TINY, trainable="last-block")) == HEAD | {"conv4/kernel", "conv4/bias"}
    dense = trainable_names(replace(DENSE, trainable="last-block"))
    # 16 layers of two convolutions and two normalisations (gamma and beta), the last normalisation, the head
    assert len(dense) == 16 * (2 + 4) + 2 + 2
    assert {"bn/gamma", "conv5_block1_0_bn/beta", "conv5_block16_2_conv/kernel"} <= dense
    assert not {"pool4_conv/kernel", "conv4_block24_2_conv/kernel", "conv1_bn/gamma"} & dense
    res = trainable_names(replace(RES, trainable="last-block"))
    # 10 convolutions with bias, each normalised, and the head
    assert len(res) == 10 * (2 + 2) + 2
    assert not [name for name in res - HEAD if not name.startswith("conv5_block")]


@pytest.mark.parametrize("part", ["last-block", "all"])
@pytest.mark.parametrize("architecture", BUILT_IN)
def test_stored_statistics_never_learn(architecture, part):
    spec = spec_of(architecture, trainable=part)
    names = trainable_names(spec)
    assert not [name for name in names if "/moving_" in name]
    if part == "all":
        assert names == {name for name in tensor_shapes(spec) if "/moving_" not in name}


@pytest.mark.parametrize(
    ("architecture", "depths"),
    [
        ("tinycnn", {"head/bias": 0, "conv4/kernel": 1, "conv3/bias": 2, "conv1/kernel": 4}),
        (
            "densenet121",
            {
                "head/kernel": 0,
                "bn/gamma": 1,
                "conv5_block16_2_conv/kernel": 1,
                "pool4_bn/beta": 2,
                "conv4_block24_0_bn/gamma": 2,
                "pool2_conv/kernel": 4,
                "conv2_block1_1_conv/kernel": 4,
                "conv1_bn/gamma": 5,
            },
        ),
        ("resnet50", {"conv5_block1_0_conv/bias": 1, "conv4_block6_3_bn/beta": 2, "conv1_conv/kernel": 5}),
        ("vit_b14", {"norm/gamma": 1, "layer12_norm1/beta": 1, "layer11_scale2/gamma": 2, "tokens/position": 13}),
    ],
)
def test_depth_by_hand(architecture, depths):
    spec = spec_of(architecture)
    assert {name: depth_of(spec, name) for name in depths} == depths
    last = trainable_names(replace(spec, trainable="last-block"))
    assert last == {n for n in trainable_names(replace(spec, trainable="all")) if depth_of(spec, n) <= 1}


@pytest.mark.parametrize("architecture", BUILT_IN)
def test_a_tail_is_the_last_block_with_its_statistics_and_the_head(architecture):
    spec = spec_of(architecture)
    assert trainable_of(tail_names(spec)) == trainable_names(replace(spec, trainable="last-block"))
    assert tail_names(spec) == {name for name in tensor_shapes(spec) if depth_of(spec, name) <= 1}


@pytest.mark.parametrize(
    ("architecture", "size", "shape"),
    [
        ("densenet121", 400, (12, 12, 512)),
        ("resnet50", 400, (25, 25, 1024)),
        ("resnet50", 65, (5, 5, 1024)),
        ("tinycnn", 36, (5, 5, 64)),
        ("vit_b14", 518, (1370, 768)),
    ],
)
def test_shape_of_what_enters_the_last_block(architecture, size, shape):
    assert tail_shape(spec_of(architecture, size=size)) == shape


# --- first values


def test_the_same_seed_gives_the_same_tensors_and_another_seed_others():
    first, again, other = (initial_tensors(TINY, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["conv1/kernel"], other["conv1/kernel"])


def test_a_tensor_does_not_depend_on_the_others():
    """Another head leaves the base as it is; tensors of one shape are not alike."""
    one, two = initial_tensors(TINY, 0), initial_tensors(replace(TINY, findings=("A", "B", "C")), 0)
    assert np.array_equal(one["conv4/kernel"], two["conv4/kernel"])
    res = initial_tensors(RES, 0)
    assert not np.array_equal(res["conv5_block2_2_conv/kernel"], res["conv5_block3_2_conv/kernel"])


def test_first_values_have_the_spread_that_their_sources_say():
    tensors = initial_tensors(replace(DENSE, findings=tuple("ABCDEFGHIJKLMN")), 0)
    kernel, head = tensors["conv5_block1_1_conv/kernel"], tensors["head/kernel"]
    assert kernel.std() == pytest.approx(np.sqrt(2 / 512), rel=0.02)  # 65,536 values, fan in 1*1*512
    assert abs(kernel.mean()) < 0.001
    bound = np.sqrt(6 / (1024 + 14))
    assert 0.99 * bound < np.abs(head).max() <= bound
    assert head.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert (tensors["bn/gamma"] == 1).all()
    assert (tensors["bn/moving_variance"] == 1).all()
    assert not tensors["bn/beta"].any()
    assert not tensors["bn/moving_mean"].any()
    assert not tensors["head/bias"].any()
    assert all(value.dtype == np.float32 for value in tensors.values())


def test_base_tensors_are_taken_and_the_head_drawn():
    base = base_of(TINY)
    base["conv2/kernel"] = base["conv2/kernel"].astype(np.float16)
    found = initial_tensors(TINY, 0, base)
    assert list(found) == list(tensor_shapes(TINY))
    assert np.array_equal(found["conv1/kernel"], base["conv1/kernel"])
    assert found["conv2/kernel"].dtype == np.float32
    assert np.array_equal(found["conv2/kernel"], base["conv2/kernel"].astype(np.float32))
    assert np.array_equal(found["head/kernel"], initial_tensors(TINY, 0)["head/kernel"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("conv3/bias"), "conv3/bias is missing"),
        (lambda t: t.update({"fc/bias": np.zeros(3)}), "fc/bias is not of this network"),
        (lambda t: t.update({"conv3/bias": np.zeros(3)}), r"conv3/bias has shape \[3\], expected \[64\]"),
        (lambda t: t.update({"head/bias": np.zeros(2)}), "without a head.*head/bias"),
    ],
)
def test_base_tensors_that_do_not_fit_are_named(change, words):
    base = base_of(TINY)
    change(base)
    with pytest.raises(InputError, match=words):
        initial_tensors(TINY, 0, base)


# --- checks


def test_checked_tensors_are_contiguous_float32_in_order():
    given = {name: np.asfortranarray(value.astype(np.float64)) for name, value in initial_tensors(TINY, 0).items()}
    found = check_tensors(TINY, dict(reversed(given.items())))
    assert list(found) == list(tensor_shapes(TINY))
    for name, value in found.items():
        assert value.dtype == np.float32
        assert value.flags.c_contiguous
        assert np.array_equal(value, given[name])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tensor_that_is_not_finite_is_named(value):
    tensors = initial_tensors(TINY, 0)
    tensors["conv2/bias"][5] = value
    with pytest.raises(InputError, match="conv2/bias is not finite"):
        check_tensors(TINY, tensors)


def test_many_faults_are_counted():
    with pytest.raises(InputError, match=r"conv1/kernel is missing; .* and 5 more faults"):
        check_tensors(TINY, {})


@pytest.mark.parametrize(
    "inputs", [np.zeros((2, 5), np.float32), np.zeros(4, np.float32), np.zeros((2, 4)), np.zeros((2, 4), np.uint8)]
)
def test_inputs_of_another_shape_or_type_are_refused(inputs):
    with pytest.raises(InputError, match=r"expected float32 \[N, 4\]"):
        check_inputs(inputs, (4,))


def test_inputs_that_fit_are_passed_on():
    inputs = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(check_inputs(inputs, (4,)), inputs)
    assert check_inputs(inputs[:0], (4,)).shape == (0, 4)


def test_an_adam_state_keeps_its_step_a_scalar():
    state = {"adam/step": np.array(7), "adam/m/w": np.ones((2, 3)), "adam/v/w": np.ones((2, 3))}
    found = check_adam_state({"w": (2, 3)}, state)
    assert set(found) == set(state)
    assert found["adam/step"].shape == ()
    assert int(found["adam/step"]) == 7


@pytest.mark.parametrize("change", [{"adam/m/w": np.ones((3, 2))}, {"adam/m/x": np.ones(1)}, {"adam/step": np.ones(1)}])
def test_an_adam_state_of_another_run_is_refused(change):
    state = {"adam/step": np.array(7), "adam/m/w": np.ones((2, 3)), "adam/v/w": np.ones((2, 3))} | change
    with pytest.raises(InputError, match="another run"):
        check_adam_state({"w": (2, 3)}, state)


# --- gradients of a linear head


def gradients(spec, kernel, findings, cam_layer="relu"):
    """On a map of zeros but for row 0, column 1, channel 2 of its one film."""
    activations = np.zeros((1, *map_shape(spec)), np.float32)
    activations[0, 0, 1, 2] = 3.0
    return closed_form(spec, kernel, findings, activations, cam_layer)


def test_gradient_of_a_pooled_head_by_hand():
    """4 x 4 places: each place and channel moves the logit by a sixteenth of its weight."""
    kernel = np.zeros((64, 2), np.float32)
    kernel[:, 0], kernel[3, 1] = 1.0, 8.0
    found = gradients(TINY, kernel, [1, 0])
    assert found.shape == (1, 2, 1, 1, 64)
    assert found.dtype == np.float32
    assert found[0, 0, 0, 0, 3] == 0.5
    assert not found[0, 0, 0, 0, 4:].any()
    assert (found[0, 1] == 1 / 16).all()


def test_gradient_of_a_flatten_head_by_hand():
    """The weight of row 1, column 2, channel 5 stands at (1 * 4 + 2) * 64 + 5."""
    kernel = np.zeros((4 * 4 * 64, 2), np.float32)
    kernel[(1 * 4 + 2) * 64 + 5, 1] = 7.0
    found = gradients(replace(TINY, head="flatten"), kernel, [0, 1])
    assert found.shape == (1, 2, 4, 4, 64)
    assert found[0, 1, 1, 2, 5] == 7.0
    assert np.count_nonzero(found) == 1


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_no_finding_gives_no_gradient(head):
    spec = replace(TINY, head=head)
    found = gradients(spec, initial_tensors(spec, 0)["head/kernel"], [])
    assert found.shape[:2] == (1, 0)
    assert found.shape[-1] == 64


@pytest.mark.parametrize("finding", [-1, 2])
def test_a_finding_outside_the_columns_is_refused(finding):
    with pytest.raises(InputError, match=r"not all in 0\.\.1"):
        gradients(TINY, np.zeros((64, 2), np.float32), [finding])


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_before_the_last_relu_only_active_places_count(head):
    spec = replace(TINY, head=head)
    kernel = np.ones((64 * (1 if head == "gap" else 16), 2), np.float32)
    found = gradients(spec, kernel, [0], cam_layer="conv4")
    assert found.shape == (1, 1, 4, 4, 64)
    assert found[0, 0, 0, 1, 2] == (1 / 16 if head == "gap" else 1)
    assert np.count_nonzero(found) == 1


def test_before_a_relu_with_a_maximum_only_values_between_count():
    graph = GraphBuilder()
    x = graph.add("conv", "conv2d", FILM, filters=2, size=16, stride=16)
    graph.add("end", "relu", x, maximum=6)
    network = Network(name="six", nodes=graph.nodes, output="end", stages=("conv",), size=32)
    spec = ModelSpec(architecture="six", findings=("Mass",), size=32, head="gap", network=network)
    activations = np.array([-1, 0, 3, 5, 6, 7, 2, -2], np.float32).reshape(1, 2, 2, 2)
    found = closed_form(spec, np.array([[4], [8]], np.float32), [0], activations, "conv")
    assert found.ravel().tolist() == [0, 0, 1, 2, 0, 0, 1, 0]


def test_a_class_token_is_explained_as_if_the_patches_were_pooled():
    """4 x 4 patches: each moves the logit by a sixteenth of its weight."""
    spec = replace(VIT, head="cls")
    kernel = np.full((768, 2), 8, np.float32)
    found = closed_form(spec, kernel, [1], np.zeros((1, 4, 4, 768), np.float32), "patch_map")
    assert found.shape == (1, 1, 1, 1, 768)
    assert (found == 0.5).all()


def test_the_tap_is_what_is_pooled_unless_another_is_named():
    assert check_cam_layer(DENSE, None) == "relu"
    assert check_cam_layer(DENSE, "bn") == "bn"
    with pytest.raises(InputError, match="it has: conv5_block3_out, conv5_block3_add"):
        check_cam_layer(RES, "bn")
