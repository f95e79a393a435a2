"""The numbers of the cohort page: those of the report, and decisions at any threshold."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.metrics import Decisions, decisions
from cxrscore.reporting.auc import BootstrapConfig, compute_aucs, patient_groups
from cxrscore.reporting.compare import PairedComparison, corrected_comparisons, paired_comparison
from cxrscore.reporting.figures import FindingData
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.reporting.summary import EvaluationSet, FindingResult, evaluation_set, finding_result
from cxrscore.scorefile.by_row import ScoresByRow
from cxrscore.status import Status
from cxrscore.viewer.film_index import FilmIndex, Mask

Doubles = NDArray[np.float64]

LABEL_KINDS = ("positive", "negative", "unknown")


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """The part of a scores file that decides the order of films."""

    findings: tuple[str, ...]
    logit: Floats
    prob: Floats
    provenance: Mapping[str, Any]


class _Ranks:
    """The numbers by which the films of a file are ranked, computed when they are first needed."""

    def __init__(self, scores: ScoresByRow) -> None:
        self._scores = scores
        self._turn = threading.Lock()
        self._found: Doubles | None = None

    def get(self) -> Doubles:
        """float64 [N,C]"""
        with self._turn:
            if self._found is None:
                own = self._scores
                self._found = ranking_scores(
                    _Ranked(findings=own.findings, logit=own.logits(), prob=own.prob, provenance=own.provenance)
                )
            return self._found


@dataclass(frozen=True, kw_only=True)
class SideCounts:
    """Films of one finding above and below a threshold by label, see LABEL_KINDS, and of any label as ""."""

    above: Mapping[str, int]
    below: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class PairedDecisions:
    """Films by label and decision of two files: (label, above in the first, above in the other) to their number."""

    films: int
    counts: Mapping[tuple[str, bool, bool], int]


class CohortNumbers:
    """Numbers of the films of a viewer; safe to use from several threads.

    Parameters
    ----------
    files : sequence of ScoresByRow
        Numbers are those of the first; the others are compared with it.
    names : sequence of str
        Their names.
    index : FilmIndex
        Rows of the same films in the other files.

    Notes
    -----
    ``everything`` chooses all labelled films; else those that the report takes (evaluation_set).
    """

    def __init__(self, files: Sequence[ScoresByRow], names: Sequence[str], index: FilmIndex) -> None:
        self._files, self._names, self._index = files, names, index
        self.scores = files[0]
        self._ranks = [_Ranks(one) for one in files]
        first = self.scores
        self._held_out = evaluation_set(first.status, first.split, first.truth, first.provenance)
        labelled = (first.status == Status.OK) & np.isfinite(first.truth).any(axis=1)
        self._labelled = EvaluationSet(rows=np.flatnonzero(labelled), basis=self._held_out.basis, left_out=0)
        self._results: dict[tuple[int, bool], FindingResult] = {}
        self._comparisons: dict[tuple[int, bool], PairedComparison | str] = {}
        self._turn = threading.Lock()

    def films(self, *, everything: bool) -> EvaluationSet:
        """The films that numbers are of."""
        return self._labelled if everything else self._held_out

    def leaves_out_seen(self, *, everything: bool) -> bool:
        """Whether numbers are of films that the model has not seen, as far as the file tells."""
        return not everything and self._held_out.basis in ("held-out", "unknown")

    def in_list(self, column: int, *, everything: bool, other: int = 0) -> Mask:
        """The scored films from which lists of cells are taken, labelled or not, bool [N]."""
        found: Mask = np.isfinite(self.scores.prob[:, column]) & (self.scores.status == Status.OK)
        return found & self._index.unseen(other) if self.leaves_out_seen(everything=everything) else found

    def result(self, column: int, *, everything: bool) -> FindingResult:
        """The metrics of a finding, as the report computes them."""
        key = (column, everything)
        with self._turn:
            if key not in self._results:
                self._results[key] = self._result(column, self.films(everything=everything).rows)
            return self._results[key]

    def _result(self, column: int, rows: Array) -> FindingResult:
        truth, prob, ranked = self._columns(column, rows)
        label = np.where(np.isnan(prob), np.nan, truth)
        groups = patient_groups(self.scores.patient[rows])
        found = compute_aucs(label[:, None], ranked[:, None], groups, BootstrapConfig())
        return finding_result(
            self.scores.findings[column],
            truth=truth,
            prob=prob,
            ranked=ranked,
            groups=groups,
            threshold=float(self.scores.thresholds[column]),
            area=found.estimates[0],
            interval=found.intervals[0],
        )

    def _columns(self, column: int, rows: Array) -> tuple[Floats, Floats, Doubles]:
        """Labels, probabilities and ranks of these films."""
        ranked = self._ranks[0].get()[rows, column]
        return self.scores.truth[rows, column], self.scores.prob[rows, column], ranked

    def plot_data(self, column: int, *, everything: bool) -> FindingData:
        """What the plots of the report are drawn from."""
        result, rows = self.result(column, everything=everything), self.films(everything=everything).rows
        truth, prob, ranked = self._columns(column, rows)
        own = self.in_list(column, everything=everything)
        return FindingData(
            finding=result.finding,
            truth=truth,
            prob=prob,
            ranked=ranked,
            all_prob=self.scores.prob[own, column],
            auc=result.auc,
            threshold=result.threshold,
            sensitivity=result.sensitivity,
            specificity=result.specificity,
        )

    def decisions(self, column: int, threshold: np.float32, *, everything: bool) -> Decisions:
        """Labelled films above and below a threshold."""
        rows = self.films(everything=everything).rows
        return decisions(self.scores.truth[rows, column], self.scores.prob[rows, column], float(threshold))

    def sides(self, column: int, threshold: np.float32, *, everything: bool) -> SideCounts:
        """All scored films, labelled or not, above and below a threshold."""
        own = self.in_list(column, everything=everything)
        kinds = {**_label_masks(self.scores.truth[own, column]), "": np.ones(int(own.sum()), np.bool_)}
        above = self.scores.prob[own, column] >= threshold
        return SideCounts(
            above={name: int((mask & above).sum()) for name, mask in kinds.items()},
            below={name: int((mask & ~above).sum()) for name, mask in kinds.items()},
        )

    # --- Two files

    def has(self, column: int, other: int) -> bool:
        """Whether another file, from 1, has this finding."""
        return bool(self._index.others[other - 1][1][column] >= 0)

    def common(self, column: int, other: int, *, everything: bool) -> tuple[Floats, Floats, Floats]:
        """Labels of the first file, and probabilities of both, of the films that both scored, float32 [n] each."""
        theirs = self._index.other_probabilities(other - 1)[:, column]
        both = self.in_list(column, everything=everything, other=other) & np.isfinite(theirs)
        return self.scores.truth[both, column], self.scores.prob[both, column], theirs[both]

    def paired(
        self, column: int, other: int, thresholds: tuple[np.float32, np.float32], *, everything: bool
    ) -> PairedDecisions:
        """The films that both files scored, by label and decision of each."""
        truth, first, theirs = self.common(column, other, everything=everything)
        sides = first >= thresholds[0], theirs >= thresholds[1]
        counts = {
            (name, one, two): int((mask & (sides[0] == one) & (sides[1] == two)).sum())
            for name, mask in _label_masks(truth).items()
            for one in (True, False)
            for two in (True, False)
        }
        return PairedDecisions(films=len(truth), counts=counts)

    def comparison(self, other: int, *, everything: bool) -> PairedComparison | str:
        """AUCs of another file against the first, finding by finding, as in the report; or why there are none."""
        key = (other, everything)
        with self._turn:
            if key not in self._comparisons:
                self._comparisons[key] = self._compare(other, everything)
            return self._comparisons[key]

    def _compare(self, other: int, everything: bool) -> PairedComparison | str:
        second, (rows, columns) = self._files[other], self._index.others[other - 1]
        shared = np.flatnonzero(columns >= 0)
        if not len(shared):
            return "The files have no finding in common."
        own = (self.scores.status == Status.OK) & (rows >= 0) & (second.status[np.maximum(rows, 0)] == Status.OK)
        if self.leaves_out_seen(everything=everything):
            own &= self._index.unseen(other)
        first = _once(self.scores, second, np.flatnonzero(own), rows)
        theirs = rows[first]
        truth, their_truth = self.scores.truth[first][:, shared], second.truth[theirs][:, columns[shared]]
        both = ~(np.isnan(truth) | np.isnan(their_truth))
        if differing := int((truth[both] != their_truth[both]).sum()):
            return f"The files differ in {differing:,} labels of the same films: score both with one label table."
        truth = np.where(np.isnan(truth), their_truth, truth)
        labelled = np.isfinite(truth).any(axis=1)
        if not labelled.any():
            return "No labelled film was scored in both files" + ("." if everything else " and is new to both models.")
        patient = self.scores.patient[first]
        if not (patient >= 0).any():
            patient = second.patient[theirs]
        ranked = [self._ranks[0].get()[first][:, shared], self._ranks[other].get()[theirs][:, columns[shared]]]
        found = paired_comparison(
            self._names[other],
            truth[labelled],
            [one[labelled] for one in ranked],
            patient_groups(patient[labelled]),
            [self.scores.findings[column] for column in shared],
        )
        return corrected_comparisons([found])[0]


def _once(first: ScoresByRow, second: ScoresByRow, own: Array, rows: Array) -> Array:
    """Of these rows those that the report pairs: each film once, with the same bytes if both files have digests."""
    digests, theirs = first.digests(), second.digests()
    if not ((digests != b"").any() and (theirs != b"").any()):
        return own
    own = own[(digests[own] == theirs[rows[own]]) & (digests[own] != b"")]
    return own[np.sort(np.unique(digests[own], return_index=True)[1])]


def _label_masks(truth: Floats) -> dict[str, Mask]:
    """Films of each of LABEL_KINDS; a soft label of 0.5 is none of them, as in the list."""
    return dict(zip(LABEL_KINDS, (truth > 0.5, truth < 0.5, np.isnan(truth)), strict=True))
