"""Warnings at the end of training: what limits the use of a model's figures, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxrscore.metrics.confidence_intervals import Z

FEW_FILMS = 100
"""Films for a test or for choices. With 100 films, 20 of them positive, an AUC of 0.7 has an interval of 0.56 to 0.84
(Hanley and McNeil, Radiology 143, 1982)."""
FEW_POSITIVES = 10
"""Positive test films of a finding. With 10, an AUC of 0.7 among 100 films has an interval of 0.51 to 0.89."""
SMALL_SPREAD = 0.05
"""Between the 5th and the 95th percentile of the probabilities, mean over findings. Nobody can tell films apart by a
number that differs by less."""
SMALL_SPREAD_OF_FINDING = 0.02
"""The same of one finding; lower, because the probabilities of a rare finding are all near its prevalence."""
_SHOWN = 6
"""Findings that a warning names."""

Evaluation = Mapping[str, Any]


def find_limitations(
    evaluation: Evaluation, test_positives: Mapping[str, int], patients: Sequence[str | None] = ()
) -> list[str]:
    """One sentence for each limitation that holds.

    Parameters
    ----------
    evaluation
        Of the model file, with its yardsticks and the figures of the test films.
    test_positives
        Positive test films of each finding; empty without test films.
    patients
        Of all films; None where unknown.
    """
    return [
        *_unknown_patients(patients),
        *_few_test_films(evaluation, test_positives),
        *_few_positives(evaluation),
        *_undefined_auc(evaluation),
        *_few_films_for_choices(evaluation),
        *_small_spread(evaluation),
        *_far_from_test(evaluation),
        *_no_better_than_metadata(evaluation),
        *_no_better_than_prevalence(evaluation),
    ]


def _unknown_patients(patients: Sequence[str | None]) -> Iterator[str]:
    if patients and not any(patients):
        yield (
            "no patient is known, so films of one patient may be in training and in test, which makes the figures too "
            "good: name the column of the patients (--patient-column), or check that each patient has one film"
        )


def _few_test_films(evaluation: Evaluation, positives: Mapping[str, int]) -> Iterator[str]:
    test = evaluation["test"]
    if test is None:
        return
    instead = "read the cross-validated figures first" if evaluation["on"] == "folds" else "label more films"
    if test["films"] < FEW_FILMS:
        yield (
            f"there are only {test['films']} test films, expected {FEW_FILMS} or more, so chance moves the test "
            f"figures much: quote them with their intervals, and {instead}"
        )
    if few := [f"{name} ({count})" for name, count in positives.items() if count < FEW_POSITIVES]:
        yield (
            f"fewer than {FEW_POSITIVES} positive test films of {_some(few)}: the test AUC of such a finding is mostly "
            f"chance, so draw no conclusion from it, and {instead}"
        )


def _few_positives(evaluation: Evaluation) -> Iterator[str]:
    few = [f"{name} ({found['positives']})" for name, found in evaluation["findings"].items() if found["few_positives"]]
    if few:
        yield (
            f"too few positive or negative films of {_some(few)} to learn from: every film gets the prevalence as "
            "probability, which says nothing about the film, so do not use these findings, or label more films of them"
        )


def _undefined_auc(evaluation: Evaluation) -> Iterator[str]:
    folds = evaluation["on"] == "folds"
    names = [
        name
        for name, found in evaluation["findings"].items()
        if found["auc"]["value"] is None and not found["few_positives"]
    ]
    if names and folds:
        yield (
            f"the cross-validated AUC of {_some(names)} is undefined, because no fold has positive and negative films: "
            "use fewer folds (--folds)"
        )
    elif names:
        yield (
            f"the validation films have one class only of {_some(names)}: such a finding has no AUC and no threshold, "
            "and its probabilities are not calibrated; label more films, or give another split (--split)"
        )


def _few_films_for_choices(evaluation: Evaluation) -> Iterator[str]:
    if evaluation["on"] == "valid" and evaluation["films"] < FEW_FILMS:
        yield (
            f"the epoch, the thresholds and the calibration were chosen on {evaluation['films']} validation films, "
            f"expected {FEW_FILMS} or more, so they fit these films by chance, and the validation figures are too "
            "good: label more films, or use the linear probe, which is cross-validated on all of them"
        )


def _small_spread(evaluation: Evaluation) -> Iterator[str]:
    spread = evaluation["spread"]
    if spread is not None and spread < SMALL_SPREAD:
        yield (
            f"the probabilities differ by {spread:.3f} between the 5th and the 95th percentile (mean over findings), "
            f"expected {SMALL_SPREAD} or more, so that the model says nearly the same of every film: label more films, "
            "or use weights that were trained on chest films"
        )
        return
    small = [
        f"{name} ({found['spread']:.3f})"
        for name, found in evaluation["findings"].items()
        if not found["few_positives"] and (found["spread"] or 0) < SMALL_SPREAD_OF_FINDING
    ]
    if small:
        yield (
            f"the probabilities of {_some(small)} differ by less than {SMALL_SPREAD_OF_FINDING} between the 5th and "
            "the 95th percentile, so that the model says nearly the same of every film: do not use these findings, or "
            "label more films of them"
        )


def _far_from_test(evaluation: Evaluation) -> Iterator[str]:
    own, test = evaluation["macro_auc"], (evaluation["test"] or {}).get("macro_auc", {})
    if own["value"] is None or test.get("value") is None:
        return
    apart, error = own["value"] - test["value"], math.hypot(_error(own), _error(test))
    if abs(apart) > Z * error:
        where = "cross-validated" if evaluation["on"] == "folds" else "validation"
        yield (
            f"macro AUC is {own['value']:.3f} on the {where} films and {test['value']:.3f} on the test films, further "
            f"apart than chance explains ({Z * error:.3f}), so the films may differ in source or labels: compare both "
            "groups, and quote the lower figure"
        )


def _no_better_than_metadata(evaluation: Evaluation) -> Iterator[str]:
    metadata = evaluation["yardsticks"]["metadata"]
    if metadata is None or metadata["difference"]["low"] is None:
        return
    if metadata["difference"]["low"] <= 0:
        found = metadata["difference"]
        yield (
            f"the model is not shown to be better than {words(metadata['columns'])} alone, which reach a macro AUC of "
            f"{metadata['macro_auc']['value']:.3f} (difference {found['value']:.3f}, {found['low']:.3f} to "
            f"{found['high']:.3f}), so it may see little else in the films: compare it within groups of these "
            "(`cxrscore report --groups`), and label more films"
        )


def _no_better_than_prevalence(evaluation: Evaluation) -> Iterator[str]:
    skill = evaluation["brier_skill"]
    if skill is not None and skill <= 0:
        yield (
            f"the Brier skill is {skill:.3f}, expected above 0, so the prevalence of each finding is as good a "
            "probability as the model's: use the scores to rank films only, or label more films"
        )


def _error(figure: Mapping[str, float | None]) -> float:
    """The standard error of a figure with an interval, of which one limit may be clipped; infinite without one."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None or low is None or high is None:
        return math.inf
    return max(value - low, high - value) / Z


def words(names: Sequence[str]) -> str:
    """Names as in a sentence: "age, sex and view"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _some(names: Sequence[str]) -> str:
    """At most _SHOWN of these names."""
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return words([*names[:_SHOWN], *more])
