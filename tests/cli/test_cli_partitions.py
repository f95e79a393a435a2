"""Shares as people start them: several processes at once on one folder, then a merge; and the scripts for clusters."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import pytest
import yaml
from click.testing import CliRunner
from made_models import made_films, made_model
from made_parts import made_parts
from made_run import contents

from cxrscore.cli import main
from cxrscore.errors import CheckError, FileFormatError, InputError, WriteError

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
CXRSCORE = [sys.executable, "-m", "cxrscore"]
LINE = ["score", "films", "-m", "model.safetensors", "--backend", "torch", "--heatmaps", "1", "-j", "1", "-q"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partitions")
    made_films(folder / "films", films=140)
    names = sorted(path.name for path in (folder / "films").iterdir())
    rows = [f"{name},{row // 3},{row % 2}" for row, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["film,patient,Mass", *rows]))
    made_model(folder / "model.safetensors", 1)
    done = forked.cxrscore(*LINE, "-o", "whole.h5", cwd=folder)
    assert done.returncode == 3  # one film is broken
    return folder


@pytest.fixture
def home(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def differing(one, other):
    a, b = contents(one), contents(other)
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


@pytest.mark.slow
def test_processes_at_once_and_a_merge_make_the_file_of_one_process(home):
    lines = [[*CXRSCORE, *LINE, "-o", f"part{number}.h5", "--shard", f"{number}/2"] for number in (1, 2)]
    running = [subprocess.Popen(line, cwd=home) for line in lines]
    assert [one.wait() for one in running] == [0, 3]
    done = forked.cxrscore("merge", "part2.h5", "part1.h5", "-o", "out.h5", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "140 of 141 films have scores; 2 files merged" in done.stderr
    assert "wrote out.h5" in done.stderr
    assert differing(home / "whole.h5", home / "out.h5") == {"@provenance"}
    assert not list(home.glob("*.lock"))
    assert forked.cxrscore(*LINE, "-o", "out.h5", cwd=home).returncode == 3
    assert forked.cxrscore("report", "part1.h5", "-q", cwd=home).returncode == 0
    page = (home / "part1.html").read_text()
    assert "This is partition 1/2 of a run: films 1 to 72 of 141." in page


# --- exit codes


def ended(*words):
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.mark.parametrize("text", ["3/2", "0/2", "two", ""])
def test_a_share_that_is_none_is_a_usage_error(tmp_path, text):
    done = ended("score", tmp_path, "-o", tmp_path / "out.h5", "--shard", text)
    assert (done.exit_code, "expected i/n with 1 <= i <= n" in done.stderr) == (2, True), done.stderr


def test_a_partition_without_films_ends_well(home, monkeypatch):
    monkeypatch.chdir(home)
    done = ended(*LINE[:-1], "-o", "none.h5", "--shard", "1/150")
    assert (done.exit_code, "0 of 0 films of partition 1/150 scored" in done.stderr) == (0, True)
    assert "wrote none.h5" in done.stderr
    for command in (["verify"], ["show"], ["report"], ["export", "-o", "none.csv"]):
        told = ended(command[0], "none.h5", *command[1:])
        assert told.exit_code == 0, told.stderr


def test_exit_codes_of_a_merge(tmp_path):
    parts = made_parts(tmp_path / "parts", 150, 3)
    output = tmp_path / "out.h5"
    missing = ended("merge", *parts[:2], "-o", output)
    assert (missing.exit_code, "partition 3/3 is missing: run `cxrscore score" in missing.stderr) == (
        InputError.exit_code,
        True,
    )
    assert ended("merge", "-o", output).exit_code == 2
    (tmp_path / "damaged.h5").write_bytes(parts[2].read_bytes()[:3000])
    assert ended("merge", *parts[:2], tmp_path / "damaged.h5", "-o", output).exit_code == FileFormatError.exit_code
    assert ended("merge", *parts, "-o", parts[0] / "out.h5").exit_code == WriteError.exit_code
    assert not output.exists()
    done = ended("merge", *parts, "-o", output, "--json")
    assert (done.exit_code, '"films": 150' in done.stdout) == (0, True)
    virtual = ended("merge", *parts, "-o", tmp_path / "v.h5", "--virtual")
    assert virtual.exit_code == 0
    assert ended("verify", tmp_path / "v.h5").exit_code == 0
    parts[1].unlink()
    assert ended("verify", tmp_path / "v.h5").exit_code == CheckError.exit_code
    read = ended("report", tmp_path / "v.h5")
    assert (read.exit_code, "merge its parts without --virtual" in read.stderr) == (1, True)


# --- scripts


SBATCH = {
    *("job-name", "array", "ntasks", "cpus-per-task", "mem", "time", "requeue", "open-mode", "output", "gres"),
    *("partition", "account", "mail-type", "nodes", "error", "signal", "constraint", "exclusive"),
}
"""Long options of sbatch that the scripts may use."""


@pytest.mark.parametrize("name", ["slurm.sh", "parallel.sh"])
def test_scripts_are_bash(name):
    subprocess.run(["bash", "-n", CLUSTER / name], check=True)
    assert os.access(CLUSTER / name, os.X_OK)


def test_the_slurm_script_asks_for_what_slurm_knows():
    text = (CLUSTER / "slurm.sh").read_text()
    lines = text.splitlines()
    asked = [line for line in lines if line.startswith("#SBATCH")]
    found = [re.fullmatch(r"#SBATCH --([a-z-]+)(=\S+)?", line) for line in asked]
    assert asked
    assert all(found), asked
    assert {one[1] for one in found} <= SBATCH
    # sbatch reads no more of them once a command has come.
    first = next(place for place, line in enumerate(lines) if line and not line.startswith("#"))
    assert lines[: len(lines)].index(asked[-1]) < first
    partitions = re.search(r"^partitions=(\d+)$", text, re.MULTILINE)[1]
    assert f"#SBATCH --array=1-{partitions}\n" in text


@pytest.fixture
def recorder(tmp_path):
    """A folder with a cxrscore that writes down what it is asked for, and says that some films failed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cxrscore").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$ASKED"\nexit "${CODE:-3}"\n')
    (folder / "cxrscore").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "ASKED": str(tmp_path / "asked")}


@pytest.mark.parametrize(("code", "wanted"), [("0", 0), ("3", 0), ("1", 1), ("74", 74)])
def test_a_slurm_task_scores_its_share(tmp_path, recorder, code, wanted):
    env = {**recorder, "SLURM_ARRAY_TASK_ID": "7", "SLURM_CPUS_PER_TASK": "2", "CODE": code}
    done = subprocess.run([CLUSTER / "slurm.sh", "my films", "o.h5", "--tta", "2"], env=env, cwd=tmp_path, check=False)
    asked = (tmp_path / "asked").read_text().split("\n")[:-1]
    assert done.returncode == wanted
    assert asked == [
        *("score", "my films", "-o", "o.h5.partitions/part-7.h5", "--shard", "7/16", "--workers", "2", "--quiet"),
        *("--tta", "2"),
    ]
    assert (tmp_path / "o.h5.partitions").is_dir()


def container(name):
    job = yaml.safe_load((CLUSTER / name).read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (only,) = pod["containers"]
    assert {mount["name"] for mount in only["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
    assert only["command"] == ["/bin/sh", "-c"]
    return job["spec"], only


def test_the_kubernetes_job_has_an_index_for_each_share():
    spec, only = container("job.yaml")
    env = {one["name"]: one["value"] for one in only["env"]}
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == int(env["PARTITIONS"]) >= spec["parallelism"]
    assert env["PARTS"].startswith("/results/")


@pytest.mark.parametrize(("index", "code", "wanted"), [(0, "0", 0), (15, "3", 0), (4, "1", 1)])
def test_a_pod_scores_the_share_after_its_index(tmp_path, recorder, index, code, wanted):
    _, only = container("job.yaml")
    env = {**recorder, **{one["name"]: one["value"] for one in only["env"]}, "PARTS": str(tmp_path / "parts")}
    env |= {"JOB_COMPLETION_INDEX": str(index), "CODE": code}
    done = subprocess.run([*only["command"], *only["args"]], env=env, check=False)
    partition, part = index + 1, tmp_path / "parts" / f"part-{index + 1}.h5"
    assert done.returncode == wanted
    assert (tmp_path / "asked").read_text().split() == [
        *("score", "/films", "-m", "/results/model.safetensors", "-o", str(part)),
        *("--shard", f"{partition}/16", "--quiet"),
    ]


def test_the_other_kubernetes_job_merges_the_parts(tmp_path, recorder):
    _, only = container("merge.yaml")
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in (1, 2, 10):
        (parts / f"part-{number}.h5").touch()
    env = {**recorder, "PARTS": str(parts), "OUTPUT": "out.h5", "CODE": "0"}
    subprocess.run([*only["command"], *only["args"]], env=env, check=True)
    asked = (tmp_path / "asked").read_text().split()
    assert sorted(asked[1:4]) == sorted(str(parts / f"part-{number}.h5") for number in (1, 2, 10))
    assert (asked[0], asked[4:]) == ("merge", ["-o", "out.h5", "--quiet"])


@pytest.mark.slow
def test_shares_on_one_machine_are_scored_and_merged_by_the_script(home):
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    line = [CLUSTER / "parallel.sh", "5", "2", "films", "out put.h5", "--backend", "torch", "--heatmaps", "1"]
    subprocess.run(line, cwd=home, env=env, check=True)
    assert differing(home / "whole.h5", home / "out put.h5") == {"@provenance"}
    assert sorted(path.name for path in (home / "out put.h5.partitions").iterdir()) == [
        f"part-{number}.h5" for number in (1, 2, 3, 4, 5)
    ]
