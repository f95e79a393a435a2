"""The frozen base by another backend: the same run, told in the model, or a refusal that says why."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from training import SIDE, some_data, some_model

from cxrscore.errors import InputError
from cxrscore.models.model_file import load_model
from cxrscore.progress import no_progress
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions
from cxrscore.training.features import FeatureSource, batches_of
from cxrscore.training.features import backbone as frozen_module


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def outputs(monkeypatch):
    """outputs(apart) -> the model, the other one, and the outputs of films by the other, whose embeddings are so far
    from the model's."""

    def made(apart=0.0, architectures=("tinycnn",), own=None, other=None):
        own, other = own or some_model(), other or some_model()
        inner = getattr(other, "embed", None)
        if inner:
            other.embed = lambda films: inner(films) * np.float32(1 + apart)
            other.framework = "other 1.0"
        backend = SimpleNamespace(name="other", architectures=architectures, build=lambda spec, tensors, device: other)
        monkeypatch.setattr(frozen_module.plugins, "get_backend", lambda name: backend)
        options = TrainOptions(backend="none", feature_backend="other", size=SIDE)
        return own, other, FeatureSource(own, some_data(train=20), options, no_progress)

    return made


def all_of(given):
    return np.concatenate(list(given.of(batches_of(np.arange(20)), None)))


def test_the_other_runs_all_films_and_the_own_the_first_few_to_compare(outputs):
    own, other, given = outputs(apart=5e-5)
    found = all_of(given)
    assert (other.run, own.run) == (24, 8)
    np.testing.assert_allclose(found, own.embed(some_data(train=20).store.batch(range(20))), rtol=6e-5)
    assert given.framework == "other 1.0"
    assert given.for_model(own).framework == "other 1.0"


def test_outputs_of_two_backends_are_kept_apart(outputs):
    all_of(outputs()[2])
    own = some_model()
    all_of(FeatureSource(own, some_data(train=20), TrainOptions(backend="none", size=SIDE), no_progress))
    assert own.run == 24


@pytest.mark.parametrize("apart", [2e-4, np.nan])
def test_embeddings_that_do_not_agree_are_refused(outputs, apart):
    with pytest.raises(InputError, match=r"by other 1\.0 differ .* by (0\.0002|nan) of the largest, more than 0\.0001"):
        all_of(outputs(apart)[2])


def test_a_backend_that_cannot_is_refused(outputs):
    with pytest.raises(InputError, match=r"'other' cannot run 'tinycnn': it lacks the operations conv2d, relu\. Leave"):
        outputs(architectures=("densenet121",))
    with pytest.raises(InputError, match=r"'other' cannot run the frozen base apart"):
        outputs(other=some_model().head)
    with pytest.raises(InputError, match="'none' cannot train on embeddings"):
        outputs(own=some_model().head)
    for changed in ({"trainable": "last-block"}, {"precision": "bf16"}):
        with pytest.raises(InputError, match="feature_backend is 'openvino', which needs trainable head in fp32"):
            TrainOptions(feature_backend="openvino", **changed)


TRAIN = """
import sys
from pathlib import Path
from cxrscore.models.model_file import load_model
from cxrscore.training import TrainOptions, train_model
backend, folder = sys.argv[1], Path(sys.argv[2])
small = {"backend": backend, "device": "cpu", "architecture": "tinycnn", "weights": "none", "size": 64}
small["augmentations"] = 2
for name in (None, "openvino"):
    options = {"feature_backend": name, "output": folder / f"{name}.safetensors", "epochs": 4, **small}
    train_model(TrainOptions(films=folder / "films", **options))
"""


@pytest.mark.parametrize("backend", ["torch", pytest.param("keras", marks=pytest.mark.slow)])
def test_openvino_and_the_framework_that_trains_share_a_process(backend, tmp_path):
    """Both have threads of their own; the run is that of the framework alone."""
    pytest.importorskip("openvino")
    pytest.importorskip(backend)
    make_phantoms(tmp_path, films=40, patients=40, side=64, seed=5)
    command = [sys.executable, "-c", TRAIN, backend, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    losses = []
    for name in (None, "openvino"):
        told = load_model(tmp_path / f"{name}.safetensors").document["training"]
        by = told["versions"].get("feature_backend", "")
        assert by.startswith("openvino 20") if name else not by
        assert told["recipe"]["feature_backend"] == name
        losses.append([row["valid_loss"] for row in told["history"]])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
