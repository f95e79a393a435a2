"""Metrics of plugins in the report: on the page, among its numbers, and in metrics.csv."""

import csv
import dataclasses
import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from report_scores import FINDINGS, made_scores
from test_plugins import builtin, entry_point
from test_report_page import ATTRIBUTES, ELEMENTS, Page, written

from cxrscore import plugins
from cxrscore.contract import Metric, hookimpl
from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.metrics import estimate_metric
from cxrscore.plugins import Registry
from cxrscore.reporting import optional_sections
from cxrscore.reporting.auc import BootstrapConfig
from cxrscore.reporting.plugin_metrics import PluginMetric, metric_results, plugin_metrics
from cxrscore.reporting.summary import evaluation_films, summarise

pytestmark = pytest.mark.slow

EVIL = '<b>evil</b>"\u202e'


def share_called(truth: np.ndarray, score: np.ndarray, threshold: float) -> float:
    return float((score >= threshold).mean()) if len(score) else math.nan


def fails(truth: np.ndarray, score: np.ndarray) -> float:
    raise ValueError(f"{EVIL}\nsecond line")


def spread(truth: np.ndarray, score: np.ndarray) -> float:
    return float(score.max() - score.min()) * -1e6 if truth.any() else math.nan


METRICS = (
    Metric(name="called", summary="share of films called positive", function=share_called, needs_threshold=True),
    Metric(name="fails", summary=EVIL, function=fails),
    Metric(name="spread", summary="", function=spread),
)


def brought(*metrics: Metric) -> tuple[PluginMetric, ...]:
    return tuple(PluginMetric(metric=one, distribution=f"cxrscore-{one.name}") for one in metrics)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("metrics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optional_sections, "plugin_metrics", lambda: brought(*METRICS))
        return written(made_scores(), folder, resamples=60, seed=2, figures=folder / "figures")


def test_the_numbers_are_those_of_the_assessed_films(report: tuple[str, Page, dict[str, Any]]) -> None:
    scores = made_scores()
    rows = evaluation_films(scores).rows
    wanted = estimate_metric(
        METRICS[0],
        scores.truth[rows],
        scores.prob[rows],
        thresholds=scores.thresholds,
        groups=np.arange(len(rows)),
        resamples=60,
        seed=2,
    )
    called, failed, _ = report[2]["metrics"]
    assert (called["name"], called["distribution"]) == ("called", "cxrscore-called")
    assert called["intervals"] == "bootstrap of the 137 patients, 60 resamples, seed 2"
    for one, estimate in zip(called["findings"][:13], wanted.estimates, strict=False):
        assert (one["value"], tuple(one["interval"]), one["why"]) == (estimate.value, estimate.interval, "")
    mass, hernia = (called["findings"][FINDINGS.index(name)] for name in ("Mass", "Hernia"))
    known = scores.prob[rows, FINDINGS.index("Mass")]
    assert mass["value"] == pytest.approx((known >= scores.thresholds[0]).mean())
    assert mass["films"] == 137
    assert called["findings"][FINDINGS.index("Fibrosis")]["films"] == np.isfinite(scores.truth[rows, 11]).sum() < 137
    assert (hernia["value"], hernia["interval"]) == (None, None)
    assert hernia["why"] == "called: no threshold is stored for this finding"
    assert {one["why"] for one in failed["findings"]} == {
        f"fails: raised ValueError: {escape_control_characters(EVIL)} second line"
    }
    json.dumps(report[2], allow_nan=False)


def test_the_page_shows_what_it_returns(report: tuple[str, Page, dict[str, Any]]) -> None:
    html, page, told = report
    start = html.index('<section aria-labelledby="metrics-title">')
    section = Page(html[start : html.index("</section>", start)])
    assert {"href": "#metrics"} in page.all("a")
    rows = section.text.split("Note ")[1]
    called, _, spread = told["metrics"]
    for place, finding in enumerate(FINDINGS[:13]):
        one, far = called["findings"][place], spread["findings"][place]
        assert f"{finding} {one['value']:.3f}{one['interval'][0]:.3f} to {one['interval'][1]:.3f} – " in rows
        assert f"{far['value']:.2e}".replace("-", "−") in rows or abs(far["value"]) < 10_000
    assert "Hernia – – – called: no threshold is stored for this finding; spread: undefined: 0 positive" in rows
    assert section.text.count("raised ValueError") == 1  # the same for all findings, and told once
    assert "All findings: fails: raised ValueError: <b>evil</b>" in section.text
    assert "nan" not in section.text


def test_names_and_messages_of_plugins_are_text(report: tuple[str, Page, dict[str, Any]]) -> None:
    html, page, _ = report
    assert {tag for tag, _ in page.elements} <= set(ELEMENTS.split())
    assert {name for _, attributes in page.elements for name in attributes} <= set(ATTRIBUTES.split())
    assert page.open == []
    assert "<b>evil" not in html
    assert "\u202e" not in html
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_the_checklist_names_them(report: tuple[str, Page, dict[str, Any]]) -> None:
    assert "AUC, average precision, Brier score, called, fails, spread" in report[1].text
    assert "of called, fails, spread: see Metrics of plugins" in report[1].text


def test_every_figure_of_merit_is_in_the_table(report: tuple[str, Page, dict[str, Any]]) -> None:
    path = Path(report[2]["figures"][-1])
    assert path.name == "metrics.csv"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="", encoding="utf-8") as file:
        table = {(row["finding"], row["metric"], row["source"]): row for row in csv.DictReader(file)}
    told = report[2]
    mass, hernia = (told["findings"][FINDINGS.index(name)] for name in ("Mass", "Hernia"))
    for name in ("auc", "sensitivity", "ppv"):
        row = table["Mass", name, "cxrscore"]
        numbers = [mass[name], *mass[f"{name}_interval"]]
        assert [float(row[column]) for column in ("value", "low", "high")] == numbers
    for name in ("average_precision", "brier", "calibration_error", "threshold", "negative_baseline"):
        assert float(table["Mass", name, "cxrscore"]["value"]) == mass[name]
    assert float(table["Mass", "label_accuracy", "cxrscore"]["value"]) == mass["accuracy"]
    macro, known = (table["", name, "cxrscore"] for name in ("macro_auc", "macro_auc_with_interval"))
    assert (macro["low"], macro["note"]) == ("", told["macro_auc_why"])
    assert float(known["low"]) == told["macro_auc_with_interval"]["interval"][0]
    empty = table["Hernia", "auc", "cxrscore"]
    assert (empty["value"], empty["low"], empty["note"]) == ("", "", hernia["why"])
    assert table["Hernia", "sensitivity", "cxrscore"]["note"] == "no threshold is stored for this finding"
    found = told["metrics"][0]["findings"][FINDINGS.index("Mass")]
    row = table["Mass", "called", "cxrscore-called"]
    assert [float(row[column]) for column in ("value", "low", "high")] == [found["value"], *found["interval"]]
    assert table["Mass", "fails", "cxrscore-fails"]["note"].startswith("fails: raised ValueError: <b>evil</b>")


def test_without_labels_there_is_no_table_and_no_metric_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional_sections, "plugin_metrics", lambda: brought(METRICS[1]))
    _, page, told = written(made_scores(labels=False), tmp_path, figures=tmp_path / "figures")
    assert "#metrics" not in {link["href"] for link in page.all("a")}
    assert {one["why"] for one in told["metrics"][0]["findings"]} == {"fails: no film has both a label and a score"}
    assert not (tmp_path / "figures" / "metrics.csv").exists()


def test_without_resamples_the_reason_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_sections, "plugin_metrics", lambda: brought(METRICS[0]))
    _, page, told = written(made_scores(), tmp_path, resamples=0)
    words = "called: no interval: no resamples were asked for"
    assert page.text.count(words) == 1
    assert [one["why"] for one in told["metrics"][0]["findings"]].count(words) == 13
    assert all(one["interval"] is None for one in told["metrics"][0]["findings"])


def test_films_of_one_patient_are_resampled_together() -> None:
    scores = made_scores()
    films = dataclasses.replace(scores.films, patient=(np.arange(200) // 4).astype(np.int32))
    scores = dataclasses.replace(scores, films=films)
    rows = summarise(scores, BootstrapConfig(resamples=0)).assessed.rows
    (found,) = metric_results(scores, rows, BootstrapConfig(resamples=30), brought(METRICS[0]))
    assert (
        found.as_dict()["intervals"]
        == f"bootstrap of the {len({row // 4 for row in rows})} patients, 30 resamples, seed 0"
    )


# --- which metrics


def hook(metrics: list[Any]) -> Any:
    @hookimpl
    def cxrscore_metrics() -> list[Any]:
        return metrics

    return cxrscore_metrics


def registry(monkeypatch: pytest.MonkeyPatch, **brought: list[Any]) -> None:
    """Has a distribution of each of these names bring these metrics."""
    points = [builtin()]
    for name, metrics in brought.items():
        module = ModuleType(f"plugin_of_{name}")
        vars(module)["cxrscore_metrics"] = hook(metrics)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        points.append(entry_point(name, module.__name__, f"of-{name}"))
    found = Registry(points)
    monkeypatch.setattr(plugins, "registry", lambda: found)


def named(name: str) -> Metric:
    return Metric(name=name, summary="", function=fails)


def test_those_of_plugins_are_found_and_our_own_are_not_shown_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch, one=[named("kappa"), named("mcc")], other=[named("gini")])
    found = plugin_metrics()
    assert [one.metric.name for one in found] == ["kappa", "mcc", "gini"]
    assert not any(one.conflict for one in found)
    registry(monkeypatch)
    assert plugin_metrics() == ()


def test_a_name_that_two_bring_is_a_dash_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch, one=[named("auc")], two=[named("kappa")], three=[named("kappa")])
    found = {one.metric.name: one for one in plugin_metrics()}
    assert "auc" not in found  # the name is that of cxrscore's own; `cxrscore plugins` says so
    assert plugins.registry().plugins[1].state == "name conflict"
    assert "two distributions provide a metric called 'kappa'" in found["kappa"].conflict
    scores = made_scores()
    (result,) = metric_results(scores, np.arange(9), BootstrapConfig(resamples=5), [found["kappa"]])
    assert {one["why"] for one in result.as_dict()["findings"]} == {f"kappa: {found['kappa'].conflict}"}
    assert {one["value"] for one in result.as_dict()["findings"]} == {None}


def test_a_descriptor_says_whether_it_needs_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    unsure = SimpleNamespace(name="mine", summary="", function=fails, needs_threshold="yes")
    registry(monkeypatch, one=[unsure])
    assert plugin_metrics() == ()
    assert "needs_threshold is 'yes', expected True or False" in plugins.registry().plugins[1].reason
