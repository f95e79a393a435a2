"""The parts of a report that only some have: other files to compare with, groups, boxes, metrics of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrscore.report.areas import Drawing, patient_groups
from cxrscore.report.boxes import Localisation, localise
from cxrscore.report.checklist import Item, Shown, checklist
from cxrscore.report.compare import Comparison, compare
from cxrscore.report.drift import Drifts, drifts
from cxrscore.report.groups import Grouping, Labelled, chosen_columns, grouping
from cxrscore.report.inputs import Named, read_columns
from cxrscore.report.plugin_metrics import MetricResult, metric_results, plugin_metrics
from cxrscore.report.summary import DRAWING, Summary


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Beside the summary; what was not asked for is None or empty."""

    comparison: Comparison | None
    groupings: tuple[Grouping, ...]
    localisation: Localisation | None
    metrics: tuple[MetricResult, ...]
    drifts: Drifts
    checklist: tuple[Item, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        return {
            "comparison": self.comparison and self.comparison.as_dict(),
            "subgroups": [one.as_dict() for one in self.groupings],
            "localisation": self.localisation and self.localisation.as_dict(),
            "metrics": [one.as_dict() for one in self.metrics],
            "drift": {one.finding: one.distance for one in self.drifts.findings},
        }


def make_parts(
    named: Named,
    summary: Summary,
    *,
    others: Sequence[Named] = (),
    groups: Path | None = None,
    by: Sequence[str] = (),
    boxes: Path | None = None,
    drawing: Drawing = DRAWING,
) -> Parts:
    """All that these inputs and the installed plugins give; errors as of compare, read_columns and localise."""
    groupings = () if groups is None else _groupings(named, summary, groups, by)
    comparison = compare([named, *others])
    localisation = None if boxes is None else localise(named.scores, boxes, named.name)
    metrics = metric_results(named.scores, summary.assessed.rows, drawing, plugin_metrics())
    shown = Shown(subgroups=bool(groupings), metrics=tuple(one.name for one in metrics))
    return Parts(
        comparison=comparison,
        groupings=groupings,
        localisation=localisation,
        metrics=metrics,
        drifts=drifts(named.scores),
        checklist=checklist(named.scores, summary, shown),
    )


def _groupings(named: Named, summary: Summary, groups: Path, by: Sequence[str]) -> tuple[Grouping, ...]:
    scores, rows = named.scores, summary.assessed.rows
    columns = chosen_columns(read_columns(groups, scores, named.name), by)
    films = Labelled(
        findings=scores.findings,
        truth=scores.truth[rows],
        prob=scores.prob[rows],
        thresholds=scores.thresholds,
        patients=patient_groups(scores.films.patient[rows]),
    )
    return tuple(grouping(name, [cells[row] for row in rows], films) for name, cells in columns.items())
