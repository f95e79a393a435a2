"""Executors under kills, on made-up rows: python benchmarks/bench_executors.py --rows 1000000 --every 50

Workers write the shards of a run whose scores are made up, so that nothing but handing out, writing and merging costs
time; one of them is killed by SIGKILL after every so many shards. For each executor a line: rows that are missing or
there twice in the merged file, shards computed again, the largest memory of this process, seconds, and what the
executor adds to a shard. The file is compared with that of one process that nobody disturbed.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # where workers find what they open, too

from made_run import made_run, made_shard, merge  # noqa: E402
from made_work import KilledRun  # noqa: E402

from cxrscore.plugins import get_executor  # noqa: E402


class Memory:
    """The largest memory of this process while it is in use, bytes, looked at every 20 ms."""

    def __enter__(self) -> "Memory":
        self.peak, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.peak = max(self.peak, pages * os.sysconf("SC_PAGE_SIZE"))

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of each dataset, read piece by piece."""
    found = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            digest = hashlib.sha256(f"{item.shape} {item.dtype.str}".encode())
            for start in range(0, len(item), 4096):
                digest.update(item[start : start + 4096].tobytes())
            found[name] = digest.hexdigest()

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def faults(path: Path, rows: int) -> tuple[int, int]:
    """How many rows are missing, and how many are there twice: each film that was scored is hashed by its row."""
    with h5py.File(path) as file:
        hashes, status = file["films/sha256"][:], file["films/status"][:]
    wanted = np.flatnonzero(np.arange(rows) % 7 != 0)
    found = np.array([int(digest, 16) for digest in hashes[status == 1]], np.int64)
    return len(np.setdiff1d(wanted, found)), len(found) - len(np.unique(found))


def alone(folder: Path, rows: int) -> tuple[dict[str, str], float]:
    """What one process makes of it, and the seconds that its shards take."""
    run = made_run(folder / "out.h5", rows)
    started = time.monotonic()
    for shard in run.pending:
        run.write(shard, made_shard(run.shards[shard]))
    seconds = time.monotonic() - started
    return digests(merge(run)), seconds


def killed(name: str, processes: int, folder: Path, rows: int, every: int) -> str:
    """One executor, in words."""
    run, wanted, seconds = made_run(folder / "out.h5", rows), *alone(folder / "one", rows)
    with Memory() as memory:
        started = time.monotonic()
        work = KilledRun(run, folder / "notes", every)
        work.go(get_executor(name), processes)
        took = time.monotonic() - started
        merge(run)
        whole = time.monotonic() - started
    missing, twice = faults(run.output, rows)
    least = seconds / min(processes, os.cpu_count() or 1)
    again, shards = sum(work.computed.values()) - len(run.shards), len(run.shards)
    same = "identical" if digests(run.output) == wanted else "DIFFERENT"
    return (
        f"{name:<6} {processes} processes, {rows} rows in {shards} shards, {work.kills} kills: {missing} missing, "
        f"{twice} twice, {again} shards again, told once {set(work.told.values()) == {1}}, {same}; parent "
        f"{memory.peak / 2**20:.0f} MiB; shards {took:.1f} s (one process {seconds:.1f} s, "
        f"{1000 * (took - least) / shards:.1f} ms a shard more than its part of that), with the merge {whole:.1f} s"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--every", type=int, default=50, help="shards between two kills")
    options.add_argument("--executors", default="local:4,ray:2", help="names and processes")
    given = options.parse_args()
    for chosen in given.executors.split(","):
        name, _, processes = chosen.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            line = killed(name, int(processes), Path(folder), given.rows, given.every)
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
