"""A training run that was killed and told to go on ends with the weights of one that nobody disturbed."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import forked
import numpy as np
import pytest
from gates import Gate, install

from cxrscore.models.model_file import load_model
from cxrscore.synthetic.phantoms import make_phantoms

OPTIONS = ["--architecture", "tinycnn", "--weights", "none", "--size", "32", "--epochs", "8", "--patience", "8"]
OPTIONS += ["--loss", "gated"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        for name, value in install(folder / "site").items():
            patch.setenv(name, value)
        make_phantoms(folder, films=60, side=64, seed=4)
        yield folder


def words(output, *more):
    return [
        *(sys.executable, "-m", "cxrscore", "train", "films", "--backend", "torch", "--device", "cpu", *OPTIONS),
        *("-o", output, "-q", *more),
    ]


def train(home, output, *more):
    done = forked.cxrscore(*words(output, *more)[3:], cwd=home)
    assert done.returncode == 0, done.stderr
    return load_model(home / output)


@contextmanager
def held_after(home, line, run, epochs):
    """The process of this line, held before the end of the epoch after so many that have a checkpoint in ``run``."""
    with Gate(line, cwd=home, stderr=subprocess.PIPE) as gate:
        gate.hold(lambda held: _epochs(home / run / "checkpoint.safetensors") >= epochs)
        yield gate.process


def kill_after(home, output, epochs, *more):
    """Starts a run and kills it while it is in the epoch after so many."""
    with held_after(home, words(output, *more), output.replace(".safetensors", ".run"), epochs) as process:
        process.kill()
        assert process.wait() == -signal.SIGKILL


def _epochs(path):
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return len(json.loads(head["__metadata__"]["cxrscore-checkpoint"])["history"])


WAYS = {
    "head": ("--sampling", "balanced", "--augmentations", "3", "--schedule", "cosine", "--warmup", "1.5"),
    "last-block": (
        "--sampling",
        "balanced",
        "--schedule",
        "cosine",
        "--weight-decay",
        "0.05",
        "--drop-last",
        "-b",
        "4",
    ),
    "all": ("--augmentations", "3", "--warmup", "2", "--layer-decay", "0.5", "--clip-norm", "0.1"),
}
"""By what learns, options whose state a run that goes on must find again."""


@pytest.mark.slow
@pytest.mark.parametrize("trainable", WAYS)
def test_killed_and_resumed_equals_undisturbed(home, trainable):
    more = ("--trainable", trainable, *WAYS[trainable])
    whole = train(home, f"{trainable}-whole.safetensors", *more)
    kill_after(home, f"{trainable}.safetensors", 2, *more)
    if trainable != "head":
        kill_after(home, f"{trainable}.safetensors", 5, *more, "--resume")
    assert not (home / f"{trainable}.safetensors").exists()
    resumed = train(home, f"{trainable}.safetensors", *more, "--resume")
    for tensor, value in whole.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[tensor], value, err_msg=tensor)
    assert figures(resumed) == figures(whole)
    assert not list((home / f"{trainable}.run").glob(".*.part"))


def figures(model):
    """The history without the time it took."""
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in model.document["training"]["history"]
    ]


@pytest.mark.slow
def test_a_finished_run_goes_on_for_more_epochs_as_one_that_had_them_from_the_start(home):
    whole = train(home, "long-whole.safetensors", "--epochs", "11", "--patience", "11")
    train(home, "long.safetensors", "--patience", "11")
    longer = train(home, "long.safetensors", "--epochs", "11", "--patience", "11", "--resume")
    np.testing.assert_array_equal(longer.tensors["head/kernel"], whole.tensors["head/kernel"])
    assert figures(longer) == figures(whole)


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_line_that_goes_on(home):
    more = ("--trainable", "all")
    line = [word for word in words("stop.safetensors", *more) if word != "-q"]
    with held_after(home, line, "stop.run", 3) as process:
        process.send_signal(signal.SIGINT)
        told = process.communicate()[1]
    assert process.returncode == 130, told
    assert "3 epochs are saved in stop.run/. Rerun the same command with --resume to continue" in told
    assert "Traceback" not in told
    assert not (home / "stop.safetensors").exists()
    assert not list((home / "stop.run").glob(".*.part"))
