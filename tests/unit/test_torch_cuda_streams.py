"""Lanes of a CUDA device, as far as a CPU can tell: streams, pinned memory and graphs are stand-ins."""

import contextlib
import subprocess
import sys
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cxrscore_torch import TorchBackend, cuda_streams  # noqa: E402
from cxrscore_torch.cuda_streams import CudaGraphs, SingleStream, StreamPool  # noqa: E402
from cxrscore_torch.model import TorchModel  # noqa: E402
from cxrscore_torch.nets import Network  # noqa: E402

from cxrscore.contract import ModelSpec  # noqa: E402
from cxrscore.images import to_unit  # noqa: E402
from cxrscore.testing import BackendCases, run_cases  # noqa: E402

CPU = torch.device("cpu")
SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)


class Stream:
    """In order with everything, as the CPU is."""

    def __init__(self, device=None):
        self.synchronized = 0

    def wait_stream(self, other):
        pass

    def synchronize(self):
        self.synchronized += 1


def recorded(function, given, stream):
    """Like a graph, into the same results each time."""
    fixed, results = given.clone(), [result.clone() for result in function(given)]

    def replay(inputs):
        fixed.copy_(inputs)
        for result, new in zip(results, function(fixed), strict=True):
            result.copy_(new)
        return results

    return replay


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda without a GPU."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory=False, **k: empty(*a, **k))
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "default_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(cuda_streams, "_capture_graph", recorded)


class LanesBackend(TorchBackend):
    """PyTorch on the CPU, by the way of CUDA."""

    architectures = ("tinycnn",)

    def build(self, spec, tensors, **options):
        model = super().build(spec, tensors, **options)
        return TorchModel(spec, model._network, StreamPool(CPU))


def films(number, seed=0):
    return np.random.default_rng(seed).random((number, 32, 32), np.float32)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_level_becomes_the_number_of_the_core_to_the_bit(kind):
    levels = np.arange(np.iinfo(kind).max + 1, dtype=kind)
    given = torch.from_numpy(levels.view(np.int16) if kind == np.uint16 else levels)
    np.testing.assert_array_equal(Network(SPEC).unit(given).numpy(), to_unit(levels))


def test_levels_are_divided_by_a_tensor_and_not_by_a_number():
    """CUDA multiplies by the inverse of a number, which rounds otherwise; so many levels would come out different."""
    levels = np.arange(256, dtype=np.float32)
    assert (levels * (np.float32(1) / np.float32(255)) != levels / np.float32(255)).sum() > 50
    assert [*Network(SPEC).white.shape] == [2]


def test_a_model_by_lanes_passes_the_kit(cuda):
    held_to = {"B12", "B13", "B14", "B15", "B16", "B17", "B19", "B24", "B25", "B27", "B33", "B50", "B52"}
    outcomes = run_cases(BackendCases, only=held_to, backend=LanesBackend())
    assert {one.number: one.reason for one in outcomes if one.status != "passed"} == {}
    assert {one.number for one in outcomes} == held_to


def test_two_threads_get_what_one_gets(cuda):
    plain = TorchBackend().build(SPEC, None, device="cpu")
    model = LanesBackend().build(SPEC, plain.tensors(), device="cpu")
    assert (plain.lanes, model.lanes) == (1, 2)
    wrong = []

    def many(first):
        for seed in range(first, first + 20):
            given = (films(3, seed) * 255).astype(np.uint8)
            parts, wanted = model.cam_parts(given, [1]), plain.cam_parts(to_unit(given), [1])
            same = [
                np.array_equal(getattr(parts, a), getattr(wanted, a)) for a in ("logits", "activations", "gradients")
            ]
            wrong.extend([] if all(same) else [seed])

    threads = [threading.Thread(target=many, args=(100 * number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_recorded_pass_uses_tensors_that_training_has_changed(cuda):
    model = LanesBackend().build(SPEC, None, device="cpu")
    before = [model.predict(films(2)) for _ in range(5)][-1]
    with torch.no_grad():
        model._network.head.bias += 1
    np.testing.assert_allclose(model.predict(films(2)), before + 1, rtol=1e-6)


def test_the_third_of_a_kind_is_recorded_and_the_fourth_replayed():
    plain, records, replays = [], [], []

    def function(given):
        plain.append(given)
        return (given + 1,)

    def record(function, given):
        records.append(given.shape)
        return lambda inputs: replays.append(inputs) or (inputs + 1,)

    run = CudaGraphs(record)
    for number in range(5):
        (found,) = run(function, torch.full((2,), number), CPU)
        assert found.tolist() == [number + 1] * 2
    assert (len(plain), records, len(replays)) == (3, [(2,)], 2)
    for given in (torch.zeros(3), torch.zeros(2)):  # of another shape, and of another kind
        run(function, given, CPU)
    assert (len(plain), len(records)) == (5, 1)


def test_what_cannot_be_recorded_is_not_tried_again():
    tried = []
    run = CudaGraphs(lambda function, given: tried.append(given))
    for _ in range(6):
        assert run(lambda_, torch.zeros(2), CPU)[0].tolist() == [1, 1]
    assert len(tried) == 1


def lambda_(given):
    return (given + 1,)


def test_few_shapes_are_recorded():
    kept = []
    run = CudaGraphs(lambda function, given: kept.append(given.shape) or (lambda inputs: (inputs,)))
    for length in range(1, 8):
        for _ in range(4):
            run(lambda_, torch.zeros(length), CPU)
    assert len(kept) == 4


class Graph:
    """Repeats the one function of the test below."""

    def replay(self):
        Doubled.again()


class Doubled:
    given, result = None, torch.zeros(2)

    @classmethod
    def again(cls):
        cls.result.copy_(2 * cls.given)

    def __call__(self, given):
        Doubled.given = given
        self.again()
        return (self.result,)


@pytest.fixture
def current(monkeypatch):
    """The current streams, the innermost last, by stand-ins of torch.cuda."""
    streams = [Stream()]

    @contextlib.contextmanager
    def use(stream):
        length = len(streams)
        streams.append(stream)
        try:
            yield
        finally:
            del streams[length:]

    monkeypatch.setattr(torch.cuda, "stream", use)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams[-1])
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    return streams


@pytest.mark.parametrize("captures", [True, False])
def test_a_graph_computes_new_inputs_or_there_is_none(monkeypatch, current, captures):
    @contextlib.contextmanager
    def graph(graph, stream, capture_error_mode):
        assert torch.backends.cudnn.benchmark
        assert current[-1] is stream, "warm-up and capture are on one stream, which has workspaces of its own"
        current.append(stream)  # as torch does, which leaves it there if the capture fails
        if not captures:
            raise RuntimeError("operation not permitted when stream is capturing")
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "graph", graph)
    (before,) = current
    replay = cuda_streams._capture_graph(Doubled(), torch.ones(2), Stream())
    assert current == [before], "else results are copied on a stream that nobody waits for"
    assert not torch.backends.cudnn.benchmark
    if not captures:
        assert replay is None
        return
    assert replay(torch.tensor([3.0, 4.0]))[0].tolist() == [6, 8]
    assert replay(torch.tensor([0.0, 1.0]))[0].tolist() == [0, 2]


def test_pinned_films_and_results_never_use_the_stream_of_a_capture(cuda, monkeypatch):
    """torch records an event on each stream that used pinned memory when that is freed, by any thread and at any time:
    on a stream that is being captured this breaks the capture."""
    computing, capturing = [], []
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: computing.append(stream) or contextlib.nullcontext())
    monkeypatch.setattr(
        cuda_streams,
        "_capture_graph",
        lambda function, given, stream: capturing.append(stream) or recorded(function, given, stream),
    )
    ways = StreamPool(CPU)
    for _ in range(10):
        ways(lambda_, films(1))
    assert len(computing) == 10
    assert len(capturing) == 2
    assert not {*map(id, computing)} & {*map(id, capturing)}


@pytest.fixture
def tf32_allowed():
    settings = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [each.fp32_precision for each in settings]
    for each in settings:
        each.fp32_precision = "tf32"
    yield lambda: [each.fp32_precision for each in settings]
    for each, value in zip(settings, before, strict=True):
        each.fp32_precision = value


def test_full_float32_is_for_all_threads_that_need_it(tf32_allowed):
    """The first leaves while the second still computes."""
    first, second = cuda_streams.full_float32(), cuda_streams.full_float32()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert tf32_allowed() == ["ieee", "ieee"]
    second.__exit__(None, None, None)
    assert tf32_allowed() == ["tf32", "tf32"]


NEW_SETTINGS = """
import torch
from cxrscore_torch.cuda_streams import full_float32

torch.backends.fp32_precision = "tf32"
try:
    torch.backends.cuda.matmul.allow_tf32
except RuntimeError:
    print("mixed")
with full_float32():
    print(torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision)
"""


@pytest.mark.slow
def test_a_program_may_allow_tf32_for_all_operations():
    """In a process of its own, because the setting cannot be taken back completely."""
    done = subprocess.run([sys.executable, "-c", NEW_SETTINGS], capture_output=True, text=True)
    assert done.stdout.split() == ["mixed", "ieee", "ieee"], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["tinycnn", "vit_b14"])
@pytest.mark.parametrize("bf16", [False, True])
def test_torch_compiles_a_network_whole(architecture, bf16):
    """Without a break, as CUDA graphs need it, and not again for the next films."""
    size, head = (32, "gap") if architecture == "tinycnn" else (42, "cls")
    spec = ModelSpec(architecture=architecture, findings=("Mass", "Edema"), size=size, head=head)
    network = TorchBackend().build(spec, None, device="cpu", precision="bf16" if bf16 else "fp32")._network
    graphs = []

    def counted(module, inputs):
        graphs.append(module)
        return module.forward

    torch._dynamo.reset()
    compiled = torch.compile(network, backend=counted, fullgraph=True)
    with torch.inference_mode():
        for seed in range(3):
            given = torch.from_numpy((np.random.default_rng(seed).random((2, size, size)) * 255).astype(np.uint8))
            torch.testing.assert_close(compiled(given), network(given), rtol=0, atol=0)
    assert len(graphs) == 1
    torch._dynamo.reset()


def test_a_lane_is_free_again_after_an_error(cuda):
    ways = StreamPool(CPU)

    def broken(given):
        raise RuntimeError("out of memory")

    for _ in range(5):
        with pytest.raises(RuntimeError, match="out of memory"):
            ways(broken, films(1))
    assert ways(lambda_, films(1))[0].shape == (1, 32, 32)


def test_results_on_the_cpu_are_copies():
    given = films(1)
    (found,) = SingleStream()(lambda inputs: (inputs,), given)
    found += 1
    np.testing.assert_array_equal(given, films(1))


@pytest.mark.parametrize(
    ("device", "capability", "native"),
    [("cuda:0", (7, 5), ("fp32",)), ("cuda:0", (8, 0), ("bf16", "fp32")), ("cuda:0", (12, 0), ("bf16", "fp32"))],
)
def test_gpus_compute_bf16_since_capability_8(monkeypatch, device, capability, native):
    from cxrscore_torch import model

    monkeypatch.setattr(model, "_found", torch.device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: capability)
    assert model.native_precisions(device) == native


def test_processors_compute_bf16_if_they_have_it(monkeypatch):
    from cxrscore_torch import model

    for own, native in ((("bf16",), ("bf16", "fp32")), ((), ("fp32",))):
        monkeypatch.setattr(model, "processor_has", lambda own=own: frozenset(own))
        assert model.native_precisions("cpu") == native
