"""Networks as ONNX: each operation, and the whole file in plain ONNX Runtime, equal the float64 reference."""

import sys

import numpy as np
import pytest

from cxrscore.contract import GraphBuilder, ModelSpec, Network
from cxrscore.errors import InputError
from cxrscore.explainers import grad_cam
from cxrscore.models.probabilities import probabilities
from cxrscore.networks import onnx as writer
from cxrscore.networks import reference
from cxrscore.networks.graph import FILM
from cxrscore.networks.onnx import OPSET, onnx_classifier, onnx_values, serialised
from cxrscore.networks.operations import OPERATIONS
from cxrscore.networks.tensors import closed_form
from cxrscore.testing.fixtures import random_tensors, some_films, spec_of
from cxrscore.types import CamParts

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SIDE = 32
FINDINGS = ("Mass", "Edema")
CALIBRATION = {"slope": [0.5, 2.0, -1.0], "intercept": [0.25, 0.0, 1.0]}


def computed(model, films):
    """What plain ONNX Runtime makes of the films, by output, after the whole check of the model."""
    data = serialised(model)
    onnx.checker.check_model(data, full_check=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"films": films}), strict=True))


def spec_with(graph, output, class_token=None, **changes):
    network = Network(
        name="small", nodes=graph.nodes, output=output, stages=(graph.nodes[0].name,), class_token=class_token
    )
    given = {"architecture": "small", "findings": FINDINGS, "size": SIDE, "normalize": "unit", **changes}
    return ModelSpec(**given, network=network)


def near(found, wanted, bound=1e-5):
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= bound * max(np.abs(wanted).max(), 1e-30)


# --- by hand


def test_scores_and_maps_by_hand():
    """Film 0.5: each of three equal channels times 1, plus 0.5, is 2. Logit 3 * 2 - 1 = 5 and, calibrated,
    0.4 * 5 - 2 = 0. Each place of the map has its part of the logit without its bias: 6 of 16 x 16 places."""
    graph = GraphBuilder()
    x = graph.add("conv", "conv2d", FILM, filters=1, size=2, stride=2)
    spec = spec_with(graph, graph.add("relu", "relu", x), findings=("Mass",))
    tensors = {
        "conv/kernel": np.full((2, 2, 3, 1), 0.25, np.float32),
        "conv/bias": np.array([0.5], np.float32),
        "head/kernel": np.array([[3]], np.float32),
        "head/bias": np.array([-1], np.float32),
    }
    model = onnx_classifier(spec, tensors, calibration={"slope": [0.4], "intercept": [-2.0]}, feature_map=True)
    found = computed(model, np.full((2, SIDE, SIDE), 0.5, np.float32))
    assert list(found) == ["logits", "probabilities", "heatmaps", "feature_map"]
    np.testing.assert_array_equal(found["logits"], [[5.0], [5.0]])
    np.testing.assert_allclose(found["probabilities"], [[0.5], [0.5]], atol=1e-7)
    np.testing.assert_array_equal(found["feature_map"], np.full((2, 1, 16, 16), 2.0))
    np.testing.assert_allclose(found["heatmaps"], np.full((2, 1, 16, 16), 6 / 256), rtol=1e-6)


# --- each operation


def tokens(graph):
    """[17,6] of a film."""
    x = graph.add("patches", "conv2d", FILM, filters=6, size=8, stride=8)
    return graph.add("tokens", "embed_tokens", x, grid=4)


def of_map(operation, *more, **attributes):
    """The operation on a map [16,16,6], alone or with other values that are made of it."""

    def build(graph):
        x = graph.add("conv", "conv2d", FILM, filters=6, size=2, stride=2)
        return graph.add("found", operation, x, *(make(graph, x) for make in more), **attributes)

    return build


def of_tokens(operation, count=1, **attributes):
    """The operation on tokens [17,6], with the patches as a map."""

    def build(graph):
        x = graph.add("found", operation, *[tokens(graph)] * count, **attributes)
        return graph.add("map", "patch_map", x)

    return build


def gate(graph, x):
    return graph.add("gate", "sigmoid", graph.add("pooled", "global_avg_pool", x))


def shifted(graph, x):
    return graph.add("shifted", "dense", x, units=6)


def small_tokens(graph):
    """Positions of a grid of 3 x 3, interpolated to 4 x 4."""
    x = graph.add("patches", "conv2d", FILM, filters=6, size=8, stride=8)
    return graph.add("map", "patch_map", graph.add("tokens", "embed_tokens", x, grid=3))


CASES = {
    "conv2d": [
        of_map("conv2d", filters=4, size=3, stride=2, padding=(0, 1), bias=False),
        of_map("conv2d", filters=12, size=3, padding=1, groups=3),
        of_map("conv2d", filters=6, size=3, padding=(2, 0), groups=6),
    ],
    "dense": [of_map("dense", units=5), of_map("dense", units=5, bias=False), of_tokens("dense", units=5)],
    "batch_norm": [of_map("batch_norm", epsilon=0.1)],
    "layer_norm": [of_map("layer_norm", epsilon=0.1), of_tokens("layer_norm")],
    "scale": [of_map("scale"), of_tokens("scale")],
    "relu": [of_map("relu"), of_map("relu", maximum=0.2), of_tokens("relu")],
    "gelu": [of_map("gelu"), of_tokens("gelu")],
    "silu": [of_map("silu"), of_tokens("silu")],
    "sigmoid": [of_map("sigmoid"), of_tokens("sigmoid")],
    "add": [of_map("add", shifted), of_tokens("add", 2)],
    "multiply": [of_map("multiply", shifted), of_map("multiply", gate), of_tokens("multiply", 2)],
    "concat": [of_map("concat", shifted, lambda graph, x: x), of_tokens("concat", 3)],
    "max_pool": [
        of_map("max_pool", size=3, stride=2, padding=1),
        of_map("max_pool", size=3, stride=2, padding=(0, 2)),
        of_map("max_pool", size=2, stride=3),
    ],
    "avg_pool": [of_map("avg_pool", size=3, stride=2), of_map("avg_pool", size=5, stride=5)],
    "global_avg_pool": [of_map("global_avg_pool")],
    "attention": [of_tokens("attention", 3, heads=1), of_tokens("attention", 3, heads=3)],
    "embed_tokens": [lambda graph: graph.add("map", "patch_map", tokens(graph)), small_tokens],
    "patch_map": [lambda graph: graph.add("map", "patch_map", tokens(graph))],
}


def test_every_operation_has_a_case():
    assert set(CASES) | {"class_token"} == set(OPERATIONS) == set(writer.OPERATIONS)


@pytest.mark.parametrize(
    "build", [pytest.param(build, id=f"{name}-{n}") for name, each in CASES.items() for n, build in enumerate(each)]
)
def test_an_operation_equals_the_reference(build):
    graph = GraphBuilder()
    output = build(graph)
    spec = spec_with(graph, output)
    values, films = random_tensors(spec), some_films(3, SIDE)
    doubles = {name: value.astype(np.float64) for name, value in values.items()}
    wanted = reference.run(spec.graph, doubles, reference.normalised(films, "unit"), [spec.graph.output])
    found = computed(onnx_values(spec, values, [spec.graph.output]), films)[f"node/{spec.graph.output}"]
    near(found.transpose(0, 2, 3, 1), wanted[spec.graph.output])


def test_the_class_token_is_the_first():
    graph = GraphBuilder()
    x = tokens(graph)
    spec = spec_with(graph, graph.add("map", "patch_map", x), graph.add("first", "class_token", x), head="cls")
    values, films = random_tensors(spec), some_films(2, SIDE)
    near(computed(onnx_values(spec, values, ["first"]), films)["node/first"], reference.embedding(spec, values, films))


def test_nodes_may_be_called_like_inputs_and_outputs_of_the_file():
    graph, x = GraphBuilder(), FILM
    for name in ("films", "logits", "probabilities", "heatmaps", "feature_map"):
        x = graph.add(name, "conv2d", x, filters=2, size=1)
    spec = spec_with(graph, x)
    values, films = random_tensors(spec), some_films(2, SIDE)
    found = computed(onnx_classifier(spec, values, feature_map=True), films)
    near(found["logits"], reference.logits(spec, values, films))
    wanted = np.einsum("nkhw,kc->nchw", found["feature_map"], values["head/kernel"]) / found["feature_map"][0, 0].size
    near(found["heatmaps"], wanted)
    assert list(computed(onnx_values(spec, values, ["films"]), films)) == ["node/films"]


# --- the whole file


def expect_file(spec, bound=1e-5):
    """Outputs of the file against the reference, and the maps against Grad-CAM of the same parts."""
    tensors, films = random_tensors(spec), some_films(3, spec.size)
    found = computed(onnx_classifier(spec, tensors, calibration=CALIBRATION, feature_map=True), films)
    logits = reference.logits(spec, tensors, films)
    activations = reference.features(spec, tensors, films)[0].astype(np.float32)
    layer, findings = spec.graph.output, range(len(spec.findings))
    gradients = closed_form(spec, tensors["head/kernel"], findings, activations, layer)
    parts = CamParts(logits=logits.astype(np.float32), activations=activations, gradients=gradients, cam_layer=layer)
    near(found["logits"], logits, bound)
    wanted = probabilities(logits.astype(np.float32), spec.activation, CALIBRATION)
    assert np.abs(found["probabilities"] - wanted).max() <= 1e-5
    near(found["feature_map"].transpose(0, 2, 3, 1), activations, bound)
    near(found["heatmaps"], grad_cam(parts), bound)
    return found


@pytest.mark.parametrize("head", ["gap", "flatten"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("normalize", ["imagenet-rgb", "imagenet-caffe", "unit", "signed-1024", "rad-dino"])
def test_the_file_equals_the_reference(head, activation, normalize):
    found = expect_file(spec_of("tinycnn", head=head, activation=activation, normalize=normalize))
    if activation == "softmax":
        np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_probabilities_are_rescaled_as_elsewhere(activation):
    """From half of 0.5, which changes nothing, to that of torchxrayvision's rarest finding."""
    spec = spec_of("tinycnn", activation=activation)
    tensors, films = random_tensors(spec), some_films(8, spec.size)
    rescaled = {"slope": [1.0] * 3, "intercept": [0.0] * 3, "half_at": [0.4, 0.5, 0.00044]}
    found = computed(onnx_classifier(spec, tensors, calibration=rescaled), films)
    wanted = probabilities(found["logits"], activation, rescaled)
    assert np.abs(wanted - probabilities(found["logits"], activation)).max() > 0.1
    assert np.abs(found["probabilities"] - wanted).max() <= 1e-6


def test_the_maps_of_a_class_token_are_those_of_the_patches():
    graph = GraphBuilder()
    x = tokens(graph)
    out = graph.add("map", "patch_map", x)
    token = graph.add("first", "class_token", x)
    expect_file(spec_with(graph, out, token, head="cls", findings=("Mass", "Nodule", "Edema")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "size", "head"),
    [
        ("densenet121", 66, "flatten"),
        ("densenet169", 66, "gap"),
        ("densenet201", 66, "gap"),
        ("resnet50", 66, "gap"),
        ("resnet50v1.5", 66, "flatten"),
        ("vit_b14", 56, "gap"),
        ("vit_b14", 56, "cls"),
    ],
)
def test_every_network_of_our_own_equals_the_reference(architecture, size, head):
    expect_file(spec_of(architecture, size=size, head=head))


def test_the_number_of_films_is_open_and_the_versions_are_stated():
    spec = spec_of("tinycnn")
    model = onnx_classifier(
        spec, random_tensors(spec), metadata={"licence": "yours"}, producer_version="1", summary="s"
    )
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]
    assert (model.ir_version, model.producer_name, model.producer_version, model.doc_string) == (
        8,
        "cxrscore",
        "1",
        "s",
    )
    assert [(each.key, each.value) for each in model.metadata_props] == [("licence", "yours")]
    (films,) = model.graph.input
    assert [side.dim_param or side.dim_value for side in films.type.tensor_type.shape.dim] == [
        "N",
        spec.size,
        spec.size,
    ]
    data = serialised(model)
    session = onnxruntime.InferenceSession(data)
    four = some_films(4, spec.size)
    each = [session.run(["logits"], {"films": four[:count]})[0] for count in (1, 4)]
    np.testing.assert_allclose(each[0], each[1][:1], atol=1e-6)
    again = onnx_classifier(
        spec, random_tensors(spec), metadata={"licence": "yours"}, producer_version="1", summary="s"
    )
    assert serialised(again) == data


# --- what is refused


def test_without_the_package_onnx_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    spec = spec_of("tinycnn")
    with pytest.raises(InputError, match=r'needs the package onnx.*pip install "cxrscore\[onnx\]"'):
        onnx_classifier(spec, random_tensors(spec))


@pytest.mark.parametrize("most", [100_000, 241_000])
def test_what_no_file_can_hold_is_refused(monkeypatch, most):
    """As the tensors are collected, or as a whole."""
    monkeypatch.setattr(writer, "MAX_BYTES", most)
    spec = spec_of("tinycnn")
    with pytest.raises(InputError, match=f"{most:,}"):
        onnx_classifier(spec, random_tensors(spec))


def test_tensors_that_do_not_fit_are_refused():
    spec = spec_of("tinycnn")
    tensors = random_tensors(spec)
    del tensors["conv2/bias"]
    with pytest.raises(InputError, match="conv2/bias is missing"):
        onnx_values(spec, tensors, ["conv2"])
