"""paper.json: the run, each item of the paper with its value and ours, all comparisons and contradictions."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import cxrscore
from cxrscore.metrics import Estimate
from cxrscore.paper.claims import Claim, summary_sentences
from cxrscore.paper.reported import Contradiction
from cxrscore.paper.results import ExperimentResult, Finding, SplitResult
from cxrscore.paper.run import Run
from cxrscore.paper.tables_and_figures import PaperItem, ReportedValue, none_if_undefined

FORMAT, VERSION = "cxrscore-paper", 1


def record(
    run: Run, items: Sequence[PaperItem], claims: Sequence[Claim], rows: Sequence[Contradiction]
) -> dict[str, Any]:
    """JSON-ready record (schemas/paper.schema.json). It contains no film names and no pixels."""
    first = run.results[run.experiments[0].name].scored
    names = ("train", "valid", "test", "epochs", "size", "augmentations", "heatmaps", "weights", "seed", "backend")
    return {
        "format": FORMAT,
        "version": VERSION,
        "cxrscore": cxrscore.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count() or 1,
            "framework": first.built.framework,
            "device": first.built.device,
        },
        "seconds": round(run.seconds, 1),
        "options": {**{name: getattr(run.options, name) for name in names}, "networks": list(run.options.networks)},
        "films": _films(run),
        "experiments": [_experiment(run.results[experiment.name]) for experiment in run.experiments],
        "items": [_item(item) for item in items],
        "summary": summary_sentences(run.results, run.experiments, claims),
        "comparisons": [_claim(claim) for claim in claims],
        "contradictions": [asdict(row) for row in rows],
    }


def _films(run: Run) -> dict[str, Any]:
    data = run.data
    used = sum(len(rows) for _, rows in data.split.parts())
    return {
        "labelled": run.labelled,
        "unreadable": len(data.failed),
        "unused": run.labelled - len(data.failed) - used,
        **{name: len(rows) for name, rows in data.split.parts()},
        "rule": data.split.rule,
        "labels": data.labels_file["dataset"],
        "leak_count": len(data.leaks),
    }


def _experiment(result: ExperimentResult) -> dict[str, Any]:
    trained = result.scored.trained
    experiment = trained.experiment
    return {
        "name": experiment.name,
        "series": experiment.series,
        "network": experiment.network,
        "augmented": experiment.augmented,
        "normalize": trained.model.spec.normalize,
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "seconds": round(trained.seconds, 1),
        "splits": {name: _part(part, findings=name == "test") for name, part in result.splits.items()},
    }


def _part(part: SplitResult, *, findings: bool) -> dict[str, Any]:
    found = {
        "films": part.films,
        "label_accuracy": estimate(part.accuracy),
        "negative_baseline": none_if_undefined(part.negative_baseline.value),
        "above_negative_baseline": estimate(part.above_negative_baseline),
        "balanced_accuracy": estimate(part.balanced),
        "macro_auc": estimate(part.macro),
        "macro_findings": part.defined,
    }
    return {**found, "findings": [_finding(one) for one in part.findings]} if findings else found


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "finding": one.finding,
        "positives": one.positives,
        "negatives": one.negatives,
        "auc": estimate(one.area),
        "trapezoid": none_if_undefined(one.trapezoid),
        "binormal": none_if_undefined(one.binormal),
    }


def estimate(found: Estimate) -> dict[str, Any]:
    """A value with its 95 % interval; None for what is undefined, and then why."""
    low, high = found.interval
    return {
        "value": none_if_undefined(found.value),
        "low": none_if_undefined(low),
        "high": none_if_undefined(high),
        "why": found.why,
    }


def _item(item: PaperItem) -> dict[str, Any]:
    document = {"item": item.item, "title": item.title, "files": list(item.files), "why": list(item.why)}
    return {**document, "values": [_value(value) for value in item.values]}


def _value(value: ReportedValue) -> dict[str, Any]:
    ours: dict[str, Any] = {"text": value.ours} if isinstance(value.ours, str) else estimate(value.ours)
    return {"name": value.what, "series": value.series, "paper": value.paper, "ours": ours}


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "group": claim.group,
        "paper_statement": claim.says,
        "first": claim.one,
        "second": claim.other,
        "metric": claim.figure,
        "verdict": claim.verdict,
        "text": claim.words,
        "difference": estimate(claim.found),
    }
