"""The record of measurements: what it says of the machine, how its numbers are rounded, and how it is written.

docs/benchmarks.json has the sections of benchmarks/bench.py by machine, under "machines", and beside them what other
scripts measured, which does not depend on the speed of a machine.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "benchmarks.json"
"""The record that tools/docs/benchmarks_page.py makes the tables of docs/benchmarks.md of."""

PACKAGES = ("torch", "keras", "tensorflow", "openvino", "numpy", "opencv-python-headless", "h5py")
CPUINFO = Path("/proc/cpuinfo")
BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "i8mm"})
"""Names that Linux gives to instructions for products of bfloat16 and of 8-bit integers, on x86 and ARM."""
SHOWN = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8", "bf16", "i8mm")


def _cpuinfo() -> tuple[str, frozenset[str]]:
    """Model name and instruction flags of the first processor; empty where the system does not say."""
    text = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""
    lines = [line.partition(":")[::2] for line in text.split("\n\n")[0].splitlines()]
    known = {key.strip(): value.strip() for key, value in lines}
    return known.get("model name", ""), frozenset(known.get("flags", known.get("Features", "")).split())


def processor() -> str:
    """Its model and what of its instructions matters here."""
    model, flags = _cpuinfo()
    known = [flag for flag in SHOWN if flag in flags]
    return f"{model or platform.machine()} ({', '.join(known)})" if known else model or platform.machine()


def lacking(without: Iterable[str] = ()) -> dict[str, str]:
    """The precisions that this processor does not compute in by itself, each with the reason.

    Parameters
    ----------
    without
        Precisions that are left out as if the processor lacked them, to try what such a machine runs.

    Returns
    -------
    dict
        Of "bf16" and "int8" those that would be emulated. Where the system does not name its instructions, only what
        OpenVINO says counts.
    """
    _, flags = _cpuinfo()
    found = {}
    if (flags and not flags & BF16) or not _openvino_has("BF16"):
        found["bf16"] = "the processor has no bf16 instructions"
    if (flags and not flags & VNNI) or not _openvino_has("INT8"):
        found["int8"] = "the processor has no VNNI instructions"
    return {**found, **dict.fromkeys(without, "left out by --without")}


def _openvino_has(capability: str) -> bool:
    """True also where OpenVINO is not installed: then its contenders say so themselves."""
    if importlib.util.find_spec("openvino") is None:
        return True
    from openvino import Core

    return capability in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def label(without: Iterable[str] = ()) -> str:
    """The class of this machine, short and the same in every run: what the record and the columns of the page go by."""
    model, flags = _cpuinfo()
    name = re.sub(r"\((R|TM)\)|@.*|\bCPU\b|\b\d+-Core Processor\b", " ", model, flags=re.IGNORECASE)
    vectors = next((words for flag, words in (("avx512f", "AVX512"), ("avx2", "AVX2")) if flag in flags), "")
    further = [words for words, wanted in (("bf16", BF16), ("VNNI", VNNI)) if flags & wanted]
    parts = [" ".join(name.split()) or platform.machine()]
    parts += [f"{vectors or 'vectors'} with {' and '.join(further)}" if further else vectors] if flags else []
    parts.append(f"{os.cpu_count()} cores")
    parts += [f"switched off: {' and '.join(without)}"] if without else []
    return ", ".join(part for part in parts if part)


def metadata_of(packages: tuple[str, ...]) -> dict[str, str]:
    there = {name: metadata.version(name) for name in packages if importlib.util.find_spec(_module(name))}
    return {"cxrscore": metadata.version("cxrscore"), **there}


def _module(package: str) -> str:
    return {"opencv-python-headless": "cv2", "scikit-learn": "sklearn"}.get(package, package)


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


def about_machine() -> dict[str, Any]:
    """`about_run`, with what the page says of a machine that a whole run was on."""
    found = about_run(os.getloadavg()[0])
    found["machine"] |= {
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }
    return found


def read(output: Path) -> dict[str, Any]:
    """The record, empty if there is none yet."""
    return json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {}


def write_section(output: Path, name: str, found: Mapping[str, Any]) -> None:
    """Replaces one section of a record, and the tables of the page if it is RECORD."""
    _replace(output, {**read(output), name: rounded(found)})
    write_page(output)


def write_machine(output: Path, name: str, found: Mapping[str, Any] | None) -> None:
    """Replaces all of one machine, or removes it, and leaves what else the file has by now as it is."""
    record = read(output)
    machines = {key: value for key, value in record.get("machines", {}).items() if key != name}
    if found is not None:
        machines[name] = rounded(found)
    _replace(output, {"machines": machines, **{key: value for key, value in record.items() if key != "machines"}})


def _replace(output: Path, record: Mapping[str, Any]) -> None:
    """All or nothing: a run that is killed meanwhile leaves the file as it was."""
    written = output.with_name(f".{output.name}.{os.getpid()}")
    written.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    written.replace(output)


def write_page(output: Path) -> None:
    """The tables of the page, if this is its record."""
    if output == RECORD:
        subprocess.run([sys.executable, str(ROOT / "tools" / "docs" / "benchmarks_page.py")], check=True)
