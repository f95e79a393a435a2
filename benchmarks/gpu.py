"""What the CUDA paths do: run by benchmarks/gpu.sh on a machine with a GPU, from an unpacked kit.

    python gpu.py KIT OUT [--device cpu] [--small] [--only commands,parity]

Each section runs in a process of its own with its own time limit, and OUT/gpu.json is rewritten after every step, so
that a stop costs only what is not done. What did not run is there with the reason. OUT/gpu.log holds what the
processes said. tools/docs/benchmarks_page.py --add OUT/gpu.json puts the record on the page.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from gpu_sections import SECTIONS
from gpu_sections.job import END, Job, NotRunError
from record import rounded

TOTAL = 450.0
"""Seconds of all sections: eight minutes with the packages that gpu.sh installs before."""
PREPARE = 60.0
PATIENCE = 10
"""Factor of all limits in miniature: a machine that runs tests may be slow."""
PACKAGES = (
    *("cxrscore", "torch", "numpy", "opencv-python-headless", "h5py", "keras", "jax", "triton", "pydicom"),
    *("imagecodecs", "nvidia-ml-py"),
)


class Record:
    """The JSON of a run. One process at a time changes it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        found = json.loads(self._path.read_text()) if self._path.exists() else {}
        change(found)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(rounded(found), indent=1, ensure_ascii=False) + "\n")
        os.replace(draft, self._path)

    def step(self, section: str, name: str, **told: Any) -> None:
        self.change(lambda record: record["sections"][section]["steps"].update({name: told}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", type=Path, help="folder of the unpacked kit")
    parser.add_argument("output", type=Path, help="folder for gpu.json and gpu.log")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="in miniature: shows that the script works")
    parser.add_argument("--only", default="", help="sections, with commas between")
    parser.add_argument("--seconds", type=float, default=TOTAL, help="most seconds of all sections")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.kit, options.output = options.kit.absolute(), options.output.absolute()
    record = Record(options.output / "gpu.json")
    if options.child:
        job = Job(
            kit=options.kit,
            work=options.work,
            device=options.device,
            small=options.small,
            deadline=time.time() + options.seconds,
        )
        prepare(job, record) if options.child == "prepare" else run_section(job, record, options.child)
        return
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu") as work:
        run(options, record, Path(work))


def run(options: argparse.Namespace, record: Record, work: Path) -> None:
    """All sections, one process after the other."""
    begun, only = time.time(), set(filter(None, options.only.split(",")))
    patience = PATIENCE if options.small else 1
    options.seconds *= patience
    (options.output / "gpu.json").unlink(missing_ok=True)
    sections = {one.module: {"title": one.title, "limit": one.limit, "steps": {}} for one in SECTIONS}
    first = {"created": _now(), "device": options.device, "small": options.small, "sections": sections}
    record.change(lambda found: found.update(first))
    why = child(options, "prepare", patience * PREPARE, work)
    for section in SECTIONS:
        left = options.seconds - (time.time() - begun)
        if why:
            reason = f"the run was not prepared: {why}"
        elif only and section.module not in only:
            reason = "left out"
        elif left < 10:
            reason = f"no time left of {options.seconds:.0f} s"
        else:
            started = time.time()
            reason = child(options, section.module, min(patience * section.limit, left), work)
            seconds = time.time() - started
            record.change(
                lambda found, name=section.module, taken=seconds: found["sections"][name].update(seconds=taken)
            )
        if reason:
            record.change(lambda found, name=section.module, said=reason: found["sections"][name].update(why=said))
        sys.stderr.write(f"{section.title}: {reason or 'done'}\n")
    record.change(lambda found: found.update(seconds=time.time() - begun))


def child(options: argparse.Namespace, name: str, limit: float, work: Path) -> str:
    """Runs a section in a process group of its own, and ends the group; returns why it did not finish, or ""."""
    words = [options.kit, options.output, "--device", options.device, "--child", name, "--work", work]
    command = [sys.executable, __file__, *map(str, words), "--seconds", str(limit), *["--small"] * options.small]
    with (options.output / "gpu.log").open("a") as log:
        log.write(f"== {name}\n")
        log.flush()
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"stopped after {limit:.0f} s"
        finally:
            _end_group(process)
    return f"its process ended with exit code {code}: see gpu.log" if code else ""


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, and left nothing
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def prepare(job: Job, record: Record) -> None:
    """The model file, and what this machine is."""
    kit = json.loads((job.kit / "kit.json").read_text())
    record.change(lambda found: found.update(kit=kit, machine=machine(), versions=versions()))
    import torch

    if job.on_gpu and not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} finds no GPU")
    importlib.import_module("gpu_sections.model").rebuild(job.kit, job.model)


def run_section(job: Job, record: Record, name: str) -> None:
    """Every step in turn; what was cut off by the time limit stays "stopped" in the record."""
    steps = importlib.import_module(f"gpu_sections.{name}").steps(job)
    for step in steps:
        record.step(name, step, status="not run", why="no time left for this section")
    for step, measure in steps.items():
        if job.left() < 2:
            return
        begun = time.time()
        record.step(name, step, status="stopped", why="the section's time ended during this step")
        told: dict[str, Any]
        try:
            told = {"status": "done", "result": measure()}
        except NotRunError as error:
            told = {"status": "not run", "why": str(error)}
        except Exception as error:  # noqa: BLE001 - the other steps are of use all the same
            told = {"status": "failed", "why": f"{type(error).__name__}: {error}"[:END]}
        record.step(name, step, **told, seconds=time.time() - begun)
        sys.stdout.write(f"{step}: {json.dumps(told)}\n")
        sys.stdout.flush()


def machine() -> dict[str, Any]:
    import torch

    gpus = []
    for number in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(number)
        gpus.append({"name": of.name, "memory_gib": of.total_memory / 2**30, "capability": f"{of.major}.{of.minor}"})
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "gpus": gpus,
        "driver": _driver(),
        "load_before": os.getloadavg()[0],
    }


def processor() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return model or platform.machine()


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def versions() -> dict[str, str]:
    import torch

    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    cuda = {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
    if torch.cuda.is_available():
        cuda["NCCL"] = ".".join(map(str, torch.cuda.nccl.version()))
    return {**found, "torch": torch.__version__, **{name: str(version) for name, version in cuda.items() if version}}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    main()
