"""What is chosen on validation films: thresholds and calibration, as a model file holds them."""

import numpy as np
import pytest

from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.models.probabilities import probabilities
from cxrscore.training import evaluation
from cxrscore.training.final_evaluation import calibration_of, check_calibration, thresholds_of
from cxrscore.training.model_metadata import score_quantiles

SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema", "Hernia"))
LOGITS = np.array([[-1, 2, 0], [-1, 2, 0], [1, 2, 0], [1, 2, 0]], np.float32)
TRUTH = np.array([[0, 1, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]], np.float32)


def test_thresholds_are_probabilities_of_findings_with_both_classes():
    found = thresholds_of(SPEC, TRUTH, probabilities(LOGITS, "sigmoid"), "youden", "valid")
    assert set(found) == {"Mass", "Edema"}
    assert found["Mass"] == {"prob": pytest.approx(1 / (1 + np.exp(-1))), "rule": "youden", "chosen_on": "valid"}


def test_a_finding_without_coefficients_has_no_threshold():
    fitted = np.array([False, True, True])
    found = thresholds_of(SPEC, TRUTH, probabilities(LOGITS, "sigmoid"), "youden", "folds", fitted)
    assert {name: point["chosen_on"] for name, point in found.items()} == {"Edema": "folds"}


def test_a_temperature_is_one_slope_for_all():
    # Logit 2 with three of four positive, and logits -1 and 1 all right: the whole is fitted by one number.
    found = calibration_of(TRUTH[:, :2], LOGITS[:, :2], "temperature", "valid")
    assert found["slope"][0] == found["slope"][1] > 0
    assert found["intercept"] == [0, 0]


def test_platt_leaves_a_finding_of_one_class_as_it_is():
    found = calibration_of(TRUTH, LOGITS, "platt", "valid")
    assert (found["slope"][2], found["intercept"][2]) == (1, 0)
    assert found["slope"][0] > 1
    assert calibration_of(TRUTH, LOGITS, "none", "valid") is None


def test_nothing_known_changes_nothing():
    found = calibration_of(np.full((4, 3), np.nan, np.float32), LOGITS, "temperature", "valid")
    assert found["slope"] == [1, 1, 1]


def test_softmax_is_not_calibrated():
    soft = ModelSpec(architecture="tinycnn", findings=("Mass",), activation="softmax")
    with pytest.raises(InputError, match="sigmoid"):
        check_calibration("platt", soft)
    check_calibration("none", soft)


def test_quantiles_of_validation_scores_by_hand():
    prob = np.linspace(0, 1, 41, dtype=np.float32)[:, None] * np.array([[1, 0.5, 0]], np.float32)
    found = score_quantiles(SPEC, prob)
    assert found["Mass"] == pytest.approx([k / 20 for k in range(21)])
    assert found["Edema"] == pytest.approx([k / 40 for k in range(21)])
    assert found["Hernia"] == [0] * 21
    assert score_quantiles(SPEC, prob[:0]) == {}


def test_the_mean_auc_of_the_test_films_is_over_findings_with_coefficients():
    truth = np.array([[1, 1], [0, 0], [1, 0], [0, 1]], np.float32)
    logits = np.array([[2, 0], [1, 0], [3, 0], [0, 0]], np.float32)
    found = evaluation.test_evaluation(["Effusion", "Rare"], truth, logits, np.arange(4), np.array([True, False]))
    assert found["macro_auc"]["value"] == found["auc"]["Effusion"]["value"] == 1
    assert found["auc"]["Rare"]["value"] == 0.5
