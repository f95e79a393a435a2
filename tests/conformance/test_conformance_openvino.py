"""What only the OpenVINO plugin promises; all else it promises as every backend does."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from cxrscore.contract import ModelSpec
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks import reference
from cxrscore.networks.graph import FILM, GraphBuilder, Network
from cxrscore.networks.operations import OPERATIONS
from cxrscore.networks.tensors import initial_tensors
from cxrscore.testing.fixtures import random_tensors, spec_of

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


def every_operation():
    """A network that has each operation, on maps, tokens and vectors where it takes all three, and two heads."""
    graph = GraphBuilder()
    add = graph.add
    x = add("stem", "conv2d", FILM, filters=16, size=3, stride=2, padding=(0, 1))
    x = add("stem_silu", "silu", x)
    x = add("depthwise", "conv2d", x, filters=32, size=3, groups=16, padding=1, bias=False)
    x = add("depthwise_relu", "relu", add("depthwise_bn", "batch_norm", x), maximum=6.0)
    x = add("grouped", "conv2d", x, filters=24, size=5, groups=4, padding=2, stride=2)
    x = add("map_dense", "dense", add("map_norm", "layer_norm", x), units=20)
    x = add("map_gelu", "gelu", add("map_scale", "scale", x))
    gate = add("gate_dense", "dense", add("squeezed", "global_avg_pool", x), units=20)
    x = add("gated", "multiply", x, add("gate", "sigmoid", gate))
    x = add("largest", "max_pool", x, size=3, stride=1, padding=(2, 0))
    mean = add("mean", "avg_pool", x, size=2, stride=2)
    x = add("maps", "concat", mean, add("square", "multiply", mean, mean))
    tokens = add("tokens", "embed_tokens", x, grid=3)
    query, key = (add(name, "dense", tokens, units=40, bias=bias) for name, bias in (("query", True), ("key", False)))
    x = add("both", "concat", add("attended", "attention", query, key, tokens, heads=4), tokens)
    x = add("token_scale", "scale", add("token_dense", "dense", x, units=40))
    x = add("sum", "add", add("token_relu", "relu", x), tokens)
    vector = add("vector_dense", "dense", add("first", "class_token", x), units=20)
    vector = add("vector_scale", "scale", add("vector_norm", "layer_norm", vector))
    vector = add("vector_gelu", "gelu", add("vectors", "concat", vector, vector))
    return Network(
        name="every-operation",
        output=add("out", "relu", add("patches", "patch_map", x), maximum=0.5),
        nodes=graph.nodes,
        class_token=vector,
        stages=("stem", "depthwise"),
        size=36,
    )


EVERY = ModelSpec(architecture="every-operation", findings=("Mass", "Nodule"), size=36, network=every_operation())


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


def compiled_layers(model):
    """(kind, what it computes in) of each compiled layer, such as ("Convolution", "f32")."""
    rows = (layer.get_rt_info() for layer in model.compiled.get_runtime_model().get_ops())
    return [(row["layerType"].astype(str), row["runtimePrecision"].astype(str)) for row in rows]


def kinds_of_layers(model):
    """What the compiled layers of each kind compute in: {"Convolution": {"f32"}, ...}."""
    found = {}
    for kind, precision in compiled_layers(model):
        found.setdefault(kind, set()).add(precision)
    return found


def widest(exact, films):
    """The ranges of all layers but the first."""
    _, *layers = exact.ranges(films).items()
    return {layer: (float(ends[:, 0].min()), float(ends[:, 1].max())) for layer, ends in layers}


def relative(found, wanted):
    """The largest difference in units of the largest value."""
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def test_the_descriptor_lists_every_operation(backend):
    from cxrscore_openvino.nets import FUNCTIONS

    assert set(backend.operations) == set(FUNCTIONS) == set(OPERATIONS) == EVERY.graph.operations


@pytest.mark.parametrize("head", ["gap", "flatten", "cls"])
def test_every_operation_is_that_of_the_reference(backend, head):
    spec = replace(EVERY, head=head)
    tensors, films = random_tensors(spec), some_films(3)
    model = backend.build(spec, tensors)
    assert relative(model.predict(films), reference.logits(spec, tensors, films)) <= 1e-5
    for layer, wanted in zip(spec.graph.cam_layers, reference.features(spec, tensors, films), strict=True):
        parts = model.cam_parts(films, [0], cam_layer=layer)
        assert relative(parts.activations, wanted) <= 1e-5
        assert np.array_equal(parts.logits, model.predict(films))
    assert (wanted > 0.5).any()  # so that the limit of the last ReLU counts


@pytest.mark.parametrize("groups", [1, 4])
def test_a_window_of_one_place_has_its_padding_whatever_the_stride(backend, groups):
    graph = GraphBuilder()
    x = graph.add("before", "conv2d", FILM, filters=4, size=3, stride=4)
    x = graph.add("conv", "conv2d", x, filters=4, size=1, stride=3, padding=(4, 1), groups=groups)
    network = Network(name="padded", nodes=graph.nodes, output=x, stages=("before",), size=32)
    spec = ModelSpec(architecture="padded", findings=("Mass",), size=32, head="flatten", network=network)
    tensors, films = random_tensors(spec), some_films(2, 32)
    assert relative(backend.build(spec, tensors).predict(films), reference.logits(spec, tensors, films)) <= 1e-5


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_an_activation_that_falls_and_rises_comes_after_pooling(backend, activation):
    """It has its minimum near -1, so that its largest value in a window is not that of the largest input."""
    graph = GraphBuilder()
    x = graph.add("conv", "conv2d", FILM, filters=4, size=2, padding=1, bias=False)
    x = graph.add("last", activation, graph.add("pool", "max_pool", x, size=2, stride=2))
    network = Network(name="pooled", nodes=graph.nodes, output=x, stages=("conv",), size=32)
    spec = ModelSpec(architecture="pooled", findings=("Mass",), size=32, head="flatten", network=network)
    tensors, films = random_tensors(spec), some_films(3, 32)
    tensors["conv/kernel"] -= np.float32(0.5)
    assert relative(backend.build(spec, tensors).predict(films), reference.logits(spec, tensors, films)) <= 1e-5


def test_a_factor_may_come_before_the_first_convolution(backend):
    graph = GraphBuilder()
    x = graph.add("conv", "conv2d", graph.add("scale", "scale", FILM), filters=2, size=5)
    network = Network(name="scaled", nodes=graph.nodes, output=x, stages=("scale",), size=32, normalize="unit")
    spec = ModelSpec(architecture="scaled", findings=("Mass",), size=32, normalize="unit", network=network)
    tensors, films = random_tensors(spec), some_films(2, 32)
    assert relative(backend.build(spec, tensors).predict(films), reference.logits(spec, tensors, films)) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("head", ["gap", "flatten", "cls"])
def test_a_transformer_is_that_of_the_reference(backend, head):
    """With interpolated position embeddings: 25 patches instead of 37 x 37."""
    spec = spec_of("vit_b14", size=70, head=head)
    tensors, films = random_tensors(spec), some_films(2, 70)
    model = backend.build(spec, tensors)
    assert relative(model.predict(films), reference.logits(spec, tensors, films)) <= 1e-5
    assert relative(model.cam_parts(films, [0]).activations, reference.features(spec, tensors, films)[0]) <= 1e-5


@pytest.mark.parametrize("architecture", ["densenet121", "resnet50", "tinycnn"])
def test_fp32_is_float32_in_every_layer(backend, architecture):
    """Left to itself OpenVINO computes in bfloat16 where the processor has it."""
    spec = spec_of(architecture)
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
    spec = spec_of(architecture)
    exact = backend.build(spec, None)
    ranges = widest(exact, some_films(2, spec.size))
    layers = compiled_layers(backend.build_int8(spec, exact.tensors(), ranges))
    found = [precision for kind, precision in layers if kind == "Convolution"]
    assert found.count("u8") == len(ranges) == len(found) - 1


def test_int8_is_8_bit_integers_in_dense_layers_too(backend):
    spec = replace(EVERY, head="cls")
    exact, films = backend.build(spec, random_tensors(spec)), some_films(4)
    ranges = widest(exact, films)
    assert list(ranges) == [
        "depthwise",
        "grouped",
        "map_dense",
        "gate_dense",
        "query",
        "key",
        "token_dense",
        "vector_dense",
    ]
    rough = backend.build_int8(spec, exact.tensors(), ranges)
    layers = compiled_layers(rough)
    assert layers.count(("Convolution", "u8")) == 2
    assert layers.count(("FullyConnected", "u8")) == 6
    assert 0 < relative(rough.predict(films), exact.predict(films)) < 0.1


def test_ranges_of_convolutions_alone_leave_dense_layers_in_floating_point(backend):
    """As files of earlier versions have them."""
    exact = backend.build(EVERY, random_tensors(EVERY))
    ranges = {layer: ends for layer, ends in widest(exact, some_films(2)).items() if layer in ("depthwise", "grouped")}
    kinds = kinds_of_layers(backend.build_int8(EVERY, exact.tensors(), ranges))
    assert "u8" in kinds["Convolution"]
    assert "u8" not in kinds["FullyConnected"]


def test_ranges_are_of_what_enters_by_hand(backend):
    """A film of 0 and 0.5, a convolution that doubles the first channel and subtracts 0.25, and a dense layer."""
    graph = GraphBuilder()
    x = graph.add("conv", "conv2d", FILM, filters=1, size=1)
    graph.add("dense", "dense", x, units=1)
    network = Network(name="by-hand", nodes=graph.nodes, output="dense", stages=("conv",), size=32)
    spec = ModelSpec(architecture="by-hand", findings=("Mass",), size=32, normalize="unit", network=network)
    tensors = initial_tensors(spec, 0) | {
        "conv/kernel": np.array([2, 0, 0], np.float32).reshape(1, 1, 3, 1),
        "conv/bias": np.array([-0.25], np.float32),
    }
    film = np.zeros((1, 32, 32), np.float32)
    film[0, 3, 5] = 0.5
    found = backend.build(spec, tensors).ranges(film)
    assert {layer: ends.tolist() for layer, ends in found.items()} == {"conv": [[0.0, 0.5]], "dense": [[-0.25, 0.75]]}


def test_a_layer_that_nothing_enters_has_a_range(backend):
    """All films black and no bias: the range has no width."""
    exact = backend.build(replace(TINY, normalize="unit"), None)
    ranges = {"conv2": (0.0, 0.0)}
    found = backend.build_int8(exact.spec, exact.tensors(), ranges).predict(np.zeros((1, 36, 36), np.float32))
    assert np.allclose(found, exact.predict(np.zeros((1, 36, 36), np.float32)), atol=1e-3)


def test_a_wide_head_gives_a_film_the_same_logits_in_a_batch_of_any_size(backend):
    """NumPy adds in another order where the product of matrices is large."""
    findings = tuple(f"finding {number}" for number in range(18))
    model = backend.build(replace(TINY, findings=findings, head="flatten"), None)
    films = some_films(96)
    together = model.predict(films)
    for size in (1, 7, 40):
        parts = [model.predict(films[start : start + size]) for start in range(0, len(films), size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


def test_a_processor_without_bf16_is_named(backend, processor):
    processor("FP32", "INT8")
    with pytest.raises(InputError, match=r"bf16 .*Abacus 3000.*fp32"):
        backend.build(TINY, None, precision="bf16")
    with pytest.raises(InputError, match=r"bf16 .*Abacus 3000.*fp32"):
        backend.build_int8(TINY, initial_tensors(TINY, 0), {}, precision="bf16")
    assert backend.build(TINY, None).spec == TINY


@pytest.mark.parametrize(
    ("own", "listed", "native"),
    [
        (["bf16", "int8"], ["BF16", "FP32", "INT8"], ("int8", "bf16", "fp32")),
        ([], ["FP32", "INT8"], ("fp32",)),  # AVX2: OpenVINO lists int8 where there are no dot products
        (["int8"], ["FP32", "INT8"], ("int8", "fp32")),
        (["bf16", "int8"], ["FP32"], ("fp32",)),
    ],
    ids=["all", "avx2", "vnni", "not listed"],
)
def test_native_is_what_both_processor_and_openvino_have(backend, processor, monkeypatch, own, listed, native):
    processor(*listed)
    monkeypatch.setattr("cxrscore_openvino.model.processor_has", lambda: frozenset(own))
    assert tuple(backend.native_precisions("auto")) == native


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "gpu"])
def test_it_runs_on_the_processor_only(backend, device):
    with pytest.raises(BackendUnavailableError, match="has cpu"):
        backend.build(TINY, None, device=device)
    assert backend.build(TINY, None, device="auto").device == "cpu"


@pytest.mark.parametrize("architecture", ["densenet121", "tinycnn"])
def test_compiling_changes_no_tensor(backend, architecture):
    """The graph's constants are the model's own memory."""
    spec = spec_of(architecture, size=32)
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
