"""Reuse of results of an earlier run: checks that they are of the present films and labels.

The bytes of the inputs identify a run: films, label table, models, options. Names do not. So films are hashed again
before earlier results are reused, and at the end of a run films that were modified during it. If no record shows that
a film is unchanged (images.digests), that takes about a second per gigabyte.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args, overload

import numpy as np
from numpy.typing import NDArray

from cxrscore import labels as lab
from cxrscore.contract import ScorePrecision
from cxrscore.errors import InputError
from cxrscore.images import FilmStates, FoundFilms, digest_column, film_states, remember_digests
from cxrscore.io.strict_json import get_nested, get_text, get_texts
from cxrscore.models.model_file import ModelFile
from cxrscore.remote import RemotePath
from cxrscore.scorefile import (
    FileProvenance,
    Run,
    check_content,
    finished_provenance,
    open_run,
    open_scores,
    read_digests,
    read_label_columns,
    shard_of,
)
from cxrscore.scoring.file_list import FileList, new_file_list
from cxrscore.scoring.finalize import mark_public_films, merge_shards, patient_numbers
from cxrscore.scoring.options import AUTO, ScoreOptions
from cxrscore.scoring.pipeline import make_decoder_pool
from cxrscore.scoring.run_context import KNOWN_AFTER_LOADING, RunContext, RuntimeInfo, known_inputs, prepare_run
from cxrscore.scoring.thumbnails import ThumbnailCollector

READERS = 8
"""Minimum number of threads that read films: they mostly wait for a disk or a network."""
NAMED = 3
"""Maximum number of changed films that a message names."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished output whose films, models and options match this call by name."""

    file_list: FileList
    claim: FileProvenance

    @property
    def backend(self) -> str:
        return str(self.claim.inputs.get("backend"))

    @property
    def precision(self) -> ScorePrecision:
        """Checked by finished_run."""
        return cast(ScorePrecision, self.claim.inputs.get("precision"))


def finished_run(options: ScoreOptions, files: Sequence[ModelFile], found: FoundFilms) -> FinishedRun | None:
    """The finished run of the output, or None.

    This loads no framework: values that the call leaves open are taken from the output. check_same_films compares the
    bytes of the films, update_labels the labels.
    """
    if options.overwrite:
        return None
    listing = new_file_list(options, found)
    findings, known = files[0].spec.findings, {**known_inputs(options, files), **listing.inputs}
    left_open: tuple[str, ...] = KNOWN_AFTER_LOADING
    if options.precision == AUTO:
        left_open = (*left_open, "precision")
        del known["precision"]
    claim = finished_provenance(options.file, listing.paths, findings, known, left_open)
    if claim is None or claim.inputs.get("precision") not in get_args(ScorePrecision):
        return None
    backend, device = claim.inputs.get("backend"), claim.inputs.get("device")
    wanted = {"auto": device, "cuda": "cuda:0"}.get(options.device, options.device)
    same = options.backend in (None, backend) and wanted == device
    return FinishedRun(file_list=listing, claim=claim) if same else None


def check_same_films(options: ScoreOptions, finished: FinishedRun) -> None:
    """InputError, naming examples, if films have changed since the output was written; FileFormatError if the output
    is damaged."""
    check_content(options.file)
    paths = finished.file_list.paths
    now = _digests(options, paths)
    changed = [paths[row] for row in np.flatnonzero(now != read_digests(options.file)).tolist()]
    if changed:
        raise InputError(
            f"{options.output} holds scores of other films: {len(changed)} of {len(paths)} have changed since they "
            f"were scored{_examples(options, changed)}. Use --overwrite to score all films again, or another -o."
        )


def update_labels(
    options: ScoreOptions, files: tuple[ModelFile, ...], found: FoundFilms, finished: FinishedRun
) -> tuple[list[str], tuple[str, ...]]:
    """Joins the label table of this call to a finished output with other labels; no film is scored.

    Returns
    -------
    list of str
        What changed, for the user; empty if the labels are unchanged.
    tuple of str
        Lines on the label table, as RunContext.label_notes.
    """
    columns, provenance = read_label_columns(options.file)
    given = replace(options, backend=finished.backend, precision=finished.precision)
    job = prepare_run(given, files, found, _recorded_runtime(finished.claim, provenance))
    rows = range(len(job.paths))
    table = get_nested(provenance, "labels", "sha256")
    same_table = table == (job.labels_file or {}).get("sha256")
    same_truth = np.array_equal(columns["truth"], job.truth(rows), equal_nan=True)
    marked = copy.deepcopy(provenance)
    mark_public_films(job, marked)
    same_labels = same_table and same_truth and np.array_equal(columns["films/patient"], patient_numbers(job))
    if same_labels and marked == provenance:
        return [], job.label_notes
    run = _as_shards(job, finished.claim)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    labels = job.labels_file and {**job.labels_file, "file": "" if options.anonymize_paths else job.labels_file["file"]}
    old = [text for text in get_texts(provenance, "warnings") if not lab.is_other_findings(text)]
    joined = {"labels": labels, "labels_joined": now, "warnings": [*old, *filter(None, (job.other_findings,))]}
    decoders = make_decoder_pool(job)
    try:
        merge_shards(run, job, {**provenance, **joined}, ThumbnailCollector(job, decoders))
    finally:
        decoders.close()
    if same_labels:
        return ["what the models were trained on is recorded anew, and no film was scored again"], job.label_notes
    before, after = (
        get_text(one, "file") or "a table" if one else "none" for one in (provenance.get("labels"), labels)
    )
    how = f"{after}, read in another way" if same_table else f"then {before}, now {after}"
    return [f"the labels have changed ({how}): they were joined again, and no film was scored again"], job.label_notes


def _recorded_runtime(claim: FileProvenance, provenance: Any) -> RuntimeInfo:
    """The runtime information in a finished output."""
    return RuntimeInfo(
        framework=str(claim.inputs.get("framework")),
        device=str(claim.inputs.get("device")),
        cam_layer=get_text(provenance, "explainer", "cam_layer"),
        golden_difference=get_nested(provenance, "backend", "golden_difference"),
        backend=str(claim.inputs.get("backend")),
        precision=str(claim.inputs.get("precision")),
    )


def _as_shards(job: RunContext, claim: FileProvenance) -> Run:
    """The rows of a finished output as the shards of a run, to merge it again."""
    scores = open_scores(job.options.file)
    run = open_run(job.options.file, job.paths, job.findings, job.fingerprint, overwrite=True)
    for shard, rows in enumerate(run.shards):
        if not run.done(shard):
            run.write(shard, shard_of(scores, rows))
    return run


@dataclass(frozen=True, kw_only=True)
class FilmWatch:
    """Detects films of a run that changed after they were scored.

    states  state of each film before the first one was read
    """

    job: RunContext
    states: FilmStates

    @classmethod
    def begin(cls, job: RunContext) -> FilmWatch:
        return cls(job=job, states=film_states(job.options.films, job.paths))

    def discard_stale(self, run: Run) -> str:
        """Removes shards of an earlier process that contain films that have changed since.

        Returns
        -------
        str
            Note for the user; "" if no film has changed.
        """
        done = [shard for shard in range(len(run.shards)) if run.done(shard)]
        return "" if run.complete or not done else self._discard(run, self._scored(run, done))

    def discard_touched(self, run: Run) -> str:
        """The same for films that changed while this process scored them. Remote films are not downloaded again for
        this."""
        options, paths = self.job.options, self.job.paths
        if run.complete or isinstance(options.films, RemotePath):
            return ""
        scored = self._scored(run, range(len(run.shards)))
        now = film_states(options.films, paths)
        if self.job.loaded is None:
            remember_digests(options.films, paths, scored.digests, states=self.states, now=now)
        touched = ~self.states.unchanged(now)
        if self.job.loaded is None:
            touched |= scored.digests == b""  # it could not be read: perhaps it can now
        return self._discard(run, scored, np.flatnonzero(touched))

    def _scored(self, run: Run, shards: Sequence[int]) -> _ScoredShards:
        digests = [shard_digests(run, shard) for shard in shards]
        rows = [np.arange(run.shards[shard].start, run.shards[shard].stop) for shard in shards]
        sizes = [len(one) for one in rows]
        return _ScoredShards(
            rows=np.concatenate([np.zeros(0, np.intp), *rows]),
            shards=np.repeat(np.asarray(shards, np.intp), sizes),
            digests=np.concatenate([np.zeros(0, "S64"), *digests]),
        )

    def _discard(self, run: Run, scored: _ScoredShards, looked_at: NDArray[np.intp] | None = None) -> str:
        """Removes the shards with films that have changed; looked_at: places in ``scored`` of those that may have,
        None: all."""
        paths = self.job.paths
        places = np.arange(len(scored.rows)) if looked_at is None else looked_at
        rows = scored.rows[places]
        now = _digests(
            self.job.options,
            _Selected(paths, rows),
            records=self.job.loaded is None,
            before=self.states.of_rows(rows) if looked_at is None else None,
        )
        # A film that was removed or became unreadable keeps its scores.
        changed = places[(now != b"") & (now != scored.digests[places])]
        if not len(changed):
            return ""
        stale = np.unique(scored.shards[changed]).tolist()
        for shard in stale:
            run.discard(shard)
        films = sum(len(run.shards[shard]) for shard in stale)
        named = _examples(self.job.options, _Selected(paths, scored.rows[changed]))
        number = "1 film has" if len(changed) == 1 else f"{len(changed)} films have"
        since = "it was" if len(changed) == 1 else "they were"
        return f"{number} changed since {since} scored{named}: {films} films of the same shards were scored again"


@dataclass(frozen=True, kw_only=True)
class _ScoredShards:
    """The films of some shards: their rows in the run [n], their shards [n], and their digests S64 [n] when they were
    scored."""

    rows: NDArray[np.intp]
    shards: NDArray[np.intp]
    digests: NDArray[np.bytes_]


class _Selected(Sequence[str]):
    """Some of the paths, by row, without another list of them."""

    def __init__(self, paths: Sequence[str], rows: NDArray[np.intp]) -> None:
        self._paths, self._rows = paths, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [self._paths[int(row)] for row in self._rows[place]]
        return self._paths[int(self._rows[place])]


def shard_digests(run: Run, shard: int) -> NDArray[np.bytes_]:
    """SHA-256 of the films of a shard at the time of scoring, S64 [n] or shorter."""
    return run.read_columns(shard, "films/sha256")["films/sha256"]


def _digests(
    options: ScoreOptions, paths: Sequence[str], *, records: bool = True, before: FilmStates | None = None
) -> NDArray[np.bytes_]:
    workers = max(READERS, options.workers)
    return digest_column(options.films, paths, workers=workers, rehash=options.rehash, records=records, before=before)


def _examples(options: ScoreOptions, paths: Sequence[str]) -> str:
    """Examples of the films in brackets; empty if names are hidden."""
    if options.anonymize_paths:
        return ""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f" ({', '.join(paths[:NAMED])}{more})"
