"""What --json prints is JSON, whatever is undefined."""

import json
from pathlib import Path

from cxrscore.cli.common import print_json


def test_nan_becomes_null(capsys):
    print_json({"a": float("nan"), "b": [1.5, float("nan")], "c": Path("x"), "d": ({"e": float("nan")},)})
    found = json.loads(capsys.readouterr().out, parse_constant=lambda word: 1 / 0)
    assert found == {"a": None, "b": [1.5, None], "c": "x", "d": [{"e": None}]}
