"""The metrics of a report, from films that the model has not seen.

Films of the training or validation split do not show the performance on new films, so ROC curves, AUCs and accuracies
exclude them if there is any other labelled film.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.images import FilmNotes, OtherFiles, Status, count_notes
from cxrscore.labels import match_warnings
from cxrscore.labels.public_sets import describe_not_held_out
from cxrscore.metrics import (
    Decisions,
    Estimate,
    average_precision,
    brier,
    calibration_error,
    count_soft,
    counts,
    decisions,
    label_accuracy,
    label_accuracy_estimate,
    negative_baseline,
)
from cxrscore.reporting.auc import AucResult, BootstrapConfig, Interval, compute_aucs, patient_groups
from cxrscore.reporting.model_evaluations import RecordedModel, model_warnings, recorded_models
from cxrscore.reporting.provenance import (
    films_not_held_out,
    get_nested,
    get_text,
    get_texts,
    has_leakage,
    knows_training_films,
    other_files,
)
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.scorefile.data import SEEN, Scores

FEW_POSITIVES = 10
"""An AUC with fewer patients with positive films is marked: for 5 of 100 films its standard error at 0.5 is 0.13
(Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982)."""

MIN_PATIENTS = 5
"""An AUC has no interval, and a finding no curve, if its positive or negative films are of fewer patients. In
simulations of normal scores with AUCs from 0.5 to 0.85 and 30 to 1000 negative films, the 95 % interval contains the
true AUC in 90 to 98 of 100 samples with 5 positive films, 91 to 99 with 4, 86 to 98 with 3 and 77 to 96 with 2. With an
AUC of 0.95, 5 positive and 1000 negative films it is 85."""

NOTHING_SCORED = "No film could be scored."

THRESHOLD = 0.5
"""Probability above which a prediction is positive in the accuracy of equation 1 of the paper."""


Rows = NDArray[np.intp]
Basis = Literal["held-out", "unknown", "training", "none"]

DEFAULT_BOOTSTRAP = BootstrapConfig()


@dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """The films from which metrics are computed.

    rows       int [A], rows of the films
    basis      "held-out": films never seen by the model, or of its test split; "unknown": films that it may have seen,
               because its training films are unknown, or films of a public data set that it was trained on;
               "training": there are only films of its training or validation;
               "none": no scored film has a label
    left_out   number of labelled films of training and validation that were excluded
    public     names of the data sets whose films the model was trained on, as far as films are recognised
    """

    rows: Rows
    basis: Basis
    left_out: int
    public: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FindingResult:
    """The metrics of one finding; fractions in 0..1, NaN if undefined.

    positive_patients  number of patients with positive films; negative_patients: with negative films
    interval           of the AUC, 95 %; NaN, NaN if undefined
    why                why there is no interval, "" if there is one
    accuracy           correct labels / known labels at THRESHOLD, equation 1 of the paper
    negative_baseline  accuracy of a constant negative prediction
    threshold          threshold of the model as a probability; decisions: metrics at this threshold
    """

    finding: str
    positives: int
    negatives: int
    positive_patients: int
    negative_patients: int
    auc: float
    interval: Interval
    why: str
    average_precision: float
    brier: float
    calibration_error: float
    accuracy: float
    negative_baseline: float
    threshold: float
    decisions: Decisions

    @property
    def few_positives(self) -> bool:
        return 0 < self.positive_patients < FEW_POSITIVES

    @property
    def has_curve(self) -> bool:
        """Whether each class has MIN_PATIENTS patients or more."""
        return min(self.positive_patients, self.negative_patients) >= MIN_PATIENTS

    @property
    def prevalence(self) -> float:
        """Fraction of positives, which is the average precision of a random score."""
        known = self.positives + self.negatives
        return self.positives / known if known else math.nan

    @property
    def sensitivity(self) -> float:
        return self.decisions.sensitivity.value

    @property
    def specificity(self) -> float:
        return self.decisions.specificity.value

    @property
    def why_undefined(self) -> str:
        """Why there is no AUC; "" if there is one."""
        if self.positives and self.negatives:
            return ""
        return f"undefined: {self.positives} positive, {self.negatives} negative"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None; intervals as pairs."""
        document = {name: getattr(self, name) for name in _REPORTED_FIELDS}
        shares = {name: getattr(self.decisions, name) for name in _SHARES}
        document |= {name: share.value for name, share in shares.items()}
        json = {name: _json(value) for name, value in document.items()}
        json |= {f"{name}_interval": _pair(share.interval) for name, share in shares.items()}
        return json | {"auc_interval": _pair(self.interval), "why": self.why_undefined or self.why}


_REPORTED_FIELDS = (
    *("finding", "positives", "negatives", "positive_patients", "few_positives", "auc", "average_precision"),
    *("brier", "calibration_error", "accuracy", "negative_baseline", "threshold"),
)
_SHARES = ("sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All numbers of a report.

    areas         AUCs on the assessed films
    film_notes    notes on how the scored films were read
    accuracy      equation 1 over all known labels, its interval over films or patients
    not_held_out  records of films of public data sets that the models were trained on, as in the provenance
    label_match   films of the run and rows of the label table, and how many of each have no counterpart; empty if the
                  file does not say
    other_files   files of the folder that are no films
    unknown_patients  number of assessed films whose patient is unknown
    """

    found: int
    scored: int
    failed: int
    assessed: EvaluationSet
    patients: int
    findings: tuple[FindingResult, ...]
    film_notes: FilmNotes
    areas: AucResult
    accuracy: Estimate
    negative_baseline: float
    warnings: tuple[str, ...]
    not_held_out: tuple[Mapping[str, Any], ...] = ()
    label_match: Mapping[str, Any] = field(default_factory=dict)
    other_files: OtherFiles = field(default_factory=OtherFiles)
    unknown_patients: int = 0

    @property
    def macro_auc(self) -> float:
        return self.areas.macro.value

    @property
    def macro_findings(self) -> int:
        """Number of findings in the mean macro_auc."""
        return sum(math.isfinite(result.auc) for result in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        held_out = len(self.assessed.rows) if self.assessed.basis == "held-out" else 0
        return {
            "films": {"total": self.found, "scored": self.scored, "failed": self.failed},
            "other_files": self.other_files.as_dict(),
            "held_out": held_out,
            "excluded_training_films": self.assessed.left_out,
            "not_held_out": [dict(one) for one in self.not_held_out],
            "label_match": dict(self.label_match),
            "evaluation_set": {"films": len(self.assessed.rows), "basis": self.assessed.basis},
            "intervals": self.areas.method,
            "macro_auc": _json(self.macro_auc),
            "macro_auc_interval": _pair(self.areas.macro_interval),
            "macro_auc_findings": self.macro_findings,
            "macro_auc_why": "" if math.isnan(self.macro_auc) else self.areas.macro.why,
            "macro_auc_with_interval": {
                "findings": self.areas.with_interval,
                "value": _json(self.areas.macro_known.value),
                "interval": _pair(self.areas.macro_known_interval),
            },
            "micro_auc": _json(self.areas.micro.value),
            "micro_auc_interval": _pair(self.areas.micro.interval),
            "accuracy": _json(self.accuracy.value),
            "accuracy_interval": _pair(self.accuracy.interval),
            "negative_baseline": _json(self.negative_baseline),
            "film_notes": self.film_notes.as_dict(),
            "findings": [result.as_dict() for result in self.findings],
            "warnings": list(self.warnings),
        }


def summarise(scores: Scores, drawing: BootstrapConfig = DEFAULT_BOOTSTRAP) -> Summary:
    """The metrics of a scores file, and warnings for the reader."""
    assessed = evaluation_films(scores)
    prob = scores.prob[assessed.rows]
    truth = np.where(np.isnan(prob), np.nan, scores.truth[assessed.rows])
    ranked = ranking_scores(scores)[assessed.rows]
    scored = int(np.count_nonzero(scores.films.status == Status.OK))
    groups = patient_groups(scores.films.patient[assessed.rows])
    found = compute_aucs(truth, ranked, groups, drawing)
    return Summary(
        found=len(scores.films.path),
        scored=scored,
        failed=len(scores.films.path) - scored,
        assessed=assessed,
        patients=len(np.unique(groups)),
        findings=tuple(
            finding_result(
                finding,
                truth=truth[:, column],
                prob=prob[:, column],
                ranked=ranked[:, column],
                groups=groups,
                threshold=float(scores.thresholds[column]),
                area=found.estimates[column],
                interval=found.intervals[column],
            )
            for column, finding in enumerate(scores.findings)
        ),
        film_notes=count_notes(
            (scores.films.path[row], scores.films.message[row])
            for row in np.flatnonzero(scores.films.status == Status.OK)
        ),
        areas=found,
        accuracy=label_accuracy_estimate(truth, prob, groups),
        negative_baseline=negative_baseline(truth),
        warnings=_warnings(scores, assessed, scored),
        not_held_out=films_not_held_out(scores.provenance),
        label_match=_label_match(scores),
        other_files=other_files(scores.provenance),
        unknown_patients=int(np.count_nonzero(scores.films.patient[assessed.rows] < 0)),
    )


def evaluation_films(scores: Scores) -> EvaluationSet:
    """The films for metrics: those not known to be seen, or seen films if there are no others."""
    return evaluation_set(scores.films.status, scores.films.split, scores.truth, scores.provenance)


def evaluation_set(status: Array, split: Array, truth: Floats, provenance: Mapping[str, Any]) -> EvaluationSet:
    """As evaluation_films, of the columns status and split [N] and truth [N,C]."""
    labelled = (status == Status.OK) & np.isfinite(truth).any(axis=1)
    seen = np.isin(split, SEEN)
    if (labelled & ~seen).any():
        rows = np.flatnonzero(labelled & ~seen)
        public = films_not_held_out(provenance)
        sets = tuple(dict.fromkeys(filter(None, (get_text(one, "set") for one in public))))
        basis: Basis = "held-out" if knows_training_films(provenance) and not public else "unknown"
        return EvaluationSet(rows=rows, basis=basis, left_out=int(np.count_nonzero(labelled & seen)), public=sets)
    return EvaluationSet(rows=np.flatnonzero(labelled), basis="training" if labelled.any() else "none", left_out=0)


def finding_result(
    finding: str,
    *,
    truth: Array,
    prob: Array,
    ranked: Array,
    groups: Array,
    threshold: float,
    area: Estimate,
    interval: Interval,
) -> FindingResult:
    """The metrics of one finding on the films that have a label and a score of it.

    Parameters
    ----------
    finding : str
    truth, prob, ranked : [A]
        Labels, probabilities, and the numbers of ranking.ranking_scores.
    groups : int [A]
        The result of auc.patient_groups.
    threshold : float
        NaN if there is none.
    area, interval
        Of this finding in the result of auc.compute_aucs.
    """
    label = np.where(np.isnan(prob), np.nan, truth)
    positives, negatives = counts(label)
    patients = [len(np.unique(groups[chosen])) for chosen in (label > 0.5, label < 0.5)]
    why = area.why
    if not why and min(patients) < MIN_PATIENTS:
        interval, why = (math.nan, math.nan), _too_few(*patients)
    return FindingResult(
        finding=finding,
        positives=int(positives),
        negatives=int(negatives),
        positive_patients=patients[0],
        negative_patients=patients[1],
        auc=area.value,
        interval=interval,
        why=why,
        average_precision=average_precision(label, ranked),
        brier=brier(label, prob),
        calibration_error=calibration_error(label, prob),
        accuracy=label_accuracy(label, prob, THRESHOLD),
        negative_baseline=negative_baseline(label),
        threshold=threshold,
        decisions=decisions(label, prob, threshold),
    )


def _too_few(positive: int, negative: int) -> str:
    """Why there is no interval with so few patients of a class."""
    count, word = min((positive, "positive"), (negative, "negative"))
    return f"too few {word}s for an interval ({count} patients, at least {MIN_PATIENTS})"


def highest_and_lowest(summary: Summary, without: Container[str] = ()) -> tuple[FindingResult, FindingResult] | None:
    """The findings with the highest and the lowest AUC among those with enough positive films.

    Parameters
    ----------
    summary : Summary
        The metrics of the report.
    without : container of str
        Findings that are left out, such as those without coefficients.

    Returns
    -------
    tuple of FindingResult or None
        None if fewer than two findings have FEW_POSITIVES patients with positive films, or if the AUCs of the two are
        equal as shown: then there is no rank.
    """
    sure = sorted(
        (
            one
            for one in summary.findings
            if math.isfinite(one.auc) and not one.few_positives and one.finding not in without
        ),
        key=lambda one: one.auc,
    )
    return (sure[-1], sure[0]) if sure and f"{sure[-1].auc:.3f}" != f"{sure[0].auc:.3f}" else None


def _label_match(scores: Scores) -> Mapping[str, Any]:
    """What the file says of films without a row and rows without a film; empty if it does not."""
    match = get_nested(scores.provenance, "labels", "match")
    return match if isinstance(match, Mapping) else {}


def _warnings(scores: Scores, assessed: EvaluationSet, scored: int) -> tuple[str, ...]:
    found = []
    models = recorded_models(scores.provenance, scores.findings)
    if has_leakage(scores.provenance):
        found.append(
            "LEAKED: the same patients or films were in more than one split when the model was trained. The results "
            "are better than on new patients. Train again with a split by patient."
        )
    unmatched = match_warnings(_label_match(scores))
    found += [f"{text[0].upper()}{text[1:]}." for text in unmatched]
    public = [describe_not_held_out(one, len(scores.films.path)) for one in films_not_held_out(scores.provenance)]
    found += public
    if public:
        found.append(
            "Other films may be of these data sets too, under names that are not recognised. Score films of another "
            "source for held-out figures."
        )
    if assessed.basis == "unknown" and not public:
        found.append(
            "The training films of the model are unknown. If it was trained on these films, the results are better "
            "than on new films. Ask its authors for the training films, or score films of another source."
        )
    if assessed.basis == "training":
        found.append(
            "All labelled films were in training or validation: the results show how well the model remembers them, "
            f"not how well it works on new films. {_figures_to_read(models)}"
        )
    if not scored:
        found.append(NOTHING_SCORED)
    found += _unknown_patients(scores, assessed)
    if soft := count_soft(scores.truth[assessed.rows]):
        known = int(np.count_nonzero(np.isfinite(scores.truth[assessed.rows])))
        found.append(
            f"{soft:,} of {known:,} labels are soft, between 0 and 1. Above 0.5 they count as positive, below as "
            "negative, and 0.5 as neither; Brier score, calibration error and calibration curves use the number itself."
        )
    return (*found, *get_texts(scores.provenance, "warnings"), *model_warnings(models))


def _unknown_patients(scores: Scores, assessed: EvaluationSet) -> list[str]:
    """A sentence if the evaluated films have labels, and some of them no known patient."""
    patient = scores.films.patient[assessed.rows][np.isfinite(scores.truth[assessed.rows]).any(axis=1)]
    unknown = int(np.count_nonzero(patient < 0))
    if not unknown:
        return []
    films = (
        "No patient is known" if unknown == len(patient) else f"{unknown:,} of {len(patient):,} films have no patient"
    )
    return [
        f"{films}: each such film counts as a patient of its own. If patients have several films, the intervals are "
        "too narrow. Name the column of the patients in the label table with --patient-column."
    ]


def _figures_to_read(models: Sequence[RecordedModel]) -> str:
    """What to do about seen films: the model's own figures, if one model or ensemble has any of cross-validation."""
    found = next((one.evaluation for one in models if one.whole), None)
    if found is None or found.on != "folds":
        return "Score labelled films that were in neither."
    return f"Read the cross-validated figures of the model instead: macro AUC {found.macro_auc.text}."


def _pair(interval: Interval) -> list[float] | None:
    """JSON-ready; None if there is no interval."""
    return None if math.isnan(interval[0]) else list(interval)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
