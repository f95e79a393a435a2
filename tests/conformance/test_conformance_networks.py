"""Every backend computes the networks that the contract describes, and the same numbers as the others."""

import contextlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import numpy_tinycnn
import pytest

from cxrscore.contract import Backend, Embedding, Explainable, ModelSpec, TrainableModel
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.models.architectures import initial_tensors, tensor_shapes

TINY = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule", "Edema"), size=36)
OWN_NORMALISATION = {"densenet121": "imagenet-rgb", "resnet50": "imagenet-caffe"}


def large(architecture, size=64):
    """An architecture of keras.applications, normalised as there."""
    normalize = OWN_NORMALISATION[architecture]
    return ModelSpec(architecture=architecture, findings=TINY.findings, size=size, normalize=normalize)


def some_films(count, size, seed=0):
    return np.random.default_rng(seed).random((count, size, size), np.float32)


def some_tensors(spec, seed=0):
    """First values, but with biases and batch normalisation that do something, and logits of order 1."""
    tensors = initial_tensors(spec, seed)
    rng = np.random.default_rng(seed)
    for name, value in tensors.items():
        if name.endswith(("gamma", "moving_variance")):
            tensors[name] = rng.uniform(0.5, 1.0, value.shape).astype(np.float32)
        elif name.endswith(("beta", "moving_mean", "bias")):
            tensors[name] = rng.normal(0, 0.1, value.shape).astype(np.float32)
    tensors["head/kernel"] /= {"tinycnn": 1, "densenet121": 1, "resnet50": 4000}[spec.architecture]
    return tensors


def probability(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def relative(found, wanted):
    """The largest difference in units of the largest value."""
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.fixture(scope="module")
def model(backend):
    """A small model for tests that change nothing."""
    return backend.build(TINY, some_tensors(TINY), device="cpu")


# --- the descriptor and what it builds


def test_importing_the_plugin_imports_no_framework(backend):
    code = f"import sys, cxrscore_{backend.name}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True)
    assert not {"torch", "keras", "tensorflow", "jax"} & set(found.stdout.split())


def test_the_descriptor_says_what_the_core_asks(backend: Backend):
    assert backend.name in backend.requires
    assert backend.install.startswith("pip install")
    assert set(backend.architectures) >= {"densenet121", "resnet50", "tinycnn"}


def test_the_model_has_all_abilities_and_says_what_computes(backend, model):
    assert isinstance(model, TrainableModel)
    assert isinstance(model, Embedding)
    assert isinstance(model.head, TrainableModel)
    assert isinstance(model, Explainable)
    assert model.spec == TINY
    assert model.framework.startswith(f"{backend.name} ")
    assert model.device == "cpu"


@pytest.mark.parametrize("device", ["cuda:99", "cpu:1", "abacus"])
def test_a_device_that_is_not_there_is_named(backend, device):
    with pytest.raises(BackendUnavailableError, match=device):
        backend.build(TINY, None, device=device)


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


def test_an_unknown_architecture_is_named(backend):
    with pytest.raises(InputError, match="vgg"):
        backend.build(replace(TINY, architecture="vgg"), None)


# --- tensors


@pytest.mark.parametrize(
    ("architecture", "head"),
    [("tinycnn", "gap"), ("tinycnn", "flatten"), ("densenet121", "flatten"), ("resnet50", "gap")],
)
def test_tensors_come_back_to_the_bit(backend, architecture, head):
    spec = replace(TINY, architecture=architecture, head=head)
    tensors = some_tensors(spec)
    given = {name: value.copy() for name, value in tensors.items()}
    found = backend.build(spec, given, device="cpu").tensors()
    assert list(found) == list(tensor_shapes(spec))
    for name, value in tensors.items():
        assert found[name].dtype == np.float32
        assert found[name].flags.c_contiguous
        assert np.array_equal(found[name], value)
        assert np.array_equal(given[name], value)


def test_returned_tensors_are_copies(model):
    model.tensors()["head/bias"][:] = 7
    assert not (model.tensors()["head/bias"] == 7).any()


@pytest.mark.parametrize("seed", [0, 5])
def test_without_tensors_the_seed_decides(backend, seed):
    found = backend.build(TINY, None, device="cpu", seed=seed).tensors()
    for name, value in initial_tensors(TINY, seed).items():
        assert np.array_equal(found[name], value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda t: t.pop("conv2/bias"), "conv2/bias is missing"),
        (lambda t: t.update({"conv9/bias": t["conv1/bias"]}), "conv9/bias is not of this network"),
        (lambda t: t.update({"head/kernel": t["head/kernel"].T}), "head/kernel has shape"),
    ],
)
def test_tensors_that_do_not_fit_are_named(backend, change, word):
    tensors = initial_tensors(TINY, 0)
    change(tensors)
    with pytest.raises(InputError, match=word):
        backend.build(TINY, tensors)


# --- scores


@pytest.mark.parametrize("head", ["gap", "flatten"])
@pytest.mark.parametrize("normalize", ["imagenet-rgb", "imagenet-caffe", "unit"])
def test_the_small_network_equals_numpy(backend, normalize, head):
    spec = replace(TINY, normalize=normalize, head=head)
    tensors = some_tensors(spec)
    films = some_films(3, spec.size)
    found = backend.build(spec, tensors, device="cpu").predict(films)
    wanted = numpy_tinycnn.logits(tensors, films, normalize, head)
    assert found.dtype == np.float32
    assert relative(found, wanted) <= 1e-5


def test_softmax_is_the_cores_affair(backend, model):
    twin = backend.build(replace(TINY, activation="softmax"), model.tensors(), device="cpu")
    assert np.array_equal(twin.predict(some_films(2, TINY.size)), model.predict(some_films(2, TINY.size)))


def test_a_film_does_not_depend_on_the_others(model):
    films = some_films(4, TINY.size)
    together = model.predict(films)
    alone = np.concatenate([model.predict(film[None]) for film in films])
    assert np.abs(together - alone).max() <= 1e-5
    assert np.array_equal(together, model.predict(films))


def test_films_are_left_as_they_are_and_may_be_read_only(model):
    films = some_films(2, TINY.size)
    before = films.copy()
    films.flags.writeable = False
    model.predict(films)
    model.embed(films)
    model.cam_parts(films, [0])
    assert np.array_equal(films, before)


def test_no_film_gives_no_score(model):
    none = some_films(0, TINY.size)
    assert model.predict(none).shape == (0, 3)
    assert model.embed(none).shape == (0, 64)
    assert model.cam_parts(none, [0]).activations.shape == (0, 5, 5, 64)


def test_results_are_the_callers_own(model):
    first = model.predict(some_films(2, TINY.size))
    kept = first.copy()
    model.predict(some_films(2, TINY.size, seed=1))
    assert np.array_equal(first, kept)
    first[:] = 0


@pytest.mark.parametrize("shape", [(2, 40, 40), (36, 36), (2, 36, 36, 1)])
def test_films_of_another_shape_are_refused(model, shape):
    with pytest.raises(InputError, match=r"wanted float32 \[N, 36, 36\]"):
        model.predict(np.zeros(shape, np.float32))


def test_bf16_is_near_and_float32_outside(backend, model):
    rough = backend.build(TINY, model.tensors(), device="cpu", precision="bf16")
    films = some_films(4, TINY.size)
    parts = rough.cam_parts(films, [0])
    for found in (rough.predict(films), rough.embed(films), parts.activations, parts.logits):
        assert found.dtype == np.float32
    exact = model.predict(films)
    difference = np.abs(rough.predict(films) - exact).max()
    assert 0 < difference <= 0.05 * np.abs(exact).max()
    assert all(value.dtype == np.float32 for value in rough.tensors().values())


# --- embeddings and heat maps


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_the_head_on_embeddings_is_the_model(backend, head):
    spec = replace(TINY, head=head)
    model = backend.build(spec, some_tensors(spec), device="cpu")
    films = some_films(3, spec.size)
    embeddings = model.embed(films)
    assert embeddings.shape == (3, tensor_shapes(spec)["head/kernel"][0])
    assert relative(model.head.predict(embeddings), model.predict(films)) <= 1e-6
    assert list(model.head.tensors()) == ["head/kernel", "head/bias"]
    with pytest.raises(InputError, match="wanted"):
        model.head.predict(embeddings[:, :-1])


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_gradients_of_the_map_equal_finite_differences(backend, head):
    """Through the head itself: a place of the map is moved, the embedding made anew, the logit read."""
    spec = replace(TINY, head=head)
    tensors = some_tensors(spec)
    model = backend.build(spec, tensors, device="cpu")
    parts = model.cam_parts(some_films(1, spec.size), [2, 0])
    n, h, w, k = parts.activations.shape
    gradients = np.broadcast_to(parts.gradients, (n, 2, h, w, k))

    def logits(activations):
        embedding = activations.mean(axis=(1, 2)) if head == "gap" else activations.reshape(len(activations), -1)
        return model.head.predict(embedding.astype(np.float32))

    for row, column, channel in [(0, 0, 0), (2, 4, 63), (4, 1, 17)]:
        moved = parts.activations.copy()
        moved[0, row, column, channel] += 10.0
        slopes = (logits(moved) - logits(parts.activations))[0, [2, 0]] / 10
        np.testing.assert_allclose(gradients[0, :, row, column, channel], slopes, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("head", "shape"), [("gap", (1, 2, 1, 1, 64)), ("flatten", (1, 2, 5, 5, 64))])
def test_heat_map_parts_are_those_of_the_scores(backend, head, shape):
    spec = replace(TINY, head=head)
    tensors = some_tensors(spec)
    model = backend.build(spec, tensors, device="cpu")
    films = some_films(3, spec.size)
    parts = model.cam_parts(films, [1, 2])
    assert parts.tap == "relu"
    assert parts.gradients.shape == shape
    assert relative(parts.logits, model.predict(films)) <= 1e-6
    assert relative(parts.activations, numpy_tinycnn.features(tensors, films, spec.normalize)) <= 1e-5
    # The head is linear, so activations times gradients and the bias are the logits.
    sums = np.einsum("nhwk,nfhwk->nf", parts.activations, np.broadcast_to(parts.gradients, (3, 2, 5, 5, 64)))
    assert relative(sums + tensors["head/bias"][[1, 2]], parts.logits[:, [1, 2]]) <= 1e-5


def test_an_unknown_finding_of_a_heat_map_is_refused(model):
    with pytest.raises(InputError, match=r"0\.\.2"):
        model.cam_parts(some_films(1, TINY.size), [3])


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
    for architecture in OWN_NORMALISATION:
        spec = large(architecture)
        random[f"{architecture}-random"] = spec, some_films(3, spec.size), some_tensors(spec)
    with contextlib.suppress(pytest.skip.Exception):
        shared = request.getfixturevalue("shared")
        for architecture in OWN_NORMALISATION:
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
@pytest.mark.parametrize("architecture", OWN_NORMALISATION)
def test_random_tensors_on_random_films(backend, architecture, cases, features):
    case = f"{architecture}-random"
    hold_to_keras_applications(backend, cases[case], features[case])


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("architecture", OWN_NORMALISATION)
def test_imagenet_tensors_on_real_films(backend, architecture, shared, cases, features):
    case = f"{architecture}-imagenet"
    hold_to_keras_applications(backend, cases[case], features[case])
