"""Prints the section of CHANGELOG.md for a version: python tools/release_notes.py 0.1.0

It ends with exit code 1 if the changelog has no such section, or if the version is not that of pyproject.toml.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def release_notes(version: str) -> str:
    """The text under the heading ``## VERSION``, or ``## VERSION - DATE``, of the changelog."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if version != project:
        sys.exit(f"the version of pyproject.toml is {project}, not {version}: change one of them")
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## \[?{re.escape(version)}\b.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit(f"CHANGELOG.md has no section for {version}: rename the section Unreleased")
    return found[1].strip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(release_notes(sys.argv[1]))
