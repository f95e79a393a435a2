"""The page: everything drawn and counted, put into one self-contained HTML file by a template.

The page holds no script and asks for nothing from anywhere. All that comes from a scores file is text to it: escaped by
the template, with control and direction characters made visible.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from cxrscore.report import figures, heatmaps, tables
from cxrscore.report.figures import FindingData
from cxrscore.report.heatmaps import Panel
from cxrscore.report.provenance import Training, mean_words, models, plotted, text
from cxrscore.report.summary import FEW_POSITIVES, THRESHOLD, FindingResult, Summary
from cxrscore.scores.data import Scores
from cxrscore.visible import visible


def render(
    scores: Scores, summary: Summary, data: tuple[FindingData, ...], panels: tuple[Panel, ...], source: str
) -> str:
    """The report as HTML.

    data    of each finding, what its plots are drawn from
    panels  the heat maps to show
    source  what the reader knows the scores by, such as the name of their file
    """
    told = scores.provenance
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            source=source,
            summary=summary,
            lead=_lead(told),
            plots=[_plots(result, one) for result, one in zip(summary.findings, data, strict=True)],
            trainings=[(one, _losses(one)) for one in plotted(told)],
            means=mean_words(told),
            models=len(models(told)),
            panels=[_pictures(panel) for panel in panels],
            colour_scale=jpeg(heatmaps.colour_scale(240, 14)),
            explainer=text(told, "explainer", "name"),
            tap=text(told, "explainer", "tap"),
            highest=tables.highest_films(scores),
            failures=tables.failures(scores),
            facts=tables.facts(told),
            raw=tables.raw_json(told),
            few=FEW_POSITIVES,
            threshold=THRESHOLD,
        )
    )


def environment(*folders: str) -> jinja2.Environment:
    """Where templates come from: further folders of the package, then that of the report. All that they print is
    escaped and made visible."""
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("cxrscore", folder) for folder in (*folders, "report")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(count=_count, fraction=_fraction)
    return found


def _finalize(value: Any) -> Any:
    """Runs on every value that the template prints; Markup is what the template's own macros return."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _count(value: int) -> str:
    return f"{value:,}"


def _fraction(value: float, digits: int = 3) -> str:
    """A fraction with a fixed number of digits, so that columns line up; a dash where it is undefined."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _lead(told: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The things a reader asks first, those left out of which nothing is known."""
    names = [text(one, "document", "spec", "architecture") or text(one, "file") for one in models(told)]
    asked = (
        ("Models" if len(names) > 1 else "Model", ", ".join(dict.fromkeys(name for name in names if name))),
        ("Scores", mean_words(told)),
        ("Backend", text(told, "backend", "framework") or text(told, "backend", "name")),
        ("Device", text(told, "backend", "device")),
        ("Scored", text(told, "created")[:10]),
    )
    return tuple((term, words) for term, words in asked if words)


def _plots(result: FindingResult, data: FindingData) -> dict[str, Any]:
    return {
        "result": result,
        "roc": png(figures.roc_plot(data)) if math.isfinite(result.auc) else "",
        "distribution": png(figures.distribution_plot(data)) if len(data.all_prob) else "",
    }


def _losses(told: Training) -> list[tuple[str, str]]:
    """The plots of training, each with what it shows in words."""
    if not told.epochs:
        return []
    plots = [("Training and validation loss by epoch", png(figures.loss_plot(told)))]
    if figures.monitors_more(told):
        words = told.monitor_words
        plots.append((f"{words[:1].upper()}{words[1:]} by epoch", png(figures.monitor_plot(told))))
    return plots


def _pictures(panel: Panel) -> dict[str, Any]:
    return {
        "panel": panel,
        "film": jpeg(panel.film),
        "maps": [(one, jpeg(one.pixels), one.truth == 1, one.truth == 0) for one in panel.maps],
    }


def png(figure: Figure) -> str:
    """A plot as what an img element takes."""
    return uri(figures.encode(figure, "png"), "png")


def jpeg(pixels: heatmaps.Pixels) -> str:
    """A picture uint8 [S,S,3] as what an img element takes."""
    return uri(heatmaps.jpeg(pixels), "jpeg")


def uri(data: bytes, kind: str) -> str:
    """A PNG or JPEG file as what an img element takes."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
