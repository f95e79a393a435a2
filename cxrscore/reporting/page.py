"""The page: a template that puts all figures and numbers into one self-contained HTML file.

The page contains no script and loads no other resource. All values of a scores file are plain text: the template
escapes them, and makes control and direction characters visible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.images import Status
from cxrscore.labels import describe_table
from cxrscore.metrics.reliability import BINS, POINTS
from cxrscore.models.calibration import RARE, describe_probabilities, is_calibrated, recorded_shift
from cxrscore.models.evaluation import format_count
from cxrscore.reporting import figures, heatmaps, tables
from cxrscore.reporting.difference_plot import comparison_variables
from cxrscore.reporting.drawn import Drawn, csv_uri, drawn, uri
from cxrscore.reporting.drift import LARGE_DISTANCE
from cxrscore.reporting.figures import FindingData
from cxrscore.reporting.first_screen import SHOWN_WARNINGS, answer, cautions, recorded_yardsticks
from cxrscore.reporting.forest_plot import gap_plot, has_gaps, overview_alt, overview_plot
from cxrscore.reporting.groups import MIN_FILMS, MIN_PER_CLASS, SubgroupAnalysis
from cxrscore.reporting.heatmap_choice import BOXED, ERROR_KINDS, PLURALS
from cxrscore.reporting.heatmaps import HeatmapSection
from cxrscore.reporting.metrics_table import metrics_csv
from cxrscore.reporting.model_evaluations import RecordedModel, marks, own_figures
from cxrscore.reporting.optional_sections import ReportSections
from cxrscore.reporting.provenance import (
    Training,
    describe_mean,
    get_nested,
    get_text,
    has_leakage,
    knows_training_films,
    provenance_models,
    threshold_source,
)
from cxrscore.reporting.section_figures import section_figures, threshold_films
from cxrscore.reporting.summary import FEW_POSITIVES, MIN_PATIENTS, THRESHOLD, Summary, highest_and_lowest
from cxrscore.reporting.table_csv import add_table_links
from cxrscore.reporting.training_figures import cross_validation_plot, learning_curve_plot
from cxrscore.scorefile.data import SEEN, Scores

SECTIONS = {
    "roc": "ROC curves",
    "findings": "Findings",
    "thresholds": "Thresholds",
    "calibration": "Calibration",
    "distributions": "Distributions",
    "comparison": "Comparison",
    "subgroups": "Subgroups",
    "metrics": "Metrics of plugins",
    "highest": "Highest scores",
    "heat-maps": "Heat maps",
    "localisation": "Localisation",
    "failed": "Failed films",
    "notes": "Notes on films",
    "training": "Training",
    "drift": "Drift",
    "provenance": "Provenance",
    "checklists": "Reporting checklists",
    "glossary": "Glossary",
}
"""Titles of sections by the names of their anchors and templates, in the order of the page."""
GROUPS = {
    "Results": (
        *("roc", "findings", "thresholds", "calibration", "distributions", "comparison", "subgroups", "metrics"),
    ),
    "Films": ("highest", "heat-maps", "localisation", "failed", "notes"),
    "Model": ("training", "drift"),
    "Record": ("provenance", "checklists", "glossary"),
}
"""Groups of sections in the navigation."""
FOLDED = ("provenance", "checklists", "glossary")
"""Sections that the reader opens: they are read after the results."""
HEATMAP_BYTES = 5_000_000
"""Maximum size of the heat maps in the page, which shall stay below 10 MB. A film and its map take 35 kB."""


def render(
    scores: Scores,
    summary: Summary,
    data: tuple[FindingData, ...],
    shown: HeatmapSection,
    parts: ReportSections,
    source: str,
    chosen: Sequence[str] = (),
) -> str:
    """The report as HTML.

    data    data for the plots of each finding
    shown   the heat maps to show
    parts   optional sections: comparison, groups, boxes ...
    source  name of the scores, such as the name of their file
    chosen  findings whose heat maps were requested
    """
    provenance, highest = scores.provenance, tables.highest_films(scores)
    constant = [one.finding for one in data if len(one.all_prob) > 1 and one.all_prob.min() == one.all_prob.max()]
    context = {
        "source": source,
        "chosen": chosen,
        "groups": _shown_sections(summary, parts),
        "summary": summary,
        "metric_notes": _metric_notes(summary, parts),
        "lead": _lead(provenance),
        "calibrated": is_calibrated(provenance),
        "drawings": section_figures(summary, data, calibrated=is_calibrated(provenance)),
        "chosen_films": threshold_films(parts.models, threshold_source(provenance)),
        **_heat_maps(shown),
        "highest": highest,
        "seen_films": int(np.count_nonzero((scores.films.status == Status.OK) & np.isin(scores.films.split, SEEN))),
        "highest_csv": csv_uri(tables.highest_rows(highest)),
        "failures": tables.failures(scores),
        "constant": constant,
    }
    page = environment().get_template("page.html.j2")
    return page.render(
        **context,
        **_first_screen(scores, summary, parts, constant),
        **_origin(provenance, summary),
        **_model_figures(parts.models, summary),
        **_optional_sections(parts),
        **_CONSTANTS,
    )


def _origin(provenance: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    """Template variables from the provenance."""
    facts = tables.provenance_table(provenance, summary.film_notes.describe_routine())
    rows = [(name, *pair) for name, pairs in facts for pair in pairs]
    return {
        "has_leakage": has_leakage(provenance),
        "told_films": knows_training_films(provenance),
        "chosen_on": threshold_source(provenance),
        "probabilities": describe_probabilities(provenance),
        "is_moved": bool(recorded_shift(provenance)),
        "means": describe_mean(provenance),
        "models": len(provenance_models(provenance)),
        "explainer": get_text(provenance, "explainer", "name"),
        "cam_layer": get_text(provenance, "explainer", "cam_layer"),
        "class_token": any(get_text(one, "document", "spec", "head") == "cls" for one in provenance_models(provenance)),
        "facts": facts,
        "facts_csv": csv_uri([("group", "item", "value"), *rows]),
        "raw": tables.raw_json(provenance),
    }


def _model_figures(models: Sequence[RecordedModel], summary: Summary) -> dict[str, Any]:
    """Template variables of the training of the models and of their own figures."""
    marked = marks(models)
    briers = [one.brier for one in summary.findings if one.finding not in marked and math.isfinite(one.brier)]
    return {
        "mean_brier": sum(briers) / len(briers) if briers else math.nan,
        "trained": [
            (one, _training_plots(one)) for one in models if one.training.epochs or one.probe or one.evaluation
        ],
        "evaluated": own_figures(models),
        "marks": marked,
        "folds": any(one.evaluation is not None and one.evaluation.on == "folds" for one in models),
    }


def _optional_sections(parts: ReportSections) -> dict[str, Any]:
    """Template variables of the optional sections."""
    return {
        **comparison_variables(parts.comparison),
        "metrics": parts.metrics,
        "groupings": [_grouped(one) for one in parts.groupings],
        "localisation": parts.localisation,
        "drifts": parts.drifts,
        "checklist": parts.checklist,
    }


_CONSTANTS = {
    "nan": math.nan,
    "folded": FOLDED,
    "few": FEW_POSITIVES,
    "min_patients": MIN_PATIENTS,
    "threshold": THRESHOLD,
    "rare": RARE,
    "points": POINTS,
    "bins": BINS,
    "large": LARGE_DISTANCE,
    "least_films": MIN_FILMS,
    "least_of_a_class": MIN_PER_CLASS,
}


def _shown_sections(summary: Summary, parts: ReportSections) -> list[tuple[str, list[tuple[str, str]]]]:
    """The groups with their sections, in the order of the page; without labels, the films come first."""
    order = ["Films", *GROUPS] if summary.assessed.basis == "none" else list(GROUPS)
    groups = (
        (group, [(name, SECTIONS[name]) for name in GROUPS[group] if _has_section(name, summary, parts)])
        for group in dict.fromkeys(order)
    )
    return [(group, sections) for group, sections in groups if sections]


def _has_section(name: str, summary: Summary, parts: ReportSections) -> bool:
    """Whether the page has this section."""
    labelled = summary.assessed.basis != "none"
    optional = {
        **dict.fromkeys(("highest", "heat-maps", "distributions", "drift"), summary.scored > 0),
        **dict.fromkeys(("roc", "findings", "calibration"), labelled),
        "metrics": labelled and bool(parts.metrics),
        "thresholds": labelled and any(math.isfinite(result.threshold) for result in summary.findings),
        "comparison": parts.comparison is not None,
        "subgroups": bool(parts.groupings),
        "localisation": parts.localisation is not None,
        "notes": bool(summary.film_notes.kinds),
    }
    return optional.get(name, True)


def _first_screen(scores: Scores, summary: Summary, parts: ReportSections, constant: Sequence[str]) -> dict[str, Any]:
    """Template variables of the first screen."""
    drifted = [one.finding for one in parts.drifts.findings if one.large]
    yardsticks = recorded_yardsticks(parts.models)
    overview = None
    if any(math.isfinite(one.auc) for one in summary.findings):
        overview = drawn("auc-by-finding", overview_plot(summary, yardsticks), overview_alt(summary))
    return {
        "answer": answer(summary, scores.provenance),
        "cautions": cautions(
            summary,
            parts.models,
            probabilities=describe_probabilities(scores.provenance),
            drifted=drifted,
            constant=constant,
        ),
        "shown_warnings": SHOWN_WARNINGS,
        "label_table": describe_table(get_nested(scores.provenance, "labels")),
        "overview": overview,
        "extremes": highest_and_lowest(summary, marks(parts.models)),
        "metrics_table": uri(metrics_csv(summary, parts.metrics), "text/csv;charset=utf-8"),
    }


def environment(*folders: str) -> jinja2.Environment:
    """The template environment: other folders of the package, then that of the report. All output is escaped, with
    control characters made visible."""
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("cxrscore", folder) for folder in (*folders, "reporting")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(count=_count, fraction=_fraction, interval=_interval, signed=_signed, p=_p)
    found.filters.update(metric=_metric, metric_interval=_metric_interval)
    found.filters.update(there=math.isfinite, films=format_count, table_links=add_table_links)
    found.filters.update(picture=jpeg, percent=_percent)
    return found


def _finalize(value: Any) -> Any:
    """Filter of every value that the template prints; macros of the template return Markup."""
    return escape_control_characters(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _count(value: int) -> str:
    return f"{value:,}"


def _fraction(value: float, digits: int = 3) -> str:
    """A fraction with a fixed number of digits, so that columns are aligned; a dash if undefined."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _interval(ends: tuple[float, float], digits: int = 2, sign: bool = False) -> str:
    """Both limits of an interval; empty if undefined."""
    if math.isnan(ends[0]):
        return "no interval"
    return " to ".join(map(_signed, ends)) if sign else "–".join(f"{end:.{digits}f}" for end in ends)


def _signed(value: float) -> str:
    """A difference with its sign; negative ones with a minus sign (U+2212)."""
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else "–"


def _metric(value: float) -> str:
    """A metric on any scale: three decimals, or three significant digits for small values; a dash if undefined."""
    if not math.isfinite(value):
        return "–"
    decimals = value == 0 or 0.001 <= abs(value) < 10_000
    return (f"{value:.3f}" if decimals else f"{value:.2e}").replace("-", "−")


def _metric_interval(ends: tuple[float, float]) -> str:
    return "no interval" if math.isnan(ends[0]) else " to ".join(map(_metric, ends))


def _p(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _metric_notes(summary: Summary, parts: ReportSections) -> list[str]:
    """Notes on missing values of plugin metrics, by finding."""
    places = range(len(summary.findings))
    return ["; ".join(filter(None, (one.note(place) for one in parts.metrics))) for place in places]


def _lead(provenance: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The key facts of the report; unknown ones are omitted."""
    names = [
        get_text(one, "document", "spec", "architecture") or get_text(one, "file")
        for one in provenance_models(provenance)
    ]
    requested = (
        ("Models" if len(names) > 1 else "Model", ", ".join(dict.fromkeys(name for name in names if name))),
        ("Scores", describe_mean(provenance)),
        ("Backend", get_text(provenance, "backend", "framework") or get_text(provenance, "backend", "name")),
        ("Device", get_text(provenance, "backend", "device")),
        ("Scored", get_text(provenance, "created")[:10]),
    )
    return tuple((term, words) for term, words in requested if words)


def _training_plots(model: RecordedModel) -> list[tuple[str, Drawn]]:
    """The plots of a model, each with its description."""
    plots = _losses(model.training)
    if model.probe is not None and model.probe.tried:
        words = f"Cross-validated log loss by strength; {model.probe.strength_words or 'none chosen'}"
        plots.append((words, drawn("cross-validation", cross_validation_plot(model.probe), words)))
    if model.evaluation is not None and model.evaluation.curve is not None:
        curve = model.evaluation.curve
        words = "Learning curve: macro AUC by number of training films, with 95 % intervals"
        plots.append((words, drawn("learning-curve", learning_curve_plot(curve), f"{words}. {curve.sentence}")))
    return plots


def _losses(training: Training) -> list[tuple[str, Drawn]]:
    """The plots of training, each with its description."""
    if not training.epochs:
        return []
    last = training.epochs[-1]
    words = "Training and validation loss by epoch"
    alt = f"{words}; in epoch {last.number} {last.train_loss:.3g} and {last.valid_loss:.3g}"
    plots = [(words, drawn("loss", figures.loss_plot(training), alt))]
    if figures.monitors_more(training):
        words = f"{training.monitor_words[:1].upper()}{training.monitor_words[1:]} by epoch"
        alt = f"{words}; in epoch {last.number} {last.monitored:.3g}"
        plots.append((words, drawn("monitor", figures.monitor_plot(training), alt)))
    return plots


def _grouped(grouping: SubgroupAnalysis) -> dict[str, Any]:
    findings = dict.fromkeys(one.finding for group in grouping.groups for one in group.findings)
    rows = [
        (finding, group.name, one)
        for finding in findings
        for group in grouping.groups
        for one in group.findings
        if one.finding == finding
    ]
    words = f"AUC gaps to the rest by finding and {grouping.column}, with intervals; the tables contain the numbers"
    plot = drawn(f"subgroups-{grouping.column}", gap_plot(grouping), words) if has_gaps(grouping) else None
    return {"grouping": grouping, "plot": plot, "rows": rows}


def _heat_maps(shown: HeatmapSection) -> dict[str, Any]:
    """Template variables of the heat maps: the panels of each finding with their pictures, as long as they fit."""
    left, groups = HEATMAP_BYTES, []
    for one in shown.findings:
        panels = []
        for panel in one.panels:
            pictures = jpeg(panel.film), jpeg(panel.overlay)
            left -= sum(map(len, pictures))
            if left < 0:
                break
            panels.append((panel, *pictures))
        groups.append((one, panels))
    return {
        "heat_maps": shown,
        "map_groups": groups,
        "panels_shown": sum(len(panels) for _, panels in groups),
        "map_kinds": (*ERROR_KINDS, BOXED),
        "map_plurals": PLURALS,
        "colour_scale": jpeg(heatmaps.colour_scale(240, 14)),
    }


def jpeg(pixels: heatmaps.Pixels) -> str:
    """An image uint8 [S,S,3] as a data URL."""
    return uri(heatmaps.jpeg(pixels), "image/jpeg")
