"""Processes that this one starts and gives orders through pipes: decoders and workers."""

from __future__ import annotations

import os
import subprocess
import sys


def same_modules() -> dict[str, str]:
    """Environment by which a child imports the same cxrscore."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, if it has not ended, and closes its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
