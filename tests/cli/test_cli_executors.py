"""Scoring by several processes gives the file that one gives, also after the one that hands out the work was killed."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import forked
import pytest
from gates import Gate, install, wait_for_end
from made_models import made_films, made_model
from made_run import contents

WORDS = ["score", "films", "-m", "a", "-m", "b", "--backend", "torch", "--heatmaps", "1"]
WORDS += ["--explainer", "gated"]
SINGLE = {"OMP_NUM_THREADS": "1"}
"""The last bits of PyTorch's sums depend on the number of threads."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    pytest.importorskip("torch", reason="torch is not installed")
    folder = tmp_path_factory.mktemp("executors")
    made_films(folder / "films", films=300)  # five shards, one film of which is none
    made_model(folder / "a", 1)
    made_model(folder / "b", 2, size=48)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**SINGLE, **install(folder / "site")}.items():
            patch.setenv(name, value)
        score(folder, "one.h5")
        yield folder


def score(folder, output, *words, code=3):
    done = forked.cxrscore(*WORDS, "-o", output, "--json", *words, cwd=folder)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def same_but_provenance(home, output):
    one, other = contents(home / "one.h5"), contents(home / output)
    return {name for name in one | other if one.get(name) != other.get(name)} == {"@provenance"}


@pytest.mark.slow
def test_two_processes_give_the_file_of_one(home):
    result = score(home, "two.h5", "--processes", "2")
    assert (result["n_films"], result["scored"], result["computed"]) == (301, 300, 301)
    assert [one["film"] for one in result["failed"]] == ["broken.png"]
    assert same_but_provenance(home, "two.h5")
    one, two = (json.loads(contents(home / name)["@provenance"]) for name in ("one.h5", "two.h5"))
    for key in ("backend", "explainer", "films", "models"):
        assert one[key] == two[key]


@pytest.mark.slow
def test_actors_of_ray_give_the_file_of_one_process(home):
    pytest.importorskip("ray", reason="ray is not installed")
    assert score(home, "ray.h5", "--executor", "ray", "--processes", "2")["computed"] == 301
    assert same_but_provenance(home, "ray.h5")


@contextmanager
def begun(home, output):
    """A run by two processes of which both stand before their next batch, since there is a shard; and who they are."""
    words = [sys.executable, "-m", "cxrscore", *WORDS, "-o", output, "-q", "--processes", "2"]
    with Gate(words, cwd=home, stderr=subprocess.DEVNULL) as gate:
        workers = [held.pid for held in gate.hold(lambda held: list(home.glob(f"{output}.parts/s*.h5")), count=2)]
        yield gate.process, workers


@pytest.mark.slow
def test_a_run_whose_driver_was_killed_goes_on(home):
    with begun(home, "killed.h5") as (driver, workers):
        driver.kill()
        assert driver.wait() == -signal.SIGKILL
    assert 0 < score(home, "killed.h5", "--processes", "2")["computed"] < 301
    assert same_but_provenance(home, "killed.h5")
    for worker in workers:  # each ends after the shard it had in hand
        wait_for_end(worker)


@pytest.mark.slow
def test_ctrl_c_ends_all_processes(home):
    with begun(home, "stopped.h5") as (driver, workers):
        assert len(set(workers)) == 2
        driver.send_signal(signal.SIGINT)
        assert driver.wait() == 130
        assert [worker for worker in workers if Path(f"/proc/{worker}").exists()] == []


def test_errors_of_workers_end_the_run_as_their_own(home):
    told = score(home, "no.h5", "--processes", "2", "--device", "cuda:7", code=6)
    assert told.startswith("cxrscore: device 'cuda:7' is not available for PyTorch")
    told = score(home, "no.h5", "--executor", "slurm", code=6)
    assert "no executor is called 'slurm'; available: local" in told
    told = score(home, "no.h5", "--address", "head:6379", code=1)
    assert "executor 'local' runs on this machine only; remove the address 'head:6379'" in told
