"""The comparisons of the paper, as paired differences on the test films. "better" requires an interval without 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrscore.metrics import Estimate, difference, verdict
from cxrscore.paper.experiments import CORRECTED, IMAGENET, LITERAL, SERIES, Experiment
from cxrscore.paper.results import ExperimentResult

METRICS = {"accuracy": "label accuracy", "macro": "macro AUC"}

Results = Mapping[str, ExperimentResult]
"""Results by name of the experiment."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One comparison of two experiments by one metric.

    says   the claim of the paper, "" if there is none
    one, other, figure  the compared experiments and the metric, as text
    found  one - other
    """

    group: str
    says: str
    one: str
    other: str
    figure: str
    found: Estimate

    @property
    def verdict(self) -> str:
        return verdict(self.found)

    @property
    def words(self) -> str:
        """The outcome as a sentence."""
        if self.verdict == "no difference shown":
            return f"no difference shown between {self.one} and {self.other}"
        return f"{self.one} is {self.verdict} than {self.other}"


def claims(results: Results, experiments: Sequence[Experiment]) -> list[Claim]:
    """The comparisons of the paper under each set of rules, then the effects of normalisation and corrections."""
    found = [claim for series in SERIES for claim in _papers(results, experiments, series)]
    found += _across(results, experiments, IMAGENET, CORRECTED, "normalisation as the weights want it", "films in 0..1")
    return found + _across(results, experiments, CORRECTED, LITERAL, "corrected", "as printed")


def _papers(results: Results, experiments: Sequence[Experiment], series: str) -> list[Claim]:
    """DenseNet121 against ResNet50, and with augmentation against without, within one set of rules."""
    of = {
        (experiment.first, experiment.augmented): experiment
        for experiment in experiments
        if experiment.series == series
    }
    pairs = [
        ((True, True), (False, True), "DenseNet121 had better performance than ResNet50"),
        ((True, False), (False, False), ""),
        ((True, True), (True, False), "DA was beneficial for improving the classification accuracy"),
        ((False, True), (False, False), ""),
    ]
    return [
        _claim(results, of[one], of[other], figure, group=series, says=says, names=(of[one].words, of[other].words))
        for one, other, says in pairs
        for figure in METRICS
    ]


def _across(
    results: Results, experiments: Sequence[Experiment], one: str, other: str, words: str, others: str
) -> list[Claim]:
    """The same experiment under two sets of rules."""
    of = {(experiment.series, experiment.first, experiment.augmented): experiment for experiment in experiments}
    return [
        _claim(
            results,
            of[(one, *place)],
            of[(other, *place)],
            figure,
            group=f"{one} - {other}",
            says="",
            names=(f"{of[(one, *place)].words}, {words},", others),
        )
        for place in ((True, False), (True, True), (False, False), (False, True))
        for figure in METRICS
    ]


def _claim(
    results: Results, one: Experiment, other: Experiment, figure: str, *, group: str, says: str, names: tuple[str, str]
) -> Claim:
    ours, theirs = (getattr(results[experiment.name].splits["test"], figure) for experiment in (one, other))
    found = difference(ours, theirs)
    return Claim(group=group, says=says, one=names[0], other=names[1], figure=METRICS[figure], found=found)


def summary_sentences(results: Results, experiments: Sequence[Experiment], found: Sequence[Claim]) -> list[str]:
    """The summary as sentences: the claims of the paper with our results, and accuracy against a constant "no"."""
    sentences = [
        f"“{claim.says}”: {SERIES[claim.group]}, by {claim.figure}, {claim.words} ({_signed(claim)})."
        for claim in found
        if claim.says and claim.group != LITERAL
    ]
    above = [verdict(results[experiment.name].splits["test"].above_negative_baseline) for experiment in experiments]
    sentences.append(
        f"Label accuracy on the test films is above that of always answering “no” in {above.count('better')} of "
        f"{len(experiments)} experiments, below it in {above.count('worse')}, with an interval that excludes 0."
    )
    areas = [
        results[experiment.name].splits["test"].macro.interval
        for experiment in experiments
        if experiment.series == LITERAL
    ]
    chance = sum(low <= 0.5 <= high for low, high in areas)
    sentences.append(
        f"As printed, the interval of the macro AUC includes 0.5, chance, in {chance} of {len(areas)} experiments."
    )
    return sentences


def _signed(claim: Claim) -> str:
    low, high = claim.found.interval
    return f"{claim.found.value:+.3f}, {low:+.3f} to {high:+.3f}".replace("-", "\N{MINUS SIGN}")
