"""One scoring run: films and a model in, one HDF5 file out. Killed and started again, it goes on where it was."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import cxrscore
from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Explainable, Floats, Model, Precision
from cxrscore.errors import InputError
from cxrscore.explainers import explain
from cxrscore.films import (
    FoundFilms,
    PreparedFilm,
    Preprocessing,
    Status,
    preprocess,
    read_film,
    require_films,
    stream_films,
    thumbnail,
    to_unit,
)
from cxrscore.models.bundle import ModelFile, load_model
from cxrscore.models.output import probabilities
from cxrscore.progress import Progress, silent
from cxrscore.scores import SPLITS, HeatMaps, Run, Shard, Thumbnails, open_run, open_scores, shown_films

THUMBNAIL = 256
"""Side of the small films in a scores file, pixels."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """All that decides a scoring run; what ``cxrscore score`` takes, under the same names.

    labels     label table to join; None: labels.csv in or beside the films folder, if there is one
    no_labels  join none, whatever lies there
    backend    None: the fastest installed one that can run the model
    tap        layer that heat maps are taken at; None: the one that is pooled
    maps       how many heat maps are kept of each film, of its most probable findings
    thumbnails how many films are kept small, for the report
    """

    films: Path
    output: Path
    model: Path = Path("model.safetensors")
    labels: Path | None = None
    no_labels: bool = False
    backend: str | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    batch_size: int = 8
    workers: int = 2
    maps: int = 4
    explainer: str = "grad-cam"
    tap: str | None = None
    thumbnails: int = 48
    overwrite: bool = False
    command: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class ScoreResult:
    """What a run ended with; ``failed`` maps each film that could not be scored to the reason."""

    output: Path
    found: int
    scored: int
    failed: dict[str, str]
    computed: int
    seconds: float
    backend: str


def score_films(options: ScoreOptions, progress: Progress = silent) -> ScoreResult:
    """Scores every film below a folder, into one file that is written whole or not at all."""
    started = time.monotonic()
    model_file = load_model(options.model)
    found = require_films(options.films)
    joined = _join(options, found.paths)
    backend = _backend(options, model_file)
    model = plugins.get_backend(backend).build(
        model_file.spec, model_file.tensors, device=options.device, precision=options.precision
    )
    run = open_run(
        options.output,
        found.paths,
        model_file.spec.findings,
        _fingerprint(options, model_file, model, backend),
        overwrite=options.overwrite,
    )
    scorer = Scorer(model, options)
    computed = 0
    if not run.complete:
        computed = _compute(run, scorer, options, model_file, found, progress)
        seconds = time.monotonic() - started
        provenance = _provenance(options, model_file, model, backend, found, joined, scorer.tap(), computed, seconds)
        _merge(run, options, model_file, found.paths, joined, provenance)
    return _result(options, computed, time.monotonic() - started, backend)


@dataclass(frozen=True, kw_only=True)
class _Joined:
    table: lab.JoinedLabels
    file: dict[str, Any]


def _join(options: ScoreOptions, paths: tuple[str, ...]) -> _Joined | None:
    path = options.labels or lab.find_labels(options.films)
    if path is None or options.no_labels:
        return None
    joined, file = lab.joined_labels(path, plugins.datasets(), paths)
    return _Joined(table=joined, file={**file, "matched": len(paths) - joined.unmatched_films})


def _backend(options: ScoreOptions, model_file: ModelFile) -> str:
    """The backend asked for, else the fastest installed one that can run the model on such a device."""
    if options.backend is not None:
        return options.backend
    fitting = plugins.fastest_backends(model_file.spec.architecture, options.device)
    if fitting:
        return fitting[0]
    # Asked for by name, so that the error says what is missing and how to install it.
    plugins.get_backend(model_file.document.get("training", {}).get("backend") or "torch")
    raise InputError(f"no installed backend can run {model_file.spec.architecture!r}; see `cxrscore plugins`")


def _fingerprint(options: ScoreOptions, model_file: ModelFile, model: Model, backend: str) -> dict[str, Any]:
    """All that decides the numbers of a run: two runs that differ in any of it are not mixed."""
    return {
        "cxrscore": cxrscore.__version__,
        "model": model_file.sha256,
        "preprocessing": model_file.document["preprocessing"],
        "backend": backend,
        "framework": model.framework,
        "device": model.device,
        "precision": options.precision,
        "batch_size": options.batch_size,
        "explainer": options.explainer,
        "tap": options.tap,
        "maps": options.maps,
    }


class Scorer:
    """Batches of one constant size through the model: logits, and heat maps of the most probable findings."""

    def __init__(self, model: Model, options: ScoreOptions) -> None:
        self._model = model
        self._size = options.batch_size
        self._explainer = plugins.get_explainer(options.explainer)
        explained = isinstance(model, Explainable) or self._explainer.from_scores is not None
        self._maps = min(options.maps, len(model.spec.findings)) if explained else 0
        self._wanted_tap = options.tap
        self._tap = ""

    def tap(self) -> str:
        """The layer that the maps are taken at, "" without maps. A run that only merges asks it of a blank film."""
        if self._maps and not self._tap:
            side = self._model.spec.size
            self(np.zeros((1, side, side), np.float32))
        return self._tap

    def __call__(self, films: Floats) -> tuple[Floats, Floats | None]:
        """films float32 [n,S,S], n <= batch size -> logits [n,C] and maps [n,C,h,w], or None if none are wanted."""
        padded = np.concatenate([films, np.zeros((self._size - len(films), *films.shape[1:]), np.float32)])
        if not self._maps:
            return self._model.predict(padded)[: len(films)], None
        findings = range(len(self._model.spec.findings))
        logits, maps, self._tap = explain(self._explainer, self._model, padded, findings, self._wanted_tap)
        return logits[: len(films)], maps[: len(films)]

    def top(self, logits: Floats, maps: Floats | None, rows: Sequence[int]) -> list[tuple[int, int, Floats]]:
        """(row of the run, finding, map) of each film's most probable findings, most probable first."""
        if maps is None:
            return []
        chosen = np.argsort(-logits, axis=1, kind="stable")[:, : self._maps]
        return [(row, int(f), maps[i, f]) for i, row in enumerate(rows) for f in chosen[i]]


def _compute(
    run: Run, scorer: Scorer, options: ScoreOptions, model_file: ModelFile, found: FoundFilms, progress: Progress
) -> int:
    """Computes the shards that are not there yet; returns the number of films in them."""
    wanted = [(k, rows) for k, rows in enumerate(run.shards) if not run.done(k)]
    paths = [found.paths[row] for _, rows in wanted for row in rows]
    preprocessing = Preprocessing.from_dict(model_file.document["preprocessing"])
    stream = stream_films(options.films, paths, preprocessing, workers=options.workers)
    total, done = len(found.paths), len(found.paths) - len(paths)
    progress("scoring", done, total)
    for k, rows in wanted:

        def count(films: int) -> None:
            nonlocal done
            done += films
            progress("scoring", done, total)

        run.write(k, _shard(stream, rows, scorer, model_file, options.batch_size, count))
    return len(paths)


def _shard(
    stream: Iterator[PreparedFilm],
    rows: range,
    scorer: Scorer,
    model_file: ModelFile,
    size: int,
    count: Callable[[int], None],
) -> Shard:
    """The rows of one shard. Films that could not be read keep NaN; the others fill batches in order."""
    spec, n = model_file.spec, len(rows)
    logits = np.full((n, len(spec.findings)), np.nan, np.float32)
    films, kept = [], []
    batch: list[tuple[int, Any]] = []

    def flush() -> None:
        places = [place for place, _ in batch]
        found, maps = scorer(to_unit_stack([pixels for _, pixels in batch]))
        logits[places] = found
        kept.extend(scorer.top(found, maps, [rows[place] for place in places]))
        count(len(batch))
        batch.clear()

    for place, prepared in enumerate(islice(stream, n)):
        films.append(prepared.film)
        if prepared.pixels is None:
            count(1)
            continue
        batch.append((place, prepared.pixels))
        if len(batch) == size:
            flush()
    if batch:
        flush()
    prob = np.full_like(logits, np.nan)
    scored = ~np.isnan(logits).any(axis=1)
    prob[scored] = probabilities(logits[scored], spec.activation)
    return Shard(
        logit=logits,
        prob=prob,
        status=np.array([film.status for film in films], np.uint8),
        message=["" if film.status == Status.OK else film.message for film in films],
        sha256=[film.sha256 for film in films],
        width=np.array([film.width for film in films], np.uint32),
        height=np.array([film.height for film in films], np.uint32),
        heat_maps=_heat_maps(kept),
    )


def to_unit_stack(films: list[Any]) -> Floats:
    """float32 [n,S,S] of films that may differ in depth."""
    return np.stack([to_unit(pixels) for pixels in films])


def _heat_maps(kept: list[tuple[int, int, Floats]]) -> HeatMaps:
    maps = np.stack([m for _, _, m in kept]) if kept else np.zeros((0, 1, 1))
    return HeatMaps(
        map=maps.astype(np.float16),
        film=np.array([row for row, _, _ in kept], np.int32),
        finding=np.array([finding for _, finding, _ in kept], np.int16),
    )


def _merge(
    run: Run,
    options: ScoreOptions,
    model_file: ModelFile,
    paths: tuple[str, ...],
    joined: _Joined | None,
    provenance: dict[str, Any],
) -> None:
    hashes: list[str] = []
    probs, scored = [], 0
    for k in range(len(run.shards)):  # one at a time: their heat maps need not be in memory together
        shard = run.read(k)
        hashes.extend(shard.sha256)
        probs.append(shard.prob)
        scored += int((shard.status == Status.OK).sum())
    prob = np.concatenate(probs)
    provenance["films"] |= {"scored": scored, "failed": len(paths) - scored}
    findings = model_file.spec.findings
    truth = np.full((len(paths), len(findings)), np.nan, np.float32)
    patient = np.full(len(paths), -1, np.int32)
    if joined is not None:
        truth = _columns(joined.table, findings)
        patient = _numbers(joined.table.patients)
    thresholds = model_file.document.get("thresholds", {})
    run.merge(
        split=np.array([SPLITS.index(model_file.seen.get(digest[:16], "")) for digest in hashes], np.uint8),
        patient=patient,
        truth=truth,
        thresholds=np.array([thresholds.get(f, {}).get("prob", np.nan) for f in findings], np.float32),
        thumbnails=_thumbnails(options, model_file, paths, prob, truth),
        provenance=provenance,
    )


def _columns(table: Any, findings: tuple[str, ...]) -> Floats:
    """Labels [N,C] of a joined table in the order of the model's findings, NaN for those it does not have."""
    place = {name: i for i, name in enumerate(table.findings)}
    unknown = np.full(len(table.labels), np.nan, np.float32)
    return np.stack([table.labels[:, place[f]] if f in place else unknown for f in findings], axis=1)


def _numbers(patients: Sequence[str | None]) -> Any:
    """A number per patient in order of appearance, -1 where unknown: no identifier goes into the file."""
    order: dict[str, int] = {}
    return np.array([-1 if p is None else order.setdefault(p, len(order)) for p in patients], np.int32)


def _thumbnails(
    options: ScoreOptions, model_file: ModelFile, paths: tuple[str, ...], prob: Floats, truth: Floats
) -> Thumbnails:
    """Small films for the report, as the network saw them, so that heat maps lie over them."""
    preprocessing = Preprocessing.from_dict(model_file.document["preprocessing"])
    kept: dict[int, Any] = {}
    for row in shown_films(prob, truth, options.thumbnails):
        film = read_film(options.films / paths[row])
        if film.pixels is not None:
            kept[row] = thumbnail(preprocess(film.pixels, preprocessing), THUMBNAIL)
    small = np.array(list(kept.values()), np.uint8).reshape(len(kept), THUMBNAIL, THUMBNAIL)
    return Thumbnails(film=np.array(list(kept), np.int32), pixels=small)


def _provenance(
    options: ScoreOptions,
    model_file: ModelFile,
    model: Model,
    backend: str,
    found: FoundFilms,
    joined: _Joined | None,
    tap: str,
    computed: int,
    seconds: float,
) -> dict[str, Any]:
    document = {key: value for key, value in model_file.document.items() if key != "films"}
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cxrscore": cxrscore.__version__,
        "command": list(options.command),
        "seconds": round(seconds, 3),
        "films_per_second": round(computed / max(seconds, 1e-9), 3),
        "backend": {
            "name": backend,
            "framework": model.framework,
            "device": model.device,
            "precision": options.precision,
            "batch_size": options.batch_size,
        },
        "model": {"file": options.model.name, "sha256": model_file.sha256, "document": document},
        "preprocessing": model_file.document["preprocessing"],
        "explainer": {"name": options.explainer, "tap": tap},
        "films": {"folder": options.films.name, "found": len(found.paths), "other_files": found.others},
        "labels": None if joined is None else joined.file,
        "warnings": [f"folder {name} could not be read" for name in found.unreadable],
    }


def _result(options: ScoreOptions, computed: int, seconds: float, backend: str) -> ScoreResult:
    scores = open_scores(options.output)
    bad = np.flatnonzero(scores.films.status != Status.OK)
    failed = {scores.films.path[i]: scores.films.message[i] for i in bad}
    return ScoreResult(
        output=options.output,
        found=len(scores.films.path),
        scored=len(scores.films.path) - len(bad),
        failed=failed,
        computed=computed,
        seconds=seconds,
        backend=backend,
    )
