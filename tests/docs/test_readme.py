"""The README names only commands, options and extras that there are."""

import re
import tomllib
from pathlib import Path

from cxrscore.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_command_and_option_exists():
    lines = re.findall(r"^cxrscore (\w+)(.*?)(?:#.*)?$", README, flags=re.MULTILINE)
    assert [name for name, _ in lines] == ["train", "score", "report", "score"]
    for name, rest in lines:
        known = {option for parameter in main.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z-]+", rest)) <= known


def test_the_extras_are_those_of_the_project():
    named = {extra for group in re.findall(r'"\.\[([a-z,]+)\]"', README) for extra in group.split(",")}
    assert named
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_first_two_commands_are_demo_and_test():
    assert re.findall(r"^(make \w+)", README, flags=re.MULTILINE)[:2] == ["make demo", "make test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"demo", "test", "lint"} <= set(targets)
