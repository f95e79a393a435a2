"""What does a merge cost? Seconds and bytes a row, and peak memory, of parts joined to one file.

    python benchmarks/bench_merge.py                        10^6 rows in parts of 10^5
    python benchmarks/bench_merge.py --rows 200000 --part 50000

Parts are made up: 14 findings, four heat maps of 7 x 7 a film, labels, names and digests, so that a row is as large as
one of DenseNet121 at 224 pixels. Each merge is a process of its own. To see how time and memory grow, half of the parts
are merged first. Needs no film, no weights and no framework; about 2 GB of disk for 10^6 rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.merge import MergeOptions, merge_scores
from cxrscore.scorefile import Partition, partition_inputs, scored_films, thumbnail_candidates
from cxrscore.scorefile.manifest import fingerprint_of, paths_digest
from cxrscore.scorefile.partition import full_run_inputs
from cxrscore.scorefile.writing import FileHeader, RowBlock, write_scores

FINDINGS = 14
MAPS, SIDE = 4, 7
SMALL, MOST = 256, 48
BLOCK = 4096
BATCH = 8


def film_columns(rows: range, rng: np.random.Generator) -> dict[str, Any]:
    n = len(rows)
    logit = rng.normal(size=(n, FINDINGS)).astype(np.float32)
    return {
        "films/path": np.array([f"images/{row // 9999:05}/{row:012}.png" for row in rows], "S35"),
        "films/sha256": np.array([f"{(row * 2654435761) % 2**64:064x}" for row in rows], "S64"),
        "films/status": np.ones(n, np.uint8),
        "films/message": np.full(n, b"", "S1"),
        "films/kind": np.full(n, b"png", "S5"),
        "films/modality": np.full(n, b"", "S2"),
        "films/view": np.full(n, b"PA", "S2"),
        "films/width": rng.integers(1000, 3000, n, np.uint32),
        "films/height": rng.integers(1000, 3000, n, np.uint32),
        "films/split": np.zeros(n, np.uint8),
        "films/patient": np.arange(rows.start, rows.stop, dtype=np.int32) // 3,
        "scores/logit": logit,
        "scores/prob": 1 / (1 + np.exp(-logit)),
        "scores/prob_uncalibrated": 1 / (1 + np.exp(-logit)),
        "truth": rng.integers(0, 2, (n, FINDINGS)).astype(np.float32),
    }


def map_columns(first: int, films: range, rng: np.random.Generator) -> dict[str, Any]:
    """first: row of the part's first film, in which its maps count."""
    n = len(films) * MAPS
    return {
        "cam/map": rng.normal(size=(n, SIDE, SIDE)).astype(np.float16),
        "cam/film": np.repeat(np.arange(films.start - first, films.stop - first, dtype=np.int32), MAPS),
        "cam/finding": rng.integers(0, FINDINGS, n).astype(np.int16),
    }


def make_part(path: Path, rows: range, inputs: dict[str, Any]) -> None:
    blocks = [range(start, min(start + BLOCK, rows.stop)) for start in range(rows.start, rows.stop, BLOCK)]

    def made() -> Iterator[RowBlock]:
        for block in blocks:
            values = film_columns(block, np.random.default_rng(block.start))
            place = slice(block.start - rows.start, block.stop - rows.start)
            yield RowBlock(values=values, places=dict.fromkeys(values, place))
            values = map_columns(rows.start, block, np.random.default_rng(block.start))
            yield RowBlock(values=values, places=dict.fromkeys(values, slice(place.start * MAPS, place.stop * MAPS)))

    columns = [film_columns(block, np.random.default_rng(block.start)) for block in blocks]
    names = ("scores/prob", "truth", "films/split")
    prob, truth, split = (np.concatenate([one[name] for one in columns]) for name in names)
    small = (
        thumbnail_candidates(
            scored_films(prob, truth, split, rows.start), inputs["partition"]["total_films"], MOST
        ).rows
        - rows.start
    )
    frame = FileHeader(
        fingerprint=fingerprint_of(inputs),
        inputs=inputs,
        provenance=provenance(rows, inputs),
        own={
            "labels": np.array([f"finding {number}" for number in range(FINDINGS)], "S10"),
            "thresholds": np.full(FINDINGS, 0.5, np.float32),
            "thumbnails/film": small.astype(np.int32),
            "thumbnails/pixels": np.random.default_rng(0).integers(0, 256, (len(small), SMALL, SMALL), np.uint8),
        },
        lengths={
            "film": len(rows),
            "finding": FINDINGS,
            "map": len(rows) * MAPS,
            "map_row": SIDE,
            "map_column": SIDE,
        },
        widths={name: array.dtype.itemsize for name, array in columns[0].items() if array.dtype.kind == "S"},
    )
    write_scores(path, frame, made())


def provenance(rows: range, inputs: dict[str, Any]) -> dict[str, Any]:
    partition = inputs["partition"]
    told = {key: partition[key] for key in ("number", "count", "first_row", "total_films")}
    return {
        "created": "2026-01-02T03:04:05+00:00",
        "seconds": 1.0,
        "films_per_second": float(len(rows)),
        "models": [{"file": "model.safetensors", "sha256": "ab" * 32, "document": {}}],
        "films": {"folder": "films", "total": len(rows), "scored": len(rows), "failed": 0, "other_files": 0},
        "partition": {**told, "run_fingerprint": fingerprint_of(full_run_inputs(inputs))},
        "warnings": [],
    }


def make_parts(folder: Path, rows: int, of: int) -> list[Path]:
    paths = [f"images/{row // 9999:05}/{row:012}.png" for row in range(rows)]
    made = []
    for number in range(1, of + 1):
        partition = Partition(number=number, count=of)
        own = partition.rows(rows, BATCH)
        inputs = {
            "films": len(own),
            "paths": paths_digest(paths[own.start : own.stop]),
            "anonymize_paths": False,
            "batch_size": BATCH,
        }
        made.append(folder / f"part-{of}-{number}.h5")
        make_part(made[-1], own, {**inputs, "partition": partition_inputs(partition, paths, MOST, BATCH)})
    return made


def measured(parts: list[Path], output: Path, *, virtual: bool) -> dict[str, float]:
    """One merge in a process of its own."""
    code = [sys.executable, __file__, "--here", str(output), *["--virtual"] * virtual, *map(str, parts)]
    return json.loads(subprocess.run(code, check=True, capture_output=True, text=True).stdout)


def here(parts: list[Path], output: Path, virtual: bool) -> dict[str, float]:
    before, began, worked = peak_mb(), time.monotonic(), time.process_time()
    merge_scores(MergeOptions(partial_files=tuple(parts), output=output, virtual=virtual))
    spent = {"seconds": time.monotonic() - began, "cpu": time.process_time() - worked}
    return {**spent, "before": before, "peak": peak_mb(), "bytes": output.stat().st_size}


def peak_mb() -> float:
    """Of this process alone: ru_maxrss would begin with that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--part", type=int, default=100_000, help="rows of a part, about")
    options.add_argument("--virtual", action="store_true", help="measure merge --virtual, too")
    options.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.here:
        sys.stdout.write(json.dumps(here(given.parts, given.here, given.virtual)))
        return
    lines = ["| rows | parts | | seconds | seconds of CPU per 10^6 rows | bytes a row | memory before, MB | peak, MB |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for rows in (given.rows // 2, given.rows):
        with tempfile.TemporaryDirectory() as folder:
            own = make_parts(Path(folder), rows, max(1, rows // given.part))
            for virtual in (False, True)[: 1 + given.virtual]:
                one = measured(own, Path(folder) / "out.h5", virtual=virtual)
                cost = f"{one['seconds']:.1f} | {one['cpu'] / rows * 1e6:.1f} | {one['bytes'] / rows:.0f}"
                word = "virtual" if virtual else ""
                lines.append(f"| {rows:,} | {len(own)} | {word} | {cost} | {one['before']:.0f} | {one['peak']:.0f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
