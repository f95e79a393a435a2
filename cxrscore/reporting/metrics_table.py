"""All metrics of a report as one CSV table, for spreadsheets and statistics programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cxrscore.io.csv_text import csv_lines, escape_formula
from cxrscore.io.strict_json import unicode_text
from cxrscore.reporting.auc import Interval
from cxrscore.reporting.plugin_metrics import MetricResult
from cxrscore.reporting.summary import FindingResult, Summary

COLUMNS = ("finding", "metric", "source", "value", "low", "high", "note")

_NONE: Interval = (math.nan, math.nan)
Row = tuple[str, str, float, Interval, str]


def metrics_csv(summary: Summary, metrics: Sequence[MetricResult]) -> bytes:
    """The table as UTF-8, one row for each metric of each finding.

    Parameters
    ----------
    summary : metrics of cxrscore
    metrics : metrics of plugins

    Returns
    -------
    Columns COLUMNS: source is the distribution that provides the metric, low and high are the limits of the 95 %
    interval; an undefined value is empty, and the note states why. Metrics over all findings have an empty finding.
    """
    lines = [_cells("cxrscore", row) for row in _over_all(summary)]
    for place, result in enumerate(summary.findings):
        lines += [_cells("cxrscore", row) for row in _of_finding(result)]
        for one in metrics:
            found = one.found.estimates[place]
            row = (result.finding, one.name, found.value, found.interval, found.why)
            lines.append(_cells(one.plugin.distribution, row))
    return csv_lines([COLUMNS, *lines])


def _over_all(summary: Summary) -> Iterator[Row]:
    areas = summary.areas
    yield "", "macro_auc", areas.macro.value, areas.macro_interval, areas.macro.why
    known = f"mean of the {areas.with_interval} findings with a known variance"
    yield "", "macro_auc_with_interval", areas.macro_known.value, areas.macro_known_interval, known
    yield "", "micro_auc", areas.micro.value, areas.micro.interval, areas.micro.why
    yield "", "label_accuracy", summary.accuracy.value, summary.accuracy.interval, summary.accuracy.why
    yield "", "negative_baseline", summary.negative_baseline, _NONE, ""


def _of_finding(result: FindingResult) -> Iterator[Row]:
    finding = result.finding
    yield finding, "auc", result.auc, result.interval, result.why_undefined or result.why
    for name, value in (
        ("average_precision", result.average_precision),
        ("brier", result.brier),
        ("calibration_error", result.calibration_error),
        ("label_accuracy", result.accuracy),
        ("negative_baseline", result.negative_baseline),
    ):
        yield finding, name, value, _NONE, result.why_undefined if math.isnan(value) else ""
    none = "" if math.isfinite(result.threshold) else "no threshold is stored for this finding"
    yield finding, "threshold", result.threshold, _NONE, none
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        share = getattr(result.decisions, name)
        yield finding, name, share.value, share.interval, "" if share.total else none or "no film in the denominator"


def _cells(source: str, row: Row) -> list[str]:
    finding, metric, value, (low, high), note = row
    numbers = ["" if math.isnan(number) else repr(float(number)) for number in (value, low, high)]
    finding, metric, source, note = (escape_formula(unicode_text(text)) for text in (finding, metric, source, note))
    return [finding, metric, source, *numbers, note]
