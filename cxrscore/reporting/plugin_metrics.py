"""Metrics of plugins on the assessed films. The metrics of cxrscore are columns of the table of findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cxrscore import plugins
from cxrscore.contract import Metric
from cxrscore.metrics import MetricEstimate, MetricEstimates, estimate_metric
from cxrscore.metrics import metrics as own_metrics
from cxrscore.reporting.auc import BootstrapConfig, patient_groups
from cxrscore.reporting.summary import Rows
from cxrscore.scorefile.data import Scores

_HOOK = "cxrscore_metrics"


@dataclass(frozen=True, kw_only=True)
class PluginMetric:
    """A metric of a plugin.

    distribution  the distribution that provides it
    conflict      why its name is ambiguous; "" if it is unique
    """

    metric: Metric
    distribution: str
    conflict: str = ""


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """A metric of a plugin on the assessed films, for each finding."""

    plugin: PluginMetric
    findings: tuple[str, ...]
    found: MetricEstimates

    @property
    def name(self) -> str:
        return self.plugin.metric.name

    @property
    def shared(self) -> tuple[str, ...]:
        """Reasons that apply to all findings: why there is no value, or no interval."""
        whys = [one.why for one in self.found.estimates]
        no_interval = [one.why for one in self.found.estimates if not math.isnan(one.value)]
        shared = [found[0] for found in (whys, no_interval) if len(found) > 1 and len(set(found)) == 1]
        return tuple(dict.fromkeys(why for why in shared if why))

    def note(self, place: int) -> str:
        """Why a value of a finding is missing; "" if none is missing, or if the reason is the same for all."""
        why = self.found.estimates[place].why
        return "" if why in self.shared else why

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        return {
            "name": self.name,
            "summary": self.plugin.metric.summary,
            "distribution": self.plugin.distribution,
            "intervals": self.found.method,
            "resamples": self.found.resamples,
            "findings": [
                {
                    "finding": finding,
                    "films": one.films,
                    "value": None if math.isnan(one.value) else one.value,
                    "interval": None if math.isnan(one.interval[0]) else list(one.interval),
                    "why": one.why,
                }
                for finding, one in zip(self.findings, self.found.estimates, strict=True)
            ],
        }


def plugin_metrics() -> tuple[PluginMetric, ...]:
    """The metrics of installed plugins without those of cxrscore, one for each name."""
    registry = plugins.registry()
    found: dict[str, PluginMetric] = {}
    for plugin in registry.plugins:
        for metric in plugin.provides.get(_HOOK, ()):
            if not any(metric is own for own in own_metrics):
                conflict = registry.conflict(_HOOK, "metric", metric.name)
                one = PluginMetric(metric=metric, distribution=plugin.distribution, conflict=conflict)
                found.setdefault(metric.name, one)
    return tuple(found.values())


def metric_results(
    scores: Scores, rows: Rows, drawing: BootstrapConfig, metrics: Sequence[PluginMetric]
) -> tuple[MetricResult, ...]:
    """Each metric of each finding.

    Parameters
    ----------
    scores : the scores
    rows : int [A], rows of the assessed films
    drawing : resamples and seed of the intervals
    metrics : the metrics; a metric with an ambiguous name has no value, and a reason

    Returns
    -------
    One result for each metric, in their order.
    """
    return tuple(
        MetricResult(plugin=one, findings=scores.findings, found=_estimates(scores, rows, drawing, one))
        for one in metrics
    )


def _estimates(scores: Scores, rows: Rows, drawing: BootstrapConfig, one: PluginMetric) -> MetricEstimates:
    if one.conflict:
        none = MetricEstimate(films=0, value=math.nan, why=f"{one.metric.name}: {one.conflict}")
        return MetricEstimates(estimates=(none,) * len(scores.findings), resamples=0, method="no intervals")
    return estimate_metric(
        one.metric,
        scores.truth[rows],
        scores.prob[rows],
        thresholds=scores.thresholds,
        groups=patient_groups(scores.films.patient[rows]),
        resamples=drawing.resamples,
        seed=drawing.seed,
    )
