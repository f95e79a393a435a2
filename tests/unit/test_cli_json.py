"""What --json prints is JSON, whatever is undefined, and every command has it."""

import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cxrscore.cli import main
from cxrscore.cli.common import print_json


def test_what_json_does_not_have(capsys):
    nan = float("nan")
    print_json(
        {"a": nan, "b": [1.5, nan], "c": Path("x"), "d": ({"e": -float("inf")},), "f": MappingProxyType({1: nan})}
    )
    found = json.loads(capsys.readouterr().out, parse_constant=lambda word: 1 / 0)
    assert found == {"a": None, "b": [1.5, None], "c": "x", "d": [{"e": None}], "f": {"1": None}}


def test_numbers_of_numpy_are_numbers(capsys):
    print_json(
        {"a": np.float32("nan"), "b": np.int64(3), "c": np.array([0.5, np.inf], np.float32), "d": np.bool_(True)}
    )
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": 3, "c": [0.5, None], "d": True}


@pytest.mark.parametrize("name", main.commands)
def test_every_command_has_it(name):
    assert any("--json" in option.opts for option in main.commands[name].params)


def test_commands_are_listed_in_the_order_of_work():
    listed = main.list_commands(None)
    order = ("demo", "train", "score", "report", "show", "export", "verify", "plugins", "check")
    assert [name for name in listed if name in order] == list(order)
