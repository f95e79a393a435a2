"""Films, archives, scores files and models with changed bytes: whatever they are, only the documented errors leave.

    python tests/fuzz.py --seconds 60                          a minute, all kinds in turn
    python tests/fuzz.py --inputs 1000000                      so many, split between the kinds by their shares
    python tests/fuzz.py --inputs 1 --first 1234 --kinds h5 --keep DIR     one again, and its bytes into DIR

An input depends on the seed, its kind and its number alone. Inputs run in processes of their own, so a crash or a hang
costs one input; it ends this program with exit code 1, as every undocumented exception does.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fuzz_kinds import KINDS, Kind

MEMORY = 6 << 30
"""Bytes of address space, as a decoding process has."""
PATIENCE = 60.0
"""Seconds without a finished input after which a process counts as hanging."""
SLICE = 500
"""Inputs of a process."""


@dataclass
class Tally:
    """What came of the inputs of a kind.

    outcomes  how often each status, or class of error
    failures  what must not be: "number: how it ended"
    """

    inputs: int = 0
    seconds: float = 0.0
    peak_mb: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: str, failure: str = "") -> None:
        self.inputs += 1
        self.outcomes[outcome] += 1
        self.failures += [failure] * bool(failure)


def run_slice(kind: Kind, seed: int, numbers: range, tally: Tally, deadline: float) -> None:
    """Runs these inputs, in as many processes as it takes, but begins none after the deadline."""
    begun = time.monotonic()
    first = numbers.start
    while first < numbers.stop and time.monotonic() < deadline:
        with tempfile.TemporaryFile(buffering=0) as log, tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
            end, peak = _in_process(kind, seed, range(first, numbers.stop), log, Path(folder))
            log.seek(0)
            ends = [json.loads(line) for line in log.read().splitlines()]
        for outcome, failure in ends:
            tally.add(outcome, failure)
        first += len(ends)
        tally.peak_mb = max(tally.peak_mb, peak)
        if end:
            tally.add(end, f"{first}: {end}")
            first += 1
    tally.seconds += time.monotonic() - begun


def _in_process(kind: Kind, seed: int, numbers: range, log: IO[bytes], folder: Path) -> tuple[str, int]:
    """How the process ended, "" if as it should, and its peak memory in MB."""
    child = os.fork()
    if child == 0:
        _work(kind, seed, numbers, log, folder)
    seen, since, late = 0, time.monotonic(), False
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            break
        if os.fstat(log.fileno()).st_size > seen:
            seen, since = os.fstat(log.fileno()).st_size, time.monotonic()
        if not late and time.monotonic() - since > PATIENCE:
            late = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    return "hang" if late else _named(os.waitstatus_to_exitcode(status)), used.ru_maxrss // 1024


def _named(code: int) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return f"exit {code}" if code else ""


def _work(kind: Kind, seed: int, numbers: range, log: IO[bytes], folder: Path) -> None:
    """What the process does; never returns."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for number in numbers:
            log.write(json.dumps(_one(kind, seed, number, folder)).encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


def _one(kind: Kind, seed: int, number: int, folder: Path) -> tuple[str, str]:
    """What came of an input, and its number with a traceback if that must not be."""
    try:
        return kind.run(kind.input(seed, number), folder), ""
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return type(error).__name__, f"{number}: {traceback.format_exc(limit=-4)}"


def _memory_folder() -> str | None:
    """Where files are not written to a disk, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def fuzz(
    kinds: Sequence[Kind], *, seed: int, first: int = 0, inputs: int | None = None, seconds: float = math.inf
) -> dict[str, Tally]:
    """Slices of all kinds in turn, until each has had its share of the inputs or the time is over."""
    tallies = {kind.name: Tally() for kind in kinds}
    deadline, shares = time.monotonic() + seconds, sum(kind.share for kind in kinds)
    rest = {kind: math.inf if inputs is None else round(inputs * kind.share / shares) for kind in kinds}
    at = dict.fromkeys(kinds, first)
    while any(rest.values()) and time.monotonic() < deadline:
        for kind in kinds:
            size = int(min(SLICE, rest[kind]))
            run_slice(kind, seed, range(at[kind], at[kind] + size), tallies[kind.name], deadline)
            at[kind], rest[kind] = at[kind] + size, rest[kind] - size
    return tallies


def told(tallies: dict[str, Tally]) -> str:
    lines = []
    for name, tally in tallies.items():
        rate = tally.inputs / max(tally.seconds, 1e-9)
        ends = ", ".join(f"{end} {count}" for end, count in tally.outcomes.most_common())
        lines.append(f"{name}: {tally.inputs} inputs, {rate:.0f}/s, peak {tally.peak_mb} MB: {ends}")
        lines += [f"  FAILED {name} {failure}" for failure in tally.failures[:20]]
    total, failed = (sum(n) for n in zip(*((t.inputs, len(t.failures)) for t in tallies.values()), strict=True))
    return "\n".join([*lines, f"{total} inputs, {failed} failures"])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--kinds", default=",".join(KINDS), help="with commas between")
    options.add_argument("--first", type=int, default=0, help="number of the first input")
    options.add_argument("--inputs", type=int, help="of all kinds together")
    options.add_argument("--seconds", type=float, default=math.inf, help="of all kinds together")
    options.add_argument("--keep", type=Path, help="folder for the inputs themselves; they are not run")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    kinds = [KINDS[name]() for name in given.kinds.split(",")]
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            for number in range(given.first, given.first + (given.inputs or 1)):
                (given.keep / f"{given.seed}-{number}{kind.suffix}").write_bytes(kind.input(given.seed, number))
        return 0
    tallies = fuzz(kinds, seed=given.seed, first=given.first, inputs=given.inputs, seconds=given.seconds)
    sys.stdout.write(told(tallies) + "\n")
    return int(any(tally.failures for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
