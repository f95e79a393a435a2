"""The files of a reproduction: all figures and tables with their data. Each file is written atomically."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cxrscore.paper import figures
from cxrscore.paper.experiments import CORRECTED, LITERAL
from cxrscore.paper.reported import ROC_FIGURES
from cxrscore.paper.run import Run
from cxrscore.paper.tables_and_figures import TABLES, roc_files, table_rows
from cxrscore.reporting.figures import encode

FILES = 42
"""Number of files."""
MISSING_EXPERIMENT = "missing-experiment"
"""File stem of the ROC curves of the experiment that is missing in the paper."""
SUFFIXES = {CORRECTED: "", LITERAL: "-literal"}
"""Suffixes of file stems, by set of rules."""


def outputs(run: Run) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of all files except the page and the record."""
    yield "fig1.png", encode(figures.film_figure(run.augmented.film, "A training film"), "png")
    yield "fig1.json", figures.json_bytes({"film": run.augmented.path})
    yield "fig2.png", encode(figures.film_figure(run.augmented.augmented, "The same, augmented"), "png")
    yield "fig2.json", figures.example_json(run.augmented, CORRECTED)
    for series, suffix in SUFFIXES.items():
        yield f"fig3{suffix}.png", encode(figures.losses(run.series(series)), "png")
        yield f"fig3{suffix}.csv", figures.losses_csv(run.series(series))
    yield from _rocs(run)
    yield from _maps(run)
    for number, part, _, paper in TABLES:
        yield f"table{number}.csv", _table(run, part, paper)


def roc_stems() -> dict[tuple[bool, bool], str]:
    """File stems of ROC curves, by experiment."""
    return {**{place: f"fig{number}" for place, number in ROC_FIGURES.items()}, (False, False): MISSING_EXPERIMENT}


def _rocs(run: Run) -> Iterator[tuple[str, bytes]]:
    for (first, augmented), stem in roc_stems().items():
        names = iter(roc_files(stem))
        for series in SUFFIXES:
            result = run.experiment(series, first=first, augmented=augmented)
            yield next(names), encode(figures.curves(result, run.data), "png")
            yield next(names), figures.aucs_csv(result)
            yield next(names), figures.curves_csv(result, run.data)


def _maps(run: Run) -> Iterator[tuple[str, bytes]]:
    for series, suffix in SUFFIXES.items():
        for number, shown in zip(("7", "8"), run.shown[series], strict=True):
            yield f"fig{number}{suffix}.png", encode(figures.heatmap_figure(shown), "png")
            yield f"fig{number}{suffix}.json", figures.maps_json(shown)


def _table(run: Run, part: str, paper: Any) -> bytes:
    head = (
        "rules network augmentation films paper label_accuracy low high negative_baseline above_negative_baseline "
        "above_low above_high"
    )
    head += " balanced_accuracy balanced_low balanced_high macro_auc macro_low macro_high macro_findings"
    rows = []
    for result, cells in table_rows(run, part, paper):
        experiment, one = result.scored.experiment, result.splits[part]
        values: list[Any] = [
            experiment.series,
            experiment.network,
            "yes" if experiment.augmented else "no",
            one.films,
            cells,
        ]
        values += [one.accuracy.value, *one.accuracy.interval, one.negative_baseline.value]
        for figure in (one.above_negative_baseline, one.balanced, one.macro):
            values += [figure.value, *figure.interval]
        rows.append([*values, one.defined])
    return figures.table_csv(head.split(), rows)
