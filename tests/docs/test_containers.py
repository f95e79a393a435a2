"""The Containerfiles, the lock files behind them and the release workflow say the same, and what there is."""

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONTAINERFILES = ("Containerfile", "Containerfile.gpu")
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


LOCK, CHECK = tool("lock"), tool("container_check")
LOCKS = sorted(LOCK.requirements())


def pins(name):
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    found = {canonicalize_name(match[1]): match[2] for match in PIN.finditer(text)}
    rest = PIN.sub("", text)
    assert all(line.startswith("#") for line in rest.splitlines()), rest  # each package has a version and hashes
    return found


def constraints():
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_there_is_a_lock_of_each_container_and_no_other():
    assert (
        sorted(path.stem for path in (ROOT / "requirements").iterdir()) == LOCKS == ["build", "cpu", "gpu", "release"]
    )


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_covers_the_requirements_and_agrees_with_the_constraints(name):
    found, known = pins(name), constraints()
    for text in LOCK.requirements()[name]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(found[canonicalize_name(wanted.name)]), text
    assert {own: version for own, version in found.items() if known.get(own, version) != version} == {}


def test_the_wheel_is_built_with_a_lock_that_covers_its_build_system():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert LOCK.requirements()["build"] == project["build-system"]["requires"]
    assert set(project["tool"]["cxrscore"]["locks"]["cpu"]) >= {"openvino", "dicom", "remote"}
    assert "torch" in project["tool"]["cxrscore"]["locks"]["gpu"]


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_a_containerfile_passes_its_linter(name):
    found = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    if found is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([found, name], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_a_containerfile_installs_by_hash_and_runs_without_rights(name):
    steps = CHECK.instructions((ROOT / name).read_text())
    runs = [rest for word, rest in steps if word == "RUN"]
    installs = [command for run in runs for command in run.split("&&") if " install " in command]
    assert len(installs) == 3
    assert all("--require-hashes" in one or "--no-deps --no-index /wheel/" in one for one in installs)
    assert all("--no-cache-dir" in one for one in installs)
    last = max(index for index, (word, _) in enumerate(steps) if word == "FROM")
    image = dict(steps[last:])
    assert image["USER"] == "10001:10001"
    assert image["ENTRYPOINT"] == '["cxrscore"]'
    assert not any(word == "RUN" and "pip" in rest for word, rest in steps[last:])
    assert image["COPY"] == "--from=install /opt/cxrscore /opt/cxrscore"
    assert f"python:{LOCK.PYTHON}-" in dict(steps)["ARG"] or f"python:{LOCK.PYTHON}-" in steps[0][1]


def test_both_containerfiles_have_the_same_steps():
    both = [CHECK.instructions((ROOT / name).read_text().replace("gpu.lock", "cpu.lock")) for name in CONTAINERFILES]
    differ = {one[0] for one, other in zip(*both, strict=True) if one != other}
    assert differ == {"LABEL", "ENV"}


def test_the_build_gets_what_is_copied_and_no_more():
    kept = (ROOT / ".containerignore").read_text()
    assert kept == (ROOT / ".dockerignore").read_text()  # of Podman and of Docker
    allowed = {line[1:] for line in kept.splitlines() if line.startswith("!")}
    steps = [CHECK.instructions((ROOT / name).read_text()) for name in CONTAINERFILES]
    copied = [rest.split()[:-1] for one in steps for word, rest in one if word == "COPY" and "--from" not in rest]
    names = {name for words in copied for name in words}
    assert {name for name in names if not (ROOT / name).exists()} == set()
    assert {name if name in allowed else name.partition("/")[0] for name in names} == allowed


def test_an_instruction_over_several_lines_is_one():
    assert CHECK.instructions("# c\nRUN a \\\n && b\n\nUSER 1:1\n") == [("RUN", "a   && b"), ("USER", "1:1")]


def release():
    return yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())


def test_the_release_names_files_and_tools_that_there_are():
    lines = "\n".join(step.get("run", "") for job in release()["jobs"].values() for step in job["steps"])
    files = set(re.findall(r"(?:requirements|tools)/[\w.]+", lines))
    assert {f"requirements/{name}.lock" for name in LOCKS} | {"tools/release_notes.py"} == files
    assert {row["containerfile"] for row in release()["jobs"]["image"]["strategy"]["matrix"]["include"]} == {
        *CONTAINERFILES
    }
    assert "hatchling" in pins("build")
    assert "cyclonedx-bom" in pins("release")  # cyclonedx-py
    for name in CONTAINERFILES:  # as the workflow takes it from there
        assert re.search(r"^ARG PYTHON_IMAGE=\S+:\S+$", (ROOT / name).read_text(), re.MULTILINE)


def test_a_job_of_the_release_has_no_more_rights_than_it_uses():
    told = release()
    assert told["permissions"] == {}
    rights = {
        name: {right for right, mode in job["permissions"].items() if mode == "write"}
        for name, job in told["jobs"].items()
    }
    assert rights == {
        "wheel": {"id-token", "attestations"},
        "image": {"packages", "id-token", "attestations"},
        "release": {"contents"},
    }
    for job in told["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", "")  # values of events reach a shell as variables only
