"""The text tables of a report: films with the highest probabilities, failed films, provenance."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from cxrscore.images import Status
from cxrscore.labels import describe_columns, describe_rules, match_counts
from cxrscore.metrics import hard_truth
from cxrscore.models.calibration import describe_probabilities, prevalences, times_prevalence
from cxrscore.models.evaluation import read_probe, used_recipe
from cxrscore.reporting.heatmaps import Pixels, shrink
from cxrscore.reporting.provenance import (
    after,
    describe_mean,
    describe_other_files,
    format_pairs,
    get_nested,
    get_number,
    get_text,
    get_texts,
    join_words,
    provenance_models,
    read_own_training,
    read_training,
)
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.scorefile.data import SPLITS, Scores
from cxrscore.status import group_failures, status_name

HIGHEST = 3
"""Number of films listed for each finding."""
PICTURE_SIDE = 96
"""Maximum side of the thumbnail of a listed film, pixels."""
MAX_PICTURES = 150
"""Maximum number of films with a thumbnail in the table: half a megabyte of the page."""
MAX_FAILURES = 500
"""Maximum number of rows of the table of failed films."""
MOST_OF_A_REASON = 20
"""Maximum number of failed films that the table lists for one reason."""
LONGEST_JSON = 200_000
"""Maximum number of characters of raw provenance in the page."""


@dataclass(frozen=True, kw_only=True)
class HighestFilm:
    """A film with one of the highest probabilities of a finding.

    times      prob in the words of times_prevalence
    split      word of SPLITS
    truth      0, 1 or NaN
    thumbnail  uint8 [S,S,3], or None
    """

    path: str
    prob: float
    times: str
    split: str
    truth: float
    thumbnail: Pixels | None

    @property
    def seen(self) -> str:
        """How a model used the film, in words; "" if it did not."""
        return {"train": "seen in training", "valid": "seen in validation"}.get(self.split, "")

    @property
    def label(self) -> str:
        """As the metrics count it: a soft label above 0.5 is positive, below negative; "" if it is neither."""
        return "positive" if self.truth > 0.5 else "negative" if self.truth < 0.5 else ""


@dataclass(frozen=True, kw_only=True)
class HighestFilms:
    """The films with the highest probabilities of one finding, highest first.

    scored      number of films with a score of this finding; median: over them, NaN if there are none
    prevalence  for which the probabilities hold; NaN if it is unknown
    threshold   of the model; NaN if it has none
    above       number of scored films that reach the threshold; None if there is none
    """

    finding: str
    films: tuple[HighestFilm, ...]
    scored: int
    median: float
    prevalence: float
    threshold: float
    above: int | None


@dataclass(frozen=True, kw_only=True)
class FailedFilms:
    """Films that could not be scored for one reason, a FailureGroup of cxrscore.status: the first MOST_OF_A_REASON of
    ``total`` as (path, message)."""

    reason: str
    films: tuple[tuple[str, str], ...]
    total: int

    @property
    def more(self) -> int:
        """Number of films that are not listed."""
        return self.total - len(self.films)


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The films that could not be scored, ``total`` in all: in groups with MAX_FAILURES rows at most, the largest
    first; ``reasons``: number of films for each status, the most frequent first."""

    groups: tuple[FailedFilms, ...]
    total: int
    reasons: tuple[tuple[str, int], ...]

    @property
    def listed(self) -> int:
        """Number of films that are listed or counted in a group."""
        return sum(group.total for group in self.groups)


def highest_films(scores: Scores) -> tuple[HighestFilms, ...]:
    """The films with the highest probabilities of each finding."""
    rows, ranked = np.flatnonzero(scores.films.status == Status.OK), ranking_scores(scores)
    known = prevalences(scores.provenance, scores.findings)
    pictures = _Thumbnails(scores)
    return tuple(
        _highest(scores, rows, column, ranked[:, column], known.get(finding), pictures)
        for column, finding in enumerate(scores.findings)
    )


class _Thumbnails:
    """Small pictures of films, of MAX_PICTURES films at most."""

    def __init__(self, scores: Scores) -> None:
        self._pixels = scores.thumbnails.pixels
        self._place = {int(row): place for place, row in enumerate(scores.thumbnails.film)}
        self._shown: set[int] = set()

    def of(self, row: int) -> Pixels | None:
        if row not in self._place or (row not in self._shown and len(self._shown) >= MAX_PICTURES):
            return None
        self._shown.add(row)
        small = shrink(self._pixels[self._place[row]], PICTURE_SIDE)
        return np.repeat(small[..., None], 3, axis=2)


def _highest(
    scores: Scores, rows: Any, column: int, ranked: Any, prevalence: float | None, pictures: _Thumbnails
) -> HighestFilms:
    """The highest of these films, without those that have no score of this finding."""
    rows = rows[~np.isnan(ranked[rows])]
    prob, truth = scores.prob[rows, column], hard_truth(scores.truth[rows, column])
    order = np.argsort(-ranked[rows], kind="stable")[:HIGHEST]
    threshold = float(scores.thresholds[column])
    return HighestFilms(
        finding=scores.findings[column],
        films=tuple(
            HighestFilm(
                path=scores.films.path[rows[place]],
                prob=float(prob[place]),
                times=times_prevalence(float(prob[place]), prevalence),
                split=SPLITS[scores.films.split[rows[place]]],
                truth=float(truth[place]),
                thumbnail=pictures.of(int(rows[place])),
            )
            for place in order
        ),
        scored=len(rows),
        median=float(np.median(prob)) if prob.size else math.nan,
        prevalence=math.nan if prevalence is None else prevalence,
        threshold=threshold,
        above=int(np.count_nonzero(prob >= threshold)) if math.isfinite(threshold) else None,
    )


def highest_rows(highest: Sequence[HighestFilms]) -> list[tuple[object, ...]]:
    """The table of the highest scores for drawn.csv_uri: a row for each film, after the names of the columns."""
    names = ("finding", "rank", "film", "probability", "label", "split")
    of_finding = ("prevalence", "median", "threshold", "films_at_or_above", "films_scored")
    return [
        (*names, *of_finding),
        *(
            (
                *(one.finding, rank, film.path, film.prob, film.label, film.split),
                *(one.prevalence, one.median, one.threshold, one.above, one.scored),
            )
            for one in highest
            for rank, film in enumerate(one.films, start=1)
        ),
    ]


def failures(scores: Scores) -> Failures:
    """The films that could not be scored, with the reason of each."""
    failed = np.flatnonzero(scores.films.status != Status.OK)
    counted = Counter(status_words(int(code)) for code in scores.films.status[failed])
    found = group_failures(
        (scores.films.path[row], status_words(int(scores.films.status[row])), scores.films.message[row])
        for row in failed
    )
    groups = [
        FailedFilms(reason=group.status, films=group.films[:MOST_OF_A_REASON], total=len(group.films))
        for group in found
    ]
    rows = accumulate(len(group.films) for group in groups)
    return Failures(
        groups=tuple(group for group, end in zip(groups, rows, strict=True) if end <= MAX_FAILURES),
        total=len(failed),
        reasons=tuple(counted.most_common()),
    )


def status_words(code: int) -> str:
    """The name of a status as text; its number if this version has no name for it."""
    return status_name(code).lower().replace("_", " ")


def provenance_table(
    provenance: Mapping[str, Any], read_with: str = ""
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """The provenance as groups of (term, text); unknown terms are omitted. read_with: the routine notes on films."""
    films = [*_input(provenance), ("Films read with", read_with)]
    groups = [("Run", _run(provenance)), ("Films and labels", films)]
    ensemble = get_nested(provenance, "ensemble")
    named = [(term, get_text(ensemble, key)) for term, key in (("File", "file"), ("SHA-256", "sha256"))]
    groups.append(("Ensemble", [*named, ("Calibration", get_text(ensemble, "document", "calibration", "method"))]))
    known_models = provenance_models(provenance)
    for place, model in enumerate(known_models, start=1):
        which = f" {place} of {len(known_models)}" if len(known_models) > 1 else ""
        groups += [
            (f"Model{which}", _model(model)),
            (f"Origin{which}", _imported(model)),
            (f"Training{which}", _training(model)),
        ]
    known = ((name, tuple((term, words) for term, words in rows if words)) for name, rows in groups)
    return tuple((name, rows) for name, rows in known if rows)


def _run(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Scored", get_text(provenance, "created")),
        ("cxrscore", get_text(provenance, "cxrscore")),
        ("Command", get_text(provenance, "command")),
        ("Backend", join_words(get_text(provenance, "backend", "name"), get_text(provenance, "backend", "framework"))),
        ("Device", join_words(get_text(provenance, "backend", "device"), get_text(provenance, "backend", "precision"))),
        ("Scores", describe_mean(provenance)),
        ("Probabilities", describe_probabilities(provenance) if provenance_models(provenance) else ""),
        ("Films per second", _figure(get_number(provenance, "films_per_second"))),
        (
            "Heat maps",
            join_words(
                get_text(provenance, "explainer", "name"),
                after("layer ", get_text(provenance, "explainer", "cam_layer")),
            ),
        ),
    ]


def _input(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Folder", get_text(provenance, "films", "folder")),
        ("Other files in it", describe_other_files(provenance)),
        ("Labels", join_words(get_text(provenance, "labels", "file"), get_text(provenance, "labels", "dataset"))),
        ("Columns", describe_columns(get_nested(provenance, "labels"))),
        ("Labels read with", describe_rules(get_nested(provenance, "labels"))),
        ("Labels matched", _matched(provenance)),
        ("Labels SHA-256", get_text(provenance, "labels", "sha256")),
    ]


def _matched(provenance: Mapping[str, Any]) -> str:
    """Films and rows with a counterpart; of a file of an earlier version, only the films with a row."""
    return match_counts(get_nested(provenance, "labels", "match")) or get_text(provenance, "labels", "labelled_films")


def _model(model: Any) -> list[tuple[str, str]]:
    spec = get_nested(model, "document", "spec")
    return [
        ("File", get_text(model, "file")),
        ("SHA-256", get_text(model, "sha256")),
        ("Architecture", get_text(spec, "architecture")),
        ("Input", after("", get_text(spec, "size"), " pixels a side")),
        ("Preprocessing", format_pairs(get_nested(model, "document", "preprocessing"))),
        ("Normalisation", get_text(spec, "normalize")),
        ("Head and activation", join_words(get_text(spec, "head"), get_text(spec, "activation"))),
        ("Licence", get_text(model, "document", "licence")),
        ("Trained on", ", ".join(get_texts(model, "trained_on"))),
    ]


def _imported(model: Any) -> list[tuple[str, str]]:
    """Terms of an imported model; empty for a model that cxrscore trained."""
    training = get_nested(model, "document", "training")
    if get_nested(training, "imported") is None:
        return []
    return [
        ("Imported", get_text(training, "created")),
        ("From", join_words(get_text(training, "weights", "name"), get_text(training, "weights", "licence"))),
        ("SHA-256", get_text(training, "weights", "sha256")),
        ("File type", get_text(training, "imported", "checkpoint_type")),
        ("Outputs in this file", get_text(training, "imported", "n_outputs")),
    ]


def _training(model: Any) -> list[tuple[str, str]]:
    training = read_own_training(model)
    best = read_training(model).best_epoch
    return [
        ("Trained", get_text(training, "created")),
        ("Backend", get_text(training, "backend")),
        ("Trained part", get_text(model, "document", "spec", "trainable") if training else ""),
        (
            "Starting weights",
            join_words(get_text(training, "weights", "name"), get_text(training, "weights", "licence")),
        ),
        ("Fitted", "" if (probe := read_probe(get_nested(model, "document"))) is None else probe.sentence),
        ("Recipe", format_pairs(used_recipe(training))),
        ("Split", format_pairs(get_nested(training, "split"), leave_out="sha256")),
        ("Patients", get_text(training, "patients")),
        ("Labels", join_words(get_text(training, "labels", "file"), get_text(training, "labels", "dataset"))),
        ("Columns", describe_columns(get_nested(training, "labels"))),
        ("Labels read with", describe_rules(get_nested(training, "labels"))),
        ("Labels matched", match_counts(get_nested(training, "labels", "match"))),
        ("Best epoch", "" if best is None else join_words(str(best), after("by ", read_training(model).monitor_words))),
        ("Seed", get_text(training, "seed")),
    ]


def _figure(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ""


def raw_json(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """The provenance as lines of JSON in ASCII, cut after LONGEST_JSON characters."""
    text = json.dumps(provenance, indent=2, ensure_ascii=True)
    lines = text[:LONGEST_JSON].splitlines()
    if len(text) > LONGEST_JSON:
        lines.append(f"... truncated: the scores file contains {len(text) - LONGEST_JSON} more characters")
    return tuple(lines)
