"""Metrics of plugins that do what they must not: the report is made, and its JSON is JSON."""

import csv
import json

import pytest
from test_cli_plugins import cxrscore, install

METRICS = """
import sys
import numpy as np
from cxrscore import hookimpl
from cxrscore.contract import Metric

def talks(truth, score):
    print("hello from a metric")
    return np.float32(score.mean())

def fails(truth, score):
    raise RuntimeError("no figure\\ntoday")

def leaves(truth, score):
    sys.exit(3)

def lists(truth, score):
    return [0.5]

def called(truth, score, threshold):
    return float((score >= threshold).mean())

@hookimpl
def cxrscore_metrics():
    found = [Metric(name=f.__name__, summary=f.__name__, function=f) for f in (talks, fails, leaves, lists)]
    return [*found, Metric(name="called", summary="called positive", function=called, needs_threshold=True)]
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with scores and labels of 40 films of 20 patients, and a plugin in site/."""
    site = tmp_path / "site"
    site.mkdir()
    install(site, "figures", METRICS)
    rows = [(f"f{row}.png", row * 7 % 40 / 40, row % 2, f"P{row // 2}") for row in range(40)]
    scores = "".join(f"{film},{score}\n" for film, score, _, _ in rows)
    (tmp_path / "scores.csv").write_text(f"film,prob_Effusion\n{scores}")
    labels = "".join(f"{film},{patient},{label}\n" for film, _, label, patient in rows)
    (tmp_path / "labels.csv").write_text(f"film,patient_id,Effusion\n{labels}")
    return tmp_path


def test_a_metric_is_a_number_with_an_interval_or_a_dash_with_a_reason(folder):
    words = ["scores.csv", "--labels", "labels.csv", "-o", "page.html", "--figures", "figures", "--json"]
    done = cxrscore("report", *words, site=folder / "site", folder=folder)
    assert done.stderr.count("hello from a metric") == 1001
    found = {one["name"]: one["findings"][0] for one in json.loads(done.stdout)["metrics"]}
    assert found["talks"]["value"] == pytest.approx(39 / 80)
    assert found["talks"]["interval"][0] < 39 / 80 < found["talks"]["interval"][1]
    reasons = {
        "fails": "fails: raised RuntimeError: no figure today",
        "leaves": "leaves: raised SystemExit: 3",
        "lists": "lists: returned a list, expected a float",
        "called": "called: no threshold is stored for this finding",
    }
    page = (folder / "page.html").read_text()
    with (folder / "figures" / "metrics.csv").open(newline="") as file:
        notes = {row["metric"]: row["note"] for row in csv.DictReader(file)}
    for name, reason in reasons.items():
        assert (found[name]["value"], found[name]["interval"], found[name]["why"]) == (None, None, reason)
        assert reason in page
        assert notes[name] == reason


def test_without_resamples_and_without_plugins(folder):
    words = ["report", "scores.csv", "--labels", "labels.csv", "-o", "page.html", "--json"]
    quick = cxrscore(*words, "--resamples", "0", site=folder / "site", folder=folder)
    (talks, *_) = json.loads(quick.stdout)["metrics"]
    assert talks["findings"][0]["value"] == pytest.approx(39 / 80)
    assert talks["findings"][0]["why"] == "talks: no interval: no resamples were asked for"
    assert quick.stderr.count("hello from a metric") == 1
    none = cxrscore(*words, site=folder / "site", folder=folder, CXRSCORE_PLUGINS="cxrscore")
    assert json.loads(none.stdout)["metrics"] == []
    assert "Metrics of plugins" not in (folder / "page.html").read_text()
