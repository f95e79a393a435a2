"""The films of a run, decoded and resized once, with their labels and their split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.films import FilmStore, Preprocessing, Status, require_films
from cxrscore.models.imagenet import cache_folder
from cxrscore.progress import Progress
from cxrscore.train.options import TrainOptions
from cxrscore.train.thumbnails import thumbnails


@dataclass(frozen=True, kw_only=True)
class Data:
    """Films of the run that could be read, their labels, and the split as indexes into the store."""

    store: FilmStore
    paths: tuple[str, ...]
    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    split: lab.Split
    failed: dict[str, str]
    labels_file: dict[str, str]
    leaks: tuple[str, ...]
    """A line for each leak that was allowed."""

    @property
    def sizes(self) -> dict[str, int]:
        """How many films each part of the split has."""
        return {name: len(rows) for name, rows in self.split.parts()}

    def hashes(self, rows: tuple[int, ...]) -> list[str]:
        return [self.store.films[row].sha256[:16] for row in rows]


def read_data(options: TrainOptions, progress: Progress) -> Data:
    found = require_films(options.films)
    table_path = options.labels or lab.find_labels(options.films)
    if table_path is None:
        raise InputError(f"there is no labels.csv in or beside {options.films}. Name the label table with --labels.")
    joined, labels_file = lab.joined_labels(table_path, plugins.datasets(), found.paths, options.uncertain)
    labelled = [row for row in range(len(found.paths)) if not np.isnan(joined.labels[row]).all()]
    if not labelled:
        raise InputError(
            f"no film below {options.films} has a label in {table_path}; films are named like {found.paths[0]!r}: "
            "does the table name them so?"
        )
    paths = tuple(found.paths[row] for row in labelled)
    patients = tuple(joined.patients[row] for row in labelled)
    labels = joined.labels[labelled]
    store = _store(options, paths, progress)
    split = _split(options, paths, patients, labels, store)
    leaks = _leaks(options, split, patients, paths, store)
    return Data(
        store=store,
        paths=paths,
        labels=labels,
        findings=joined.findings,
        patients=patients,
        split=split,
        failed={path: film.message for path, film in zip(paths, store.films, strict=True) if film.status != Status.OK},
        labels_file=labels_file,
        leaks=leaks,
    )


def _store(options: TrainOptions, paths: tuple[str, ...], progress: Progress) -> FilmStore:
    return FilmStore.build(
        options.films,
        paths,
        Preprocessing(size=options.size),
        _cache(),
        workers=options.workers,
        progress=lambda done: progress("reading films", done, len(paths)),
    )


def _cache() -> Path:
    return cache_folder() / "films"


def _leaks(
    options: TrainOptions, split: lab.Split, patients: tuple[str | None, ...], paths: tuple[str, ...], store: FilmStore
) -> tuple[str, ...]:
    """A line for each leak, if they are allowed; LeakError if not."""
    leaks = lab.check_leaks(
        split,
        patients,
        [film.sha256 for film in store.films],
        paths,
        thumbnails=thumbnails(store, options.size, options.films, paths, _cache()),
        allow=options.allow_leak,
    )
    return tuple(f"{leak.why}: {leak}" for leak in leaks)


def _split(
    options: TrainOptions, paths: tuple[str, ...], patients: tuple[str | None, ...], labels: Floats, store: FilmStore
) -> lab.Split:
    """The given or drawn split, without the films that could not be read."""
    if options.split is not None:
        split = lab.draw_valid(lab.read_split(options.split, paths), patients, labels, seed=options.seed)
    else:
        split = lab.split_by_patient(patients, labels, seed=options.seed)
    readable = set(store.rows)
    train, valid, test = (tuple(r for r in rows if r in readable) for rows in (split.train, split.valid, split.test))
    if not train or not valid:
        raise InputError("training needs at least one readable film in each of the splits train and valid")
    return replace(split, train=train, valid=valid, test=test)
