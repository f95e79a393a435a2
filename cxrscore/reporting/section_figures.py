"""The figures of the sections of the page that show the findings, each ready to be shown and saved."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from cxrscore.metrics import mean_calibration, supported_thresholds
from cxrscore.reporting import figures
from cxrscore.reporting.drawn import Drawn, drawn
from cxrscore.reporting.figures import FindingData
from cxrscore.reporting.forest_plot import prevalence_plot
from cxrscore.reporting.model_evaluations import RecordedModel, own_figures
from cxrscore.reporting.small_multiples import MOST_PANELS
from cxrscore.reporting.summary import FindingResult, Summary

Pairs = Sequence[tuple[FindingResult, FindingData]]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure that can be drawn: its file name without suffix, what it shows, and the function that plots it."""

    name: str
    alt: str
    make: Callable[[], Figure]

    def drawn(self) -> Drawn:
        """The figure for the page."""
        return drawn(self.name, self.make(), self.alt)


def section_figures(summary: Summary, data: Sequence[FindingData], *, calibrated: bool) -> dict[str, Any]:
    """Template variables of the sections ROC curves, calibration, thresholds and distributions.

    Parameters
    ----------
    summary : Summary
        The metrics of the report.
    data : sequence of FindingData
        Of the same findings.
    calibrated : bool
        Whether the probabilities are calibrated, without which decision curves mean nothing.

    Returns
    -------
    dict
        ``roc``, ``precision_recall``, ``reliability``, ``decision``, ``prevalence`` and ``distribution``: Drawn, or
        None if there is nothing to draw; ``without_curve``: the findings without curves and why, as text; ``few``:
        whether figures have one or two panels, which fit on a phone; ``panels``: number of findings that the figures
        show if there are more, else 0.
    """
    plots = section_plots(summary, data, calibrated=calibrated)
    return {
        **{name: None if plot is None else plot.drawn() for name, plot in plots.items()},
        "without_curve": without_curve(summary),
        "few": len(data) <= 2,
        "panels": MOST_PANELS if len(data) > MOST_PANELS else 0,
    }


def section_plots(summary: Summary, data: Sequence[FindingData], *, calibrated: bool) -> dict[str, Plot | None]:
    """The figures of these sections, by template variable, not yet drawn; None if there is nothing to draw."""
    pairs = list(zip(summary.findings, data, strict=True))
    enough = most_positives([pair for pair in pairs if pair[0].has_curve])
    spread = most_positives([pair for pair in pairs if len(pair[1].all_prob)])
    known = most_positives([pair for pair in pairs if pair[0].positives + pair[0].negatives])
    supported = [one for one in enough if len(supported_thresholds(one[1].truth, one[1].prob))] if calibrated else []
    return {
        "roc": _plot("roc", figures.roc_grid, enough, "ROC curves", _auc_words),
        "precision_recall": _plot(
            "precision-recall", figures.precision_recall_grid, enough, "Precision-recall curves", _precision_words
        ),
        "decision": _plot("decision-curves", figures.decision_grid, supported, "Decision curves", _prevalence_words),
        "prevalence": _prevalence(known),
        "reliability": _plot("calibration", figures.reliability_grid, enough, "Reliability curves", _reliability_words),
        "distribution": _plot(
            "distributions", figures.distribution_grid, spread, "Histograms of the probabilities", _count_words
        ),
    }


def most_positives(pairs: Pairs) -> Pairs:
    """All of them, or the MOST_PANELS with the most positives, in the same order."""
    if len(pairs) <= MOST_PANELS:
        return pairs
    least = sorted((-pair[0].positives, place) for place, pair in enumerate(pairs))[:MOST_PANELS]
    return [pairs[place] for place in sorted(place for _, place in least)]


def without_curve(summary: Summary) -> str:
    """The findings without curves, as "Hernia (3 positive), Edema (no positive)"; "" if there are none."""
    return ", ".join(f"{one.finding} ({_fewest(one)})" for one in summary.findings if not one.has_curve)


def _fewest(one: FindingResult) -> str:
    """The patients of the smaller class: "3 positive", "no negative"."""
    count, word = min((one.positive_patients, "positive"), (one.negative_patients, "negative"))
    if not one.positives + one.negatives:
        return "no label or no score"
    return f"{count or 'no'} {word}"


def _plot(
    name: str,
    grid: Callable[[Sequence[FindingData], Sequence[str]], Figure],
    pairs: Pairs,
    what: str,
    words: Callable[[FindingResult, FindingData], str],
) -> Plot | None:
    """A figure with a panel for each finding; its description is what stands above the panels."""
    if not pairs:
        return None
    texts = [words(result, data) for result, data in pairs]
    described = "; ".join(
        f"{result.finding} {text}".replace("\n", ", ") for (result, _), text in zip(pairs, texts, strict=True)
    )
    make = functools.partial(grid, [data for _, data in pairs], texts)
    return Plot(name=name, alt=f"{what}: {described}", make=make)


def _auc_words(result: FindingResult, _: FindingData) -> str:
    interval = f" ({result.interval[0]:.2f}–{result.interval[1]:.2f})" if math.isfinite(result.interval[0]) else ""
    return f"AUC {result.auc:.3f}{interval}\n{result.positives:,} of {result.positives + result.negatives:,} positive"


def _precision_words(result: FindingResult, _: FindingData) -> str:
    return f"AP {result.average_precision:.3f}, prevalence {result.prevalence:.3f}"


def _prevalence_words(result: FindingResult, _: FindingData) -> str:
    return f"prevalence {result.prevalence:.3f}"


def _reliability_words(result: FindingResult, data: FindingData) -> str:
    films = figures.reliability_bins(data).films
    count = f"{films.min():,}" if films.min() == films.max() else f"{films.min():,}–{films.max():,}"
    return f"Brier {result.brier:.3f}, error {result.calibration_error:.3f}\n{count} films per bin"


def _count_words(result: FindingResult, data: FindingData) -> str:
    if not result.positives + result.negatives:
        return f"{len(data.all_prob):,} films"
    return f"{result.positives:,} positive, {result.negatives:,} negative"


def _prevalence(pairs: Pairs) -> Plot | None:
    if not pairs:
        return None
    found = [(data.finding, mean_calibration(data.truth, data.prob)) for _, data in pairs]
    words = "; ".join(f"{name} {one.prob:.3f} and {one.share:.3f}" for name, one in found)
    return Plot(
        name="probability-prevalence",
        alt=f"Mean probability and fraction of positives: {words}",
        make=functools.partial(prevalence_plot, [data for _, data in pairs]),
    )


def threshold_films(models: Sequence[RecordedModel], chosen_on: str) -> dict[str, str]:
    """On how many films the threshold of each finding was chosen, "53 / 301" positive and negative; without findings of
    which the model does not record it."""
    found = [one.evaluation for one in own_figures(models)]
    if len(found) != 1 or found[0] is None or found[0].on != chosen_on:
        return {}
    return {
        one.finding: f"{one.positives:,.0f} / {one.negatives:,.0f}"
        for one in found[0].findings
        if math.isfinite(one.positives + one.negatives)
    }
