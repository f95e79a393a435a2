"""One process uses one framework, so the backend under test is chosen on the command line:

pytest tests/conformance --backend torch
pytest tests/conformance --backend keras
pytest tests/conformance --backend openvino
pytest tests/conformance --backend onnx
"""

import hashlib
import importlib
import importlib.metadata
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxrscore.contract import Backend, ModelSpec, TrainableModel
from cxrscore.io.atomic import atomic_write_bytes

BACKENDS = ("torch", "keras", "openvino", "onnx")
PEER = Path(__file__).with_name("peer.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the kit share nothing, so that pytest-xdist may spread them over all cores; those of another file share
    what a peer computed, and stay together (``--dist loadgroup``)."""
    for item in items:
        if item.path.parent == PEER.parent and item.path.stem != "test_conformance_kit":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=BACKENDS, default=None, help="the backend to hold to the contract")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The backend under test."""
    # Without a default this raises where pytest was not started on this folder and the option was never added.
    name = request.config.getoption("--backend", default=None)
    if name is None:
        pytest.skip("no backend chosen: run pytest tests/conformance --backend torch, and again with the others")
    return importlib.import_module(f"cxrscore_{name}").cxrscore_backends()[0]


@pytest.fixture(scope="session")
def trains(backend: Backend) -> None:
    """Skips what needs a model that learns, where the backend has none."""
    model = backend.build(ModelSpec(architecture="tinycnn", findings=("Mass",), size=32), None, device="cpu")
    if not isinstance(model, TrainableModel):
        pytest.skip(f"a model of {backend.name} is not {TrainableModel.__name__}")


@pytest.fixture(scope="session")
def other(backend: Backend) -> str:
    """Name of another backend with which this one must agree."""
    name = next(name for name in BACKENDS if name != backend.name)
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: nothing to compare {backend.name} with")
    return name


Peer = Callable[..., dict[str, dict[str, np.ndarray]]]


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Peer:
    """peer(who, name=arrays, ...) -> results by name, computed by peer.py in a process of its own.

    What keras.applications computes does not depend on our code: the runs for the backends share it in pytest's cache.
    """

    def run(who: str, **jobs: dict[str, object]) -> dict[str, dict[str, np.ndarray]]:
        shared = getattr(request.config, "cache", None)  # none with -p no:cacheprovider
        if who != "applications" or shared is None:
            return compute(who, jobs)
        cache = Path(shared.mkdir("peer")) / f"{_digest(jobs)}.pickle"
        if not cache.exists():
            atomic_write_bytes(cache, pickle.dumps(compute(who, jobs)))
        return pickle.loads(cache.read_bytes())  # noqa: S301 - our own

    def compute(who: str, jobs: dict[str, dict[str, object]]) -> dict[str, dict[str, np.ndarray]]:
        folder = tmp_path_factory.mktemp("peer")
        for name, arrays in jobs.items():
            np.savez(folder / f"{name}.job.npz", **arrays)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, PEER, who, folder], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return {name: dict(np.load(folder / f"{name}.out.npz")) for name in jobs}

    return run


def _digest(jobs: dict[str, dict[str, object]]) -> str:
    """SHA-256 of all that the results of keras.applications depend on."""
    found = hashlib.sha256(PEER.read_bytes())
    found.update(" ".join(importlib.metadata.version(name) for name in ("keras", "tensorflow", "numpy")).encode())
    for name, arrays in jobs.items():
        for key, value in arrays.items():
            array = np.asarray(value)
            found.update(f"{name} {key} {array.dtype} {array.shape}".encode())
            found.update(array.tobytes())
    return found.hexdigest()
