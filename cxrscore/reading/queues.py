"""Queues: which films to read next, and how they were drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.labels import canonical
from cxrscore.scorefile import Scores
from cxrscore.status import Status

Doubles = NDArray[np.float64]
Rows = NDArray[np.intp]

RULES = ("highest", "uncertainty", "useful", "random", "disagreement", "enriched")
STRATA = (0.5, 0.9, 0.99)
"""Quantiles of the probability between the strata of an enriched sample."""
POOL = 10
"""For the rule useful: films are chosen out of so many times as many, the most uncertain ones."""
LEAST_POOL = 2000
MAX_FILMS = 100_000
"""Largest number of films of a queue."""
MAX_USEFUL = 2000
"""Largest number of films by the rule useful, each of which is compared with all candidates."""

Features = Callable[[Rows], Floats]
"""Features float32 [n,K] of the films of these rows; NaN for films that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How films are chosen.

    highest       the highest probability of the finding; without one, of any finding relative to its mean in the file
    uncertainty   the largest entropy of the probability of the finding; without one, summed over all findings
    useful        uncertain films that differ from each other in what they would teach a linear head (BADGE)
    random        a random sample, each film with the same probability
    disagreement  the largest difference of probabilities of the finding between two files; without one, of any finding
    enriched      a random sample with as many films of each stratum of the probability of the finding

    Attributes
    ----------
    name : str
        One of RULES.
    finding : str
        "" for all findings.
    """

    name: str
    finding: str = ""

    @classmethod
    def parse(cls, text: str) -> Rule:
        """The rule of a text such as "random" or "highest:Effusion"; InputError for another text."""
        name, colon, finding = (part.strip() for part in text.partition(":"))
        if name not in RULES or bool(colon) != bool(finding):
            raise InputError(
                f"the rule of the queue is {text[:100]!r}, expected {', '.join(RULES[:-1])} or {RULES[-1]}, most of "
                "them also with a finding, as in highest:Effusion"
            )
        if name == "enriched" and not finding:
            raise InputError("the rule enriched needs a finding, as in enriched:Effusion")
        if finding and name in ("random", "useful"):
            raise InputError(f"the rule {name} takes no finding")
        return cls(name=name, finding=canonical(finding))

    def __str__(self) -> str:
        return f"{self.name}:{self.finding}" if self.finding else self.name

    @property
    def drawn(self) -> str:
        """How the films are drawn: "random", each with the same probability; "stratified", with a known probability
        each; or "chosen", from which no prevalence follows."""
        return {"random": "random", "enriched": "stratified"}.get(self.name, "chosen")


@dataclass(frozen=True, kw_only=True)
class QueuedFilm:
    """A film to read.

    row      of the scores file
    figure   by which it was chosen; NaN for a random sample
    reason   the same in words
    stratum  from 1, of the lowest probability up; 0 without strata
    weight   one over the probability with which it was drawn; NaN if it was chosen
    """

    row: int
    path: str
    sha256: str
    figure: float
    reason: str
    stratum: int = 0
    weight: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Films to read, in order.

    films       the queue
    rule        how they were chosen
    seed        of the draws; also recorded where nothing is drawn
    candidates  number of films that could be drawn: with scores, each film once, without those that were left out
    left_out    number of films that were marked or labelled already
    elsewhere   number of marked films that the scores file does not have
    """

    films: tuple[QueuedFilm, ...]
    rule: Rule
    seed: int
    candidates: int
    left_out: int
    elsewhere: int = 0


def draw_queue(
    scores: Scores,
    rule: Rule,
    count: int,
    *,
    seed: int = 0,
    marked: Collection[str] = (),
    unlabelled: bool = False,
    other: Scores | None = None,
    features: Features | None = None,
) -> Queue:
    """Choose the films to read next.

    Parameters
    ----------
    scores
        The scores file.
    rule
        How films are chosen.
    count
        Number of films; fewer if there are fewer candidates.
    seed
        Of the rules random, enriched and useful.
    marked
        SHA-256 of films that are left out, such as those that the reader has marked.
    unlabelled
        Also leave out films that have a label in the scores file.
    other
        For the rule disagreement: the other scores file.
    features
        For the rule useful: features of films.

    Returns
    -------
    Queue
        The same for the same input, whatever the machine; ties are in the order of the paths.

    Raises
    ------
    InputError
        If no film is left, or the rule needs what is missing.
    """
    if not 1 <= count <= MAX_FILMS:
        raise InputError(f"the queue is of {count:,} films, expected 1 to {MAX_FILMS:,}")
    if rule.name == "useful" and count > MAX_USEFUL:
        raise InputError(f"a queue by useful is of {count:,} films, expected at most {MAX_USEFUL:,}")
    if rule.finding and rule.finding not in scores.findings:
        raise InputError(f"the rule names {rule.finding!r}, which the file lacks; it has {', '.join(scores.findings)}")
    rows, left_out = _candidates(scores, frozenset(marked), unlabelled)
    apart = None
    if rule.name == "disagreement":
        rows, apart = _apart(scores, other, rows)
    if not len(rows):
        raise InputError(f"no film is left for the queue: {left_out:,} films are marked or labelled already")
    draw = _Draw(scores=scores, rows=rows, rule=rule, count=min(count, len(rows)), seed=seed)
    if rule.name == "useful":
        if features is None:
            raise InputError("the rule useful needs features of the films: give the folder of the films")
        films = draw.useful(features)
    elif rule.name in ("random", "enriched"):
        films = draw.sample()
    else:
        films = draw.largest(*(apart or draw.figures()))
    return Queue(films=tuple(films), rule=rule, seed=seed, candidates=len(rows), left_out=left_out)


def _candidates(scores: Scores, marked: frozenset[str], unlabelled: bool) -> tuple[Rows, int]:
    """Rows with scores, each film once, and how many of them are left out."""
    scored = (scores.films.status == Status.OK) & np.isfinite(scores.prob).all(axis=1)
    labelled = np.full(len(scored), unlabelled) & ~np.isnan(scores.truth).all(axis=1)
    seen: set[str] = set()
    rows, left_out = [], 0
    for row in np.flatnonzero(scored):
        sha256 = scores.films.sha256[row]
        if sha256 and sha256 in seen:
            continue
        seen.add(sha256)
        if sha256 in marked or labelled[row]:
            left_out += 1
        else:
            rows.append(row)
    return np.array(rows, np.intp), left_out


def _apart(scores: Scores, other: Scores | None, rows: Rows) -> tuple[Rows, tuple[Doubles, list[str]]]:
    """The films that both files have scores of, and their largest difference with its finding."""
    if other is None:
        raise InputError("the rule disagreement needs another scores file")
    common = [name for name in scores.findings if name in other.findings]
    if not common:
        raise InputError("the two scores files have no finding in common")
    scored = (other.films.status == Status.OK) & np.isfinite(other.prob).all(axis=1)
    place = {sha256: row for row, sha256 in enumerate(other.films.sha256) if scored[row]}
    rows = np.array([row for row in rows if scores.films.sha256[row] in place], np.intp)
    theirs = np.array([place[scores.films.sha256[row]] for row in rows], np.intp)
    own = scores.prob[rows][:, [scores.findings.index(name) for name in common]].astype(np.float64)
    apart = np.abs(own - other.prob[theirs][:, [other.findings.index(name) for name in common]])
    return rows, (apart, common)


@dataclass(frozen=True, kw_only=True)
class _Draw:
    """A draw of ``count`` of the candidates ``rows``."""

    scores: Scores
    rows: Rows
    rule: Rule
    count: int
    seed: int

    @property
    def _prob(self) -> Doubles:
        return self.scores.prob[self.rows].astype(np.float64)

    def figures(self) -> tuple[Doubles, list[str]]:
        """Figures [n,F] of the candidates, and the F findings; the largest of a row counts."""
        prob, findings = self._prob, list(self.scores.findings)
        if self.rule.finding:
            prob, findings = prob[:, [findings.index(self.rule.finding)]], [self.rule.finding]
        if self.rule.name == "uncertainty":
            summed = entropy(prob).sum(axis=1, keepdims=True)
            return summed, findings if self.rule.finding else [f"{len(findings)} findings"]
        if self.rule.finding:
            return prob, findings
        mean = np.nanmean(np.where(np.isfinite(self.scores.prob), self.scores.prob, np.nan), axis=0, dtype=np.float64)
        return prob / np.maximum(mean, 1e-12), findings

    def largest(self, figures: Doubles, findings: Sequence[str]) -> Iterator[QueuedFilm]:
        """The films with the largest figures."""
        if self.rule.finding and self.rule.finding not in findings:
            raise InputError(f"the other scores file lacks {self.rule.finding!r}")
        columns = [findings.index(self.rule.finding)] if self.rule.finding else list(range(len(findings)))
        figures = figures[:, columns]
        best = np.argmax(figures, axis=1)
        value = figures[np.arange(len(figures)), best]
        for place in np.argsort(-value, kind="stable")[: self.count]:
            yield self._film(place, value[place], self._words(findings[columns[best[place]]], value[place]))

    def _words(self, finding: str, value: float) -> str:
        if self.rule.name == "uncertainty":
            return f"entropy {value:.3g} bits of {finding}"
        if self.rule.name == "disagreement":
            return f"{finding}: probabilities {value:.3g} apart"
        if self.rule.finding:
            return f"{finding}: probability {value:.3g}"
        return f"{finding}: {value:.3g} times its mean"

    def sample(self) -> Iterator[QueuedFilm]:
        """A random sample, in random order; with strata, the same number of each as far as there are so many."""
        rng = np.random.default_rng(self.seed)
        strata = [np.arange(len(self.rows))]
        if self.rule.finding:
            strata = _strata(self._prob[:, self.scores.findings.index(self.rule.finding)])
        sizes = _allocated(self.count, [len(places) for places in strata])
        drawn: list[tuple[int, int]] = []
        for number, (places, size) in enumerate(zip(strata, sizes, strict=True), 1):
            drawn += [(int(place), number) for place in rng.permutation(places)[:size]]
        for index in rng.permutation(len(drawn)):
            place, number = drawn[index]
            all_of, size = len(strata[number - 1]), sizes[number - 1]
            reason = f"one of {size:,} of {all_of:,} films"
            if self.rule.finding:
                reason = f"stratum {number} of {len(strata)} by {self.rule.finding}: {reason}"
            yield self._film(
                place,
                float("nan"),
                f"random: {reason}",
                stratum=number if self.rule.finding else 0,
                weight=all_of / size,
            )

    def useful(self, features: Features) -> Iterator[QueuedFilm]:
        """The most uncertain films, and out of these those that differ most in their gradients."""
        uncertain = entropy(self._prob).sum(axis=1)
        pool = np.sort(np.argsort(-uncertain, kind="stable")[: max(LEAST_POOL, POOL * self.count)])
        found = features(self.rows[pool])
        pool, found = pool[(readable := np.isfinite(found).all(axis=1))], found[readable]
        if not len(pool):
            raise InputError("no film of the queue can be read: give the folder of the films that were scored")
        chosen = badge(self._prob[pool], found, min(self.count, len(pool)), seed=self.seed)
        for place in pool[chosen]:
            yield self._film(place, uncertain[place], f"entropy {uncertain[place]:.3g} bits, and unlike the others")

    def _film(self, place: int, figure: float, reason: str, *, stratum: int = 0, weight: float = np.nan) -> QueuedFilm:
        row, films = int(self.rows[place]), self.scores.films
        return QueuedFilm(
            row=row,
            path=films.path[row],
            sha256=films.sha256[row],
            figure=float(figure),
            reason=reason,
            stratum=stratum,
            weight=float(weight),
        )


def _strata(prob: Doubles) -> list[Rows]:
    """The places of the films of each stratum, by probability, ties by place; without empty strata."""
    order = np.argsort(prob, kind="stable")
    edges = [0, *(round(len(order) * share) for share in STRATA), len(order)]
    parts = [order[low:high] for low, high in pairwise(edges)]
    return [np.sort(part) for part in parts if len(part)]


def _allocated(count: int, sizes: Sequence[int]) -> list[int]:
    """The same number of films of each stratum, and all of a stratum with fewer; what cannot be divided goes to the
    strata of higher probability. Every stratum has at least one film, or its films could not be drawn: InputError if
    there are fewer films than strata."""
    if count < len(sizes):
        raise InputError(f"the queue is of {count} films, expected at least {len(sizes)}, one of each stratum")
    found = [0] * len(sizes)
    for _ in range(count):
        found[min((found[k], -k) for k, size in enumerate(sizes) if found[k] < size)[1] * -1] += 1
    return found


def entropy(prob: Doubles) -> Doubles:
    """Entropy of each probability, in bits: 1 at 0.5, 0 at 0 and 1."""
    p = np.clip(prob, 1e-12, 1 - 1e-12)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), np.float64)


def badge(prob: Doubles, features: Floats, count: int, *, seed: int) -> Rows:
    """Films whose gradients are large and differ: Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient
    Lower Bounds (BADGE), ICLR 2020, for independent findings.

    Parameters
    ----------
    prob
        float64 [N,C].
    features
        float32 [N,K] of the frozen backbone.
    count
        Number of films, at most N.
    seed
        Of k-means++.

    Returns
    -------
    int [count]
        Places of the films, in the order of the draw.

    Notes
    -----
    The gradient of the log loss of a linear head, if the likelier label of each finding were true, is the outer product
    of p - y [C] and the standardized features with a constant [K+1]. Films are drawn by k-means++: each with a
    probability in proportion to its squared distance to the nearest film drawn so far, the first one by its length. The
    squared distance of two outer products follows from the inner products of their factors, so they are not computed.
    """
    errors = prob - (prob > 0.5)
    scale = features.std(axis=0, dtype=np.float64)
    x = (features - features.mean(axis=0, dtype=np.float64)) / np.where(scale > 1e-12, scale, np.inf)
    x = np.column_stack([x / np.sqrt(max(x.shape[1], 1)), np.ones(len(x))])
    length = (errors**2).sum(axis=1) * (x**2).sum(axis=1)
    rng = np.random.default_rng(seed)
    nearest, chosen = length.copy(), list[int]()
    for _ in range(count):
        left = np.setdiff1d(np.arange(len(prob)), chosen)
        mass = nearest[left]
        drawn = int(rng.choice(left, p=mass / mass.sum())) if mass.sum() > 0 else int(left[0])
        chosen.append(drawn)
        apart = length + length[drawn] - 2 * (errors @ errors[drawn]) * (x @ x[drawn])
        nearest = np.minimum(nearest, np.maximum(apart, 0.0)) if len(chosen) > 1 else np.maximum(apart, 0.0)
    return np.array(chosen, np.intp)
