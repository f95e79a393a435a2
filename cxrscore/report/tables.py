"""The tables of a report that hold words: highest films, failed films, provenance."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrscore.films import Status
from cxrscore.report.provenance import after, listed, look, mean_words, models, number, pairs, text, trained, training
from cxrscore.scores.data import Scores

HIGHEST = 3
"""Films named for each finding."""
MOST_FAILURES = 500
"""Rows of the table of failed films."""
LONGEST_JSON = 200_000
"""Characters of raw provenance that a page shows."""


@dataclass(frozen=True, kw_only=True)
class HighestFilms:
    """The films with the highest probabilities of one finding, highest first, as (path, probability).

    above   how many scored films reach the model's operating point; None where it has none
    median  over all scored films; NaN where there are none
    """

    finding: str
    films: tuple[tuple[str, float], ...]
    median: float
    above: int | None


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The films that could not be scored: ``rows`` of (path, reason, message), the first MOST_FAILURES of ``total``;
    ``reasons`` how many there are of each, the most frequent first."""

    rows: tuple[tuple[str, str, str], ...]
    total: int
    reasons: tuple[tuple[str, int], ...]


def highest_films(scores: Scores) -> tuple[HighestFilms, ...]:
    """For each finding the films to look at first."""
    rows = np.flatnonzero(scores.films.status == Status.OK)
    return tuple(_highest(scores, rows, column) for column in range(len(scores.findings)))


def _highest(scores: Scores, rows: Any, column: int) -> HighestFilms:
    prob = scores.prob[rows, column]
    order = np.argsort(-prob, kind="stable")[:HIGHEST]
    threshold = float(scores.thresholds[column])
    return HighestFilms(
        finding=scores.findings[column],
        films=tuple((scores.films.path[rows[place]], float(prob[place])) for place in order),
        median=float(np.median(prob)) if prob.size else math.nan,
        above=int(np.count_nonzero(prob >= threshold)) if math.isfinite(threshold) else None,
    )


def failures(scores: Scores) -> Failures:
    """The films that could not be scored, with the reason of each."""
    failed = np.flatnonzero(scores.films.status != Status.OK)
    counted = Counter(status_words(int(code)) for code in scores.films.status[failed])
    return Failures(
        rows=tuple(
            (scores.films.path[row], status_words(int(scores.films.status[row])), scores.films.message[row])
            for row in failed[:MOST_FAILURES]
        ),
        total=len(failed),
        reasons=tuple(counted.most_common()),
    )


def status_words(code: int) -> str:
    """The name of a status in words; its number where this version knows no name."""
    known = {status.value: status.name for status in Status}
    return known[code].lower().replace("_", " ") if code in known else f"status {code}"


def facts(provenance: Mapping[str, Any]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """What scored what, with which model: groups of (term, words), those left out of which nothing is known."""
    groups = [("Run", _run(provenance)), ("Films and labels", _input(provenance))]
    known_models = models(provenance)
    for place, model in enumerate(known_models, start=1):
        which = f" {place} of {len(known_models)}" if len(known_models) > 1 else ""
        groups += [
            (f"Model{which}", _model(model)),
            (f"Origin{which}", _imported(model)),
            (f"Training{which}", _training(model)),
        ]
    known = ((name, tuple((term, words) for term, words in rows if words)) for name, rows in groups)
    return tuple((name, rows) for name, rows in known if rows)


def _run(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Scored", text(told, "created")),
        ("cxrscore", text(told, "cxrscore")),
        ("Command", text(told, "command")),
        ("Backend", listed(text(told, "backend", "name"), text(told, "backend", "framework"))),
        ("Device", listed(text(told, "backend", "device"), text(told, "backend", "precision"))),
        ("Scores", mean_words(told)),
        ("Films per second", _figure(number(told, "films_per_second"))),
        ("Heat maps", listed(text(told, "explainer", "name"), after("tap ", text(told, "explainer", "tap")))),
    ]


def _input(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Folder", text(told, "films", "folder")),
        ("Other files in it", text(told, "films", "other_files")),
        ("Labels", listed(text(told, "labels", "file"), text(told, "labels", "dataset"))),
        ("Labels matched", text(told, "labels", "matched")),
        ("Labels SHA-256", text(told, "labels", "sha256")),
    ]


def _model(told: Any) -> list[tuple[str, str]]:
    spec = look(told, "document", "spec")
    return [
        ("File", text(told, "file")),
        ("SHA-256", text(told, "sha256")),
        ("Architecture", text(spec, "architecture")),
        ("Input", after("", text(spec, "size"), " pixels a side")),
        ("Preprocessing", pairs(look(told, "document", "preprocessing"))),
        ("Normalisation", text(spec, "normalize")),
        ("Head and activation", listed(text(spec, "head"), text(spec, "activation"))),
        ("Licence", text(told, "document", "licence")),
    ]


def _imported(model: Any) -> list[tuple[str, str]]:
    """Of a model that others trained; nothing of one that was trained here."""
    told = look(model, "document", "training")
    if look(told, "imported") is None:
        return []
    return [
        ("Imported", text(told, "created")),
        ("From", listed(text(told, "weights", "name"), text(told, "weights", "licence"))),
        ("SHA-256", text(told, "weights", "sha256")),
        ("As a file of", text(told, "imported", "kind")),
        ("Outputs in it", text(told, "imported", "outputs")),
    ]


def _training(model: Any) -> list[tuple[str, str]]:
    told = trained(model)
    best = training(model).best_epoch
    return [
        ("Trained", text(told, "created")),
        ("Backend", text(told, "backend")),
        ("Trained part", text(model, "document", "spec", "trainable") if told else ""),
        ("Starting weights", listed(text(told, "weights", "name"), text(told, "weights", "licence"))),
        ("Recipe", pairs(look(told, "recipe"))),
        ("Split", pairs(look(told, "split"), leave_out="sha256")),
        ("Patients", text(told, "patients")),
        ("Labels", listed(text(told, "labels", "file"), text(told, "labels", "dataset"))),
        ("Best epoch", "" if best is None else listed(str(best), after("by ", training(model).monitor_words))),
        ("Seed", text(told, "seed")),
    ]


def _figure(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ""


def raw_json(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """The provenance as lines of JSON in ASCII, cut after LONGEST_JSON characters."""
    whole = json.dumps(provenance, indent=2, ensure_ascii=True)
    lines = whole[:LONGEST_JSON].splitlines()
    if len(whole) > LONGEST_JSON:
        lines.append(f"... cut here: {len(whole) - LONGEST_JSON} characters more stand in the scores file")
    return tuple(lines)
