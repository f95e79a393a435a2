"""Inputs of a report: scores files, CSV tables of scores from other programs, and tables with data of the films."""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore import plugins
from cxrscore.errors import InputError, LabelWarning
from cxrscore.images import Status
from cxrscore.io.strict_json import get_nested, get_text, get_texts
from cxrscore.labels import (
    ALL_LABELS,
    LabelRules,
    describe_table,
    is_other_findings,
    other_findings,
    read_joined_labels,
)
from cxrscore.labels.findings import canonical
from cxrscore.labels.generic_csv import read_film_columns
from cxrscore.labels.match import match_rows
from cxrscore.labels.table import Table, read_table
from cxrscore.labels.unmatched import WARN_ABOVE
from cxrscore.option_values import text_list
from cxrscore.remote import Location, StrPath, as_local_path, local_path, location
from cxrscore.scorefile import open_scores
from cxrscore.scorefile.data import FilmRows, HeatMaps, Scores, Thumbnails

_PREFIX = "prob_"
_UNCALIBRATED = "prob_uncalibrated_"
Doubles = NDArray[np.float64]
_HASH = re.compile(r"[0-9a-f]{64}|row \d+")
FILMS = ("film", "path", "Image Index", "Image", "image", "filename", "file")
"""Accepted names of the film column in a table of scores."""


@dataclass(frozen=True, kw_only=True)
class NamedScores:
    """Scores and their name in a report, such as the name of their file.

    Attributes
    ----------
    name : str
        Name in the report.
    scores : Scores
        The scores.
    files : tuple of path or URL
        Files of the scores, which no report replaces.
    notes : tuple of str
        Lines on films without a row in the label table and rows without a film; these may name films. If more than a
        tenth of both has no counterpart, there is a LabelWarning instead.
    """

    name: str
    scores: Scores
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


LABEL_RULES = ("film_column", "patient_column", "findings", "uncertain", "blank", "allow_unmatched")
"""Arguments of open_named_scores that say how a label table is read."""


def split_by_columns(findings: str | Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The findings that are given with the column of their labels, NAME=COLUMN, and the names of the others."""
    given = text_list(findings, "findings")
    return tuple(one for one in given if "=" in one), tuple(one for one in given if "=" not in one)


def open_named_scores(
    path: Location,
    labels: StrPath | None = None,
    *,
    film_column: str | None = None,
    patient_column: str | None = None,
    findings: Sequence[str] = (),
    uncertain: str = "unknown",
    blank: str = "unknown",
    allow_unmatched: bool = False,
) -> NamedScores:
    """Opens scores of cxrscore or of another program.

    Parameters
    ----------
    path : path or URL
        A scores file of ``cxrscore score`` (HDF5), or a CSV table with a column for the film and a column of
        probabilities for each finding, named FINDING or prob_FINDING.
    labels : path, optional
        Label table that replaces the labels in the file, joined by the paths of the films.
    film_column, patient_column, findings, uncertain, blank, allow_unmatched
        How that table is read; see ScoreOptions.

    Returns
    -------
    NamedScores
        The scores, their name and their files.

    Raises
    ------
    InputError
        If there is no file, or a table does not contain scores.
    FileFormatError
        If the file is damaged.

    Examples
    --------
    >>> cxrscore.open_named_scores("other.csv", labels="labels.csv").scores.findings  # doctest: +SKIP
    ('Atelectasis', 'Cardiomegaly', ...)
    """
    rules = LabelRules(
        film_column=film_column,
        patient_column=patient_column,
        findings=tuple(findings),
        uncertain=uncertain,
        blank=blank,
        allow_unmatched=allow_unmatched,
    )
    if labels is None and rules != ALL_LABELS:
        given = [name for name in LABEL_RULES if getattr(rules, name) != getattr(ALL_LABELS, name)]
        raise InputError(
            f"{' and '.join(given)} {'says' if len(given) == 1 else 'say'} how to read a label table, and none is "
            "named: expected labels"
        )
    where, labels = location(path, "scores"), None if labels is None else local_path(labels, "labels")
    name, files = where.name, tuple(file for file in (where, labels) if isinstance(file, Path))
    with as_local_path(path) as file:
        scores = read_score_table(file) if PurePath(name).suffix.lower() in (".csv", ".gz") else open_scores(file)
    labelled, notes = (scores, ()) if labels is None else with_labels(scores, labels, name, rules)
    return NamedScores(name=name, scores=labelled, files=files, notes=notes)


def read_score_table(path: Path) -> Scores:
    """A CSV table of scores from another program, as Scores without films, model and heat maps."""
    table = read_table(path)
    film = table.first_of(FILMS)
    if film is None:
        raise table.table_error(f"has no column for the film; expected one named {', '.join(FILMS)}")
    columns = _score_columns(table, film)
    findings = tuple(canonical(name.removeprefix(_PREFIX)) for name in columns)
    if not findings or len(set(findings)) < len(findings):
        raise table.table_error(
            "expected one column of probabilities for each finding, named prob_FINDING or as the finding"
        )
    prob = np.column_stack([_probabilities(table, name) for name in columns])
    paths = tuple(table.column(film))
    name, times = Counter(paths).most_common(1)[0] if paths else ("", 0)
    if times > 1:
        raise table.table_error(f"names the film {name} more than once")
    return _scores_without_films(paths, findings, prob)


def _score_columns(table: Table, film: str) -> list[str]:
    """The columns that begin with prob_, or else all named columns except the film column."""
    named = [name for name in table.columns if name and name != film]
    prob = [name for name in named if name.startswith(_PREFIX)]
    # A table with all columns of `cxrscore export` also has the probabilities before calibration.
    second = {name for name in prob if name.startswith(_UNCALIBRATED) and _PREFIX + name[len(_UNCALIBRATED) :] in prob}
    return [name for name in prob if name not in second] or named


def _probabilities(table: Table, name: str) -> Doubles:
    """float64 [N] of a column, NaN for empty values; InputError, naming the line, for an invalid probability."""
    values = np.full(len(table.rows), np.nan)
    for row, cell in enumerate(table.column(name)):
        if not cell:
            continue
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise table.row_error(row, f"column {name} has {cell!r}, expected a probability from 0 to 1, or nothing")
        values[row] = value
    return values


def _scores_without_films(paths: tuple[str, ...], findings: tuple[str, ...], prob: Doubles) -> Scores:
    """The scores of a table. A film is scored if it has a score of any finding."""
    films, empty = len(paths), ("",) * len(paths)
    there = np.isfinite(prob)
    scored = np.asarray(there.any(axis=1))
    with np.errstate(divide="ignore"):
        logit = np.log(prob) - np.log1p(-prob)
    return Scores(
        findings=findings,
        films=FilmRows(
            path=paths,
            sha256=empty,
            status=np.where(scored, Status.OK, Status.NOT_WRITTEN).astype(np.uint8),
            message=tuple("" if ok else "the table has no score" for ok in scored),
            kind=empty,
            modality=empty,
            view=empty,
            width=np.zeros(films, np.uint32),
            height=np.zeros(films, np.uint32),
            split=np.zeros(films, np.uint8),
            patient=np.full(films, -1, np.int32),
        ),
        logit=logit.astype(np.float32),
        prob=prob,
        prob_uncalibrated=np.full(prob.shape, np.nan, np.float32),
        truth=np.full(prob.shape, np.nan, np.float32),
        thresholds=np.full(len(findings), np.nan, np.float32),
        heat_maps=HeatMaps(
            map=np.zeros((0, 1, 1), np.float16), film=np.zeros(0, np.int32), finding=np.zeros(0, np.int16)
        ),
        thumbnails=Thumbnails(film=np.zeros(0, np.int32), pixels=np.zeros((0, 1, 1), np.uint8)),
        provenance={
            "films": {"total": films},
            "warnings": _missing_scores(findings, there[scored]),
        },
    )


def _missing_scores(findings: Sequence[str], there: NDArray[np.bool_]) -> list[str]:
    """Warnings on findings without a score for some of the scored films; there: bool [N,C], the values that exist."""
    missing = (~there).sum(axis=0)
    return [
        f"{finding}: the table has no score for {count} of {len(there)} films. They are left out of the figures of "
        "this finding only."
        for finding, count in zip(findings, missing.tolist(), strict=True)
        if count
    ]


def with_labels(
    scores: Scores, labels: Path, name: str, rules: LabelRules = ALL_LABELS
) -> tuple[Scores, tuple[str, ...]]:
    """The scores with the labels and, if it has any, the patients of a table; and lines on films without a row and
    rows without a film."""
    check_paths(scores, name)
    rules = dataclasses.replace(rules, model=scores.findings)
    joined, record = read_joined_labels(labels, plugins.datasets(), scores.films.path, rules)
    if note := other_findings(record["file"], joined.findings, scores.findings):
        warnings.warn(note, LabelWarning, stacklevel=2)
    place = {finding: column for column, finding in enumerate(joined.findings)}
    unknown = np.full(len(scores.films.path), np.nan, np.float32)
    truth = [joined.labels[:, place[f]] if f in place else unknown for f in scores.findings]
    order: dict[str, int] = {}
    named = [-1 if p is None else order.setdefault(p, len(order)) for p in joined.patients]
    patient = np.array(named, np.int32) if order else scores.films.patient
    matched = len(scores.films.path) - joined.unmatched_films
    labelled = dataclasses.replace(
        scores,
        truth=np.stack(truth, axis=1),
        films=dataclasses.replace(scores.films, patient=patient),
        provenance={
            **scores.provenance,
            "labels": {**record, "labelled_films": matched},
            "warnings": [text for text in get_texts(scores.provenance, "warnings") if not is_other_findings(text)],
        },
    )
    lines = joined.match.lines(record["file"])
    if joined.match.share > WARN_ABOVE:
        warnings.warn("; ".join(lines), LabelWarning, stacklevel=2)
        return labelled, ()
    return labelled, lines


def described_labels(provenance: Mapping[str, Any]) -> str:
    """What the columns of the label table were read as, in one line."""
    return describe_table(get_nested(provenance, "labels"))


def has_hashed_paths(scores: Scores) -> bool:
    """Whether hashes replace the paths of films (score --anonymize-paths)."""
    paths = scores.films.path
    return bool(paths) and all(map(_HASH.fullmatch, paths))


def check_paths(scores: Scores, name: str) -> None:
    """InputError if hashes replace the paths of films, because a table names films by path."""
    if has_hashed_paths(scores):
        raise InputError(
            f"{name} names its films by hashes (score --anonymize-paths), and a table names them by files: the two "
            "cannot be joined. Score without --anonymize-paths for a report with this table."
        )


def read_columns(path: Path, scores: Scores, name: str) -> Mapping[str, Sequence[str]]:
    """The metadata of each film in a table, N strings per column, "" if missing: sex, age, view or any other.

    InputError if hashes replace the paths of films, if no film has a row, or for a table without a film column.
    """
    check_paths(scores, name)
    film = get_text(scores.provenance, "labels", "columns", "film")
    films, columns = read_film_columns(path, plugins.datasets(), film)
    rows = match_rows(films, scores.films.path)
    if scores.films.path and all(row is None for row in rows):
        raise InputError(f"{path} has no row for any film of {name}, which are named like {scores.films.path[0]!r}")
    return _OfFilms({column: cells for column, cells in columns.items() if column}, rows)


class _OfFilms(Mapping[str, Sequence[str]]):
    """Columns of a table in the order of the films, sorted at first access, because few of many are used."""

    def __init__(self, columns: Mapping[str, Sequence[str]], rows: Sequence[int | None]) -> None:
        self._columns, self._rows = columns, rows

    def __getitem__(self, column: str) -> Sequence[str]:
        cells = self._columns[column]
        return tuple("" if row is None else cells[row] for row in self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)
