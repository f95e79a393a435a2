"""Spread of the macro AUC over several scores files: repeated splits, folds, or several models on the same films.

A paired difference says which of two models is better on films that both have scored. Models of one kind that were
evaluated on different films, as the folds of a cross-validation, have few or no such films. What describes them is the
mean of their figures and how far these lie apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrscore.io.strict_json import get_text, provenance_models
from cxrscore.labels.match import match_rows
from cxrscore.metrics import Estimate, delong, mean_estimate
from cxrscore.reporting.auc import patient_groups
from cxrscore.reporting.load_scores import NamedScores, check_paths
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.reporting.summary import Basis, Rows, evaluation_films
from cxrscore.scorefile.data import Scores

MIN_FILES = 3
"""Files of which a spread is given: a standard deviation of two numbers says nothing."""


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """A file on its own evaluated films (summary.evaluation_films).

    films  number of these films
    basis  what its model had to do with them
    macro  mean AUC of the findings of the spread
    """

    name: str
    films: int
    basis: Basis
    macro: Estimate


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The macro AUCs of K files, each on its own evaluated films.

    Attributes
    ----------
    files : tuple of FileResult
        In the order of the files.
    findings : tuple of str
        Findings with an AUC in every file, which the macro AUCs are of.
    in_all : int
        Number of films that are evaluated in all files.
    in_one : int
        Number of films that are evaluated in one file only.
    films : int
        Number of films that are evaluated in any file.
    networks : tuple of str
        Different networks that the files name; empty if they name none.
    """

    files: tuple[FileResult, ...]
    findings: tuple[str, ...]
    in_all: int
    in_one: int
    films: int
    networks: tuple[str, ...]

    @property
    def same_films(self) -> bool:
        """Whether all files are evaluated on the same films."""
        return self.in_all == self.films

    @property
    def is_held_out(self) -> bool:
        """Whether a file has evaluated films that its model was not trained on."""
        return any(one.basis != "training" for one in self.files)

    @property
    def values(self) -> tuple[float, ...]:
        """The macro AUC of each file."""
        return tuple(one.macro.value for one in self.files)

    @property
    def mean(self) -> float:
        """Mean of the macro AUCs."""
        return math.fsum(self.values) / len(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation of the macro AUCs, with K - 1 in the denominator."""
        return float(np.std(self.values, ddof=1))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "same_films": self.same_films,
            "films": self.films,
            "films_in_all": self.in_all,
            "films_in_one": self.in_one,
            "findings": list(self.findings),
            "networks": list(self.networks),
            "mean": self.mean,
            "standard_deviation": self.deviation,
            "lowest": min(self.values),
            "highest": max(self.values),
            "files": [
                {"name": one.name, "films": one.films, "basis": one.basis, "macro_auc": one.macro.value}
                for one in self.files
            ],
        }


def macro_spread(files: Sequence[NamedScores], findings: Sequence[str]) -> Spread | None:
    """The spread over the files.

    Parameters
    ----------
    files : sequence of NamedScores
        Scores files.
    findings : sequence of str
        Findings that all files have.

    Returns
    -------
    Spread or None
        None for fewer than MIN_FILES files, and if no finding has an AUC in all of them.
    """
    if len(files) < MIN_FILES:
        return None
    evaluated = [evaluation_films(one.scores) for one in files]
    aucs = [_aucs(one.scores, own.rows, findings) for one, own in zip(files, evaluated, strict=True)]
    defined = [c for c in range(len(findings)) if all(math.isfinite(own[c].value) for own in aucs)]
    if not defined:
        return None
    counted = Counter(
        key for keys, own in zip(_film_keys(files), evaluated, strict=True) for key in {keys[row] for row in own.rows}
    )
    return Spread(
        files=tuple(
            FileResult(
                name=one.name, films=len(own.rows), basis=own.basis, macro=mean_estimate([auc[c] for c in defined])
            )
            for one, own, auc in zip(files, evaluated, aucs, strict=True)
        ),
        findings=tuple(findings[c] for c in defined),
        in_all=sum(count == len(files) for count in counted.values()),
        in_one=sum(count == 1 for count in counted.values()),
        films=len(counted),
        networks=_networks(files),
    )


def _aucs(scores: Scores, rows: Rows, findings: Sequence[str]) -> list[Estimate]:
    """The AUC of each finding on these films."""
    groups = patient_groups(scores.films.patient[rows])
    ranked = ranking_scores(scores)
    found = []
    for column in map(scores.findings.index, findings):
        score = ranked[rows, column]
        truth = np.where(np.isnan(score), np.nan, scores.truth[rows, column])
        found.append(delong(truth, score, groups))
    return found


def _film_keys(files: Sequence[NamedScores]) -> list[list[str | int]]:
    """For each file, what its films are known by in all files: their hash, or if a file has no hashes their path."""
    if all(any(one.scores.films.sha256) for one in files):
        films = [one.scores.films for one in files]
        return [[digest or path for digest, path in zip(one.sha256, one.path, strict=True)] for one in films]
    for one in files:
        check_paths(one.scores, one.name)
    first = files[0].scores.films.path
    keys: list[list[str | int]] = [list(range(len(first)))]
    for one in files[1:]:
        paths: list[str | int] = list(one.scores.films.path)
        for row, place in enumerate(match_rows(one.scores.films.path, first)):
            if place is not None:
                paths[place] = row
        keys.append(paths)
    return keys


def _networks(files: Sequence[NamedScores]) -> tuple[str, ...]:
    """The different networks that the files name; several that were averaged in one file are joined by "+"."""
    names = [
        "+".join(filter(None, (get_text(model, "document", "spec", "architecture") for model in models)))
        for models in (provenance_models(one.scores.provenance) for one in files)
    ]
    return tuple(dict.fromkeys(filter(None, names)))
