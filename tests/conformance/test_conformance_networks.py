"""Every backend computes the networks of keras.applications, and so does the reference that the kit holds it to."""

import contextlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from cxrscore.contract import Backend, SupportsFeatureTraining, SupportsHeatmaps, TrainableModel
from cxrscore.networks import reference as numpy_reference
from cxrscore.networks.builtin import BUILT_IN, built_in
from cxrscore.networks.graph import FILM, GraphBuilder, Network
from cxrscore.networks.tensors import initial_tensors, tensor_shapes
from cxrscore.plugin_values import why_not
from cxrscore.testing.fixtures import WEIGHTED_BCE, at_rate, random_tensors, some_batch, some_films, spec_of

TINY = spec_of("tinycnn")
APPLICATIONS = ("densenet121", "densenet169", "densenet201", "resnet50")
IMAGENET = ("densenet121", "resnet50")
"""Those whose ImageNet weights are at hand."""


def large(architecture, size=64):
    """An architecture of keras.applications, normalised as there."""
    return spec_of(architecture, size=size, normalize=built_in(architecture).normalize)


def probability(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def relative(found, wanted):
    """The largest difference in units of the largest value."""
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.fixture(scope="module")
def model(backend):
    """A small model for tests that change nothing."""
    return backend.build(TINY, random_tensors(TINY), device="cpu")


# --- what our own plugins promise beyond the kit


def test_the_descriptor_names_its_framework_and_all_networks(backend: Backend):
    assert backend.name in backend.requires
    assert backend.install.startswith("pip install")
    assert [why_not(backend, name, built_in(name)) for name in BUILT_IN] == [""] * len(BUILT_IN)


@pytest.mark.usefixtures("trains")
def test_a_model_that_learns_can_run_its_base_once(model):
    assert isinstance(model, SupportsFeatureTraining)
    assert isinstance(model.head, TrainableModel)


def test_the_model_explains_and_says_what_computes(backend, model):
    assert isinstance(model, SupportsHeatmaps)
    assert model.framework.startswith(f"{backend.name} ")
    assert model.device == "cpu"


@pytest.mark.parametrize("engine", ["abacus", "jax"])
def test_keras_without_its_engine_says_what_to_do(backend, engine):
    if backend.name != "keras" or importlib.util.find_spec(engine) is not None:
        pytest.skip("only for keras, and where the engine is not installed")
    code = (
        "from cxrscore.contract import ModelSpec; from cxrscore_keras import KerasBackend\n"
        "KerasBackend().build(ModelSpec(architecture='tinycnn', findings=('Mass',), size=32), None)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "KERAS_BACKEND": engine}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "BackendUnavailableError: Keras does not start" in done.stderr
    assert "KERAS_BACKEND" in done.stderr


def test_tensors_are_ready_to_be_written(model):
    """In the order of the network, and as safetensors wants them."""
    tensors = model.tensors()
    assert list(tensors) == list(tensor_shapes(TINY))
    assert all(value.flags.c_contiguous for value in tensors.values())


@pytest.mark.parametrize("seed", [0, 5])
def test_without_tensors_every_backend_starts_from_the_same(backend, seed):
    found = backend.build(TINY, None, device="cpu", seed=seed).tensors()
    for name, value in initial_tensors(TINY, seed).items():
        assert np.array_equal(found[name], value)


@pytest.mark.parametrize(("head", "shape"), [("gap", (1, 2, 1, 1, 64)), ("flatten", (1, 2, 5, 5, 64))])
def test_gradients_that_are_the_same_everywhere_are_given_once(backend, head, shape):
    spec = replace(TINY, head=head)
    model = backend.build(spec, random_tensors(spec), device="cpu")
    assert model.cam_parts(some_films(3, spec.size), [1, 2]).gradients.shape == shape


def test_bf16_is_another_computation(backend, model):
    if backend.name == "onnx":
        pytest.skip("onnx computes in fp32 only")
    rough = backend.build(TINY, model.tensors(), device="cpu", precision="bf16")
    films = some_films(4, TINY.size)
    assert np.abs(rough.predict(films) - model.predict(films)).max() > 0


def two_ended():
    """A network whose map and class token each end in a dense layer of their own."""
    graph = GraphBuilder()
    x = graph.add("patches", "conv2d", FILM, filters=4, size=12, stride=12)
    x = graph.add("tokens", "embed_tokens", x, grid=3)
    x = graph.add("attention", "attention", x, x, x, heads=2)
    token = graph.add("token_dense", "dense", graph.add("token", "class_token", x), units=4)
    output = graph.add("map_dense", "dense", graph.add("map", "patch_map", x), units=4)
    return Network(name="two", nodes=graph.nodes, output=output, class_token=token, stages=("patches",))


@pytest.mark.slow
@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize(("head", "idle"), [("gap", "token_dense"), ("cls", "map_dense")])
def test_layers_that_the_head_does_not_read_stay_as_they_are(backend, head, idle):
    spec = replace(TINY, architecture="two", network=two_ended(), head=head, trainable="all")
    tensors = random_tensors(spec)
    model = backend.build(spec, tensors, device="cpu")
    films = some_films(2, spec.size)
    assert relative(model.predict(films), numpy_reference.logits(spec, tensors, films)) <= 1e-5
    model.fit_epoch([some_batch(spec, 3)], WEIGHTED_BCE, at_rate(0.1, weight_decay=0.1))
    learned, state = model.tensors(), model.state()
    unchanged = {name for name in tensors if np.array_equal(learned[name], tensors[name])}
    assert unchanged == {f"{idle}/kernel", f"{idle}/bias"}
    assert set(state) == {"adam/step"} | {f"adam/{moment}/{name}" for moment in "mv" for name in tensors}
    assert not state[f"adam/m/{idle}/kernel"].any()
    model.restore(state)


# --- against keras.applications, in a process of its own


def real_films(shared, count, size):
    import cv2

    paths = sorted((shared / "data" / "nih442" / "films").glob("*.png"))[:count]
    films = [cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE) for path in paths]
    return np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in films]).astype(np.float32) / 255


def imagenet_tensors(shared, spec):
    from safetensors.numpy import load_file

    base = load_file(shared / "weights" / f"{spec.architecture}_imagenet_notop.safetensors")
    return initial_tensors(spec, 0, base)


def job(spec, films, tensors):
    described = {"spec": json.dumps(spec.as_dict()), "architecture": spec.architecture, "films": films}
    return described | {f"tensor:{name}": value for name, value in tensors.items()}


@pytest.fixture(scope="module")
def cases(request):
    """(spec, films, tensors) by name: random ones, and ImageNet's on real films where these are to be had."""
    random, imagenet = {}, {}
    for architecture in APPLICATIONS:
        spec = large(architecture)
        films, tensors = some_films(3, spec.size), random_tensors(spec)
        tensors["head/kernel"] /= np.abs(numpy_reference.logits(spec, tensors, films)).max() / 2
        random[f"{architecture}-random"] = spec, films, tensors
    with contextlib.suppress(pytest.skip.Exception):
        shared = request.getfixturevalue("shared")
        for architecture in IMAGENET:
            spec = large(architecture, size=160)
            films, tensors = real_films(shared, 4, spec.size), imagenet_tensors(shared, spec)
            imagenet[f"{architecture}-imagenet"] = spec, films, tensors
    return random | imagenet


@pytest.fixture(scope="module")
def features(peer, cases):
    """Feature maps by keras.applications itself."""
    found = peer("applications", **{name: job(*case) for name, case in cases.items()})
    return {name: arrays["features"].astype(np.float64) for name, arrays in found.items()}


def hold_to_keras_applications(backend, case, features):
    """The map within 1e-4, probabilities within 5e-6: so no two backends are further apart than 1e-5."""
    spec, films, tensors = case
    parts = backend.build(spec, tensors, device="cpu").cam_parts(films, [0])
    assert relative(parts.activations, features) <= 1e-4
    wanted = probability(features.mean(axis=(1, 2)) @ tensors["head/kernel"] + tensors["head/bias"])
    assert 0.01 < wanted.min() < wanted.max() < 0.99  # saturated ones would be equal whatever the logits
    assert np.abs(probability(parts.logits) - wanted).max() <= 5e-6


@pytest.mark.slow
@pytest.mark.parametrize("architecture", APPLICATIONS)
def test_random_tensors_on_random_films(backend, architecture, cases, features):
    case = f"{architecture}-random"
    hold_to_keras_applications(backend, cases[case], features[case])


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("architecture", IMAGENET)
def test_imagenet_tensors_on_real_films(backend, architecture, shared, cases, features):
    case = f"{architecture}-imagenet"
    hold_to_keras_applications(backend, cases[case], features[case])


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        *(f"{architecture}-random" for architecture in APPLICATIONS),
        *(pytest.param(f"{architecture}-imagenet", marks=pytest.mark.shared) for architecture in IMAGENET),
    ],
)
def test_the_reference_is_keras_applications(backend, case, cases, features):
    """To the rounding of float32. It does not depend on the backend, so it is done once."""
    if backend.name != "keras":
        pytest.skip("done in the run of keras")
    if case not in cases:
        pytest.skip("no real films")
    spec, films, tensors = cases[case]
    pooled, before = numpy_reference.features(spec, tensors, films)
    assert relative(pooled, features[case]) <= 1e-5
    assert np.array_equal(pooled, np.maximum(before, 0))
    assert (before < 0).any()
