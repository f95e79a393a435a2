"""How long until the first film is read? Finding films and freezing the run, in folders of 100,000 and 1,000,000 files.

    python benchmarks/bench_find.py [--folder DIR]

Makes empty files named as films, a thousand a folder, and removes them. The time for so many calls of os.scandir's own
walk is given beside it, so that the ratio says what is ours. A few minutes, mostly of making and removing files.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cxrscore.images import find_films
from cxrscore.scorefile import open_run

PER_FOLDER = 1000
INPUTS = {"model": "ab" * 32, "preprocessing": {"size": 224}}


def make(folder: Path, count: int) -> None:
    for start in range(0, count, PER_FOLDER):
        inner = folder / f"{start // PER_FOLDER:06}"
        inner.mkdir(parents=True)
        for number in range(start, min(start + PER_FOLDER, count)):
            os.close(os.open(inner / f"{number:09}.png", os.O_CREAT | os.O_WRONLY))


def walked(folder: str) -> Iterator[str]:
    """The least that can be done: every entry is listed once."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from walked(entry.path)
            else:
                yield entry.path


def seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def measure(base: Path, count: int) -> tuple[float, float, float]:
    """Seconds of a bare walk, of find_films, and of freezing the run."""
    folder = base / "films"
    make(folder, count)
    try:
        bare = seconds(lambda: sum(1 for _ in walked(str(folder))))  # the second time all is in the system's memory
        bare = min(bare, seconds(lambda: sum(1 for _ in walked(str(folder)))))
        begun = time.monotonic()
        found = find_films(folder)
        ours = time.monotonic() - begun
        assert (len(found.paths), found.others.total, found.unreadable) == (count, 0, ())
        frozen = seconds(lambda: open_run(base / "out.h5", found.paths, ["Mass"], INPUTS))
    finally:
        shutil.rmtree(base)
    return bare, ours, frozen


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("counts", nargs="*", type=int, default=[100_000, 1_000_000])
    options.add_argument("--folder", type=Path, help="where the files are made [default: a temporary folder]")
    given = options.parse_args()
    lines = ["| files | bare walk, s | find, s | find / walk | freeze, s | s for 100,000 | peak, MB |"]
    lines.append("|---|---|---|---|---|---|---|")
    for count in given.counts:
        bare, ours, frozen = measure(Path(tempfile.mkdtemp(dir=given.folder)), count)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        each = (ours + frozen) * 100_000 / count
        ratio = ours / bare
        lines.append(f"| {count:,} | {bare:.2f} | {ours:.2f} | {ratio:.1f} | {frozen:.2f} | {each:.2f} | {peak} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
