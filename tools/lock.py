"""Writes requirements/*.lock: exact versions with hashes of everything that the containers install.

    python tools/lock.py            # `make lock`

cpu.lock and gpu.lock hold what cxrscore needs with the extras of [tool.cxrscore.locks] in pyproject.toml, build.lock
what builds the wheel, and release.lock what the release workflow runs on it. Versions are those of constraints.txt
where it has them. Only the index is asked: nothing is installed, and of a package with published metadata nothing is
downloaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
PYTHON, PLATFORM = "3.11", "x86_64-manylinux_2_28"
"""Of the containers: the Python of their base image, and the oldest C library for which the wheels are."""


def requirements() -> dict[str, list[str]]:
    """The requirements behind each lock file, by its name."""
    told: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    own, extras = told["project"]["dependencies"], told["project"]["optional-dependencies"]
    found = {"build": told["build-system"]["requires"], "release": told["dependency-groups"]["release"]}
    for name, chosen in told["tool"]["cxrscore"]["locks"].items():
        found[name] = [*own, *(requirement for extra in chosen for requirement in extras[extra])]
    return found


def lock(name: str, wanted: list[str]) -> None:
    """Writes one lock file."""
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    index = {"UV_DEFAULT_INDEX": url} if (url := os.environ.get("UV_DEFAULT_INDEX")) else {}
    command = [
        *(str(uv), "pip", "compile", "-", "--quiet", "--generate-hashes", "--no-emit-index-url", "--upgrade"),
        *("--constraints", "constraints.txt", "--python-version", PYTHON, "--python-platform", PLATFORM),
        *("--no-annotate", "--only-binary", ":all:", "--custom-compile-command", "make lock"),
        *("--output-file", str(FOLDER / f"{name}.lock")),
    ]
    text = "\n".join(wanted) + "\n"
    subprocess.run(
        command, input=text, text=True, check=True, cwd=ROOT, env={**settings, **index}, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, wanted in requirements().items():
        lock(name, wanted)
        sys.stdout.write(f"wrote requirements/{name}.lock\n")
