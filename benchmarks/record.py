"""What a record of measurements says of the machine, and how its numbers are rounded."""

from __future__ import annotations

import importlib.util
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

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
