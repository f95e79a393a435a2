"""The figures of the sections of the page: which findings have curves, and on how many films thresholds were chosen."""

import dataclasses
import math

import numpy as np
import pytest
from report_scores import FINDINGS, made_scores, provenance

from cxrscore.models.calibration import is_calibrated
from cxrscore.reporting import _finding_data
from cxrscore.reporting.model_evaluations import recorded_models
from cxrscore.reporting.section_figures import most_positives, section_figures, threshold_films
from cxrscore.reporting.small_multiples import MOST_PANELS
from cxrscore.reporting.summary import MIN_PATIENTS, highest_and_lowest, summarise


def few_positives(count: int):
    """Scores whose first finding has so many positive held-out films."""
    scores = made_scores()
    truth = scores.truth.copy()
    truth[:, 0] = 0
    truth[[70, 80, 95, 100, 110, 120, 140][:count], 0] = 1
    return dataclasses.replace(scores, truth=truth)


@pytest.mark.parametrize("count", [MIN_PATIENTS - 1, MIN_PATIENTS])
def test_an_interval_and_a_curve_need_five_patients_of_each_class(count: int) -> None:
    scores = few_positives(count)
    summary = summarise(scores)
    one = summary.findings[0]
    assert (one.positive_patients, one.negative_patients) == (count, 137 - count)
    assert math.isfinite(one.auc)
    assert one.has_curve == math.isfinite(one.interval[0]) == (count == MIN_PATIENTS)
    if count < MIN_PATIENTS:
        assert one.why == "too few positives for an interval (4 patients, at least 5)"
        assert one.as_dict()["auc_interval"] is None
        assert math.isfinite(summary.areas.intervals[0][0])  # the macro AUC counts its variance


def test_findings_with_curves_are_drawn_and_the_others_are_named_once() -> None:
    scores = few_positives(3)
    summary = summarise(scores)
    found = section_figures(summary, _finding_data(scores, summary), calibrated=True)
    assert "Atelectasis (3 positive)" in found["without_curve"]
    assert "Hernia (no positive)" in found["without_curve"]
    for name in ("roc", "precision_recall", "reliability", "decision"):
        assert "Atelectasis" not in found[name].alt
        assert "Cardiomegaly" in found[name].alt
    cardiomegaly = summary.findings[1]
    assert f"Cardiomegaly AUC {cardiomegaly.auc:.3f} (" in found["roc"].alt
    assert f"Cardiomegaly AP {cardiomegaly.average_precision:.3f}" in found["precision_recall"].alt
    assert "Atelectasis 3 positive, 134 negative" in found["distribution"].alt
    assert "Atelectasis 0.203 and 0.022" in found["prevalence"].alt
    assert found["panels"] == 0


def test_without_calibration_or_labels_figures_are_left_out() -> None:
    scores = made_scores()
    summary = summarise(scores)
    assert section_figures(summary, _finding_data(scores, summary), calibrated=False)["decision"] is None
    scores = made_scores(labels=False)
    summary = summarise(scores)
    found = section_figures(summary, _finding_data(scores, summary), calibrated=True)
    assert [name for name, one in found.items() if hasattr(one, "png")] == ["distribution"]


def test_of_many_findings_those_with_the_most_positives_are_drawn() -> None:
    summary = summarise(made_scores())
    pairs = [
        (dataclasses.replace(summary.findings[0], finding=str(place), positives=place), None)
        for place in range(MOST_PANELS + 3)
    ]
    assert [one.finding for one, _ in most_positives(pairs)] == [str(place) for place in range(3, MOST_PANELS + 3)]


def test_probabilities_are_calibrated_by_a_known_method_only() -> None:
    record = provenance(10)
    assert not is_calibrated(record)
    record["models"][0]["document"]["calibration"] = {"method": "platt"}
    assert is_calibrated(record)
    record["models"][0]["document"]["calibration"] = {"method": "op-thresholds"}
    assert not is_calibrated(record)
    assert not is_calibrated({})


def test_thresholds_say_on_how_many_films_they_were_chosen() -> None:
    record = provenance(10)
    assert threshold_films(recorded_models(record, FINDINGS), "valid") == {}
    record["models"][0]["document"]["evaluation"] = {
        "on": "valid",
        "films": 20,
        "findings": {"Mass": {"positives": 4, "negatives": 16}, "Edema": {}},
    }
    models = recorded_models(record, FINDINGS)
    assert threshold_films(models, "valid") == {"Mass": "4 / 16"}
    assert threshold_films(models, "folds") == {}


def test_the_highest_and_the_lowest_are_among_findings_with_enough_positives() -> None:
    summary = summarise(made_scores())
    best, worst = highest_and_lowest(summary)
    sure = [one for one in summary.findings if not one.few_positives and math.isfinite(one.auc)]
    assert best.auc == max(one.auc for one in sure)
    assert worst.auc == min(one.auc for one in sure)
    assert any(one.auc > best.auc for one in summary.findings if one.few_positives)
    assert highest_and_lowest(summary, {best.finding})[0] != best
    assert highest_and_lowest(dataclasses.replace(summary, findings=(best,))) is None
    assert np.isfinite(best.interval[0])
    equal = [dataclasses.replace(one, auc=0.5) for one in summary.findings]
    assert highest_and_lowest(dataclasses.replace(summary, findings=tuple(equal))) is None
