"""The shards of a made-up run (made_run.py) as a work for executors, whose workers are killed all along."""

from __future__ import annotations

import os
import random
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from made_run import made_run, made_shard

from cxrscore.contract import Executor, TaskBatch
from cxrscore.scorefile import Run


def open_made(output: str, films: int, notes: str) -> Callable[[int], str]:
    """What a worker opens: it notes its process, and each shard that it begins to compute."""
    run, folder = made_run(Path(output), films), Path(notes)
    (folder / f"worker {os.getpid()}").touch()

    def compute(shard: int) -> str:
        (folder / f"computed {shard} {secrets.token_hex(4)}").touch()  # before, so that none goes uncounted
        run.write(shard, made_shard(run.shards[shard]))
        return run.digest(shard)

    return compute


LAST = 10
"""So many shards end in peace: of the last few the same ones would be hit again and again, and then be given up."""


class KilledRun:
    """A run whose workers are killed by SIGKILL, one after every so many shards.

    kills     how many were killed
    told      how often each shard was told as done
    computed  how often each was begun
    """

    def __init__(self, run: Run, notes: Path, every: int, seed: int = 0) -> None:
        notes.mkdir(exist_ok=True)
        self._run, self._notes, self._every, self._rng = run, notes, every, random.Random(seed)
        self.kills, self.told = 0, Counter[int]()

    def go(self, executor: Executor, processes: int) -> None:
        run = self._run
        arguments = {"output": str(run.output), "films": len(run.manifest.paths), "notes": str(self._notes)}
        work = TaskBatch(
            items=run.pending, opener="made_work:open_made", arguments=arguments, device="cpu", is_done=run.done
        )
        executor.run(work, self._done, processes=processes)

    def _done(self, shard: int, digest: str) -> None:
        assert digest in ("", self._run.digest(shard))
        self.told[shard] += 1
        told = sum(self.told.values())
        if told % self._every == 0 and told < len(self._run.shards) - LAST:
            self._kill()

    def _kill(self) -> None:
        """Kills a worker that is at work, if there is one."""
        found = [int(path.name.split()[1]) for path in self._notes.glob("worker *")]
        alive = sorted(process for process in found if _runs(process))
        if alive:
            victim = self._rng.choice(alive)
            os.kill(victim, signal.SIGKILL)
            (self._notes / f"worker {victim}").unlink()  # another process may have its number soon
            self.kills += 1

    @property
    def computed(self) -> Counter[int]:
        return Counter(int(path.name.split()[1]) for path in self._notes.glob("computed *"))


def _runs(process: int) -> bool:
    """Whether it is there, and not only its name is, until somebody takes note of its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
