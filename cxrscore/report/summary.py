"""The figures of merit of a report, from films that the model had not seen.

A film of the model's training or validation split says nothing of how the model does on new films, so it enters no
ROC curve, no AUC and no accuracy as long as there is one other labelled film.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.films import Status
from cxrscore.metrics import auc_per_finding, counts, label_accuracy, macro, negative_baseline
from cxrscore.report.provenance import leaked, texts
from cxrscore.scores.data import SPLITS, Scores

FEW_POSITIVES = 10
"""Below this many positive films an AUC is marked: with 5 of 100 its standard error at 0.5 is 0.13 (Hanley and McNeil,
The meaning and use of the area under a ROC curve, Radiology 143, 1982)."""

THRESHOLD = 0.5
"""Probability above which a label counts as positive in the accuracy of the paper's equation 1."""

SEEN = tuple(SPLITS.index(word) for word in ("train", "valid"))

Basis = Literal["held-out", "seen", "none"]


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """The films on which the figures of merit stand.

    rows       int [A], rows of the films
    basis      "held-out": films never seen by the model, or of its test split; "seen": there were only films of its
               training or validation; "none": no scored film has a label
    left_out   labelled films of training and validation that were left out
    """

    rows: NDArray[np.intp]
    basis: Basis
    left_out: int


@dataclass(frozen=True, kw_only=True)
class FindingResult:
    """The figures of one finding; fractions in 0..1, NaN where undefined.

    accuracy           correct labels / known labels at THRESHOLD, the paper's equation 1
    negative_baseline  the same of a program that always says "no"
    threshold          the model's operating point as a probability; sensitivity and specificity are those at it
    """

    finding: str
    positives: int
    negatives: int
    auc: float
    accuracy: float
    negative_baseline: float
    threshold: float
    sensitivity: float
    specificity: float

    @property
    def few_positives(self) -> bool:
        return 0 < self.positives < FEW_POSITIVES

    @property
    def why_undefined(self) -> str:
        """Why there is no AUC; "" where there is one."""
        if self.positives and self.negatives:
            return ""
        return f"undefined: {self.positives} positive, {self.negatives} negative"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All that a report says in numbers."""

    found: int
    scored: int
    failed: int
    assessed: Assessed
    findings: tuple[FindingResult, ...]
    macro_auc: float
    accuracy: float
    negative_baseline: float
    warnings: tuple[str, ...]

    @property
    def macro_findings(self) -> int:
        """Over how many findings macro_auc is the mean."""
        return sum(math.isfinite(result.auc) for result in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        held_out = len(self.assessed.rows) if self.assessed.basis == "held-out" else 0
        return {
            "films": {"found": self.found, "scored": self.scored, "failed": self.failed},
            "held_out": held_out,
            "left_out": self.assessed.left_out,
            "assessed": {"films": len(self.assessed.rows), "basis": self.assessed.basis},
            "macro_auc": _json(self.macro_auc),
            "macro_auc_findings": self.macro_findings,
            "accuracy": _json(self.accuracy),
            "negative_baseline": _json(self.negative_baseline),
            "findings": [{key: _json(value) for key, value in asdict(result).items()} for result in self.findings],
            "warnings": list(self.warnings),
        }


def summarise(scores: Scores) -> Summary:
    """The figures of merit of a scores file, and what a reader must be warned of."""
    assessed = assessed_films(scores)
    truth, prob = scores.truth[assessed.rows], scores.prob[assessed.rows]
    scored = int(np.count_nonzero(scores.films.status == Status.OK))
    areas = auc_per_finding(truth, prob)
    return Summary(
        found=len(scores.films.path),
        scored=scored,
        failed=len(scores.films.path) - scored,
        assessed=assessed,
        findings=_results(scores, truth, prob, areas),
        macro_auc=macro(areas),
        accuracy=label_accuracy(truth, prob, THRESHOLD),
        negative_baseline=negative_baseline(truth),
        warnings=_warnings(scores, assessed, scored),
    )


def assessed_films(scores: Scores) -> Assessed:
    """Which films the figures of merit stand on: held-out ones, or seen ones where there are no others."""
    labelled = (scores.films.status == Status.OK) & np.isfinite(scores.truth).any(axis=1)
    seen = np.isin(scores.films.split, SEEN)
    if (labelled & ~seen).any():
        rows = np.flatnonzero(labelled & ~seen)
        return Assessed(rows=rows, basis="held-out", left_out=int(np.count_nonzero(labelled & seen)))
    return Assessed(rows=np.flatnonzero(labelled), basis="seen" if labelled.any() else "none", left_out=0)


def at_threshold(truth: Floats, prob: Floats, threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity of ``prob >= threshold``, both [A]; NaN where there is nothing to divide by."""
    if not math.isfinite(threshold):
        return math.nan, math.nan
    called = prob >= threshold
    return _share(called[truth == 1]), _share(~called[truth == 0])


def _share(right: NDArray[np.bool_]) -> float:
    return float(right.mean()) if right.size else math.nan


def _results(scores: Scores, truth: Floats, prob: Floats, areas: NDArray[np.float64]) -> tuple[FindingResult, ...]:
    positives, negatives = counts(truth)
    results = []
    for column, finding in enumerate(scores.findings):
        threshold = float(scores.thresholds[column])
        sensitivity, specificity = at_threshold(truth[:, column], prob[:, column], threshold)
        results.append(
            FindingResult(
                finding=finding,
                positives=int(positives[column]),
                negatives=int(negatives[column]),
                auc=float(areas[column]),
                accuracy=label_accuracy(truth[:, [column]], prob[:, [column]], THRESHOLD),
                negative_baseline=negative_baseline(truth[:, [column]]),
                threshold=threshold,
                sensitivity=sensitivity,
                specificity=specificity,
            )
        )
    return tuple(results)


def _warnings(scores: Scores, assessed: Assessed, scored: int) -> tuple[str, ...]:
    found = []
    if leaked(scores.provenance):
        found.append(
            "LEAKED: the same patients or films stood in more than one split when a model of these scores was trained. "
            "The figures are better than they would be on new patients."
        )
    if assessed.basis == "seen":
        found.append(
            "All labelled films were seen in training or validation: the figures below say how well the model "
            "remembers them, not how it does on new films."
        )
    if not scored:
        found.append("No film could be scored.")
    return (*found, *texts(scores.provenance, "warnings"))


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
