"""The films of a run, decoded and resized once, with their labels, their split, and thumbnails to find duplicates."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.images import ImageCache, Preprocessing, Status, require_films, thumbnail
from cxrscore.io import sha256_bytes
from cxrscore.io.atomic import cannot_write, write_all
from cxrscore.io.entries import cache_folder
from cxrscore.labels import THUMBNAIL
from cxrscore.models.imagenet import WeightsInfo, read_weights_info
from cxrscore.progress import Progress
from cxrscore.training.options import TrainOptions

_BLOCK = 256


def thumbnails(store: ImageCache, side: int, folder: Path, paths: Sequence[str], cache: Path) -> NDArray[np.uint8]:
    """uint8 [N,T,T] of the N films at `paths` below a folder, blank for films without pixels: a memory map of a file
    without a name, as there may be a hundred thousand.

    They are made from the films as they lie in the store, of this side; where these are smaller than a thumbnail,
    anew from the films themselves. WriteError where the cache has no room, InputError where a film has changed since
    the store was made.
    """
    if side < THUMBNAIL:
        given, store = store, ImageCache.build(folder, paths, Preprocessing(size=THUMBNAIL), cache, workers=1)
        for path, before, now in zip(paths, given.films, store.films, strict=True):
            if before.sha256 != now.sha256:
                raise InputError(f"the film {folder / path} changed while the run read it. Start the run again.")
    try:
        with tempfile.TemporaryFile(dir=cache, buffering=0) as file:
            for start in range(0, len(store.films), _BLOCK):
                block = [_thumbnail(store, row) for row in range(start, min(start + _BLOCK, len(store.films)))]
                write_all(file.fileno(), np.stack(block).tobytes())
            return np.memmap(file, np.uint8, mode="r", shape=(len(store.films), THUMBNAIL, THUMBNAIL))
    except OSError as error:
        raise cannot_write(cache, error) from error


def _thumbnail(store: ImageCache, row: int) -> NDArray[np.uint8]:
    if store.films[row].status != Status.OK:
        return np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)
    return thumbnail(store.raw(row), THUMBNAIL)


@dataclass(frozen=True, kw_only=True)
class LabelledFilms:
    """The films below a folder that a label table tells something of, in the order of their paths."""

    paths: tuple[str, ...]
    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    labels_file: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Films of the run, those in a part of the split, their labels, and the split as indexes of those that could be
    read; preprocessing is what the store was made with."""

    store: ImageCache
    paths: tuple[str, ...]
    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    split: lab.Split
    failed: dict[str, str]
    labels_file: dict[str, str]
    leaks: tuple[str, ...]
    """A line for each leak that was allowed."""
    preprocessing: Preprocessing

    @property
    def sizes(self) -> dict[str, int]:
        """How many films each part of the split has."""
        return {name: len(rows) for name, rows in self.split.parts()}

    @property
    def labels_digest(self) -> str:
        """SHA-256 of the findings and of the labels as they were read: a layout may take some from a second file."""
        values = np.nan_to_num(self.labels, nan=-1)
        return sha256_bytes("\0".join(self.findings).encode() + b"\0" + values.astype("<f4").tobytes())

    def hashes(self, rows: tuple[int, ...]) -> list[str]:
        return [self.store.films[row].sha256[:16] for row in rows]


def read_data(options: TrainOptions, progress: Progress, *, leaks: bool = True) -> Data:
    """The films of a run; those that a given split leaves out are not looked at. InputError and LeakError as they say,
    the latter also where the weights to start from have seen a film that is to be tested on.

    leaks  False: they are not looked for, as another process does
    """
    origin = read_weights_info(options.weights)
    preprocessing = Preprocessing(size=options.size, fit=origin.fit or "stretch")
    labelled = labelled_films(options.films, options.labels, options.uncertain)
    labelled, split = _only_used(labelled, _split(options, labelled))
    store = _store(options, labelled.paths, preprocessing, progress)
    split = _readable(split, store)
    return Data(
        store=store,
        paths=labelled.paths,
        labels=labelled.labels,
        findings=labelled.findings,
        patients=labelled.patients,
        split=split,
        failed={path: f.message for path, f in zip(labelled.paths, store.films, strict=True) if f.status != Status.OK},
        labels_file=labelled.labels_file,
        leaks=_leaks(options, split, labelled, store, origin) if leaks else (),
        preprocessing=preprocessing,
    )


def labelled_films(films: Path, labels: Path | None, uncertain: str = "unknown") -> LabelledFilms:
    """See LabelledFilms. labels None: labels.csv in or beside the folder. InputError where there is no table, or it
    tells nothing of any film."""
    found = require_films(films)
    table = labels or lab.find_labels(films)
    if table is None:
        raise InputError(f"there is no labels.csv in or beside {films}. Name the label table with --labels.")
    joined, labels_file = lab.read_joined_labels(table, plugins.datasets(), found.paths, uncertain)
    if len(joined.findings) > lab.MAX_FINDINGS:
        raise InputError(
            f"{table} has {len(joined.findings):,} findings, wanted at most {lab.MAX_FINDINGS:,}. Take out the "
            "columns of 0 and 1 that are none."
        )
    rows = [row for row in range(len(found.paths)) if not np.isnan(joined.labels[row]).all()]
    if not rows:
        raise InputError(
            f"no film below {films} has a label in {table}; films are named like {found.paths[0]!r}: "
            "does the table name them so?"
        )
    return LabelledFilms(
        paths=tuple(found.paths[row] for row in rows),
        labels=joined.labels[rows],
        findings=joined.findings,
        patients=tuple(joined.patients[row] for row in rows),
        labels_file=labels_file,
    )


def _split(options: TrainOptions, labelled: LabelledFilms) -> lab.Split:
    """The given or drawn split."""
    if options.split is None:
        return lab.split_by_patient(labelled.patients, labelled.labels, seed=options.seed)
    return lab.draw_valid(
        lab.read_split(options.split, labelled.paths), labelled.patients, labelled.labels, seed=options.seed
    )


def _only_used(labelled: LabelledFilms, split: lab.Split) -> tuple[LabelledFilms, lab.Split]:
    """The films that are in a part, and the split of these. A drawn one leaves none out."""
    rows = sorted(row for _, part in split.parts() for row in part)
    place = {row: number for number, row in enumerate(rows)}
    train, valid, test = (tuple(place[row] for row in part) for _, part in split.parts())
    used = replace(
        labelled,
        paths=tuple(labelled.paths[row] for row in rows),
        labels=labelled.labels[rows],
        patients=tuple(labelled.patients[row] for row in rows),
    )
    return used, replace(split, train=train, valid=valid, test=test)


def _store(
    options: TrainOptions, paths: tuple[str, ...], preprocessing: Preprocessing, progress: Progress
) -> ImageCache:
    return ImageCache.build(
        options.films,
        paths,
        preprocessing,
        _cache(),
        workers=options.workers,
        progress=lambda done: progress("reading films", done, len(paths)),
    )


def _cache() -> Path:
    return cache_folder() / "films"


def _readable(split: lab.Split, store: ImageCache) -> lab.Split:
    """The split without the films that could not be read."""
    readable = set(store.rows)
    train, valid, test = (tuple(row for row in rows if row in readable) for _, rows in split.parts())
    if not train or not valid:
        raise InputError("training needs at least one readable film in each of the splits train and valid")
    return replace(split, train=train, valid=valid, test=test)


def _leaks(
    options: TrainOptions, split: lab.Split, labelled: LabelledFilms, store: ImageCache, origin: WeightsInfo
) -> tuple[str, ...]:
    """A line for each leak, if they are allowed; LeakError if not."""
    leaks = lab.check_leakage(
        split,
        labelled.patients,
        [film.sha256 for film in store.films],
        labelled.paths,
        thumbnails=thumbnails(store, options.size, options.films, labelled.paths, _cache()),
        seen=origin.seen,
        allow=options.allow_leakage,
    )
    return tuple(f"{leak.why}: {leak}" for leak in leaks)
