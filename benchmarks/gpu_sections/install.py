"""Installs from a folder of wheels what this Python lacks or has too old: python install.py WHEELS SITE

cxrscore itself is always installed, if there is a wheel of it. Nothing is fetched, and no package that is there is
changed: all goes to SITE. Runs on the standard library and pip.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name, parse_wheel_filename
from pip._vendor.packaging.version import Version

OWN = "cxrscore"


def requirements(wheels: list[Path]) -> dict[str, list[Requirement]]:
    """By package, what the wheels ask of it, with all extras."""
    import zipfile

    found: dict[str, list[Requirement]] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            text = archive.read(name).decode()
        extras = re.findall(r"^Provides-Extra: (.+)$", text, re.MULTILINE)
        for line in re.findall(r"^Requires-Dist: (.+)$", text, re.MULTILINE):
            one = Requirement(line)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                found.setdefault(canonicalize_name(one.name), []).append(one)
    return found


def installed(name: str) -> Version | None:
    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def chosen(wheels: list[Path]) -> list[Path]:
    """The wheels to install."""
    wanted = requirements([wheel for wheel in wheels if wheel.name.startswith(f"{OWN}-")])
    found = []
    for wheel in wheels:
        name = parse_wheel_filename(wheel.name)[0]
        there = installed(name)
        fits = there is not None and all(there in one.specifier for one in wanted.get(name, []))
        if name == OWN or not fits:
            found.append(wheel)
    return found


def main() -> None:
    folder, site = map(Path, sys.argv[1:3])
    wheels = chosen(sorted(folder.glob("*.whl")))
    site.mkdir(parents=True, exist_ok=True)
    if not wheels:
        sys.stdout.write("nothing to install\n")
        return
    sys.stdout.write(f"installing {', '.join(wheel.name for wheel in wheels)}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*command, "--no-cache-dir", "--target", site, *wheels], check=True)


if __name__ == "__main__":
    main()
