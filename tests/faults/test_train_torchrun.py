"""Processes that torchrun starts train the model that one process trains, and go on by themselves after a kill."""

import os
import re
import signal
import subprocess
import sys

import forked
import numpy as np
import pytest
from gates import Gate, install

from cxrscore.models.model_file import load_model
from cxrscore.synthetic.phantoms import make_phantoms

pytestmark = pytest.mark.slow

TRAIN, VALID, FILMS = 36, 43, 48
"""Films before these numbers are for training, for validation, and for the test."""
BATCH = 5
"""Seven batches of which two processes have two and three films, and one of one film, of which one process has none."""
OPTIONS = ["--architecture", "tinycnn", "--weights", "none", "--size", "32", "--device", "cpu", "-j", "1"]
OPTIONS += ["--split", "split.csv", "--batch-size", str(BATCH), "--epochs", "4", "--learning-rate", "1e-3"]
QUIET = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Films with a quarter of the labels unknown, split by hand."""
    folder = tmp_path_factory.mktemp("processes")
    make_phantoms(folder, films=FILMS, patients=FILMS, side=64, seed=4)
    names, rng = sorted(path.name for path in (folder / "films").glob("*.png")), np.random.default_rng(1)
    rows = [["1", *rng.choice(["0", "1", "0", ""], 2)] for _ in names]
    labels = zip(names, map(rng.permutation, rows), strict=True)
    write(folder / "films" / "labels.csv", "film,Mass,Nodule,Edema", labels)
    parts = [(name, ["train" if n < TRAIN else "valid" if n < VALID else "test"]) for n, name in enumerate(names)]
    write(folder / "split.csv", "film,split", parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        for name, value in install(folder / "site").items():
            patch.setenv(name, value)
        yield folder


def write(path, header, rows):
    path.write_text("\n".join([header, *(",".join([name, *cells]) for name, cells in rows)]) + "\n")


def one(home, output, *more, **environment):
    words = ["train", "films", "--backend", "torch", *OPTIONS, "-o", output, *more]
    return forked.cxrscore(*words, cwd=home, env=environ(environment))


def torchrun(output, *more, restarts=0, program=("-m", "cxrscore")):
    """The line that has two processes train."""
    launch = ["--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts), *program]
    return [sys.executable, "-m", "torch.distributed.run", *launch, "train", "films", *OPTIONS, "-o", output, *more]


def two(home, output, *more, **how):
    """Runs it to its end, which a hang would not be."""
    words = torchrun(output, *more, **how)
    return subprocess.run(words, cwd=home, env=environ(), capture_output=True, text=True)


def environ(more=()):
    return {**os.environ, **QUIET, **dict(more)}


def figures(model):
    """The history without the time it took."""
    rows = model.document["training"]["history"]
    return [[value for name, value in row.items() if name != "seconds"] for row in rows]


WAYS = {
    "head": ("--augmentations", "2"),
    "last-block": ("--sampling", "balanced", "--weight-decay", "0.05", "--schedule", "cosine"),
    "all": ("--augmentations", "2", "--clip-norm", "0.1", "--layer-decay", "0.5", "--warmup", "1.5"),
}


@pytest.mark.parametrize("trainable", WAYS)
def test_two_processes_train_the_model_of_one(home, trainable):
    more = ("--trainable", trainable, *WAYS[trainable])
    alone, done = one(home, "one.safetensors", *more), two(home, "two.safetensors", *more)
    assert (alone.returncode, done.returncode) == (0, 0), done.stderr
    wanted, found = load_model(home / "one.safetensors"), load_model(home / "two.safetensors")
    for name, value in wanted.tensors.items():
        np.testing.assert_allclose(found.tensors[name], value, rtol=0, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(
        np.array(figures(found), np.float64), np.array(figures(wanted), np.float64), rtol=1e-5, atol=1e-5
    )
    assert found.document["films"] == wanted.document["films"]
    told = done.stderr.replace("two.", "one.").splitlines()
    assert [line for line in told if line in alone.stderr.splitlines()] == alone.stderr.splitlines()
    assert len(told) == len(alone.stderr.splitlines()), done.stderr  # nothing was said twice
    assert sorted(path.name for path in (home / "two.run").iterdir()) == sorted(
        path.name for path in (home / "one.run").iterdir()
    )


def start_and_kill(home, output, rank, *more, restarts):
    """Starts two processes, and kills one in the middle of the second epoch."""
    line = torchrun(output, *more, "--loss", "gated", restarts=restarts)
    checkpoint = home / output.replace(".safetensors", ".run") / "checkpoint.safetensors"
    with Gate(line, cwd=home, env=environ(), stderr=subprocess.PIPE) as gate:
        (victim,) = gate.hold(lambda held: held.rank == rank and checkpoint.exists())
        os.kill(victim.pid, signal.SIGKILL)
        gate.open()
        return gate.process, gate.process.communicate()[1]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_costs_at_most_an_epoch_and_changes_no_bit(home, rank):
    more = ("--trainable", "all", "--epochs", "3")
    if not (home / "whole.safetensors").exists():
        assert two(home, "whole.safetensors", *more, "--loss", "gated").returncode == 0
    name = f"killed{rank}.safetensors"
    launcher, told = start_and_kill(home, name, rank, *more, restarts=1)
    assert launcher.returncode == 0, told
    gone_on = re.findall(r"resuming after epoch (\d+)", told)
    assert gone_on == ["1"], told
    wanted, found = load_model(home / "whole.safetensors"), load_model(home / name)
    assert figures(found) == figures(wanted)
    for tensor, value in wanted.tensors.items():
        np.testing.assert_array_equal(found.tensors[tensor], value, err_msg=tensor)


def test_without_a_restart_the_others_end_with_the_one_that_was_killed(home):
    more = ("--trainable", "all", "--epochs", "3")
    launcher, told = start_and_kill(home, "ended.safetensors", 1, *more, restarts=0)
    assert launcher.returncode == 1
    assert told.count("cxrscore: another of the processes ended") <= 1  # unless torchrun was quicker
    assert "Signal 9 (SIGKILL)" in told
    assert not (home / "ended.safetensors").exists()
    assert sorted(path.name for path in (home / "ended.run").glob("*")) != []


def expect_said_once(done, code, words):
    """By torchrun, which tells how the first one ended, and by the one that failed."""
    assert done.returncode == 1
    assert done.stderr.count("cxrscore: ") == done.stderr.count(words) == 1, done.stderr
    assert "Traceback" not in done.stderr.split("cxrscore FAILED")[0].split("ChildFailedError")[0].split(words)[0]
    assert re.search(rf"exitcode  : {code} ", done.stderr), done.stderr


def test_a_backend_that_cannot_is_refused(home):
    done = two(home, "keras.safetensors", "--backend", "keras")
    expect_said_once(done, 1, "backend 'keras' trains in one process only, and there are several: use --backend torch")
    assert not (home / "keras.run").exists()


def test_an_option_that_cannot_be_is_said_once(home):
    expect_said_once(two(home, "w.safetensors", "--warmup", "9"), 1, "warmup is 9.0 epochs, more than there are: 4")


def test_a_leak_that_all_meet_is_said_once(home):
    text = (home / "split.csv").read_text().splitlines()
    names = [line.partition(",")[0] for line in text[1:]]
    (home / "films" / "twin.png").write_bytes((home / "films" / names[0]).read_bytes())
    (home / "twins.csv").write_text((home / "films" / "labels.csv").read_text() + "twin.png,1,0,0\n")
    (home / "leak.csv").write_text("\n".join([*text, "twin.png,valid"]) + "\n")
    done = two(home, "leak.safetensors", "--labels", "twins.csv", "--split", "leak.csv")
    expect_said_once(done, 4, "twin.png")
    assert not (home / "leak.run").exists()


def test_a_full_disk_at_the_one_that_writes_ends_all(home):
    """Its files may have 400 kB: enough for films, not for a checkpoint of the whole network and its optimiser."""
    assert one(home, "films.safetensors", "--epochs", "1").returncode == 0
    limited = 'if [ "$RANK" = 0 ]; then ulimit -f 800; fi; exec "$0" -m cxrscore "$@"'
    how = ("--no-python", "sh", "-c", limited, sys.executable)
    done = two(home, "full.safetensors", "--trainable", "all", program=how)
    expect_said_once(done, 74, "cannot write full.run/")
    assert not (home / "full.safetensors").exists()
