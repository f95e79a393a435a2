"""What only the OpenVINO plugin promises; all else it promises as every backend does."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from cxrscore.contract import FeatureExtractor, ModelSpec, SupportsFeatureTraining, SupportsHeatmaps, Trainable
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks.tensors import initial_tensors

TINY = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule", "Edema"), size=36)

SCORE_ONCE = """
import sys
import numpy as np
from cxrscore.contract import ModelSpec
from cxrscore_openvino import OpenVinoBackend

model = OpenVinoBackend().build(ModelSpec(architecture="tinycnn", findings=("Mass",), size=32), None)
model.predict(np.zeros((2, 32, 32), np.float32))
print(*sys.modules)
"""


@pytest.fixture(autouse=True)
def only_openvino(backend):
    if backend.name != "openvino":
        pytest.skip("only for openvino")


def some_films(count, size=TINY.size, seed=0):
    return np.random.default_rng(seed).random((count, size, size), np.float32)


@pytest.fixture
def processor(monkeypatch):
    """processor(ability, ...) makes OpenVINO say that the processor has these."""

    class Core:
        def __init__(self, abilities):
            self.answers = {"OPTIMIZATION_CAPABILITIES": abilities, "FULL_DEVICE_NAME": "Abacus 3000"}

        def get_property(self, device, name):
            return self.answers[name]

    return lambda *abilities: monkeypatch.setattr("cxrscore_openvino.model._core", lambda: Core(abilities))


def kinds_of_layers(model):
    """What the compiled layers of each kind compute in: {"Convolution": {"f32"}, ...}."""
    found = {}
    for layer in model.compiled.get_runtime_model().get_ops():
        info = layer.get_rt_info()
        found.setdefault(info["layerType"].astype(str), set()).add(info["runtimePrecision"].astype(str))
    return found


def test_it_scores_embeds_and_explains_but_does_not_train(backend):
    model = backend.build(TINY, None)
    assert not backend.trains
    assert not isinstance(model, Trainable)
    assert not isinstance(model, SupportsFeatureTraining)
    assert isinstance(model, FeatureExtractor)
    assert isinstance(model, SupportsHeatmaps)


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_what_it_embeds_is_what_the_head_takes(backend, head):
    model = backend.build(replace(TINY, head=head), None)
    films = np.random.default_rng(0).random((3, TINY.size, TINY.size), np.float32)
    dense = model.tensors()
    logits = model.embed(films) @ dense["head/kernel"] + dense["head/bias"]
    np.testing.assert_array_equal(logits, model.predict(films))


@pytest.mark.parametrize("architecture", ["densenet121", "resnet50", "tinycnn"])
def test_fp32_is_float32_in_every_layer(backend, architecture):
    """Left to itself OpenVINO computes in bfloat16 where the processor has it."""
    spec = replace(TINY, architecture=architecture, size=64)
    kinds = kinds_of_layers(backend.build(spec, None))
    assert "Convolution" in kinds
    assert set.union(*kinds.values()) <= {"f32", "i32"}  # the integers are an axis


def test_bf16_is_bfloat16_where_the_work_is(backend):
    try:
        model = backend.build(TINY, None, precision="bf16")
    except InputError as refusal:
        pytest.skip(str(refusal))
    assert kinds_of_layers(model)["Convolution"] == {"bf16"}


@pytest.mark.parametrize("architecture", ["densenet121", "resnet50", "tinycnn"])
def test_int8_is_8_bit_integers_where_the_work_is(backend, architecture):
    """All convolutions but the first."""
    spec = replace(TINY, architecture=architecture, size=64)
    exact = backend.build(spec, None)
    measured = exact.ranges(some_films(2, 64))
    ranges = {layer: (0.0, float(ends.max())) for layer, ends in list(measured.items())[1:]}
    found = [
        layer.get_rt_info()["runtimePrecision"].astype(str)
        for layer in backend.build_int8(spec, exact.tensors(), ranges).compiled.get_runtime_model().get_ops()
        if layer.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert found.count("u8") == len(ranges) == len(found) - 1


def test_a_layer_that_nothing_enters_has_a_range(backend):
    """All films black and no bias: the range has no width."""
    exact = backend.build(replace(TINY, normalize="unit"), None)
    ranges = {"conv2": (0.0, 0.0)}
    found = backend.build_int8(exact.spec, exact.tensors(), ranges).predict(np.zeros((1, 36, 36), np.float32))
    assert np.allclose(found, exact.predict(np.zeros((1, 36, 36), np.float32)), atol=1e-3)


def test_a_processor_without_bf16_is_named(backend, processor):
    processor("FP32", "INT8")
    with pytest.raises(InputError, match=r"bf16 .*Abacus 3000.*fp32"):
        backend.build(TINY, None, precision="bf16")
    assert backend.build(TINY, None).spec == TINY


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "gpu"])
def test_it_runs_on_the_processor_only(backend, device):
    with pytest.raises(BackendUnavailableError, match="has cpu"):
        backend.build(TINY, None, device=device)
    assert backend.build(TINY, None, device="auto").device == "cpu"


@pytest.mark.parametrize("architecture", ["densenet121", "tinycnn"])
def test_compiling_changes_no_tensor(backend, architecture):
    """The graph's constants are the model's own memory."""
    spec = replace(TINY, architecture=architecture, size=32)
    tensors = initial_tensors(spec, 0)
    model = backend.build(spec, tensors)
    model.predict(some_films(1, 32))
    found = model.tensors()
    assert all(np.array_equal(found[name], value) for name, value in tensors.items())


def test_maps_are_equal_to_the_bit_however_films_are_batched(backend):
    model = backend.build(TINY, None)
    films = some_films(19)
    together = model.cam_parts(films, [0]).activations
    for start, stop in [(0, 1), (1, 4), (4, 19)]:
        assert np.array_equal(model.cam_parts(films[start:stop], [0]).activations, together[start:stop])


def test_threads_get_the_scores_of_their_own_films(backend):
    model = backend.build(TINY, None)
    batches = [some_films(5, seed=seed) for seed in range(12)]
    wanted = [model.predict(films) for films in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(model.predict, batches))
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))


def test_nothing_else_is_imported_and_nothing_reported(tmp_path):
    """``import openvino`` alone would leave an identifier in ~/intel and send it with a report of its use."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", SCORE_ONCE]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "openvino" in found.stdout.split()
    assert not {"torch", "tensorflow", "keras", "jax", "openvino_telemetry"} & set(found.stdout.split())
    assert not list(tmp_path.iterdir())
