"""Training whose frozen layers other processes run ends with the model of one process."""

import os

import forked
import pytest

from cxrscore.models.model_file import load_model
from cxrscore.synthetic.phantoms import make_phantoms

SMALL = ["--backend", "torch", "--device", "cpu", "--architecture", "tinycnn", "--weights", "none", "--size", "32"]
SINGLE = {**os.environ, "OMP_NUM_THREADS": "1"}
"""The last bits of PyTorch's sums depend on the number of threads."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    pytest.importorskip("torch", reason="torch is not installed")
    folder = tmp_path_factory.mktemp("extract")
    make_phantoms(folder, films=40, patients=40, side=64, seed=3)
    return folder


def train(home, name, *words, code=0, trainable="last-block"):
    """The model's tensors and recipe, and the kept files, of a run with a cache of its own; or what it said."""
    line = [
        "train",
        *SMALL,
        "--epochs",
        "2",
        "--trainable",
        trainable,
        "--augmentations",
        "1",
    ]
    own = {**SINGLE, "CXRSCORE_CACHE": str(home / name)}
    done = forked.cxrscore(*line, "-o", f"{name}.safetensors", *words, cwd=home, env=own)
    assert done.returncode == code, done.stderr
    if code:
        return done.stderr
    model = load_model(home / f"{name}.safetensors")
    tensors = {name: tensor.tobytes() for name, tensor in model.tensors.items()}
    kept = {path.name: path.read_bytes() for path in (home / name / "outputs").iterdir()}
    return tensors, (home / f"{name}.run" / "recipe.toml").read_text(), kept


@pytest.mark.slow
def test_several_processes_end_with_the_model_of_one(home):
    one = train(home, "one")
    assert len(one[2]) == 2
    assert train(home, "two", "--processes", "2") == one


@pytest.mark.slow
def test_actors_of_ray_end_with_the_model_of_one_process(home):
    pytest.importorskip("ray", reason="ray is not installed")
    one = train(home, "head", trainable="head")
    assert train(home, "ray", "--executor", "ray", "--processes", "2", trainable="head") == one


def test_what_no_run_can_do_is_told(home):
    told = train(home, "no", "--executor", "slurm", "--processes", "2", code=6)
    assert "no executor is called 'slurm'; available: local" in told
    told = train(home, "no", "--processes", "2", trainable="all", code=1)
    assert told.startswith("cxrscore: trainable is all, so no frozen layers are left for other processes to run")
