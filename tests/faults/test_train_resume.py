"""A training run that was killed and told to go on ends with the weights of one that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cxrscore.models.bundle import load_model
from cxrscore.testing.phantoms import make_phantoms

OPTIONS = ["--architecture", "tinycnn", "--weights", "none", "--size", "32", "--epochs", "8", "--patience", "8"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        make_phantoms(folder, films=60, side=64, seed=4)
        yield folder


def words(output, *more):
    return [
        *(sys.executable, "-m", "cxrscore", "train", "films", "--backend", "torch", "--device", "cpu", *OPTIONS),
        *("-o", output, "-q", *more),
    ]


def train(home, output, *more):
    subprocess.run(words(output, *more), cwd=home, check=True, timeout=300)
    return load_model(home / output)


def kill_after(home, output, epochs, *more):
    """Starts a run and kills it once the checkpoint of so many epochs is there."""
    process = subprocess.Popen(words(output, *more), cwd=home, stderr=subprocess.DEVNULL)
    mark = home / f"{output}".replace(".safetensors", ".run") / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and _epochs(mark) < epochs:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"


def _epochs(path):
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return len(json.loads(head["__metadata__"]["cxrscore-checkpoint"])["history"])


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [("--trainable", "all", "--views", "1"), ("--trainable", "last-block")])
def test_killed_and_resumed_equals_undisturbed(home, trainable):
    name = trainable[1]
    whole = train(home, f"{name}-whole.safetensors", *trainable)
    kill_after(home, f"{name}.safetensors", 2, *trainable)
    kill_after(home, f"{name}.safetensors", 5, *trainable, "--resume")
    assert not (home / f"{name}.safetensors").exists()
    resumed = train(home, f"{name}.safetensors", *trainable, "--resume")
    for tensor, value in whole.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[tensor], value, err_msg=tensor)
    keys = ("train_loss", "valid_loss", "valid_macro_auc")
    history = [[row[key] for key in keys] for row in whole.document["training"]["history"]]
    assert [[row[key] for key in keys] for row in resumed.document["training"]["history"]] == history
    assert not list((home / f"{name}.run").glob("*.safetensors"))


@pytest.mark.slow
def test_a_frozen_base_goes_on_too_and_another_recipe_does_not(home):
    whole = train(home, "head-whole.safetensors")
    kill_after(home, "head.safetensors", 3)
    done = subprocess.run(
        words("head.safetensors", "--resume", "--seed", "1"), cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is of another run (" in done.stderr
    assert "seed: 0 -> 1" in done.stderr
    resumed = train(home, "head.safetensors", "--resume")
    np.testing.assert_array_equal(resumed.tensors["head/kernel"], whole.tensors["head/kernel"])
