"""What it costs to know films by their bytes: hashing them, finding their digests recorded, checking a store of films.

    python benchmarks/bench_digests.py FILMS [--size 224] [--rounds 15] [--workers 2]

Each pair is measured by turns, in one process, and told as medians and the median of the ratios of each round:

    hashing     SHA-256 of all films, against reading and decoding them into a store
    recorded    their digests found recorded, against hashing them
    checking    an epoch over the store, with the checksum of each film, against one without: films as they are, and
                augmented, as training takes them where no layer is frozen
    reopening   a store that is there already, films and squares checked, against making it
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from cxrscore.images import Augmentation, ImageCache, Preprocessing, augment, digest_column, find_films, image_cache


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def told(name: str, ours: list[float], other: list[float]) -> None:
    ratio = statistics.median(one / two for one, two in zip(ours, other, strict=True))
    found = statistics.median(ours), statistics.median(other)
    print(f"| {name} | {found[0]:.4f} s | {found[1]:.4f} s | {ratio:.4f} |", flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    paths = find_films(given.films).paths
    square = Preprocessing(size=given.size)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CXRSCORE_CACHE"] = folder

        def build(name: str) -> ImageCache:
            return ImageCache.build(given.films, paths, square, Path(folder) / name, workers=given.workers)

        def digests(*, rehash: bool) -> NDArray[np.bytes_]:
            return digest_column(given.films, paths, workers=given.workers, rehash=rehash)

        def epoch() -> None:
            for row in films.rows:
                films.unit(row)

        def augmented() -> None:
            for row in films.rows:
                augment(films.unit(row), Augmentation(), seed=row)

        def turns(function: Callable[[], None]) -> tuple[list[float], list[float]]:
            checked, bare = [], []
            for _ in range(given.rounds):
                checked.append(seconds(function))
                with patch.object(image_cache, "entry_digest", lambda data: _Same()):
                    bare.append(seconds(function))
            return checked, bare

        films = build("films")
        print(f"{len(paths)} films, {given.rounds} rounds\n\n| | ours | other | ratio |\n|---|---|---|---|")  # noqa: T201
        few = max(3, given.rounds // 5)
        made = [seconds(lambda round=round: build(f"films-{round}")) for round in range(few)]
        told("hashing / decoding", [seconds(lambda: digests(rehash=True)) for _ in range(few)], made)
        told("reopening / making", [seconds(lambda: build("films")) for _ in range(few)], made)
        hashed, recorded = [], []
        for _ in range(given.rounds):
            hashed.append(seconds(lambda: digests(rehash=True)))
            recorded.append(seconds(lambda: digests(rehash=False)))
        told("recorded / hashing", recorded, hashed)
        told("checked epoch / unchecked", *turns(epoch))
        told("the same, augmented", *turns(augmented))


class _Same:
    """A digest that equals every other one."""

    def __ne__(self, other: object) -> bool:
        return False

    __eq__, __hash__ = object.__eq__, object.__hash__


if __name__ == "__main__":
    main()
