"""How a run ends: its shards joined with labels, small films and provenance into one scores file."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

import cxrscore
from cxrscore.contract import Floats
from cxrscore.films import Status, stream_films, thumbnail
from cxrscore.labels import JoinedLabels
from cxrscore.score.job import Job
from cxrscore.scores import SPLITS, Run, Thumbnails, shown_films

THUMBNAIL = 256
"""Side of the small films in a scores file, pixels."""


def merge_shards(run: Run, job: Job, provenance: dict[str, Any]) -> None:
    """Joins the shards with labels, splits and small films into the scores file."""
    paths = job.found.paths
    hashes: list[str] = []
    probs, scored = [], 0
    for k in range(len(run.shards)):  # one at a time: their heat maps need not be in memory together
        shard = run.read(k)
        hashes.extend(shard.sha256)
        probs.append(shard.prob)
        scored += int((shard.status == Status.OK).sum())
    prob = np.concatenate(probs)
    provenance["films"] |= {"scored": scored, "failed": len(paths) - scored}
    findings = job.file.spec.findings
    truth = np.full((len(paths), len(findings)), np.nan, np.float32)
    patient = np.full(len(paths), -1, np.int32)
    if job.labels is not None:
        truth = _columns(job.labels, findings)
        patient = _numbers(job.labels.patients)
    thresholds = job.file.document.get("thresholds", {})
    run.merge(
        split=np.array([SPLITS.index(job.file.seen.get(digest[:16], "")) for digest in hashes], np.uint8),
        patient=patient,
        truth=truth,
        thresholds=np.array([thresholds.get(f, {}).get("prob", np.nan) for f in findings], np.float32),
        thumbnails=_thumbnails(job, prob, truth),
        provenance=provenance,
        names=film_names(hashes) if job.options.no_paths else None,
    )


def film_names(hashes: Sequence[str]) -> list[str]:
    """What stands for the paths of films where none may be told: the hash of their bytes, or their row."""
    return [digest or f"row {row}" for row, digest in enumerate(hashes)]


def _columns(table: JoinedLabels, findings: tuple[str, ...]) -> Floats:
    """Labels [N,C] of a joined table in the order of the model's findings, NaN for those it does not have."""
    place = {name: i for i, name in enumerate(table.findings)}
    unknown = np.full(len(table.labels), np.nan, np.float32)
    return np.stack([table.labels[:, place[f]] if f in place else unknown for f in findings], axis=1)


def _numbers(patients: Sequence[str | None]) -> Any:
    """A number per patient in order of appearance, -1 where unknown: no identifier goes into the file."""
    order: dict[str, int] = {}
    return np.array([-1 if p is None else order.setdefault(p, len(order)) for p in patients], np.int32)


def _thumbnails(job: Job, prob: Floats, truth: Floats) -> Thumbnails:
    """Small films for the report, as the network saw them, so that heat maps lie over them."""
    rows = shown_films(prob, truth, job.options.thumbnails)
    paths = [job.found.paths[row] for row in rows]
    stream = stream_films(
        job.options.films,
        paths,
        job.preprocessing,
        workers=job.options.workers,
        any_modality=job.options.any_modality,
    )
    kept = {
        row: thumbnail(film.pixels, THUMBNAIL)
        for row, film in zip(rows, stream, strict=True)
        if film.pixels is not None
    }
    small = np.array(list(kept.values()), np.uint8).reshape(len(kept), THUMBNAIL, THUMBNAIL)
    return Thumbnails(film=np.array(list(kept), np.int32), pixels=small)


def provenance_of(
    job: Job, *, tap: str, golden_difference: float | None, computed: int, seconds: float
) -> dict[str, Any]:
    """Where the numbers come from, as schemas/scores.schema.json says."""
    told: dict[str, Any] = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cxrscore": cxrscore.__version__,
        "command": list(job.options.command),
        "seconds": round(seconds, 3),
        "films_per_second": round(computed / max(seconds, 1e-9), 3),
        "backend": {
            "name": job.backend,
            "framework": job.model.framework,
            "device": job.model.device,
            "precision": job.options.precision,
            "batch_size": job.options.batch_size,
            "golden_difference": golden_difference,
        },
        "model": {"file": job.options.model.name, "sha256": job.file.sha256, "document": _document(job)},
        "preprocessing": job.file.document["preprocessing"],
        "explainer": {"name": job.options.explainer, "tap": tap},
        "films": {
            "folder": job.options.films.name,
            "found": len(job.found.paths),
            "other_files": job.found.others,
        },
        "labels": job.labels_file,
        "warnings": unread(job),
    }
    return _without_names(told) if job.options.no_paths else told


def unread(job: Job) -> list[str]:
    """What of the folder could not be looked at, one text each; only how much, where no name may be told."""
    names = job.found.unreadable
    if job.options.no_paths:
        return [f"{len(names)} files or folders could not be read"] if names else []
    return [f"{name} could not be read" for name in names]


def _document(job: Job) -> dict[str, Any]:
    """The model's document without the films it was made with."""
    return {key: value for key, value in job.file.document.items() if key != "films"}


def _without_names(told: dict[str, Any]) -> dict[str, Any]:
    """Provenance without names of files and folders, the user's own."""
    document = copy.deepcopy(told["model"]["document"])
    document.get("training", {}).get("labels", {})["file"] = ""
    return {
        **told,
        "command": [],
        "model": {**told["model"], "file": "", "document": document},
        "films": {**told["films"], "folder": ""},
        "labels": told["labels"] and {**told["labels"], "file": ""},
    }
