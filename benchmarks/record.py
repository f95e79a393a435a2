"""What a record of measurements says of the machine, and how its numbers are rounded."""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "benchmarks.json"
"""The record that tools/docs/benchmarks_page.py makes the tables of docs/benchmarks.md of."""

PACKAGES = ("torch", "keras", "tensorflow", "openvino", "numpy", "opencv-python-headless", "h5py")


def processor() -> str:
    """Its model and what of its instructions matters here."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {flag} " in f"{text} "]
    return f"{model or platform.machine()} ({', '.join(known)})" if known else model or platform.machine()


def metadata_of(packages: tuple[str, ...]) -> dict[str, str]:
    there = {name: metadata.version(name) for name in packages if importlib.util.find_spec(_module(name))}
    return {"cxrscore": metadata.version("cxrscore"), **there}


def _module(package: str) -> str:
    return {"opencv-python-headless": "cv2"}.get(package, package)


def rounded(value: Any) -> Any:
    """Four digits are more than such a measurement holds."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list | tuple) else value


def about_run(load: float) -> dict[str, Any]:
    """When and where a section was measured; load: of the machine, before it."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load_before": load},
        "versions": metadata_of((*PACKAGES, "scikit-learn")),
    }


def write_section(output: Path, name: str, found: Mapping[str, Any]) -> None:
    """Replaces one section of a record, and the tables of the page if it is RECORD."""
    record = json.loads(output.read_text()) if output.is_file() else {}
    output.write_text(json.dumps({**record, name: rounded(found)}, indent=1, ensure_ascii=False) + "\n")
    if output == RECORD:
        subprocess.run([sys.executable, str(ROOT / "tools" / "docs" / "benchmarks_page.py")], check=True)
