"""The report of a scores file: ROC curves, heat maps, failed films and provenance on one self-contained HTML page."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from matplotlib.figure import Figure

from cxrscore.errors import InputError
from cxrscore.images import Status
from cxrscore.io import atomic_write_bytes, make_folder
from cxrscore.io.outputs import check_distinct, check_output, output_kind_with_marks
from cxrscore.metrics import RESAMPLES
from cxrscore.models.calibration import is_calibrated
from cxrscore.option_values import text_list, whole_number
from cxrscore.plot_style import default_style
from cxrscore.remote import Location, RemotePath, StrPath, local_path, local_paths, location
from cxrscore.reporting import figures as draw
from cxrscore.reporting.auc import BootstrapConfig
from cxrscore.reporting.difference_plot import difference_plot
from cxrscore.reporting.first_screen import recorded_yardsticks
from cxrscore.reporting.forest_plot import gap_plot, has_gaps, overview_plot
from cxrscore.reporting.heatmaps import HeatmapPanel, heatmap_panels
from cxrscore.reporting.load_scores import (
    LABEL_RULES,
    NamedScores,
    described_labels,
    open_named_scores,
    split_by_columns,
)
from cxrscore.reporting.metrics_table import COLUMNS, metrics_csv
from cxrscore.reporting.optional_sections import ReportSections, make_sections
from cxrscore.reporting.page import render
from cxrscore.reporting.pdf import PDF, write_pdf
from cxrscore.reporting.ranking import known_values, ranking_scores
from cxrscore.reporting.section_figures import section_plots
from cxrscore.reporting.summary import Summary, summarise
from cxrscore.reporting.training_figures import cross_validation_plot, learning_curve_plot
from cxrscore.scorefile.data import Scores

PAGE = output_kind_with_marks("a report of cxrscore", b'<meta name="generator" content="cxrscore report">')
TABLE = output_kind_with_marks("a table of figures of merit of cxrscore", ",".join(COLUMNS).encode())
FIGURES = {
    "png": output_kind_with_marks("a figure of cxrscore", b"\x89PNG\r\n\x1a\n", draw.PNG_MARK),
    "svg": output_kind_with_marks("a figure of cxrscore", b"<svg", draw.SVG_MARK),
}

FiguresToSave = list[tuple[Path, draw.Format, Callable[[], Figure]]]

__all__ = [
    "LABEL_RULES",
    "NamedScores",
    "default_page",
    "described_labels",
    "open_named_scores",
    "split_by_columns",
    "write_report",
]


def default_page(scores: Location | NamedScores) -> Path:
    """The page of a report if none is named: beside the scores file, or in the current folder for a URL."""
    found = location(scores.name if isinstance(scores, NamedScores) else scores, "scores")
    return (Path(found.name) if isinstance(found, RemotePath) else found).with_suffix(".html")


@default_style()
def write_report(
    scores: Scores,
    output: StrPath,
    *,
    source: str,
    others: Sequence[NamedScores] = (),
    groups: StrPath | None = None,
    group_by: Sequence[str] = (),
    bounding_boxes: StrPath | None = None,
    findings: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
    figures: StrPath | None = None,
    figure_format: draw.Format = "png",
    pdf: StrPath | bool | None = None,
    inputs: Sequence[StrPath] = (),
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes the report of these scores as one self-contained HTML file.

    Parameters
    ----------
    scores : Scores
        The scores to report.
    output : path
        HTML file to write.
    source : str
        Name of the scores in the report, such as the name of their file.
    others : sequence of NamedScores
        Scores of the same films, to compare.
    groups : path, optional
        Table with metadata of the films (sex, age, view ...). The report shows only results of subgroups.
    group_by : sequence of str
        Columns of this table that define subgroups; empty: sex, age and view.
    bounding_boxes : path, optional
        Table of bounding boxes (labels.read_boxes) to compare the heat maps with.
    findings : sequence of str
        Findings whose heat maps are shown, with up to four films of each kind; empty: all, with one film of each
        kind (heatmap_choice.choose_films).
    resamples : int
        Number of bootstrap resamples for intervals of AUCs, if patients have several films, and of plugin metrics;
        0: intervals of AUCs by formula, and no intervals of plugin metrics.
    seed : int
        Seed of the resamples.
    figures : path, optional
        Folder for the figures as files (auc-by-finding, roc, loss, heatmap-01 ...) and for metrics.csv with all
        metrics; it is created if missing.
    figure_format : str
        "png" or "svg", for plots; heat maps are always PNG.
    pdf : path or True, optional
        Also print the page to this PDF; True: beside the page, with the suffix .pdf. Chromium, Chrome or Edge makes
        it: the first on PATH, or that of the environment variable CXRSCORE_BROWSER.
    inputs : sequence of path
        Files of the scores; these and all other inputs are never replaced.
    overwrite : bool
        Replace files that are not earlier reports or figures.

    Returns
    -------
    dict
        The numbers of the report, ready for JSON, with None for undefined values (Summary.as_dict,
        ReportSections.as_dict), and the paths of output and figures.

    Raises
    ------
    InputError
        If a figure format or a finding is unknown, a table does not fit the scores, the output must not be
        replaced, or there is no browser for the PDF; the page is then written all the same.
    WriteError
        If a file cannot be written, or the browser makes no PDF.
    """
    _check_format(figure_format)
    resamples, seed = whole_number(resamples, "resamples", 0), whole_number(seed, "seed", 0)
    findings, group_by = text_list(findings, "findings"), text_list(group_by, "group_by")
    if group_by and groups is None:
        raise InputError(f"group_by is {', '.join(group_by)}, and groups, the table with that column, is not given")
    output = local_path(output, "output")
    groups, bounding_boxes, figures = (
        None if path is None else local_path(path, name)
        for path, name in ((groups, "groups"), (bounding_boxes, "bounding_boxes"), (figures, "figures"))
    )
    read = [
        *local_paths(inputs, "inputs"),
        *(file for other in others for file in other.files),
        groups,
        bounding_boxes,
    ]
    check_output(output, PAGE, inputs=read, overwrite=overwrite)
    printed = _pdf_path(pdf, output)
    if printed is not None:
        check_output(printed, PDF, inputs=read, overwrite=overwrite)
    drawing = BootstrapConfig(resamples=resamples, seed=seed)
    summary = summarise(scores, drawing)
    named = NamedScores(name=source, scores=scores)
    parts = make_sections(
        named, summary, others=others, groups=groups, group_by=group_by, bounding_boxes=bounding_boxes, drawing=drawing
    )
    data = _finding_data(scores, summary)
    boxes = None if parts.localisation is None else parts.localisation.drawn
    shown = heatmap_panels(scores, findings, boxes)
    wanted: FiguresToSave = []
    if figures is not None:
        plots = (*_finding_plots(scores, summary, data, parts), *_trainings(parts), *_forests(parts))
        wanted = _figures_to_save(plots, shown.panels, figures, figure_format)
    for path, kind, _ in wanted:
        check_output(path, FIGURES[kind], inputs=read, overwrite=overwrite)
    table = None if figures is None or summary.assessed.basis == "none" else figures / "metrics.csv"
    if table is not None:
        check_output(table, TABLE, inputs=read, overwrite=overwrite)
    check_distinct([output, *(path for path, _, _ in wanted), *filter(None, (table, printed))])
    html = render(scores, summary, data, shown, parts, source, findings)
    atomic_write_bytes(output, html.encode("utf-8"))
    saved = _save_figures(wanted)
    if table is not None:
        saved.append(table)
        atomic_write_bytes(table, metrics_csv(summary, parts.metrics))
    if printed is not None:
        write_pdf(html, printed, output)
    return {
        **summary.as_dict(),
        **parts.as_dict(),
        "output": str(output),
        "figures": [str(path) for path in saved],
        "pdf": None if printed is None else str(printed),
    }


def _pdf_path(pdf: StrPath | bool | None, output: Path) -> Path | None:
    """The PDF to write; None if none is asked for."""
    if pdf is None or pdf is False:
        return None
    return output.with_suffix(".pdf") if pdf is True else local_path(pdf, "pdf")


def _check_format(kind: str) -> None:
    if kind not in get_args(draw.Format):
        raise InputError(f"figure format is {kind!r}, expected {' or '.join(get_args(draw.Format))}")


def _finding_data(scores: Scores, summary: Summary) -> tuple[draw.FindingData, ...]:
    rows, ranked = summary.assessed.rows, ranking_scores(scores)
    scored = scores.films.status == Status.OK
    return tuple(
        draw.FindingData(
            finding=result.finding,
            truth=scores.truth[rows, column],
            prob=scores.prob[rows, column],
            ranked=ranked[rows, column],
            all_prob=known_values(scores.prob[scored, column]),
            auc=result.auc,
            threshold=result.threshold,
            sensitivity=result.sensitivity,
            specificity=result.specificity,
        )
        for column, result in enumerate(summary.findings)
    )


def _figures_to_save(
    plots: Sequence[tuple[str, Callable[[], Figure]]], shown: Sequence[HeatmapPanel], folder: Path, kind: draw.Format
) -> FiguresToSave:
    """The file, the format and the plot function of each figure; heat maps are PNG, because they are pictures."""
    maps: FiguresToSave = [
        (folder / f"heatmap-{place:02d}.png", "png", functools.partial(draw.panel_figure, panel))
        for place, panel in enumerate(shown, start=1)
    ]
    return [*((folder / f"{name}.{kind}", kind, make) for name, make in plots), *maps]


def _finding_plots(
    scores: Scores, summary: Summary, data: tuple[draw.FindingData, ...], parts: ReportSections
) -> list[tuple[str, Callable[[], Figure]]]:
    """The plots of the findings that the page shows, by file name."""
    plots = section_plots(summary, data, calibrated=is_calibrated(scores.provenance))
    shown = [(plot.name, plot.make) for plot in plots.values() if plot is not None]
    if not any(math.isfinite(one.auc) for one in summary.findings):
        return shown
    overview = functools.partial(overview_plot, summary, recorded_yardsticks(parts.models))
    return [("auc-by-finding", overview), *shown]


def _save_figures(wanted: FiguresToSave) -> list[Path]:
    """Writes the figures; returns their paths."""
    for path, kind, figure in wanted:
        make_folder(path.parent)
        atomic_write_bytes(path, draw.encode(figure(), kind))
    return [path for path, _, _ in wanted]


def _trainings(parts: ReportSections) -> list[tuple[str, Callable[[], Figure]]]:
    """The plots of training, by file name; numbered if several models have one."""
    trained = [one.training for one in parts.models if one.training.epochs]
    probes = [one.probe for one in parts.models if one.probe is not None and one.probe.tried]
    curves = [one.evaluation.curve for one in parts.models if one.evaluation is not None and one.evaluation.curve]
    return [
        *_numbered("loss", trained, draw.loss_grid),
        *_numbered("cross-validation", probes, cross_validation_plot),
        *_numbered("learning-curve", curves, learning_curve_plot),
    ]


def _numbered(name: str, items: Sequence[Any], plot: Callable[[Any], Figure]) -> list[tuple[str, Callable[[], Figure]]]:
    return [
        (f"{name}-{place}" if len(items) > 1 else name, functools.partial(plot, one))
        for place, one in enumerate(items, start=1)
    ]


def _forests(parts: ReportSections) -> list[tuple[str, Callable[[], Figure]]]:
    """The plots of comparisons and subgroups, by file name."""
    compared = parts.comparison
    found: list[tuple[str, Callable[[], Figure]]] = []
    if compared is not None and compared.others:
        found.append(("comparison", functools.partial(difference_plot, compared)))
    gaps = [one for one in parts.groupings if has_gaps(one)]
    return found + [
        (f"subgroups-{place:02d}", lambda one=one: gap_plot(one)) for place, one in enumerate(gaps, start=1)
    ]
