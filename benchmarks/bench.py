"""cxrscore and its peers measured side by side, in turns: what `make bench` runs.

    python benchmarks/bench.py [--quick] [--peers .bench/bin/python] [--only SECTION,SECTION]

Films and weights are those of ../shared (or $CXRSCORE_SHARED). The peers run in an environment of their own, made from
benchmarks/requirements.txt. Every contender is a process that lives through all rounds and works when it is its turn;
only the script that all are measured by has a new process in each round, as some of those are a third faster than
others. Figures are medians over the rounds. What is found goes to docs/benchmarks.json, and
tools/docs/benchmarks_page.py makes the tables of docs/benchmarks.md of it. About 30 minutes on two quiet
cores; --quick, about 5, says less and is marked.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import runs
import scoring
import sizes
from cost import gflop
from inputs import FILMS, ROOT, WEIGHTS, Inputs, export_onnx, prepare, quantize
from record import PACKAGES, metadata_of, processor, rounded


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured. rounds: of scoring; fewer: of what varies less or takes longer."""

    films: int
    rounds: int
    fewer: int
    whole: int
    growth: tuple[int, ...]
    sized: int
    profiled: int


FULL = Scale(films=64, rounds=5, fewer=3, whole=442, growth=(100, 1_000, 10_000), sized=16, profiled=256)
QUICK = Scale(films=24, rounds=2, fewer=1, whole=96, growth=(100, 1_000), sized=8, profiled=32)


def sections(inputs: Inputs, scale: Scale) -> dict[str, Callable[[], Any]]:
    """What is measured, by its name in the record, in this order."""
    return {
        "scoring": lambda: scoring.measure(inputs, scale.films, scale.rounds),
        "end_to_end": lambda: runs.end_to_end(inputs, scale.whole),
        "whole_command": lambda: runs.whole(inputs, scale.whole),
        "heat_maps": lambda: runs.heat_maps(inputs, scale.films // 2, scale.fewer),
        "growth": lambda: runs.growth(inputs, scale.growth),
        "sizes": lambda: sizes.measure(inputs, scale.fewer, scale.sized),
        "start_up": lambda: runs.start_up(inputs, scale.fewer),
        "profiles": lambda: profiles(inputs.size, scale.profiled),
    }


def profiles(size: int, films: int) -> list[dict[str, Any]]:
    """Where the time of scoring and of training goes."""
    told = []
    for command in (("score",), ("score", "--precision", "bf16"), ("train",)):
        words = [*command, "--films", str(films), "--size", str(size), "--json"]
        script = str(ROOT / "benchmarks" / "profile_run.py")
        told.append(
            json.loads(subprocess.run([sys.executable, script, *words], check=True, capture_output=True).stdout)
        )
    return told


def about(command: list[str], quick: bool, inputs: Inputs) -> dict[str, Any]:
    """What was run, when and where."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "quick": quick,
        "network": "densenet121",
        "size": inputs.size,
        "gflop_a_film": gflop(inputs.size),
        "batch_size": inputs.batch_size,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
            "system": platform.system(),
            "python": platform.python_version(),
            "load_before": os.getloadavg()[0],
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "versions": {"cxrscore": metadata_of(PACKAGES)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer films and rounds")
    parser.add_argument("--peers", type=Path, default=ROOT / ".bench" / "bin" / "python", help="their Python")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--films", type=int, help="of a round of scoring")
    parser.add_argument("--rounds", type=int, help="of scoring")
    parser.add_argument("--only", default="", help="sections, with commas between; the others stay as they were")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.json")
    options = parser.parse_args()
    if not FILMS.is_dir() or not WEIGHTS.is_file():
        sys.exit(f"no real films at {FILMS}, or no weights at {WEIGHTS}: set CXRSCORE_SHARED")
    kept = json.loads(options.output.read_text()) if options.output.is_file() else {}
    if not options.only:  # what bench_learning.py wrote stays
        kept = {name: kept[name] for name in ("learning",) if name in kept}
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        inputs = Inputs(
            folder=Path(folder), size=options.size, batch_size=options.batch_size, peers=options.peers.absolute()
        )
        found = about(_command(), options.quick, inputs)
        if any(kept.get(key, found[key]) != found[key] for key in ("quick", "size", "batch_size")):
            sys.exit(f"{options.output} was measured with other settings: measure all sections, without --only")
        record = {"sections": {}, **kept, **found}
        prepare(inputs)
        quantize(inputs)
        export_onnx(inputs)
        scale = QUICK if options.quick else FULL
        scale = replace(scale, films=options.films or scale.films, rounds=options.rounds or scale.rounds)
        for name, measure in sections(inputs, scale).items():
            if not options.only or name in options.only.split(","):
                record["sections"][name], record[name] = noted(measure)
                options.output.write_text(json.dumps(rounded(record), indent=1, ensure_ascii=False) + "\n")
                sys.stderr.write(f"{name}: {record['sections'][name]['seconds']:.0f} s\n")
    if options.output == ROOT / "docs" / "benchmarks.json":
        subprocess.run([sys.executable, str(ROOT / "tools" / "docs" / "benchmarks_page.py")], check=True)


def noted(measure: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """When it was measured, how long that took and how busy the machine was just before; and what was found."""
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    load, begun = os.getloadavg()[0], time.perf_counter()
    found = measure()
    return {"when": when, "seconds": time.perf_counter() - begun, "load_before": load}, found


def _command() -> list[str]:
    """The command line without paths of this machine."""
    return ["python", "benchmarks/bench.py", *(word for word in sys.argv[1:] if "/" not in word and word != "--output")]


if __name__ == "__main__":
    main()
