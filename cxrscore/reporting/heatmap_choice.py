"""Which films a report shows with a heat map: for each finding a true positive, a false positive and a false negative,
chosen by a rule, so that a reader sees errors and not only the films with the highest scores."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import InputError
from cxrscore.images import Status
from cxrscore.models.calibration import prevalences
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.reporting.summary import evaluation_films
from cxrscore.scorefile.data import SEEN, Scores

TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = "true positive", "false positive", "false negative"
ERROR_KINDS = (TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE)
BOXED, HIGHEST = "film with a box", "highest probability"
PLURALS = {kind: f"{kind}s" for kind in ERROR_KINDS} | {BOXED: "films with a box", HIGHEST: "films"}
"""The kinds as counted nouns."""
FILMS_OF_A_NAMED_FINDING = 4
"""Maximum number of films of each kind for a finding that the user names; one for others."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A film to show for a finding.

    kind        one of ERROR_KINDS, BOXED or HIGHEST
    films       number of films of this kind
    place       1 for the film that comes first by the rule, 2 for the next ...: those before it may have no stored
                map or thumbnail
    """

    kind: str
    row: int
    films: int
    place: int


@dataclass(frozen=True, kw_only=True)
class FindingChoices:
    """The films to show for a finding.

    prevalence  for which the probabilities hold, or else among the evaluated films; NaN if neither is known
    recorded    whether it is the first of these
    point       the threshold of the model, or the prevalence if the model has none; NaN if neither is known
    stored      whether it is the threshold of the model
    films       in the order of ERROR_KINDS, then BOXED or HIGHEST
    missing     kinds without any film
    unstored    kinds of which no film has a thumbnail and a map of this finding in the scores file
    constant    the probability is the same for all evaluated films, so that none is chosen
    """

    finding: str
    column: int
    prevalence: float
    recorded: bool
    point: float
    stored: bool
    films: tuple[Choice, ...]
    missing: tuple[str, ...]
    unstored: tuple[str, ...]
    constant: bool


def choose_films(
    scores: Scores, findings: Sequence[str] = (), boxed: Collection[tuple[int, int]] = ()
) -> tuple[FindingChoices, ...]:
    """The films to show for each finding.

    The films are those that the metrics are computed on (evaluation_films). Of these, for each finding:

    * true positive: labelled positive, at or above the point, the highest probability
    * false positive: labelled negative, at or above the point, the highest probability
    * false negative: labelled positive, below the point, the lowest probability
    * a finding without any label: the highest probability
    * a film with a box of this finding, also one that a model has seen if there is no other: the highest probability

    Of films with equal scores the first is chosen. Only a film with a thumbnail and a map of this finding in the scores
    file can be shown: the next one takes the place of another.

    Parameters
    ----------
    scores : Scores
    findings : sequence of str
        Only these findings, with FILMS_OF_A_NAMED_FINDING films of each kind; empty: all, with one film of each kind.
    boxed : pairs of film row and finding column
        Where a reader drew a box.

    Raises
    ------
    InputError
        If the scores do not have such a finding.
    """
    if unknown := [name for name in findings if name not in scores.findings]:
        raise InputError(f"there is no finding {unknown[0]}; the scores file has {', '.join(scores.findings)}")
    columns = [scores.findings.index(name) for name in findings] or range(len(scores.findings))
    known = prevalences(scores.provenance, scores.findings)
    rows, ranked = _evaluated(scores), ranking_scores(scores)
    pictured = np.isin(np.arange(len(scores.films.path)), scores.thumbnails.film)
    most = FILMS_OF_A_NAMED_FINDING if findings else 1
    return tuple(_of_finding(scores, c, rows, ranked[:, c], pictured, known, most, boxed) for c in columns)


def _evaluated(scores: Scores) -> Rows:
    """The rows of the evaluated films; without labels, those of all scored films, unseen ones if there are any."""
    assessed = evaluation_films(scores)
    if assessed.basis != "none":
        return assessed.rows
    rows = np.flatnonzero(scores.films.status == Status.OK)
    unseen = rows[~np.isin(scores.films.split[rows], SEEN)]
    return unseen if unseen.size else rows


def _of_finding(
    scores: Scores,
    column: int,
    rows: Rows,
    ranked: NDArray[np.float64],
    pictured: NDArray[np.bool_],
    known: Mapping[str, float],
    most: int,
    boxed: Collection[tuple[int, int]],
) -> FindingChoices:
    finding = scores.findings[column]
    rows = rows[~np.isnan(scores.prob[rows, column])]
    prob, truth = scores.prob[rows, column], scores.truth[rows, column]
    positive, negative = truth > 0.5, truth < 0.5
    labelled = int((positive | negative).sum())
    threshold, observed = float(scores.thresholds[column]), positive.sum() / labelled if labelled else math.nan
    prevalence = known.get(finding, float(observed))
    point = threshold if math.isfinite(threshold) else prevalence
    constant = len(rows) > 1 and bool((prob == prob[0]).all())
    kinds: dict[str, tuple[NDArray[np.bool_], int]] = {
        TRUE_POSITIVE: (positive & (prob >= point), -1),
        FALSE_POSITIVE: (negative & (prob >= point), -1),
        FALSE_NEGATIVE: (positive & (prob < point), 1),
    }
    if not labelled:
        kinds = {HIGHEST: (np.ones(len(rows), bool), -1)}
    ordered = {
        kind: rows[among][np.argsort(sign * ranked[rows[among]], kind="stable")]
        for kind, (among, sign) in kinds.items()
    }
    if inside := sorted(row for row, of in boxed if of == column):
        ordered[BOXED] = _boxed_films(scores, np.array(inside, np.intp), ranked)
    storable = pictured.copy()
    storable[pictured] = np.isin(np.flatnonzero(pictured), scores.heat_maps.film[scores.heat_maps.finding == column])
    found: list[Choice] = []
    for kind, films in () if constant else ordered.items():
        places = [place for place, row in enumerate(films.tolist()) if storable[row]]
        taken = {one.row for one in found}
        found += [
            Choice(kind=kind, row=int(films[place]), films=len(films), place=place + 1)
            for place in places[:most]
            if films[place] not in taken
        ]
    there = [kind for kind, films in ordered.items() if len(films) and not constant]
    return FindingChoices(
        finding=finding,
        column=column,
        prevalence=prevalence,
        recorded=finding in known,
        point=point,
        stored=math.isfinite(threshold),
        films=tuple(found),
        missing=() if constant else tuple(kind for kind in ordered if kind not in there),
        unstored=tuple(kind for kind in there if not storable[ordered[kind]].any()),
        constant=constant,
    )


def _boxed_films(scores: Scores, films: Rows, ranked: NDArray[np.float64]) -> Rows:
    """Films with a box by probability, highest first, those that no model has seen before the others."""
    films = films[~np.isnan(ranked[films])]
    return films[np.lexsort((-ranked[films], np.isin(scores.films.split[films], SEEN)))]
