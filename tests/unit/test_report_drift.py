"""Scores against the model's own validation scores; checklists."""

import dataclasses

import numpy as np
import pytest
from report_scores import made_scores
from scipy.stats import ks_2samp

from cxrscore.reporting.auc import BootstrapConfig
from cxrscore.reporting.checklist import NOT_RECORDED, OptionalSections, checklist
from cxrscore.reporting.drift import score_drift, score_drifts
from cxrscore.reporting.summary import summarise
from cxrscore.scorefile.data import Scores


def with_quantiles(quantiles: object) -> Scores:
    scores = made_scores()
    scores.provenance["models"][0]["document"]["validation"] = {"score_quantiles": quantiles}
    return scores


def test_by_hand() -> None:
    then = np.linspace(0, 1, 21)
    half = score_drift("Mass", then, np.linspace(0, 0.5, 201))
    assert half.distance == pytest.approx(0.5, abs=0.01)
    assert half.above == 0
    same = score_drift("Mass", then, np.linspace(0, 1, 201))
    assert same.distance < 0.006
    assert same.above == pytest.approx(0.05, abs=0.005)
    assert score_drift("Mass", then, np.full(9, 2.0)).distance == 1
    assert score_drift("Mass", then, np.full(9, 2.0)).large


@pytest.mark.parametrize("seed", range(4))
def test_the_distance_is_scipys_at_the_quantiles(seed: int) -> None:
    random = np.random.default_rng(seed)
    then, now = random.beta(1, 4, 4001), random.beta(1, 3 - seed / 2, 500)
    wanted = ks_2samp(then, now).statistic
    assert score_drift("Mass", np.quantile(then, np.linspace(0, 1, 21)), now).distance == pytest.approx(
        wanted, abs=0.05
    )


def test_ties_are_no_drift() -> None:
    assert score_drift("Mass", np.full(21, 0.5), np.full(60, 0.5)).distance == 0
    assert score_drift("Mass", np.repeat([0.0, 1.0], [11, 10]), np.repeat([0.0, 1.0], [30, 30])).distance <= 0.05


def test_findings_that_the_model_tells_of() -> None:
    found = score_drifts(with_quantiles({"Mass": np.linspace(0, 1, 21).tolist(), "Rib": [0.1] * 21, "Edema": [1, 2]}))
    assert [one.finding for one in found.findings] == ["Mass"]
    assert (found.films, found.why) == (137, "")


@pytest.mark.parametrize(
    "quantiles",
    [None, [], {}, {"Mass": "x" * 21}, {"Mass": [float("nan")] * 21}, {"Mass": [None] * 21}, {"Mass": [10**400] * 21}],
)
def test_models_that_tell_nothing(quantiles: object) -> None:
    found = score_drifts(with_quantiles(quantiles))
    assert not found.findings
    assert found.why


def test_a_target_prevalence_is_no_drift() -> None:
    quantiles = np.quantile(made_scores().prob[60:][made_scores().films.status[60:] == 1, 0], np.linspace(0, 1, 21))
    scores = with_quantiles({made_scores().findings[0]: quantiles.tolist()})
    before = score_drifts(scores).findings
    document = scores.provenance["models"][0]["document"]
    document["spec"]["findings"] = list(scores.findings)
    document["calibration"] = {"prevalence": [0.2] * len(scores.findings)}
    target = dict.fromkeys(scores.findings, 0.02)
    odds = scores.prob / (1 - scores.prob) * (0.02 / 0.98) / (0.2 / 0.8)
    moved = dataclasses.replace(
        scores, prob=odds / (1 + odds), provenance={**scores.provenance, "target_prevalence": target}
    )
    after = score_drifts(moved).findings
    assert [one.distance for one in after] == pytest.approx([one.distance for one in before], abs=0.01)
    assert min(one.distance for one in before) < 0.05
    unknown = dataclasses.replace(moved, provenance=scores.provenance)
    assert all(one.large for one in score_drifts(unknown).findings)


def test_means_over_views_are_not_compared_with_films_as_they_are() -> None:
    scores = with_quantiles({"Mass": np.linspace(0, 1, 21).tolist()})
    scores.provenance["tta"] = {"copies": 1}
    assert score_drifts(scores).findings
    scores.provenance["tta"] = {"copies": 4}
    found = score_drifts(scores)
    assert not found.findings
    assert found.why.startswith("The scores are means over augmented copies")


def test_few_films_tell_nothing() -> None:
    scores = with_quantiles({"Mass": [0.5] * 21})
    scores.films.status[65:] = 4
    found = score_drifts(scores)
    assert not found.findings
    assert "too few" in found.why


def test_the_checklist_makes_nothing_up() -> None:
    scores = made_scores()
    summary = summarise(scores, BootstrapConfig())
    items = {item.topic: item for item in checklist(scores, summary, OptionalSections(subgroups=True))}
    assert items["Partitions"].answer == "train 40, valid 20, test 140"
    assert items["Eligibility criteria"].answer == NOT_RECORDED
    assert not items["Quality of the reference standard"].known
    assert items["Subgroups, fairness"].answer == "see Subgroups"
    assert (
        "200 found, 5 not scored, 58 excluded as seen in training or validation, 137 evaluated"
        in items["Films included and excluded"].answer
    )
    scores.provenance.clear()
    bare = {item.topic: item for item in checklist(scores, summary, OptionalSections(subgroups=False))}
    told = ("Data sources", "Partitions", "Model", "Training", "Software", "Initial parameters", "Subgroups, fairness")
    assert {bare[topic].answer for topic in told} == {NOT_RECORDED}


def test_the_checklist_says_leaked() -> None:
    scores = made_scores()
    scores.provenance["models"][0]["document"]["training"]["has_leakage"] = True
    items = {item.topic: item for item in checklist(scores, summarise(scores), OptionalSections(subgroups=False))}
    assert items["Level at which partitions are disjoint"].answer.startswith("LEAKED")


def test_the_checklist_says_how_films_are_named() -> None:
    scores = made_scores()
    summary = summarise(scores)
    items = {item.topic: item.answer for item in checklist(scores, summary, OptionalSections(subgroups=False))}
    assert items["De-identification"] == "patients are identified by number; film paths may still contain names"
    films = dataclasses.replace(scores.films, path=scores.films.sha256)
    private = checklist(dataclasses.replace(scores, films=films), summary, OptionalSections(subgroups=False))
    assert {item.topic: item.answer for item in private}["De-identification"] == (
        "patients are identified by number; films are identified by hash"
    )
