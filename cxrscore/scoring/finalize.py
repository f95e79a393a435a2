"""The end of a run: merges shards, labels, thumbnails and provenance into one scores file."""

from __future__ import annotations

import copy
import datetime
import os
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cxrscore
from cxrscore.contract import Floats
from cxrscore.images import FoundFilms, OtherFiles, Status
from cxrscore.io.strict_json import provenance_models, unicode_text
from cxrscore.labels.public_sets import films_not_held_out
from cxrscore.models.calibration import moved_thresholds, prevalence_shift
from cxrscore.models.model_file import EnsembleFile, ModelFile
from cxrscore.remote.dicomweb_query import harmless_query
from cxrscore.scorefile import Run, describe_partition
from cxrscore.scorefile.manifest import fingerprint_of
from cxrscore.scorefile.partition import full_run_inputs
from cxrscore.scoring.film_splits import FilmSplits
from cxrscore.scoring.options import ScoreOptions
from cxrscore.scoring.run_context import RunContext, RuntimeInfo, known_inputs
from cxrscore.scoring.thumbnails import ThumbnailCollector


def merge_shards(run: Run, job: RunContext, provenance: dict[str, Any], small: ThumbnailCollector) -> None:
    """Merges the shards with labels, splits and thumbnails into the scores file."""
    paths = job.paths
    columns = [run.read_columns(k, "films/sha256", "films/status", "scores/prob") for k in range(len(run.shards))]
    hashes = np.concatenate([np.zeros(0, "S64"), *(one["films/sha256"] for one in columns)])
    prob = np.concatenate([np.zeros((0, len(job.findings)), np.float32), *(one["scores/prob"] for one in columns)])
    scored = sum(int((shard["films/status"] == Status.OK).sum()) for shard in columns)
    del columns
    provenance["films"] |= {"scored": scored, "failed": len(paths) - scored}
    mark_public_films(job, provenance)
    truth, split = job.truth(range(len(paths))), FilmSplits(job.files).of(hashes)
    run.merge(
        split=split,
        patient=patient_numbers(job),
        truth=truth,
        thresholds=_thresholds(job),
        thumbnails=small.select(prob, truth, split),
        provenance=provenance,
        names=film_names(hashes, job.file_list.rows.start) if job.options.anonymize_paths else None,
    )


def mark_public_films(job: RunContext, provenance: dict[str, Any]) -> None:
    """Writes into the provenance which public data sets the models were trained on, and how many of the films are of
    these."""
    known: dict[str, None] = {}
    for model, file in zip(provenance_models(provenance), job.files, strict=False):
        names = dict.fromkeys((*file.document.get("trained_on", ()), *job.options.trained_on))
        model.pop("trained_on", None)
        model |= {"trained_on": list(names)} if names else {}
        known |= names
    rows = slice(job.file_list.rows.start, job.file_list.rows.stop)
    listed = job.labels.matched[rows] if job.labels else ()
    found = films_not_held_out(job.paths, known, (job.labels_file or {}).get("dataset", ""), listed)
    provenance.pop("not_held_out", None)
    provenance |= {"not_held_out": found} if found else {}


def patient_numbers(job: RunContext) -> NDArray[np.int32]:
    """A number per patient of the films to score, int32 [N]; -1 where unknown."""
    if job.labels is None:
        return np.full(len(job.paths), -1, np.int32)
    numbers: NDArray[np.int32] = _numbers(job.labels.patients)[job.file_list.rows.start : job.file_list.rows.stop]
    return numbers


def _thresholds(job: RunContext) -> Floats:
    """The thresholds of the scores for the target prevalence, float32 [C]; NaN where there is none."""
    own = np.array([job.thresholds.get(finding, {}).get("prob", np.nan) for finding in job.findings], np.float32)
    return moved_thresholds(own, prevalence_shift(job.calibrated_document, job.target))


def film_names(hashes: NDArray[np.bytes_], first: int = 0) -> list[str]:
    """Replacements for the paths of films in an anonymized file: the hash of their bytes, or their row in the complete
    run, in which the first of these films has row ``first``."""
    return [digest.decode() or f"row {row}" for row, digest in enumerate(hashes.tolist(), first)]


def _numbers(patients: Sequence[str | None]) -> Any:
    """A number per patient in order of appearance among all films of the run, -1 if unknown: the file contains no
    patient identifiers."""
    order: dict[str, int] = {}
    return np.array([-1 if p is None else order.setdefault(p, len(order)) for p in patients], np.int32)


def make_provenance(job: RunContext, runtime: RuntimeInfo, *, computed: int, seconds: float) -> dict[str, Any]:
    """The provenance of the scores, as defined in schemas/scores.schema.json."""
    provenance: dict[str, Any] = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cxrscore": cxrscore.__version__,
        "command": list(job.options.command),
        "machine": _machine(),
        "seconds": round(seconds, 3),
        "films_per_second": round(computed / max(seconds, 1e-9), 3),
        "backend": {
            "name": job.backend,
            "framework": runtime.framework,
            "device": runtime.device,
            "precision": job.options.precision,
            **({"precision_note": job.precision_note} if job.precision_note else {}),
            "batch_size": job.options.batch_size,
            "golden_difference": runtime.golden_difference,
        },
        "models": [
            {"file": unicode_text(file.path.name), "sha256": file.sha256, "document": _document(file)}
            for file in job.files
        ],
        **_ensemble(job),
        "tta": known_inputs(job.options, job.files)["tta"],
        "target_prevalence": job.target or None,
        "explainer": {"name": job.options.explainer, "cam_layer": runtime.cam_layer},
        "films": {
            "folder": unicode_text(job.options.films.name),
            "total": len(job.paths),
            **_query(job.options),
            "other_files": job.found.others.total,
            "other_files_by_kind": other_files(job.found, anonymize_paths=job.options.anonymize_paths).as_dict(),
        },
        "labels": job.labels_file,
        "partition": _partition_provenance(job),
        "warnings": [
            *_partition_warning(job),
            *_warnings(job),
            *job.notes,
            *unreadable_messages(job.found, anonymize_paths=job.options.anonymize_paths),
        ],
    }
    return _without_names(provenance) if job.options.anonymize_paths else provenance


def _query(options: ScoreOptions) -> dict[str, Any]:
    """The query that chose the films of a PACS, without values that may name a patient."""
    query = harmless_query(options.films)
    return {"query": query} if query else {}


def _machine() -> dict[str, Any]:
    """Backend and machine, for information only: the scores do not depend on them."""
    return {"name": platform.node(), "system": platform.platform(), "cpus": os.cpu_count() or 0}


def _partition_provenance(job: RunContext) -> dict[str, Any] | None:
    """The partition that the file contains; None if it contains the complete run."""
    partition = job.file_list.partition
    if partition is None:
        return None
    run = fingerprint_of(full_run_inputs({**job.fingerprint, "findings": job.findings}))
    return {key: partition[key] for key in ("number", "count", "first_row", "total_films")} | {"run_fingerprint": run}


def _partition_warning(job: RunContext) -> list[str]:
    partition, own = job.options.partition, job.file_list.partition
    return [describe_partition(partition, job.file_list.rows, own["total_films"])] if partition and own else []


def _warnings(job: RunContext) -> list[str]:
    """Notes on averaged scores that no single model file contains."""
    warnings = []
    chosen = any(document.get("thresholds") for document in (job.calibrated_document, *(f.document for f in job.files)))
    if job.means and chosen and not job.thresholds:
        warnings.append(
            "There are no thresholds: those of the models were chosen on unaveraged probabilities of each model, and "
            "do not apply to means."
            if job.ensemble is None
            else "There are no thresholds: those of the ensemble were chosen on probabilities without augmented "
            "copies, and do not apply to means over these."
        )
    if len({preprocessing.fit for preprocessing in job.preprocessings}) > 1:
        warnings.append(
            "The models stretch, pad or crop films differently. Heat maps average only the models that do as the first."
        )
    return warnings


def other_files(found: FoundFilms, *, anonymize_paths: bool) -> OtherFiles:
    """The files that are no films by kind; if names are hidden, without unusual suffixes."""
    return found.others.without_unusual_suffixes() if anonymize_paths else found.others


def unreadable_messages(found: FoundFilms, *, anonymize_paths: bool) -> list[str]:
    """Files and folders that could not be read, one text each; only their number if names are hidden."""
    names = found.unreadable
    if anonymize_paths:
        return [f"{len(names)} files or folders could not be read"] if names else []
    return [f"{name} could not be read" for name in names]


def _ensemble(job: RunContext) -> dict[str, Any]:
    """The ensemble file, if one was named; its members are the models."""
    if (file := job.ensemble) is None:
        return {}
    return {
        "ensemble": {"file": unicode_text(file.path.name), "sha256": file.sha256, "document": _document(file)},
    }


def _without_values(films: dict[str, Any]) -> dict[str, Any]:
    """The keys of the query alone."""
    return {"query": dict.fromkeys(films["query"], "...")} if "query" in films else {}


def _document(file: ModelFile | EnsembleFile) -> dict[str, Any]:
    """The metadata of the model without its lists of films."""
    return {key: value for key, value in file.document.items() if key != "films"}


def _without_names(provenance: dict[str, Any]) -> dict[str, Any]:
    """Provenance without names of files and folders."""
    files: dict[str, Any] = copy.deepcopy(
        {name: provenance[name] for name in ("models", "ensemble") if name in provenance}
    )
    for file in [*files["models"], *([files["ensemble"]] if "ensemble" in files else [])]:
        file["file"] = ""
        file["document"].get("training", {}).get("labels", {})["file"] = ""
        for member in file["document"].get("members", []):
            member["file"] = ""
    return {
        **provenance,
        **files,
        "command": [],
        "machine": {**provenance["machine"], "name": ""},
        "films": {**provenance["films"], "folder": "", **_without_values(provenance["films"])},
        "labels": provenance["labels"] and {**provenance["labels"], "file": ""},
    }
