"""A report of one scores file: ROC curves, heat maps, failures and provenance on one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from matplotlib.figure import Figure

from cxrscore.errors import InputError, WriteError
from cxrscore.files import write_whole
from cxrscore.films import Status
from cxrscore.report import figures as draw
from cxrscore.report.heatmaps import Panel, panels
from cxrscore.report.page import render
from cxrscore.report.provenance import plotted
from cxrscore.report.summary import Summary, summarise
from cxrscore.scores.data import Scores

__all__ = ["write_report"]


def write_report(
    scores: Scores, output: Path, *, figures: Path | None = None, figure_format: draw.Format = "png", source: str
) -> dict[str, Any]:
    """Writes the report of these scores to ``output``, one HTML file that needs nothing beside it.

    figures        folder for the figures as files: roc, distributions, loss, heatmap-01 ...; made where missing
    figure_format  of those files; heat maps are always PNG
    source         what the reader knows the scores by, such as the name of their file

    Returns the report's numbers, JSON-ready with None for what is undefined: films, held_out, left_out, assessed,
    macro_auc, macro_auc_findings, accuracy, negative_baseline, findings, warnings, output and figures.

    Raises InputError for an unknown figure format, WriteError where a file cannot be written.
    """
    if figure_format not in get_args(draw.Format):
        wanted = " or ".join(get_args(draw.Format))
        raise InputError(f"figure format is {figure_format!r}, wanted {wanted}")
    summary = summarise(scores)
    data = _finding_data(scores, summary)
    shown = panels(scores)
    page = render(scores, summary, data, shown, source)
    write_whole(output, page.encode("utf-8"))
    saved = [] if figures is None else _save_figures(scores, data, shown, figures, figure_format)
    return {**summary.as_dict(), "output": str(output), "figures": [str(path) for path in saved]}


def _finding_data(scores: Scores, summary: Summary) -> tuple[draw.FindingData, ...]:
    rows = summary.assessed.rows
    scored = scores.films.status == Status.OK
    return tuple(
        draw.FindingData(
            finding=result.finding,
            truth=scores.truth[rows, column],
            prob=scores.prob[rows, column],
            all_prob=scores.prob[scored, column],
            auc=result.auc,
            threshold=result.threshold,
            sensitivity=result.sensitivity,
            specificity=result.specificity,
        )
        for column, result in enumerate(summary.findings)
    )


def _save_figures(
    scores: Scores, data: tuple[draw.FindingData, ...], shown: tuple[Panel, ...], folder: Path, kind: draw.Format
) -> list[Path]:
    """Writes each figure that has something to show, one after the other; the paths written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot make the folder {folder} for figures: {error.strerror}") from error
    told = plotted(scores.provenance)
    wanted: list[tuple[str, draw.Format, bool, Callable[[], Figure]]] = [
        ("roc", kind, any(math.isfinite(one.auc) for one in data), lambda: draw.roc_grid(data)),
        ("distributions", kind, any(len(one.all_prob) for one in data), lambda: draw.distribution_grid(data)),
        *(
            (f"loss-{place}" if len(told) > 1 else "loss", kind, True, lambda one=one: draw.loss_grid(one))
            for place, one in enumerate(told, start=1)
        ),
        *(
            (f"heatmap-{place:02d}", "png", True, lambda panel=panel: draw.panel_figure(panel))
            for place, panel in enumerate(shown, start=1)
        ),
    ]
    saved = []
    for name, suffix, there, figure in wanted:
        if there:
            path = folder / f"{name}.{suffix}"
            write_whole(path, draw.encode(figure(), suffix))
            saved.append(path)
    return saved
