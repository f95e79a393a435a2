"""The numbers of a report: which films they stand on, and that they are right."""

import copy
import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from report_scores import FINDINGS, made_scores
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from cxrscore.images import Status
from cxrscore.reporting.auc import BootstrapConfig
from cxrscore.reporting.summary import evaluation_films, summarise
from cxrscore.scorefile.data import SPLITS, Scores


def by_hand() -> Scores:
    """Eight films, two findings; films 0 and 1 were seen in training, film 7 failed.

    Held-out Mass: truth 1 0 1 0 0, prob .9 .8 .4 .3 .3: of 2 * 3 pairs (.9 beats 3, .4 beats 2) AUC 5/6.
    Held-out Nodule: no positive.
    """
    scores = made_scores(200)
    rows = slice(180, 188)
    truth = np.array([[1, 0], [1, 0], [1, 0], [0, 0], [1, np.nan], [0, 0], [0, 0], [1, 1]], np.float32)
    prob = np.array(
        [[0, 0], [0, 0], [0.9, 0.1], [0.8, 0.2], [0.4, 0.3], [0.3, 0.6], [0.3, 0.1], [np.nan] * 2], np.float32
    )
    status = np.array([Status.OK] * 7 + [Status.BLANK], np.uint8)
    split = np.array([1, 1, 3, 3, 0, 0, 3, 3], np.uint8)
    films = dataclasses.replace(
        scores.films,
        **{field.name: getattr(scores.films, field.name)[rows] for field in dataclasses.fields(scores.films)},
    )
    return dataclasses.replace(
        scores,
        findings=("Mass", "Nodule"),
        films=dataclasses.replace(films, status=status, split=split),
        truth=truth,
        prob=prob,
        logit=prob,
        thresholds=np.array([0.35, np.nan], np.float32),
    )


def test_figures_by_hand() -> None:
    summary = summarise(by_hand())
    mass, nodule = summary.findings
    assert (summary.found, summary.scored, summary.failed) == (8, 7, 1)
    assert (mass.positives, mass.negatives, mass.auc) == (2, 3, pytest.approx(5 / 6))
    # Above 0.5 stand .9 (right) and .8 (wrong); .4 is missed; both .3 are right: 3 of 5.
    assert (mass.accuracy, mass.negative_baseline) == (pytest.approx(3 / 5), pytest.approx(3 / 5))
    # From 0.35 on: both positives found, one of three negatives called.
    assert (mass.sensitivity, mass.specificity) == (1.0, pytest.approx(2 / 3))
    assert mass.few_positives
    assert mass.why_undefined == ""
    assert math.isnan(nodule.auc)
    assert nodule.why_undefined == "undefined: 0 positive, 4 negative"
    assert (summary.macro_auc, summary.macro_findings) == (pytest.approx(5 / 6), 1)
    assert (summary.accuracy.value, summary.negative_baseline) == (pytest.approx(6 / 9), pytest.approx(7 / 9))


def test_films_of_training_and_validation_are_left_out() -> None:
    scores = made_scores()
    assessed = evaluation_films(scores)
    words = {SPLITS[code] for code in scores.films.split[assessed.rows]}
    assert (words, assessed.basis) == ({"test"}, "held-out")
    assert assessed.left_out == 60 - 2  # films 11 and 47 failed
    worse = np.where(np.isin(scores.films.split, (1, 2))[:, None], 1 - scores.prob, scores.prob)
    assert summarise(dataclasses.replace(scores, prob=worse)).as_dict() == summarise(scores).as_dict()


def test_films_never_seen_count_as_held_out() -> None:
    assert evaluation_films(made_scores(split="")).basis == "held-out"


def imported(scores: Scores) -> dict[str, Any]:
    """Makes the model one that others trained; its document."""
    document = scores.provenance["models"][0]["document"]
    document["training"] |= {
        "imported": {"checkpoint_type": "chexnet", "n_outputs": 14},
        "recipe": {},
        "history": [],
        "best_epoch": 0,
        "split": {"train": 0, "valid": 0, "test": 0, "rule": "not known", "sha256": ""},
    }
    for point in document["thresholds"].values():
        point["chosen_on"] = "imported"
    return document


@pytest.mark.parametrize("models", ["imported", "imported and own", "none", "untold"])
def test_films_of_which_nothing_is_known_are_not_called_held_out(models: str) -> None:
    scores = made_scores(split="")
    if models.startswith("imported"):
        own = copy.deepcopy(scores.provenance["models"][0])
        imported(scores)
        scores.provenance["models"] += [own] * (models == "imported and own")
    elif models == "none":
        scores.provenance["models"].clear()
    else:
        scores.provenance["models"][0]["document"]["training"].clear()
    summary = summarise(scores)
    assert summary.assessed.basis == "unknown"
    assert [words.startswith("The training films of the model are unknown") for words in summary.warnings] == [True]
    assert (summary.as_dict()["held_out"], summary.as_dict()["evaluation_set"]["basis"]) == (0, "unknown")


def test_every_figure_agrees_with_sklearn() -> None:
    scores = made_scores()
    rows = [row for row in range(60, 200) if scores.films.status[row] == Status.OK]
    for column, result in enumerate(summarise(scores).findings[:13]):
        known = [row for row in rows if np.isfinite(scores.truth[row, column])]
        truth, prob = scores.truth[known, column], scores.prob[known, column]
        assert result.auc == pytest.approx(roc_auc_score(truth, prob), abs=1e-12)
        assert result.accuracy == pytest.approx(accuracy_score(truth, prob > 0.5), abs=1e-12)
        assert result.average_precision == pytest.approx(average_precision_score(truth, prob), abs=1e-12)
        assert result.brier == pytest.approx(brier_score_loss(truth, prob), abs=1e-7)
        called = prob >= scores.thresholds[column]
        assert result.decisions.ppv.value == pytest.approx(
            precision_score(truth, called, zero_division=np.nan), nan_ok=True
        )
        assert result.sensitivity == pytest.approx(recall_score(truth, called), abs=1e-12)
        assert result.specificity == pytest.approx(recall_score(1 - truth, ~called), abs=1e-12)


def test_seen_films_stand_in_where_there_are_no_others_and_the_reader_is_warned() -> None:
    summary = summarise(made_scores(split="valid"))
    assert summary.assessed.basis == "training"
    assert any("were in training or validation" in warning for warning in summary.warnings)
    assert summary.as_dict()["held_out"] == 0


def test_without_labels_nothing_is_claimed() -> None:
    told = summarise(made_scores(labels=False)).as_dict()
    assert told["evaluation_set"] == {"films": 0, "basis": "none"}
    assert told["macro_auc"] is told["accuracy"] is told["negative_baseline"] is None
    assert all(finding["auc"] is None for finding in told["findings"])


def test_as_dict_is_json_without_nan() -> None:
    told = json.loads(json.dumps(summarise(made_scores()).as_dict(), allow_nan=False))
    assert [finding["finding"] for finding in told["findings"]] == list(FINDINGS)
    assert told["findings"][FINDINGS.index("Hernia")]["auc"] is None
    assert told["films"] == {"total": 200, "scored": 195, "failed": 5}


def test_a_leak_and_the_warnings_of_the_run_are_told() -> None:
    scores = made_scores()
    scores.provenance["models"][0]["document"]["training"]["has_leakage"] = True
    scores.provenance["warnings"].append("12 films have no label")
    warnings = summarise(scores).warnings
    assert warnings[0].startswith("LEAKED")
    assert warnings[-1] == "12 films have no label"


def test_no_films_at_all() -> None:
    scores = by_hand()
    none = dataclasses.replace(scores.films, status=np.full(8, Status.DAMAGED, np.uint8))
    summary = summarise(dataclasses.replace(scores, films=none))
    assert (summary.scored, summary.failed, summary.assessed.basis) == (0, 8, "none")
    assert "No film could be scored." in summary.warnings


def test_intervals_are_told_with_their_method_and_what_has_none_says_why() -> None:
    told = summarise(made_scores()).as_dict()
    mass, hernia = (told["findings"][FINDINGS.index(name)] for name in ("Mass", "Hernia"))
    assert told["intervals"] == "DeLong"
    assert mass["auc_interval"][0] < mass["auc"] < mass["auc_interval"][1]
    assert mass["sensitivity_interval"][0] < mass["sensitivity"] < mass["sensitivity_interval"][1]
    assert (hernia["auc_interval"], hernia["why"]) == (None, "undefined: 0 positive, 137 negative")
    assert hernia["ppv"] is hernia["average_precision"] is None
    single = [one for one in told["findings"] if one["auc"] == 1]
    assert all(one["auc_interval"] is None and "no variance" in one["why"] for one in single)


def test_films_of_one_patient_are_drawn_together() -> None:
    scores = made_scores()
    films = dataclasses.replace(scores.films, patient=(np.arange(200) // 3).astype(np.int32))
    summary = summarise(dataclasses.replace(scores, films=films), BootstrapConfig(resamples=20, seed=5))
    assert summary.patients == len({row // 3 for row in summary.assessed.rows})
    assert summary.areas.method == f"bootstrap of the {summary.patients} patients, 20 resamples, seed 5"
    assert summary.macro_auc == summarise(scores).macro_auc


def test_many_positive_films_of_few_patients_are_few() -> None:
    scores = made_scores()
    (common,) = (one for one in summarise(scores).findings if one.finding == "Effusion")
    scores.films.patient[scores.truth[:, FINDINGS.index("Effusion")] == 1] %= 9
    (few,) = (one for one in summarise(scores, BootstrapConfig(resamples=5)).findings if one.finding == "Effusion")
    assert common.positives == common.positive_patients == few.positives >= 10
    assert few.positive_patients <= 9
    assert (common.few_positives, few.few_positives) == (False, True)


def test_notes_on_how_films_were_read_are_counted() -> None:
    scores = made_scores()
    message = list(scores.films.message)
    good = np.flatnonzero(scores.films.status == Status.OK)
    for row in good[:3]:
        message[row] = "rescaled, grey range taken from its pixels: 0 to 4095 of 0 to 65535"
    message[good[3]] = "orientation tag 6 ignored"
    summary = summarise(dataclasses.replace(scores, films=dataclasses.replace(scores.films, message=tuple(message))))
    told = summary.as_dict()["film_notes"]
    assert [(one["kind"], one["films"]) for one in told["kinds"]] == [
        ("grey range taken from its pixels", 3),
        ("orientation tag ignored", 1),
    ]
    assert told["kinds"][0]["example"] == scores.films.path[good[0]]
    assert (told["films"], told["routine"]) == (4, {"rescaled": 3})
    assert summarise(scores).as_dict()["film_notes"] == {"films": 0, "kinds": [], "routine": {}}
