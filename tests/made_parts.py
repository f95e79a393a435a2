"""Parts of a made-up run, and the same run by one process, for the tests of partitions: no film and no network."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from made_run import FINDINGS, GIVEN, contents, made_shard

from cxrscore.merge import MergeOptions, MergeResult, merge_scores
from cxrscore.scorefile import (
    Partition,
    Thumbnails,
    open_run,
    partition_inputs,
    scored_films,
    select_thumbnails,
    thumbnail_candidates,
)
from cxrscore.scorefile.columns import write_text
from cxrscore.scorefile.manifest import fingerprint_of
from cxrscore.scorefile.partition import describe_partition, full_run_inputs

SIDE = 4
MOST = 6
"""Small films of a run."""


def paths_of(films: int) -> list[str]:
    return sorted(f"ward {row % 3}/{row:06d}.png" for row in range(films))


def made_truth(films: int) -> Any:
    """float32 [N,3]: no film has the last finding, and the labels of every fourth are unknown."""
    row = np.arange(films)[:, None]
    truth = np.where(row % 4 == 0, np.nan, (row // 3 + np.arange(3)) % 2).astype(np.float32)
    truth[:, 2] *= 0
    return truth


def made_whole(output: Path, films: int, **changed: Any) -> Path:
    """The file of one process."""
    return _made(output, films, None, changed)


def made_part(
    output: Path, films: int, partition: Partition, *, told: Mapping[str, Any] | None = None, **changed: Any
) -> Path:
    """The file of a partition.

    told     replaces keys of its provenance
    changed  replaces keys of its inputs
    """
    return _made(output, films, partition, changed, told or {})


def made_parts(folder: Path, films: int, of: int) -> list[Path]:
    """The files of all partitions."""
    folder.mkdir(exist_ok=True)
    partitions = [Partition(number=number, count=of) for number in range(1, of + 1)]
    return [made_part(folder / f"part-{one.number}.h5", films, one) for one in partitions]


def merged(parts: list[Path], output: Path, **options: Any) -> MergeResult:
    return merge_scores(MergeOptions(partial_files=tuple(parts), output=output, **options))


def _made(
    output: Path,
    films: int,
    partition: Partition | None,
    changed: Mapping[str, Any],
    told: Mapping[str, Any] | None = None,
) -> Path:
    inputs = {**GIVEN, **changed}
    batch = inputs["batch_size"]
    paths, rows = paths_of(films), partition.rows(films, batch) if partition else range(films)
    if partition:
        inputs["partition"] = partition_inputs(partition, paths, MOST, batch)
    run = open_run(output, paths[rows.start : rows.stop], FINDINGS, inputs)
    made = []
    for number, own in enumerate(run.shards):
        shard = made_shard(range(rows.start + own.start, rows.start + own.stop))
        maps = dataclasses.replace(shard.heat_maps, film=shard.heat_maps.film - np.int32(rows.start))
        made.append(dataclasses.replace(shard, heat_maps=maps))
        run.write(number, made[-1])
    row, prob = (
        np.arange(rows.start, rows.stop),
        np.concatenate([np.zeros((0, len(FINDINGS)), np.float32), *(shard.prob for shard in made)]),
    )
    truth = made_truth(films)[rows.start : rows.stop]
    split = (row % 4).astype(np.uint8)
    found = scored_films(prob, truth, split, rows.start)
    small = np.array(
        thumbnail_candidates(found, films, MOST).rows if partition else select_thumbnails(found, films, MOST), np.int32
    )
    return run.merge(
        split=split,
        patient=(row // 2).astype(np.int32),
        truth=truth,
        thresholds=np.array([0.5, np.nan, 0.25], np.float32),
        thumbnails=Thumbnails(
            film=small - np.int32(rows.start),
            pixels=np.repeat(small % 251, SIDE * SIDE).reshape(-1, SIDE, SIDE).astype(np.uint8),
        ),
        provenance=_provenance(partition, rows, films, run.manifest.inputs) | dict(told or {}),
    )


def _provenance(partition: Partition | None, rows: range, films: int, inputs: Mapping[str, Any]) -> dict[str, Any]:
    part = None
    if partition:
        part = {"number": partition.number, "count": partition.count, "first_row": rows.start, "total_films": films}
        part["run_fingerprint"] = fingerprint_of(full_run_inputs(inputs))
    return {
        "created": f"2026-01-02T03:04:{rows.start % 60:02}+00:00",
        "command": ["score", "films"],
        "seconds": 2.0,
        "films_per_second": len(rows) / 2,
        "machine": {"name": f"node{rows.start}", "system": "Linux", "cpus": 2},
        "models": [{"file": "model.safetensors", "sha256": "ab" * 32, "document": {"spec": {"size": 64}}}],
        "backend": {"name": "stub", "golden_difference": rows.start / 1000},
        "films": {"folder": "films", "total": len(rows), "scored": len(rows), "failed": 0, "other_files": 3},
        "labels": {"file": "labels.csv", "dataset": "plain", "sha256": "cd" * 32, "labelled_films": len(rows)},
        "partition": part,
        "warnings": [describe_partition(partition, rows, films), "Films were added."] if partition else [],
    }


@functools.cache
def _files_of_three(films: int) -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        made_parts(Path(folder), films, 3)
        made_whole(Path(folder) / "whole.h5", films)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def with_three(folder: Path, films: int) -> Path:
    """The folder, with three parts in it and whole.h5, the same run by one process."""
    for name, data in _files_of_three(films).items():
        (folder / name).write_bytes(data)
    return folder


def three(home: Path) -> list[Path]:
    """The parts that with_three puts there."""
    return [home / f"part-{number}.h5" for number in (1, 2, 3)]


def differing(one: Path, other: Path) -> set[str]:
    """Names of what is not the same in two files."""
    a, b = contents(one), contents(other)
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


def tampered(path: Path, name: str, change: Any) -> None:
    """Changes a JSON attribute, as an enemy would who cannot find another text of the same digest."""
    with h5py.File(path, "r+") as file:
        value = json.loads(file.attrs[name])
        change(value)
        del file.attrs[name]
        write_text(file, name, json.dumps(value, sort_keys=True, separators=(",", ":")))
