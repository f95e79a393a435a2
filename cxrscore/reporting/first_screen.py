"""The first screen of the page: one sentence that answers, and the warnings that hold, each with what to do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrscore.models.evaluation import Yardsticks
from cxrscore.reporting.auc import Interval
from cxrscore.reporting.model_evaluations import RecordedModel, marks, model_warnings, own_figures
from cxrscore.reporting.provenance import get_nested, get_text, provenance_models
from cxrscore.reporting.summary import FEW_POSITIVES, NOTHING_SCORED, Summary

SHOWN_WARNINGS = 4
"""Number of warnings that are not folded."""
FEW_FILMS = 100
"""Metrics of fewer films get a warning: with 100 films, 20 of them positive, an AUC of 0.7 has an interval of 0.56 to
0.84 (Hanley and McNeil, Radiology 143, 1982)."""
PREVALENCE_ONLY = "every film gets the prevalence"
"""Words of the model's own warning of findings without coefficients."""
NARROW = 0.02
"""Width of an interval below which two decimals would hide it."""
MOST_NAMES = 6
"""Maximum number of findings that a warning names."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The sentence at the top of the page, in three parts.

    before  the part before the number
    value   the macro AUC, "" if there is none
    after   the rest
    """

    before: str
    value: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.before}{self.value}{self.after}"


@dataclass(frozen=True, kw_only=True)
class Caution:
    """A warning with what to do; ``anchor``: the section with more, "" if there is none."""

    text: str
    anchor: str = ""


def answer(summary: Summary, provenance: Mapping[str, Any]) -> Answer:
    """What was scored, by what, how well, on how many films and patients, and what failed.

    Parameters
    ----------
    summary : Summary
        The metrics of the report.
    provenance : mapping
        Of the scores file, in which anything may be missing.
    """
    if not summary.scored:
        return Answer(before=f"None of the {_count(summary.found, 'film')} could be scored.")
    scored = f"{_count(summary.scored, 'film')} {_were(summary.scored)} scored by {_scorer(provenance)}; "
    rest = f"; {_failed(summary)}."
    if summary.assessed.basis == "none":
        return Answer(before=f"{scored}no scored film has a label, so there is no AUC{rest}")
    where = f"{scored}on {_films(summary)} "
    if not math.isfinite(summary.macro_auc):
        known = any(one.positives + one.negatives for one in summary.findings)
        why = "only one class is present" if known else "no film has a score and a label of the same finding"
        return Answer(before=f"{where}no AUC is defined, because {why}{rest}")
    return Answer(
        before=f"{where}the {_what(summary)} is ",
        value=f"{summary.macro_auc:.{_digits(summary.areas.macro_interval)}f}",
        after=f" ({_macro_interval(summary)}){rest}",
    )


def _scorer(provenance: Mapping[str, Any]) -> str:
    """What scored the films: "densenet121", "an ensemble of 5 models (densenet121)" ..."""
    models = provenance_models(provenance)
    if not models:
        return "another program"
    names = [get_text(one, "document", "spec", "architecture") or get_text(one, "file") for one in models]
    known = ", ".join(dict.fromkeys(filter(None, names)))
    if len(models) == 1:
        return known or "a model without a name"
    kind = "an ensemble of" if get_nested(provenance, "ensemble") is not None else "the mean of"
    return f"{kind} {len(models)} models{f' ({known})' if known else ''}"


def _films(summary: Summary) -> str:
    """The films of the metrics: "88 held-out films of 88 patients"."""
    films, basis = len(summary.assessed.rows), summary.assessed.basis
    kind = "held-out film" if basis == "held-out" else "labelled film"
    known = "" if summary.unknown_patients else f" of {_count(summary.patients, 'patient')}"
    seen = ""
    if basis == "training":
        seen = " that the model saw in training or validation,"
    elif summary.assessed.public:
        seen = f" that are not held-out ({', '.join(summary.assessed.public)}),"
    elif basis == "unknown":
        seen = " that the model may have seen in training,"
    return f"{_count(films, kind)}{known}{seen}"


def _what(summary: Summary) -> str:
    """The metric: "macro AUC over 13 of 14 findings", or the AUC of the only finding."""
    defined = [one.finding for one in summary.findings if math.isfinite(one.auc)]
    if len(defined) == 1:
        only = "" if len(summary.findings) == 1 else ", the only finding with positive and negative films,"
        return f"AUC of {defined[0]}{only}"
    of = f" of {len(summary.findings)}" if len(defined) < len(summary.findings) else ""
    return f"macro AUC over {len(defined)}{of} findings"


def _macro_interval(summary: Summary) -> str:
    areas = summary.areas
    if math.isfinite(areas.macro_interval[0]):
        return _interval(areas.macro_interval)
    if math.isfinite(areas.macro_known_interval[0]):
        known = f"{areas.macro_known.value:.2f}, {_interval(areas.macro_known_interval)}"
        return f"without an interval; over the {areas.with_interval} findings with a known variance: {known}"
    return "without an interval"


def _interval(ends: Interval) -> str:
    digits = _digits(ends)
    return f"95 % interval {ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _digits(ends: Interval) -> int:
    """Decimals for an AUC with this interval: as many as it supports, two or three."""
    return 3 if ends[1] - ends[0] < NARROW else 2


def _failed(summary: Summary) -> str:
    if not summary.failed:
        return "all films could be scored"
    return f"{_count(summary.failed, 'film')} could not be scored"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def recorded_yardsticks(models: Sequence[RecordedModel]) -> Yardsticks | None:
    """The yardsticks of the model whose figures are read for these scores; None if there are none, or several."""
    found = own_figures(models)
    return found[0].evaluation.yardsticks if len(found) == 1 and found[0].evaluation is not None else None


def cautions(
    summary: Summary,
    models: Sequence[RecordedModel],
    *,
    probabilities: str,
    drifted: Sequence[str] = (),
    constant: Sequence[str] = (),
) -> tuple[Caution, ...]:
    """The warnings that hold, the most serious first.

    Parameters
    ----------
    summary : Summary
        The metrics of the report, with its own warnings.
    models : sequence of RecordedModel
        The models of the scores file.
    probabilities : str
        What the probabilities are (models.calibration.describe_probabilities).
    drifted : sequence of str
        Findings whose score distribution differs from that of the training run.
    constant : sequence of str
        Findings with the same probability for every film.
    """
    own = [Caution(text=text) for text in summary.warnings if text != NOTHING_SCORED]  # the sentence at the top says it
    return (
        *own,
        *_few(summary, models),
        *_marked(models),
        *_constant([finding for finding in constant if finding not in marks(models)]),
        *_uncalibrated(probabilities if summary.scored else ""),
        *_drift(drifted),
        *_film_notes(summary),
    )


def _few(summary: Summary, models: Sequence[RecordedModel]) -> Iterator[Caution]:
    """Few films, or few positives, unless the model has warned of the same films."""
    films = len(summary.assessed.rows)
    told = {one.evaluation.test_films for one in models if one.evaluation is not None and one.evaluation.warnings}
    if not films or films in told:
        return
    if films < FEW_FILMS:
        yield Caution(
            text=f"The metrics are of {_count(films, 'film')}, expected {FEW_FILMS} or more, so chance moves them "
            "much: quote them with their intervals, and label more films."
        )
    few = [f"{one.finding} ({one.positive_patients})" for one in summary.findings if one.few_positives]
    if few:
        yield Caution(
            text=f"Fewer than {FEW_POSITIVES} patients have positive films of {_names(few)}: such an AUC is imprecise, "
            "so draw no conclusion from it, or label more films.",
            anchor="findings",
        )


def _marked(models: Sequence[RecordedModel]) -> Iterator[Caution]:
    """Findings without coefficients, unless the model has warned of them."""
    found = list(marks(models))
    if found and not any(PREVALENCE_ONLY in text for text in model_warnings(models)):
        yield Caution(
            text=f"The model has the same probability for every film, because of too few training films: "
            f"{_names(found)}. Do not use these findings, or label more films of them.",
            anchor="findings",
        )


def _constant(findings: Sequence[str]) -> Iterator[Caution]:
    """Findings that do not tell films apart, for another reason than too few training films."""
    if findings:
        yield Caution(
            text=f"Every film has the same probability of {_names(findings)}: it tells no film from another. "
            "Do not use it, and check the model and its preprocessing.",
            anchor="highest",
        )


def _uncalibrated(probabilities: str) -> Iterator[Caution]:
    if any(words in probabilities for words in ("not calibrated", "unknown calibration", "not known")):
        yield Caution(
            text=f"{probabilities} Use them to rank films, not as the chance of a finding.", anchor="provenance"
        )


def _drift(findings: Sequence[str]) -> Iterator[Caution]:
    if findings:
        yield Caution(
            text=f"The scores of {_names(findings)} are distributed otherwise than in the training run, so the films "
            "or the prevalence differ: check the films before you use the thresholds.",
            anchor="drift",
        )


def _film_notes(summary: Summary) -> Iterator[Caution]:
    by_action: Counter[str] = Counter()
    kinds: dict[str, list[str]] = {}
    for one in summary.film_notes.kinds:
        by_action[one.what_to_do] += one.films
        kinds.setdefault(one.what_to_do, []).append(f"{one.kind} ({_count(one.films, 'film')})")
    for action, _ in by_action.most_common():
        yield Caution(text=f"Pixels: {_names(kinds[action])}. {action}", anchor="notes")


def _names(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMES
    listed = names[:MOST_NAMES] if more > 0 else names
    return f"{', '.join(listed)} and {more} more" if more > 0 else ", ".join(listed)
