"""Ranks are those of the numbers in the file: no rounding makes ties."""

import dataclasses
import math

import numpy as np
import pytest
from few_scores import few_scores
from sklearn.metrics import roc_auc_score

from cxrscore.reporting import tables
from cxrscore.reporting.compare import compare
from cxrscore.reporting.load_scores import NamedScores
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.reporting.summary import summarise

LINE = {"slope": [2.0, 0.5], "intercept": [1.0, -3.0], "prevalence": [0.2, 0.5]}


def model(**document):
    return {"document": {"spec": {"findings": ["Mass", "Edema"], "activation": "sigmoid"}, **document}}


def made(logit, *models, probs=None, **provenance):
    """Scores of these logits [N,C] of Mass and Edema; probs: as float32, from the logits if not given."""
    logit = np.array(logit, np.float32)
    plain = 1 / (1 + np.exp(-logit.astype(np.float64)))
    return few_scores(
        [f"f{row:03}" for row in range(len(logit))],
        ["Mass", "Edema"],
        np.asarray(plain if probs is None else probs, np.float32).tolist(),
        logit=logit,
        provenance={"models": list(models) or [model()], **provenance},
    )


def test_saturated_probabilities_are_ranked_by_their_logits():
    scores = made([[18, -200], [40, -100], [25, -600], [90, 0]])
    assert (scores.prob[:, 0] == 1).all()
    found = ranking_scores(scores)
    np.testing.assert_array_equal(found[:, 0], [18, 40, 25, 90])
    assert np.argsort(found[:, 1]).tolist() == [2, 0, 1, 3]


def test_a_calibration_and_a_target_are_followed():
    line = model(calibration=LINE)
    z = np.array([[20.0, 60], [30, 70]])
    moved = z * LINE["slope"] + LINE["intercept"]
    probs = 1 / (1 + np.exp(-moved))
    np.testing.assert_allclose(ranking_scores(made(z, line, probs=probs)), moved)
    target = moved + np.array([math.log(0.5 / 0.5) - math.log(0.2 / 0.8), 0])
    probs = 1 / (1 + np.exp(-target))
    found = ranking_scores(made(z, line, probs=probs, target_prevalence={"Mass": 0.5}))
    np.testing.assert_allclose(found, target)


def test_probabilities_that_a_calibration_does_not_explain_follow_the_logits():
    """As another program writes them: only those of Edema are calibrated, and all of Mass are 1."""
    line = model(calibration={**LINE, "slope": [0.01, 0.5]})
    z = np.array([[20.0, -1], [30, 70], [25, 3]])
    probs = np.column_stack([np.ones(3), 1 / (1 + np.exp(-(z[:, 1] * 0.5 - 3.0)))])
    found = ranking_scores(made(z, line, probs=probs))
    np.testing.assert_allclose(found[:, 0], [20, 30, 25])
    np.testing.assert_allclose(found[:, 1], z[:, 1] * 0.5 - 3.0)


def test_of_a_mean_the_logit_is_that_of_the_mean():
    scores = made([[30, 40], [50, 60]], model(calibration=LINE), model())
    np.testing.assert_array_equal(ranking_scores(scores), [[30, 40], [50, 60]])


def test_softmax_ranks_by_its_odds_and_not_by_one_logit():
    softmax = {"document": {"spec": {"activation": "softmax"}, "calibration": None}}
    z = np.array([[100.0, 0], [90, 89.5], [95, 20]])
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    found = ranking_scores(made(z, softmax, probs=powers / powers.sum(axis=1, keepdims=True)))
    np.testing.assert_allclose(found[:, 0], [100, 0.5, 75], rtol=1e-6)


def test_probabilities_decide_and_logits_only_part_ties():
    # Logits that contradict the probabilities of their file change no order of these.
    scores = made([[5, 5], [4, 4], [3, 3]], probs=[[0.1, 0.5], [0.2, 0.5], [0.3, 0.5]])
    found = ranking_scores(scores)
    assert np.argsort(found[:, 0]).tolist() == [0, 1, 2]
    assert len(set(found[:, 1])) == 1
    unknown = dataclasses.replace(scores, logit=np.full((3, 2), np.nan, np.float32))
    np.testing.assert_allclose(ranking_scores(unknown)[:, 0], np.log([0.1 / 0.9, 0.2 / 0.8, 0.3 / 0.7]), rtol=1e-6)


def test_missing_scores_stay_missing_and_nothing_is_infinite():
    scores = made([[np.nan, np.nan], [0, 0]], probs=[[np.nan, np.nan], [0, 1]])
    found = ranking_scores(dataclasses.replace(scores, logit=np.full((2, 2), np.nan, np.float32)))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_float64_is_returned_as_it_is():
    prob = np.array([[1 - 1e-12, 0.5], [1 - 2e-12, np.nan]])
    scores = dataclasses.replace(made([[0, 0], [0, 0]]), prob=prob)
    np.testing.assert_array_equal(ranking_scores(scores), prob)


@pytest.mark.parametrize("odd", [{"slope": "ab"}, {"slope": [1, 2, 3]}, {"intercept": [math.inf, 0]}, []])
def test_a_calibration_that_is_none_is_not_followed(odd):
    line = {**LINE, **odd} if isinstance(odd, dict) else odd
    np.testing.assert_array_equal(ranking_scores(made([[30, 40]], model(calibration=line))), [[30, 40]])


def test_every_metric_of_ranks_follows_the_logits():
    random = np.random.default_rng(3)
    truth = (random.random((120, 2)) < 0.4).astype(np.float32)
    logit = (random.normal(size=(120, 2)) * 2 + 2 * truth + 24).astype(np.float32)
    scores = dataclasses.replace(made(logit), truth=truth)
    scores = dataclasses.replace(scores, films=dataclasses.replace(scores.films, split=np.zeros(120, np.uint8)))
    assert np.unique(scores.prob).tolist() == [1.0] or (scores.prob == 1).mean() > 0.9
    found = summarise(scores)
    for column, one in enumerate(found.findings):
        assert one.auc == pytest.approx(roc_auc_score(truth[:, column], logit[:, column]))
        assert one.average_precision > truth[:, column].mean() + 0.1
        assert one.interval[0] < one.auc < one.interval[1]
    worse = dataclasses.replace(scores, logit=-logit + 48)
    against = compare([NamedScores(name="a", scores=scores), NamedScores(name="b", scores=worse)])
    assert against is not None
    assert [one.verdict for one in against.others[0].findings] == ["worse", "worse"]
    assert against.others[0].averaged == 2
    highest = tables.highest_films(scores)[0]
    best = np.argsort(-logit[:, 0])[:3]
    assert [film.path for film in highest.films] == [f"f{row:03}" for row in best]


def test_a_rare_finding_is_shown_as_a_multiple_of_its_prevalence():
    line = model(calibration={**LINE, "prevalence": [0.05, 0.5]})
    scores = made([[0, 0], [0, 0]], line, probs=[[0.16, 0.9], [0.01, 0.2]])
    mass, edema = tables.highest_films(scores)
    assert [film.times for film in mass.films] == ["3.2 × the prevalence", "0.2 × the prevalence"]
    assert [film.times for film in edema.films] == ["", ""]
    unknown = dataclasses.replace(scores, provenance={"models": [model()]})
    assert [film.times for film in tables.highest_films(unknown)[0].films] == ["", ""]
