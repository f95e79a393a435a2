"""Two workers race on one run and are killed by SIGKILL at random moments, until the run is done; chain after chain.

    python tests/kills.py --kills 1000

After each kill, every shard that a worker had reported as written must be there; at the end of each chain the output
must equal that of a run that nobody disturbed. The exit code is 1 if not.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from made_run import FINDINGS, GIVEN, contents, made_file, made_run, made_shard, merge

from cxrscore.errors import CxrscoreError
from cxrscore.scorefile import Manifest, Run

FILMS = 330
MANIFEST = Manifest(
    paths=tuple(sorted(f"ward {row % 3}/{row:06d}.png" for row in range(FILMS))), findings=FINDINGS, given=GIVEN
)
WORKERS = 2
LONGEST = 0.15
"""Seconds until the next kill, at most."""


@dataclass
class Toll:
    """What was done and what was lost."""

    chains: int = 0
    kills: int = 0
    shards_written: int = 0
    lost: list[str] = field(default_factory=list)


class Chain:
    """One run, worked on until it is done."""

    def __init__(self, output: Path, rng: random.Random) -> None:
        self.output, self._rng = output, rng
        self._reports, self._reporting = os.pipe()
        os.set_blocking(self._reports, False)
        self.reported: list[int] = []
        self.workers: list[int] = []

    def start(self) -> None:
        seed, child = self._rng.random(), os.fork()
        if child == 0:
            _work(self.output, seed, self._reporting)
        self.workers.append(child)

    def kill(self) -> bool:
        """Kills one of the workers; whether it was still at work."""
        victim = self.workers.pop(self._rng.randrange(len(self.workers)))
        os.kill(victim, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -signal.SIGKILL

    def done(self) -> bool:
        """Takes leave of workers that ended by themselves; whether one of them finished the run."""
        ended = [(pid, os.waitpid(pid, os.WNOHANG)) for pid in self.workers]
        self.workers = [pid for pid, (gone, _) in ended if not gone]
        return any(gone and os.waitstatus_to_exitcode(status) == 0 for _, (gone, status) in ended)

    def take_reports(self) -> None:
        with suppress(BlockingIOError):  # nothing new
            self.reported += os.read(self._reports, 1 << 16)

    def close(self) -> None:
        for worker in self.workers:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
        self.take_reports()
        os.close(self._reports)
        os.close(self._reporting)


def _work(output: Path, seed: float, reporting: int) -> None:
    """What a worker does; never returns. Its exit code is 1 where another one stands in its way."""
    code = 1
    try:
        run = made_run(output, FILMS)
        if not run.complete:
            shards = list(range(len(run.shards)))
            random.Random(seed).shuffle(shards)
            for shard in shards:
                if not run.done(shard):
                    run.write(shard, made_shard(run.shards[shard]))
                    os.write(reporting, bytes([shard]))
            merge(run)
        code = 0
    except CxrscoreError:
        pass
    finally:
        os._exit(code)


def run_chain(folder: Path, wanted: object, rng: random.Random, toll: Toll) -> None:
    chain = Chain(folder / "out.h5", rng)
    while not chain.done():
        while len(chain.workers) < WORKERS:
            chain.start()
        time.sleep(rng.uniform(0, LONGEST))
        chain.done()
        if chain.workers:
            toll.kills += chain.kill()
        chain.take_reports()
        toll.lost += _lost(chain)
    chain.close()
    toll.chains += 1
    toll.shards_written += len(chain.reported)
    if contents(chain.output) != wanted:
        toll.lost.append(f"chain {toll.chains}: another content")


def _lost(chain: Chain) -> list[str]:
    """Reported shards that are not there, unless they are merged already."""
    run = Run(output=chain.output, manifest=MANIFEST)
    missing = [shard for shard in set(chain.reported) if run._read_header(shard) is None]
    return [] if chain.output.exists() else [f"shard {shard} is lost" for shard in missing]


def kill_workers(folder: Path, kills: int, seed: int) -> Toll:
    """Chains until there were so many kills."""
    whole = made_file(folder / "undisturbed" / "out.h5", FILMS)
    toll, rng, wanted = Toll(), random.Random(seed), contents(whole)
    while toll.kills < kills:
        place = folder / str(toll.chains)
        place.mkdir()
        run_chain(place, wanted, rng, toll)
    return toll


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a kill asks nothing of a disk
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        toll = kill_workers(Path(folder), given.kills, given.seed)
    sys.stdout.write(
        f"{toll.kills} kills of {WORKERS} workers in {toll.chains} chains, {toll.shards_written} shards written, "
        f"{len(toll.lost)} lost or wrong\n" + "".join(f"  {loss}\n" for loss in toll.lost)
    )
    return int(bool(toll.lost))


if __name__ == "__main__":
    sys.exit(main())
