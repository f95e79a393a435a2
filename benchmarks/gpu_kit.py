"""Packs what a machine with a GPU needs for benchmarks/gpu.sh into one archive: `make gpu-kit`

    python benchmarks/gpu_kit.py [--output gpu-kit.tar.xz] [--limit 58] [--small] [--no-wheels]

The archive holds the project's wheel, wheels of Python 3.12 that a bare machine with torch and CUDA may lack, synthetic
films, a model trained on others of them, and the ImageNet tensors it started from, in float16, where ../shared has
them. DICOM films are made of the PNG films on that machine. Wheels that do not fit are left out, and kit.json says
which. --small: a tiny network and few films, for the run in miniature.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
from gpu_sections.model import WEIGHTS, take_apart
from inputs import ROOT, SHARED

from cxrscore.synthetic.phantoms import make_phantoms

HERE = Path(__file__).parent
IMAGENET = SHARED / "weights" / "densenet121_imagenet_notop.safetensors"
LIMIT_MIB = 58
"""Below 60, so that kit and project together are within 64, the most that a small machine is sent."""
FULL_SIZE = 4
"""Films of 1024 pixels."""
GROUPS = (
    (
        *("click", "pluggy", "platformdirs", "threadpoolctl", "safetensors", "jinja2", "markupsafe", "jsonschema-rs"),
        "typing-extensions",
    ),
    ("h5py",),
    ("nvidia-ml-py",),
    ("keras", "namex", "optree", "ml-dtypes", "rich", "markdown-it-py", "mdurl", "absl-py", "packaging"),
    ("pydicom", "imagecodecs"),
    ("scikit-learn", "joblib"),
    ("matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing", "python-dateutil", "six"),
    ("opencv-python-headless",),
)
"""Packages that are of use only together, the most needed first. torch, numpy, scipy and jax are never in the kit."""
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
)
SCRIPTS = ("gpu.py", "gpu.sh", "record.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "gpu-kit.tar.xz")
    parser.add_argument("--limit", type=float, default=LIMIT_MIB, help="MiB of the archive")
    parser.add_argument("--small", action="store_true", help="tinycnn at 64 pixels, few films, no trained weights")
    parser.add_argument("--no-wheels", action="store_true", help="for a machine that has everything, cxrscore too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpukit") as folder:
        made = pack(Path(folder), options)
    for name, why in made["left_out"].items():
        sys.stdout.write(f"left out: {name}: {why}\n")
    sys.stdout.write(f"{options.output}: {options.output.stat().st_size / 2**20:.1f} MiB\n")


def pack(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Writes the archive; returns kit.json."""
    kit = folder / "kit"
    kit.mkdir()
    add_films(kit, folder, options.small)
    add_model(kit, folder, options.small)
    for script in SCRIPTS:
        shutil.copy(HERE / script, kit)
    shutil.copytree(HERE / "gpu_sections", kit / "gpu_sections", ignore=shutil.ignore_patterns("__pycache__"))
    left_out: dict[str, str] = {}
    (kit / "wheels").mkdir()
    if not options.no_wheels:
        left_out = add_wheels(kit, folder, options.limit * 2**20 - archived(kit, folder / "empty.tar.xz"))
    about = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cxrscore": metadata.version("cxrscore"),
        "commit": _commit(),
        "small": options.small,
        "films": len(list((kit / "films").glob("*.png"))),
        "imagenet": (kit / WEIGHTS).is_file(),
        "wheels": sorted(wheel.name for wheel in (kit / "wheels").iterdir()),
        "left_out": left_out,
    }
    (kit / "kit.json").write_text(json.dumps(about, indent=1) + "\n")
    size = archived(kit, options.output)
    if size > options.limit * 2**20:
        options.output.unlink()
        sys.exit(f"the kit has {size / 2**20:.1f} MiB, more than {options.limit}")
    return about


def archived(kit: Path, output: Path) -> int:
    """Writes the archive; returns its bytes."""
    with tarfile.open(output, "w:xz", preset=6) as archive:
        for path in sorted(kit.iterdir()):
            archive.add(path, path.name)
    return output.stat().st_size


def add_films(kit: Path, folder: Path, small: bool) -> None:
    """Films that the model is not trained on, with labels. Only some are of full size, as grain does not compress: the
    largest are those that scoring is timed with."""
    count, side = (12, 96) if small else (24, 1024)
    make_phantoms(folder / "scored", films=count, patients=count, side=side, seed=2)
    shutil.copytree(folder / "scored" / "films", kit / "films")
    for film in sorted((kit / "films").glob("*.png"))[FULL_SIZE:]:
        pixels = cv2.imread(str(film), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(film), cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def add_model(kit: Path, folder: Path, small: bool) -> None:
    """A head trained on phantoms; the frozen layers are ImageNet's where there are any, else drawn."""
    count, side = (24, 96) if small else (160, 512)
    make_phantoms(folder / "trained", films=count, patients=count, side=side, seed=1)
    weights = IMAGENET if IMAGENET.is_file() and not small else None
    if weights:
        shutil.copy(weights, kit / WEIGHTS)
    network = ("tinycnn", 64) if small else ("densenet121", 400)
    own = ("--architecture", network[0], "--size", str(network[1]), "--weights", str(weights or "none"))
    learning = ("--epochs", "2" if small else "60", "--learning-rate", "1e-3", "--backend", "torch", "--device", "cpu")
    command = [
        sys.executable,
        "-m",
        "cxrscore",
        "train",
        folder / "trained" / "films",
        "-o",
        folder / "model.safetensors",
    ]
    subprocess.run([*map(str, command), *own, *learning, "--quiet"], check=True)
    take_apart(folder / "model.safetensors", weights, kit)


def add_wheels(kit: Path, folder: Path, room: float) -> dict[str, str]:
    """The project's wheel and as many groups as there is room for; returns the packages that are left out, and why."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(kit / "wheels")],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    room -= sum(wheel.stat().st_size for wheel in (kit / "wheels").iterdir()) * 1.02
    left_out = {}
    for number, group in enumerate(GROUPS):
        there = folder / f"group{number}"
        try:
            download(group, there)
        except subprocess.CalledProcessError as error:
            left_out |= dict.fromkeys(group, f"pip download failed: {error.stderr.strip().splitlines()[-1][:200]}")
            continue
        size = sum(wheel.stat().st_size for wheel in there.iterdir())
        if size > room:
            left_out[" and ".join(group[:2])] = f"{size / 2**20:.1f} MiB, and {max(0, room) / 2**20:.1f} are left"
            continue
        room -= size * 1.001
        for wheel in there.iterdir():
            shutil.move(wheel, kit / "wheels")
    return left_out


def download(packages: tuple[str, ...], folder: Path) -> None:
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    python = ("--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp", *platforms)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *python, "-d", str(folder), *packages]
    subprocess.run(command, check=True, capture_output=True, text=True)


def _commit() -> str | None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None


if __name__ == "__main__":
    main()
