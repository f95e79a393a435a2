"""The workflows and CONTRIBUTING.md name what there is."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_targets_and_scripts_that_there_are(path):
    jobs = yaml.safe_load(path.read_text())["jobs"]
    lines = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert set(re.findall(r"^make (\w+)", lines, re.MULTILINE)) <= TARGETS
    assert all((ROOT / script).is_file() for script in re.findall(r"python (\w\S*\.py)", lines))


def test_the_matrix_is_the_pythons_and_systems_of_the_project():
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    classifiers = "\n".join(PROJECT["classifiers"])
    assert matrix["python"] == re.findall(r"Python :: (3\.\d+)", classifiers)
    assert f">={matrix['python'][0]}" == PROJECT["requires-python"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos"}
    page = (ROOT / "docs" / "stability.md").read_text()
    assert f"| Python | {', '.join(matrix['python'])} |" in page


def test_contributing_names_targets_files_and_folders_that_there_are():
    assert set(re.findall(r"make (\w+)`", CONTRIBUTING)) <= TARGETS
    paths = re.findall(r"`(?:\.venv/bin/python (?:-m pytest -n0 )?)?((?:\w+/)+(?:[\w.]+\.\w+)?)`", CONTRIBUTING)
    assert len(paths) > 20
    assert [path for path in paths if path != "site/" and not (ROOT / path).exists()] == []
