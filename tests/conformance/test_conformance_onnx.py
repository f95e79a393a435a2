"""What only the ONNX Runtime plugin promises; all else it promises as every backend does."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cxrscore.contract import (
    GraphBuilder,
    ModelSpec,
    Network,
)
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks import reference
from cxrscore.networks.graph import FILM
from cxrscore.system_resources import usable_cores
from cxrscore.testing.fixtures import random_tensors, some_films

TINY = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule", "Edema"), size=36)

SCORE_ONCE = """
import sys
import numpy as np
from cxrscore.contract import ModelSpec
from cxrscore_onnx import OnnxBackend

model = OnnxBackend().build(ModelSpec(architecture="tinycnn", findings=("Mass",), size=32), None)
model.predict(np.zeros((2, 32, 32), np.float32))
print(*sys.modules)
"""


@pytest.fixture(autouse=True)
def only_onnx(backend):
    if backend.name != "onnx":
        pytest.skip("only for onnx")


def test_a_class_token_is_scored_and_the_patches_are_explained(backend):
    graph = GraphBuilder()
    x = graph.add("patches", "conv2d", FILM, filters=6, size=8, stride=8)
    x = graph.add("norm", "layer_norm", graph.add("tokens", "embed_tokens", x, grid=4))
    token = graph.add("first", "class_token", x)
    output = graph.add("map", "patch_map", x)
    network = Network(name="small", nodes=graph.nodes, output=output, stages=("patches",), class_token=token)
    spec = ModelSpec(architecture="small", findings=("Mass", "Edema"), size=32, head="cls", network=network)
    tensors, films = random_tensors(spec), some_films(3, 32)
    model = backend.build(spec, tensors)
    np.testing.assert_allclose(model.predict(films), reference.logits(spec, tensors, films), atol=1e-5)
    parts = model.cam_parts(films, [1])
    np.testing.assert_allclose(parts.activations, reference.features(spec, tensors, films)[0], atol=1e-5)
    assert parts.gradients.shape == (1, 1, 1, 1, 6)


def test_a_relu_with_a_limit_is_cut_at_both_ends(backend):
    """The map before it is what ONNX Runtime gives; NumPy does the rest."""
    graph = GraphBuilder()
    x = graph.add("conv", "conv2d", FILM, filters=6, size=4, stride=4)
    output = graph.add("relu", "relu", x, maximum=0.2)
    network = Network(name="small", nodes=graph.nodes, output=output, stages=("conv",))
    spec = ModelSpec(architecture="small", findings=("Mass", "Edema"), size=32, network=network)
    tensors, films = random_tensors(spec), some_films(3, 32)
    model = backend.build(spec, tensors)
    after, before = (model.cam_parts(films, [0], cam_layer=layer).activations for layer in ("relu", "conv"))
    assert before.max() > 0.2
    assert (after.min(), after.max()) == (0, np.float32(0.2))
    np.testing.assert_allclose(model.predict(films), reference.logits(spec, tensors, films), atol=1e-5)


def test_bf16_is_refused_and_fp32_named(backend):
    with pytest.raises(InputError, match="bf16 is not available for ONNX Runtime, which has fp32"):
        backend.build(TINY, None, precision="bf16")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "gpu"])
def test_without_its_gpu_version_it_runs_on_the_processor(backend, device):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(BackendUnavailableError, match=f"{device}.* has cpu here"):
        backend.build(TINY, None, device=device)
    assert backend.build(TINY, None, device="auto").device == "cpu"


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:3"])
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_gpu_that_cannot_be_used_is_reported_when_the_model_is_built(backend, device, monkeypatch):
    """ONNX Runtime itself would go on with the CPU."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("cxrscore_onnx.model.onnxruntime.get_available_providers", lambda: providers)
    with pytest.raises(BackendUnavailableError, match=r"device 'cuda:[03]' is not available for ONNX Runtime"):
        backend.build(TINY, None, device=device)


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("2,1", 2), ("", None), ("many", None)])
def test_threads_are_as_many_as_cores_or_as_openmp_is_told(given, expected, monkeypatch):
    from cxrscore_onnx.model import _threads

    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert _threads() == (expected or usable_cores())


def test_threads_get_the_scores_of_their_own_films(backend):
    model = backend.build(TINY, None)
    batches = [some_films(5, TINY.size, seed) for seed in range(12)]
    wanted = [model.predict(films) for films in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(model.predict, batches))
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))


def test_nothing_else_is_imported_and_nothing_reported(tmp_path):
    """``import onnxruntime`` alone would leave an identifier in ~/.cache and send it with a report of its use."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", SCORE_ONCE]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert {"onnx", "onnxruntime"} <= set(found.stdout.split())
    assert not {"torch", "tensorflow", "keras", "jax", "openvino"} & set(found.stdout.split())
    assert found.stderr == ""
    assert not list(tmp_path.iterdir())
