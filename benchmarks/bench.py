"""cxrscore and its peers measured side by side, in turns: what `make bench` runs.

    python benchmarks/bench.py [--quick] [--peers .bench/bin/python] [--only SECTION,SECTION] [--resume]

Films and weights are those of ../shared (or $CXRSCORE_SHARED). The peers run in an environment of their own, made from
benchmarks/requirements.txt; without it they are left out. Every contender is a process that lives through all rounds
and works when it is its turn; only the script that all are measured by has a new process in each round, as some of
those are a third faster than others. Figures are medians over the rounds.

At most 25 minutes, with --quick 5: each section has its part of that, and a slow machine measures fewer films and
rounds, which the record says. Precisions that the processor does not compute in by itself are left out. What is found
goes to docs/benchmarks.json under the name of the machine, after every section and every round of scoring, and
tools/docs/benchmarks_page.py makes the tables of docs/benchmarks.md of it. --resume measures what an interrupted run
did not.
"""

from __future__ import annotations

import argparse
import datetime
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import inputs as given_inputs
import precision
import record
import runs
import scoring
import sizes
from children import FailedError, output_of
from cost import gflop
from inputs import FILMS, ROOT, WEIGHTS, Inputs
from progress import MOST, Progress, Section

from cxrscore.errors import CxrscoreError

Measure = Callable[[Section], Any]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured, and in what time.

    rounds: of scoring; seldom: whether its slow contenders take part; fewer: rounds of all else; end_to_end: films of
    OpenVINO, and of the others, which are slower; started: backends whose start is measured; rounded: films of a round
    of the networks in lower precision, 0: that section is left out. seconds: of each section on two cores with AVX512;
    minutes: of the whole run at most.
    """

    films: int
    rounds: int
    seldom: bool
    fewer: int
    end_to_end: tuple[int, int]
    whole: int
    maps: int
    growth: tuple[int, ...]
    sized: int
    batches: tuple[int, ...]
    started: tuple[str, ...]
    profiled: int
    profiles: tuple[tuple[str, ...], ...]
    rounded: int
    minutes: float
    seconds: Mapping[str, float]


FULL = Scale(
    films=56,
    rounds=5,
    seldom=True,
    fewer=3,
    end_to_end=(442, 128),
    whole=64,
    maps=24,
    growth=(100, 1_000, 5_000),
    sized=8,
    batches=(1, 4, 8, 16),
    started=("openvino", "torch", "keras"),
    profiled=128,
    profiles=(("score",), ("score", "--precision", "bf16"), ("train",)),
    rounded=32,
    minutes=25,
    seconds={
        "prepare": 20,
        "scoring": 500,
        "start_up": 84,
        "growth": 36,
        "whole_command": 145,
        "end_to_end": 180,
        "heat_maps": 115,
        "sizes": 50,
        "profiles": 58,
        "precision": 310,
    },
)
QUICK = Scale(
    films=24,
    rounds=2,
    seldom=False,
    fewer=1,
    end_to_end=(48, 16),
    whole=32,
    maps=8,
    growth=(100, 500),
    sized=4,
    batches=(1, 8),
    started=("openvino",),
    profiled=32,
    profiles=(("score",),),
    rounded=0,
    minutes=5,
    seconds={
        "prepare": 20,
        "scoring": 125,
        "start_up": 14,
        "growth": 5,
        "whole_command": 35,
        "end_to_end": 48,
        "heat_maps": 30,
        "sizes": 10,
        "profiles": 10,
    },
)


def sections(inputs: Inputs, scale: Scale) -> dict[str, Measure]:
    """What is measured, by its name in the record, in this order: short ones early, as long ones may take too long."""
    openvino, others = scale.end_to_end
    whole = {"openvino": openvino, "torch": others, "keras": others}
    shown = [words for words in scale.profiles if not set(words) & set(inputs.lacks)]
    found: dict[str, Measure] = {
        "scoring": lambda section: scoring.measure(inputs, scale.films, scale.rounds, section, seldom=scale.seldom),
        "start_up": lambda section: runs.start_up(inputs, scale.started, scale.fewer, section),
        "growth": lambda section: runs.growth(inputs, scale.growth, section),
        "whole_command": lambda section: runs.whole(inputs, scale.whole, scale.fewer, section),
        "end_to_end": lambda section: runs.end_to_end(inputs, whole, section),
        "heat_maps": lambda section: runs.heat_maps(inputs, scale.maps, scale.fewer, section),
        "sizes": lambda section: sizes.measure(inputs, scale.fewer, scale.sized, scale.batches, section),
        "profiles": lambda section: runs.profiles(inputs.size, scale.profiled, shown, section),
    }
    if scale.rounded and "int8" not in inputs.lacks:
        found["precision"] = lambda section: precision.measure(inputs, scale.rounded, scale.rounds, section)
    return found


def about(command: list[str], quick: bool, inputs: Inputs) -> dict[str, Any]:
    """What was run, when and where."""
    found = record.about_machine()
    found["machine"]["lacks"] = dict(inputs.lacks)
    return {
        **found,
        "command": command,
        "quick": quick,
        "network": "densenet121",
        "size": inputs.size,
        "gflop_a_film": gflop(inputs.size),
        "batch_size": inputs.batch_size,
    }


def prepare(inputs: Inputs, section: Section, wanted: Collection[str]) -> None:
    """Model files and what the peers read; what cannot be made leaves out who needs it."""
    given_inputs.prepare(inputs)
    section.say("model files")
    commands = {}
    if wanted & {"scoring", "end_to_end", "whole_command"}:
        commands["model with int8 ranges"] = given_inputs.quantize_command(inputs)
    if "scoring" in wanted:
        commands["ONNX file"] = given_inputs.onnx_command(inputs)
    for what, command in commands.items():
        if command is None:
            continue
        try:
            output_of(command, MOST)  # without it, whole rows are missing: it may take what it needs
            section.say(what)
        except FailedError as error:
            section.say(f"no {what}: {error}")


def measure_all(
    wanted: Mapping[str, Measure], entry: dict[str, Any], progress: Progress, keep: Callable[[dict[str, Any]], None]
) -> None:
    """Each section in turn into the entry of this machine, which is kept whenever there is more of it."""
    for name, measure in wanted.items():
        _measure_one(name, measure, entry, progress, keep)


def _measure_one(
    name: str, measure: Measure, entry: dict[str, Any], progress: Progress, keep: Callable[[dict[str, Any]], None]
) -> None:
    """One section; one that fails leaves what it had by then, and is marked as not finished."""
    state = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load_before": os.getloadavg()[0],
    }

    def keep_so_far(found: Any, *, finished: bool = False) -> None:
        state.update(seconds=section.used(), finished=finished, notes=list(section.notes))
        entry["sections"][name], entry[name] = state, found
        keep(entry)

    section = progress.begin(name, keep_so_far)
    section.say(f"begins, at most {section.budget:.0f} s")
    try:
        found = measure(section)
    except (FailedError, CxrscoreError, OSError, subprocess.SubprocessError) as error:
        section.note(f"failed: {error}")
        keep_so_far(entry.get(name) if entry["sections"].get(name) is state else None)
        return
    keep_so_far(found, finished=bool(found))  # one that found no time is for --resume
    section.say(f"done in {section.used():.0f} s")


def to_measure(there: Mapping[str, Any], names: Collection[str], only: str, resume: bool) -> list[str]:
    """The sections of this run, of all that there are."""
    unknown = set(filter(None, only.split(","))) - set(names)
    if unknown:
        sys.exit(f"no section {', '.join(sorted(unknown))}: expected some of {', '.join(names)}")
    done = {name for name, one in there.get("sections", {}).items() if one.get("finished", True)} if resume else set()
    return [name for name in names if (not only or name in only.split(",")) and name not in done]


def peers_python(options: argparse.Namespace) -> Path | None:
    """The peers' Python, if it is there and has the one that all are measured by."""
    if options.no_peers:
        return None
    there = options.peers.absolute()
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torchxrayvision') is None)"
    found = there.exists() and not subprocess.run([there, "-c", look], capture_output=True, check=False).returncode
    if not found:
        sys.stderr.write(f"no peers at {options.peers}: they are left out; make .bench/.installed installs them\n")
    return there if found else None


def interrupted(number: int, _: Any) -> None:
    """The children end with the process, and what is measured is in the record already."""
    sys.exit(128 + number)


def main() -> None:
    options = parsed()
    if not FILMS.is_dir() or not WEIGHTS.is_file():
        sys.exit(f"no real films at {FILMS}, or no weights at {WEIGHTS}: set CXRSCORE_SHARED")
    without = sorted(filter(None, options.without.split(",")))
    if without and options.output.absolute() == record.RECORD:
        sys.exit("--without makes no record of a machine: name another --output")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    key = record.label(without) + (", quick run" if options.quick else "")
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        inputs = Inputs(
            folder=Path(folder),
            size=options.size,
            batch_size=options.batch_size,
            peers=peers_python(options),
            lacks=record.lacking(without),
        )
        try:
            run(inputs, options, key)
        except (KeyboardInterrupt, SystemExit) as error:
            stopped = not isinstance(error, SystemExit) or isinstance(error.code, int)
            if stopped and key in record.read(options.output).get("machines", {}):
                sys.stderr.write(f"interrupted: {options.output} has what was measured; --resume measures the rest\n")
            raise
    record.write_page(options.output.absolute())


def run(inputs: Inputs, options: argparse.Namespace, key: str) -> None:
    """Measures what is asked for, and writes it after each section."""
    scale = QUICK if options.quick else FULL
    scale = replace(scale, films=options.films or scale.films, rounds=options.rounds or scale.rounds)
    measures = sections(inputs, scale)
    kept = record.read(options.output).get("machines", {}).get(key, {}) if options.only or options.resume else {}
    found = about(_command(), options.quick, inputs)
    if any(kept.get(name, found[name]) != found[name] for name in ("size", "batch_size")):
        sys.exit(f"{options.output} has other settings: measure all sections, without --only and --resume")
    names = to_measure(kept, list(measures), options.only, options.resume)
    planned = {name: scale.seconds[name] for name in ("prepare", *names)}
    part = sum(planned.values()) / sum(scale.seconds.values())
    progress = Progress(planned, 60 * (options.minutes or scale.minutes * part))
    progress.say(f"{key}: {progress.plan()}")
    for lacking, why in inputs.lacks.items():
        progress.say(f"{lacking} is not on this machine: {why}")
    prepare(inputs, progress.begin("prepare"), set(names))
    entry = {"sections": {}, **kept, **found}
    measure_all(
        {name: measures[name] for name in names},
        entry,
        progress,
        lambda entry: record.write_machine(options.output, key, entry),
    )
    if not options.quick:  # what a quick run said of this machine is superseded
        record.write_machine(options.output, f"{key}, quick run", None)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer films and rounds")
    parser.add_argument("--peers", type=Path, default=ROOT / ".bench" / "bin" / "python", help="their Python")
    parser.add_argument("--no-peers", action="store_true", help="cxrscore alone, with Keras as installed beside it")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--films", type=int, help="of a round of scoring")
    parser.add_argument("--rounds", type=int, help="of scoring")
    parser.add_argument("--minutes", type=float, help="of the whole run at most: 25, with --quick 5")
    parser.add_argument("--only", default="", help="sections, with commas between; the others stay as they were")
    parser.add_argument("--resume", action="store_true", help="only the sections that an earlier run did not finish")
    parser.add_argument(
        "--without", default="", help="bf16, int8 or bf16,int8: as on a processor without them; never on the page"
    )
    parser.add_argument("--output", type=Path, default=record.RECORD)
    return parser.parse_args()


def _command() -> list[str]:
    """The command line without paths of this machine."""
    paths = ("--output", "--peers")
    return ["python", "benchmarks/bench.py", *(word for word in sys.argv[1:] if "/" not in word and word not in paths)]


if __name__ == "__main__":
    main()
