"""dciodvfy of dicom3tools: a check of DICOM objects against the definitions of PS3.3, by other hands."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = shutil.which("dciodvfy")
_KNOWN = re.compile(
    r"Unrecognized defined term <(99CXRSCORE|QUANTITY)>"  # a private scheme, and a term of PS3.3 C.8.32.2
    r"|needed to build DICOMDIR"
    r"|Retired Person Name form"  # of names of the source
)
"""Warnings that say nothing against an object."""

needs_dciodvfy = pytest.mark.skipif(PROGRAM is None, reason="dciodvfy is not installed (Debian: dicom3tools)")


def complaints(path: Path) -> list[str]:
    """Errors about an object, and warnings that are not known."""
    done = subprocess.run([str(PROGRAM), str(path)], capture_output=True, text=True, check=False, errors="replace")
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy has said nothing, not even the kind of object"
    return [line for line in lines if line.startswith(("Error", "Warning", "Abort")) and not _KNOWN.search(line)]
