"""The optional sections of a report: comparison with other files, subgroups, boxes, metrics of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrscore.reporting.auc import BootstrapConfig, patient_groups
from cxrscore.reporting.boxes import Localisation, localise
from cxrscore.reporting.checklist import ChecklistItem, OptionalSections, checklist
from cxrscore.reporting.compare import Comparison, compare
from cxrscore.reporting.drift import DriftResult, score_drifts
from cxrscore.reporting.groups import LabelledSet, SubgroupAnalysis, chosen_columns, subgroup_analysis
from cxrscore.reporting.load_scores import NamedScores, read_columns
from cxrscore.reporting.model_evaluations import RecordedModel, recorded_models
from cxrscore.reporting.plugin_metrics import MetricResult, metric_results, plugin_metrics
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.reporting.summary import DEFAULT_BOOTSTRAP, Summary


@dataclass(frozen=True, kw_only=True)
class ReportSections:
    """The optional sections; a section that was not requested is None or empty. models: what the models record of
    themselves."""

    comparison: Comparison | None
    groupings: tuple[SubgroupAnalysis, ...]
    localisation: Localisation | None
    metrics: tuple[MetricResult, ...]
    drifts: DriftResult
    checklist: tuple[ChecklistItem, ...]
    models: tuple[RecordedModel, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        return {
            "comparison": self.comparison and self.comparison.as_dict(),
            "subgroups": [one.as_dict() for one in self.groupings],
            "localisation": self.localisation and self.localisation.as_dict(),
            "metrics": [one.as_dict() for one in self.metrics],
            "models": [one.as_dict() for one in self.models],
            "drift": {one.finding: one.distance for one in self.drifts.findings},
        }


def make_sections(
    named: NamedScores,
    summary: Summary,
    *,
    others: Sequence[NamedScores] = (),
    groups: Path | None = None,
    group_by: Sequence[str] = (),
    bounding_boxes: Path | None = None,
    drawing: BootstrapConfig = DEFAULT_BOOTSTRAP,
) -> ReportSections:
    """All sections for these inputs and the installed plugins; errors as compare, read_columns and localise."""
    groupings = () if groups is None else _groupings(named, summary, groups, group_by)
    comparison = compare([named, *others])
    localisation = None if bounding_boxes is None else localise(named.scores, bounding_boxes, named.name)
    metrics = metric_results(named.scores, summary.assessed.rows, drawing, plugin_metrics())
    shown = OptionalSections(subgroups=bool(groupings), metrics=tuple(one.name for one in metrics))
    return ReportSections(
        comparison=comparison,
        groupings=groupings,
        localisation=localisation,
        metrics=metrics,
        drifts=score_drifts(named.scores),
        checklist=checklist(named.scores, summary, shown),
        models=recorded_models(named.scores.provenance, named.scores.findings),
    )


def _groupings(
    named: NamedScores, summary: Summary, groups: Path, group_by: Sequence[str]
) -> tuple[SubgroupAnalysis, ...]:
    scores, rows = named.scores, summary.assessed.rows
    columns = chosen_columns(read_columns(groups, scores, named.name), group_by)
    films = LabelledSet(
        findings=scores.findings,
        truth=scores.truth[rows],
        prob=scores.prob[rows],
        ranked=ranking_scores(scores)[rows],
        thresholds=scores.thresholds,
        patients=patient_groups(scores.films.patient[rows]),
    )
    return tuple(subgroup_analysis(name, [cells[row] for row in rows], films) for name, cells in columns.items())
