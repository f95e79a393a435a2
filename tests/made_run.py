"""A small run with made-up scores, for the tests of scores files; as a program, a worker that can be killed anywhere.

    python made_run.py OUT FILMS [--die-at N] [--largest-file BYTES] [--overwrite]

dies by SIGKILL in its N-th operation on files: a write is then left half done.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cxrscore.errors import CxrscoreError
from cxrscore.scorefile import HeatMaps, Run, Shard, Thumbnails, open_run

FINDINGS = ("Effusion", "Mass", "Hernia")
GIVEN = {"model": "ab" * 32, "preprocessing": {"size": 64, "fit": "stretch"}, "batch_size": 8}


def made_run(output: Path, films: int = 150, *, overwrite: bool = False, **changed: Any) -> Run:
    """A run over films whose names are their rows; ``changed`` replaces keys of its fingerprint."""
    paths = [f"ward {row % 3}/{row:06d}.png" for row in range(films)]
    return open_run(output, sorted(paths), FINDINGS, {**GIVEN, **changed}, overwrite=overwrite)


def made_shard(rows: range) -> Shard:
    """What depends on the rows alone: every seventh film is damaged, the others have two heat maps of 3 x 5."""
    n, own = len(rows), slice(rows.start, rows.stop)
    scored = np.arange(rows.start, rows.stop) % 7 != 0
    logit = np.random.default_rng(0).normal(size=(rows.stop, len(FINDINGS)))[own].astype(np.float32)
    maps = np.random.default_rng(1).normal(size=(rows.stop, 2, 3, 5))[own].astype(np.float16)
    logit[~scored] = np.nan
    film = np.repeat(np.flatnonzero(scored) + rows.start, 2).astype(np.int32)
    return Shard(
        logit=logit,
        prob=(1 / (1 + np.exp(-logit))).astype(np.float32),
        prob_uncalibrated=(1 / (1 + np.exp(1 - logit))).astype(np.float32),
        status=np.where(scored, 1, 4).astype(np.uint8),
        message=[
            "" if ok else f"ends after {row} bytes \N{EM DASH} damaged" for ok, row in zip(scored, rows, strict=True)
        ],
        kind=["png" if ok else "" for ok in scored],
        modality=[""] * n,
        view=["PA" if ok else "" for ok in scored],
        sha256=[f"{row:064x}" if ok else "" for ok, row in zip(scored, rows, strict=True)],
        width=np.full(n, 1024, np.uint32),
        height=np.full(n, 768, np.uint32),
        heat_maps=HeatMaps(
            map=maps[scored].reshape(-1, 3, 5),
            film=film,
            finding=np.tile([0, 2], len(film) // 2).astype(np.int16),
        ),
    )


def score(run: Run) -> None:
    """Writes the shards that are not done."""
    for shard, rows in enumerate(run.shards):
        if not run.done(shard):
            run.write(shard, made_shard(rows))


def merge(run: Run, **changed: Any) -> Path:
    """Merges with made-up labels; ``changed`` replaces what is given to Run.merge."""
    n = len(run.manifest.paths)
    row = np.arange(n)
    own = {
        "split": (row % 4).astype(np.uint8),
        "patient": (row // 2).astype(np.int32),
        "truth": np.where(row[:, None] % 5 == 0, np.nan, (row[:, None] + np.arange(3)) % 2).astype(np.float32),
        "thresholds": np.array([0.5, np.nan, 0.25], np.float32),
        "thumbnails": Thumbnails(film=np.array([0, 2], np.int32), pixels=np.full((2, 8, 8), 77, np.uint8)),
        "provenance": {"created": "2026-01-02T03:04:05+00:00", "warnings": []},
    }
    return run.merge(**{**own, **changed})


def made_file(output: Path, films: int = 150) -> Path:
    """A finished scores file."""
    run = made_run(output, films)
    score(run)
    return merge(run)


def contents(path: Path) -> dict[str, Any]:
    """All datasets by path, as bytes with shape and type, and the root's attributes: equal for equal content."""
    found: dict[str, Any] = {}

    def take(name: str, member: Any) -> None:
        if isinstance(member, h5py.Dataset):
            found[name] = (member.shape, member.dtype.str, member[()].tobytes())

    with h5py.File(path, "r") as file:
        file.visititems(take)
        return found | {f"@{name}": value for name, value in file.attrs.items()}


def _doom(last: int) -> None:
    """Makes the operations on files of this process count, and the last one end it."""
    count = 0

    def doomed(name: str, operation: Any) -> Any:
        def counted(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == last:
                if name == "write":
                    operation(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*args, **options)

        return counted

    for name in ("open", "write", "fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "ftruncate"):
        setattr(os, name, doomed(name, getattr(os, name)))


def _main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("output", type=Path)
    options.add_argument("films", type=int)
    options.add_argument("--die-at", type=int, default=0)
    options.add_argument("--largest-file", type=int)
    options.add_argument("--overwrite", action="store_true")
    given = options.parse_args()
    if given.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.largest_file, given.largest_file))
    _doom(given.die_at)
    try:
        run = made_run(given.output, given.films, overwrite=given.overwrite)
        if not run.complete:
            score(run)
            merge(run)
    except CxrscoreError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    _main()
