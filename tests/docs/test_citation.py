"""CITATION.cff says what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = dict(re.findall(r"^([a-z-]+): (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))


def test_it_is_of_this_version_and_licence():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["type"] == "software"
    assert CITATION["title"].strip('"').startswith(PROJECT["name"])
    assert PROJECT["authors"][0]["name"] in (ROOT / "CITATION.cff").read_text()
