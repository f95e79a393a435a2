"""Calibrations moved to another prevalence, by hand and by their laws, and the words about probabilities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrscore.models.calibration import (
    describe_calibration,
    describe_probabilities,
    moved_calibration,
    moved_probabilities,
    moved_thresholds,
    prevalence_shift,
    prevalences,
    times_prevalence,
)
from cxrscore.models.probabilities import probabilities

FINDINGS = ("Mass", "Edema")
LINE = {
    "method": "platt",
    "slope": [1.0, 2.0],
    "intercept": [0.0, -1.0],
    "fitted_on": "folds",
    "prevalence": [0.2, 0.5],
}
DOCUMENT = {"spec": {"findings": FINDINGS, "activation": "sigmoid"}, "calibration": LINE}

SHARES = st.floats(0.001, 0.999)


def moved(target, logits):
    return probabilities(np.array(logits, np.float32), "sigmoid", moved_calibration(DOCUMENT, target))


def test_a_target_by_hand():
    # Trained at 0.2, odds 1/4; target 0.5, odds 1: all odds of Mass are multiplied by 4. Those of logit 0 are 1, which
    # becomes 4, so p = 0.8. Edema has no target: sigmoid(2 * 0.5 - 1) = 0.5 stays.
    assert moved({"Mass": 0.5}, [[0.0, 0.5]]).tolist() == [[np.float32(0.8), 0.5]]
    # From 0.5 to 0.1, odds times 1/9: 1 becomes 1/9, p = 0.1.
    assert moved({"Edema": 0.1}, [[0.0, 0.5]])[0, 1] == pytest.approx(0.1, abs=1e-7)


@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=9))
def test_a_target_equal_to_the_training_prevalence_changes_nothing(logits):
    same = dict(zip(FINDINGS, LINE["prevalence"], strict=True))
    rows = np.array([[z, z] for z in logits], np.float32)
    np.testing.assert_array_equal(moved(same, rows), moved(None, rows))
    points = np.array([0.3, 0.9], np.float32)
    np.testing.assert_array_equal(moved_thresholds(points, prevalence_shift(DOCUMENT, same)), points)


@given(st.floats(0.001, 0.999), SHARES, SHARES)
def test_moving_there_and_back_is_staying(p, trained, target):
    line = {**LINE, "slope": [1.0, 1.0], "intercept": [0.0, 0.0], "prevalence": [trained, trained]}
    there = moved_calibration({**DOCUMENT, "calibration": line}, {"Mass": target})
    back = moved_calibration({**DOCUMENT, "calibration": {**there, "prevalence": [target, trained]}}, {"Mass": trained})
    assert back["intercept"] == pytest.approx([0, 0], abs=1e-12)
    # Bayes: the odds are the likelihood ratio times the odds of the prior.
    ratio = p / (1 - p) / (trained / (1 - trained))
    logit = np.array([[math.log(p / (1 - p)), 0]], np.float32)
    odds = ratio * target / (1 - target)
    assert probabilities(logit, "sigmoid", there)[0, 0] == pytest.approx(odds / (1 + odds), rel=1e-5)


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=30),
    st.integers(0, 1000),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
)
def test_the_films_that_reach_a_threshold_still_reach_it(logits, which, trained, target):
    line = {**LINE, "slope": [1.0, 1.0], "intercept": [0.0, 0.0], "prevalence": [trained, 0.5]}
    document = {**DOCUMENT, "calibration": line}
    rows = np.array([[z, 0] for z in logits], np.float32)
    before = probabilities(rows, "sigmoid", line)[:, 0]
    points = np.array([before[which % len(before)], np.nan], np.float32)
    after = probabilities(rows, "sigmoid", moved_calibration(document, {"Mass": target}))[:, 0]
    found = moved_thresholds(points, prevalence_shift(document, {"Mass": target}))
    assert (after[before >= points[0]] >= found[0]).all()
    clearly_below = before < points[0] - 1e-4
    assert (after[clearly_below] < found[0]).all()
    assert np.isnan(found[1])


def provenance(*calibrations, **more):
    models = [{"document": {"spec": {"findings": list(FINDINGS)}, "calibration": line}} for line in calibrations]
    return {"models": models, **more}


def test_the_prevalence_of_probabilities():
    assert prevalences(provenance(LINE), FINDINGS) == {"Mass": 0.2, "Edema": 0.5}
    assert prevalences(provenance(LINE, target_prevalence={"Mass": 0.01}), FINDINGS) == {"Mass": 0.01, "Edema": 0.5}
    other = {**LINE, "prevalence": [0.4, 0.5]}
    assert prevalences(provenance(LINE, other), FINDINGS)["Mass"] == pytest.approx(0.3)
    for unknown in (provenance(None), provenance(LINE, None), {}, provenance({**LINE, "prevalence": [0.1]})):
        assert prevalences(unknown, FINDINGS) == {}
    assert prevalences(provenance({**LINE, "prevalence": [0, "x"]}), FINDINGS) == {}


@pytest.mark.parametrize(
    ("prob", "prevalence", "words"),
    [
        (0.16, 0.05, "3.2 × the prevalence"),
        (0.9, 0.01, "90 × the prevalence"),
        (0.0004, 0.02, "0.0 × the prevalence"),
        (0.16, 0.1, ""),
        (0.16, None, ""),
        (math.nan, 0.05, ""),
    ],
)
def test_a_rare_finding_is_a_multiple_of_its_prevalence(prob, prevalence, words):
    assert times_prevalence(prob, prevalence) == words


def test_the_words_say_method_films_and_prevalence():
    assert describe_calibration(None) == "Probabilities are not calibrated: they are the outputs of the network."
    old = {name: value for name, value in LINE.items() if name != "prevalence"} | {"fitted_on": "valid"}
    assert describe_probabilities(provenance(old)) == (
        "Probabilities are calibrated by a slope and an intercept for each finding, on the validation films, for the "
        "prevalence in these films, which is not recorded."
    )
    assert describe_probabilities(provenance(LINE, target_prevalence={"Mass": 0.01})) == (
        "Probabilities are calibrated by a slope and an intercept for each finding, on out-of-fold predictions of the "
        "training films, for the prevalence in these films. They were moved to a target prevalence "
        "(--target-prevalence): Mass 0.01."
    )
    assert describe_probabilities(provenance(LINE, LINE)).startswith("Probabilities are means over 2 models, each ")
    assert "1 not calibrated" in describe_probabilities(provenance(LINE, None))
    assert "not known" in describe_probabilities({})


@pytest.mark.parametrize("odd", [{"models": [3, None]}, {"models": [{"document": []}]}, {"target_prevalence": 3}])
def test_the_words_need_no_valid_provenance(odd):
    assert describe_probabilities({"models": [{}], **odd})
    assert prevalences({"models": [{}], **odd}, FINDINGS) == {}


@pytest.mark.parametrize("shift", [-800.0, 800.0])
def test_no_shift_overflows(shift):
    """Such as that from a training prevalence of 1e-320, which a file may state."""
    found = moved_probabilities(np.array([0.0, 0.5, 1.0]), shift)
    np.testing.assert_allclose(found, [0, shift > 0, 1])
    points = moved_thresholds(np.array([0.5], np.float32), np.array([shift]))
    assert points.tolist() == [float(shift > 0)]
