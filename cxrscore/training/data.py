"""The films of a run, decoded and resized once, with their labels, their split, and thumbnails to find duplicates."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.images import ImageCache, OtherFiles, Preprocessing, Status, require_films, thumbnail
from cxrscore.io import sha256_bytes
from cxrscore.io.atomic import cannot_write, write_all
from cxrscore.io.entries import cache_folder
from cxrscore.io.strict_json import get_text
from cxrscore.labels import THUMBNAIL
from cxrscore.models.imagenet import WeightsInfo, read_weights_info
from cxrscore.progress import Progress
from cxrscore.training.options import TrainOptions

Doubles = NDArray[np.float64]

_BLOCK = 256


def thumbnails(store: ImageCache, side: int, folder: Path, paths: Sequence[str], cache: Path) -> NDArray[np.uint8]:
    """uint8 [N,T,T] of the N films at `paths` below a folder, blank for unreadable films: a memory map of an anonymous
    file, since there may be a hundred thousand films.

    They are made from the resized films of the image cache; if those are smaller than a thumbnail, from the original
    films. WriteError if the cache is full, InputError if a film changed after it was cached.
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
    """The films below a folder that have at least one label, in the order of their paths; weights: float64 [N], as in
    the table, None without a column of weights."""

    paths: tuple[str, ...]
    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    labels_file: dict[str, Any]
    weights: Doubles | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Those of labels.DEMOGRAPHICS that the table has, "" where unknown."""
    other_files: OtherFiles = field(default_factory=OtherFiles)
    """Files of the folder that are no films."""
    unreadable: tuple[str, ...] = ()
    """Files and folders there that could not be read."""
    unsure: tuple[str, ...] = ()
    """Columns of the table that hold labels only, but are not taken for findings."""
    maybe_patients: tuple[str, ...] = ()
    """Columns of the table that may identify the patients, where none is known to."""
    match_notes: tuple[str, ...] = ()
    """Lines on films without a row and rows without a film."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Films of the run that belong to a split, their labels, and the splits as indexes of the readable films;
    preprocessing: the settings of the image cache."""

    store: ImageCache
    paths: tuple[str, ...]
    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    split: lab.Split
    failed: dict[str, str]
    labels_file: dict[str, Any]
    leaks: tuple[str, ...]
    """One line for each leak that was allowed."""
    preprocessing: Preprocessing
    sample_weights: Doubles | None = None
    """[N], weight of each film in training, of mean 1 over the readable films of all splits; None: all equal."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Those of labels.DEMOGRAPHICS that the table has, by film, "" where unknown."""
    excluded_findings: tuple[str, ...] = ()
    """Findings of the table that cannot be learnt, because all known labels of the training films are equal."""
    notes: tuple[str, ...] = ()
    """What the user should know of the labels, one line each."""
    folder_notes: tuple[str, ...] = ()
    """What the user should know of the folder beside its films, one line each."""

    def weights_of(self, rows: Sequence[int] | NDArray[np.intp]) -> Doubles | None:
        """Weights float64 [n] of these films; None: all equal."""
        return None if self.sample_weights is None else self.sample_weights[np.asarray(rows, np.intp)]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of films in each split."""
        return {name: len(rows) for name, rows in self.split.parts()}

    @property
    def labels_digest(self) -> str:
        """SHA-256 of the findings, labels and weights after parsing: a label format may combine two files."""
        values = np.nan_to_num(self.labels, nan=-1).astype("<f4").tobytes()
        weights = b"" if self.sample_weights is None else self.sample_weights.astype("<f8").tobytes()
        return sha256_bytes("\0".join(self.findings).encode() + b"\0" + values + weights)

    def hashes(self, rows: tuple[int, ...]) -> list[str]:
        return [self.store.films[row].sha256[:16] for row in rows]


def read_data(options: TrainOptions, progress: Progress, *, leaks: bool = True) -> Data:
    """The films of a run; films outside a given split are not read. LeakError also if the initial weights were trained
    on a film of the test split.

    leaks  False: skip the search for leaks, because another process does it
    """
    origin = read_weights_info(options.weights, plugins.get_network(options.architecture))
    preprocessing = Preprocessing(size=options.size, fit=origin.fit or "stretch")
    labelled = labelled_films(options.films, options.labels, options.label_rules)
    labelled, split = _only_used(labelled, _split(options, labelled))
    store = _store(options, labelled.paths, preprocessing, progress)
    split = _readable(split, store, labelled.paths, options)
    weights = _relative_weights(labelled, split)
    labelled, excluded = _with_both_classes(labelled, split.train)
    return Data(
        excluded_findings=excluded,
        store=store,
        paths=labelled.paths,
        labels=labelled.labels,
        findings=labelled.findings,
        patients=labelled.patients,
        split=split,
        failed={path: f.message for path, f in zip(labelled.paths, store.films, strict=True) if f.status != Status.OK},
        labels_file=labelled.labels_file,
        columns=labelled.columns,
        leaks=_leaks(options, split, labelled, store, origin) if leaks else (),
        preprocessing=preprocessing,
        sample_weights=weights,
        notes=_notes(options, labelled),
        folder_notes=_folder_notes(labelled),
    )


def labelled_films(films: Path, labels: Path | None, rules: lab.LabelRules = lab.ALL_LABELS) -> LabelledFilms:
    """See LabelledFilms. labels None: labels.csv in or beside the folder. InputError if there is no table, or if it
    has no label of any film."""
    found = require_films(films)
    table = labels or lab.find_labels(films)
    if table is None:
        raise InputError(f"there is no labels.csv in or beside {films}. Name the label table with --labels.")
    joined, labels_file = lab.read_joined_labels(table, plugins.datasets(), found.paths, rules)
    if len(joined.findings) > lab.MAX_FINDINGS:
        raise InputError(
            f"{table} has {len(joined.findings):,} findings, expected at most {lab.MAX_FINDINGS:,}. Take out the "
            "columns of 0 and 1 that are not findings."
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
        maybe_patients=joined.maybe_patients,
        unsure=() if rules.findings else joined.unsure,
        columns=_of_rows({name: joined.columns[name] for name in lab.DEMOGRAPHICS if name in joined.columns}, rows),
        weights=_weights(table, found.paths, joined, rows, rules.weight_column),
        match_notes=joined.match.lines(table.name),
        other_files=found.others,
        unreadable=found.unreadable,
    )


def _weights(
    table: Path, films: Sequence[str], joined: lab.JoinedLabels, rows: Sequence[int], column: str | None
) -> Doubles | None:
    """float64 [n] from the cells of a column for these rows of the films; InputError for a cell that is no weight."""
    if column is None:
        return None
    cells = [joined.columns[column][row] for row in rows]
    weights = np.array([_weight(cell) for cell in cells])
    if (odd := ~np.isfinite(weights) | (weights < 0)).any():
        place = int(np.argmax(odd))
        raise InputError(
            f"{table}: column {column} has {cells[place][:40]!r} for the film {films[rows[place]]!r}, expected its "
            "weight, a number, 0 or more"
        )
    return weights


def _weight(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _relative_weights(labelled: LabelledFilms, split: lab.Split) -> Doubles | None:
    """The weights [N], divided by their mean over the films of the split; InputError if no training film has any."""
    if labelled.weights is None:
        return None
    if not labelled.weights[list(split.train)].any():
        raise InputError("the weights of all training films are 0, expected some above 0")
    used = labelled.weights[[row for _, rows in split.parts() for row in rows]]
    return np.asarray(labelled.weights / used.max() / (used / used.max()).mean(), np.float64)


def _of_rows(columns: Mapping[str, tuple[str, ...]], rows: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """The cells of these rows."""
    return {name: tuple(cells[row] for row in rows) for name, cells in columns.items()}


def _split(options: TrainOptions, labelled: LabelledFilms) -> lab.Split:
    """The given or drawn split."""
    patients, labels, seed = labelled.patients, labelled.labels, options.seed
    if options.split is None:
        valid = 0.0 if options.probe else (1 - options.test) / 8
        fractions = (1 - options.test - valid, valid, options.test)
        return lab.split_by_patient(patients, labels, fractions=fractions, seed=seed)
    given = lab.read_split(options.split, labelled.paths)
    return _joined(given) if options.probe else lab.draw_valid(given, patients, labels, seed=seed)


def _joined(split: lab.Split) -> lab.Split:
    """The split with its validation films among the training films: cross-validation takes their place."""
    if not split.valid:
        return split
    rule = f"{split.rule}; valid belongs to train, which is cross-validated"
    return lab.Split(train=tuple(sorted((*split.train, *split.valid))), valid=(), test=split.test, rule=rule)


def _only_used(labelled: LabelledFilms, split: lab.Split) -> tuple[LabelledFilms, lab.Split]:
    """The films that belong to a split, and the split of these. A drawn split contains all films."""
    rows = sorted(row for _, part in split.parts() for row in part)
    place = {row: number for number, row in enumerate(rows)}
    train, valid, test = (tuple(place[row] for row in part) for _, part in split.parts())
    used = replace(
        labelled,
        paths=tuple(labelled.paths[row] for row in rows),
        labels=labelled.labels[rows],
        patients=tuple(labelled.patients[row] for row in rows),
        columns=_of_rows(labelled.columns, rows),
        weights=None if labelled.weights is None else labelled.weights[rows],
    )
    return used, replace(split, train=train, valid=valid, test=test)


def _with_both_classes(labelled: LabelledFilms, train: Sequence[int]) -> tuple[LabelledFilms, tuple[str, ...]]:
    """The films without the findings that lack positive or negative training films, and these findings;
    InputError if none is left."""
    rows = list(train)
    labels = labelled.labels[rows if labelled.weights is None else [row for row in rows if labelled.weights[row] > 0]]
    positive, negative = (labels > 0.5).any(axis=0), (labels < 0.5).any(axis=0)
    kept = np.flatnonzero(positive & negative)
    excluded = tuple(name for c, name in enumerate(labelled.findings) if c not in kept)
    if not len(kept):
        raise InputError(
            f"no finding can be learnt: of {', '.join(excluded[:8])} no training film is positive or none is negative, "
            "expected both. A table that marks positives only needs --blank negative."
        )
    findings = tuple(labelled.findings[c] for c in kept)
    return replace(labelled, labels=np.ascontiguousarray(labelled.labels[:, kept]), findings=findings), excluded


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


def _readable(split: lab.Split, store: ImageCache, paths: Sequence[str], options: TrainOptions) -> lab.Split:
    """The split without the films that could not be read."""
    readable = set(store.rows)
    train, valid, test = (tuple(row for row in rows if row in readable) for _, rows in split.parts())
    if not train or not (valid or options.probe):
        part = "train" if not train else "valid"
        films = getattr(split, part)
        met = "no film"
        if films:
            met = f"{len(films)} films, of which none can be used: {paths[films[0]]} {store.films[films[0]].message}"
        raise InputError(f"the split {part} has {met}; expected 1 or more. Check the films, the labels and --split.")
    return replace(split, train=train, valid=valid, test=test)


def _folder_notes(labelled: LabelledFilms) -> tuple[str, ...]:
    """Lines on what else is in the folder."""
    notes = []
    if unreadable := labelled.unreadable:
        more = f" and {len(unreadable) - 1:,} more" if len(unreadable) > 1 else ""
        notes.append(f"films may be missing: {unreadable[0]}{more} could not be read")
    if others := labelled.other_files.sentence():
        notes.append(others)
    return tuple(notes)


def _notes(options: TrainOptions, labelled: LabelledFilms) -> tuple[str, ...]:
    """Lines on the labels."""
    notes = [lab.describe_table(labelled.labels_file), *labelled.match_notes]
    if labelled.unsure:
        notes.append(
            f"columns of 0 and 1 that are not trained: {lab.some_names(labelled.unsure, 8)}; to train them as "
            f"findings, use --finding {lab.ALL},{labelled.unsure[0]}"
        )
    notes += _patient_notes(labelled)
    odd = () if options.findings else lab.unusual_findings(labelled.labels_file["dataset"], labelled.findings)
    if odd:
        notes.append(
            f"columns of the label table taken for findings: {lab.some_names(odd, 8)}. Name the findings with "
            "--finding to leave others out"
        )
    if soft := int(np.count_nonzero((labelled.labels > 0) & (labelled.labels < 1))):
        notes.append(
            f"{soft} labels are soft, between 0 and 1: the loss takes the number; where classes are counted, above 0.5 "
            "is positive, below is negative, 0.5 is neither"
        )
    return tuple(notes)


def _patient_notes(labelled: LabelledFilms) -> list[str]:
    """Lines on films whose patient is unknown."""
    unknown = sum(patient is None for patient in labelled.patients)
    if not unknown:
        return []
    maybe = ", such as " + " or ".join(map(repr, labelled.maybe_patients[:3])) if labelled.maybe_patients else ""
    if unknown < len(labelled.patients):
        films = f"{unknown} of {len(labelled.patients)} films have no patient"
        return [f"{films}: each counts as a patient of its own, so name its patient in the table if that is not so"]
    column = get_text(labelled.labels_file, "columns", "patient")
    unknown_column = "no column of the label table is known to identify the patients"
    why = f"no film has a patient in the column {column} of the label table" if column else unknown_column
    return [
        f"WARNING: {why}, and the names of the films do not tell the patients: the split and the folds are by film, "
        "not by patient",
        "If patients have several films, all figures of this run are too good. Name the column with --patient-column"
        f"{maybe}",
    ]


def _leaks(
    options: TrainOptions, split: lab.Split, labelled: LabelledFilms, store: ImageCache, origin: WeightsInfo
) -> tuple[str, ...]:
    """One line for each leak if leaks are allowed; LeakError if not."""
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
