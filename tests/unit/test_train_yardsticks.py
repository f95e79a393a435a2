"""What predictions reach without the films: always no, the prevalence, and age, sex and view."""

from dataclasses import replace

import numpy as np
import pytest
from training import some_data

from cxrscore.training import TrainOptions
from cxrscore.training.evaluation import HeldOut, evaluation
from cxrscore.training.yardsticks import design_matrix, measure_yardsticks

OPTIONS = TrainOptions(folds=2)


def held_out(truth, logits=None, folds=None, fitted=None, patients=None):
    truth = np.array(truth, np.float32)
    return HeldOut(
        truth=truth,
        logits=np.zeros_like(truth) if logits is None else np.array(logits, np.float32),
        patients=np.arange(len(truth)) if patients is None else patients,
        on="valid" if folds is None else "folds",
        fitted=np.ones(truth.shape[1], bool) if fitted is None else np.array(fitted),
        folds=None if folds is None else np.array(folds),
    )


def test_always_no_and_the_prevalence_of_the_other_folds_by_hand():
    held = held_out([[1], [0], [0], [0]], folds=[0, 0, 1, 1])
    prob = np.array([[0.6], [0.6], [0.0], [0.0]], np.float32)
    found = measure_yardsticks(some_data(train=4, valid=0, findings=1), held, range(4), prob, OPTIONS)
    assert found["model"] == {"label_accuracy": 0.75, "brier": pytest.approx((0.16 + 0.36) / 4)}
    assert found["always_no"] == {"label_accuracy": 0.75, "brier": 0.25}
    # prevalence 0 for the first fold, from the second one, and 1/2 for the second: errors 1, 0, 1/4, 1/4
    assert found["prevalence"] == {"label_accuracy": 0.75, "brier": 0.375}
    assert found["metadata"] is None


def test_figures_are_of_the_findings_with_coefficients():
    held = held_out([[1, 1], [0, 1], [0, 1], [0, 0]], folds=[0, 0, 1, 1], fitted=[True, False])
    found = measure_yardsticks(some_data(train=4, valid=0), held, range(4), np.zeros((4, 2), np.float32), OPTIONS)
    assert found["always_no"] == {"label_accuracy": 0.75, "brier": 0.25}


def test_the_prevalence_is_the_one_of_the_brier_skill():
    rng = np.random.default_rng(0)
    held = held_out(rng.integers(0, 2, (40, 1)), rng.normal(size=(40, 1)), np.arange(40) % 2)
    prob = held.probabilities("sigmoid", "shrunken-platt")
    found = measure_yardsticks(some_data(train=40, valid=0, findings=1), held, range(40), prob, OPTIONS)
    skill = 1 - found["model"]["brier"] / found["prevalence"]["brier"]
    assert evaluation(("F0",), held, prob)["brier_skill"] == pytest.approx(skill, abs=1e-12)


def test_the_design_matrix_by_hand():
    age = ("30", "50", "", "50", "70")  # mean 50, standard deviation the root of 200
    matrix, names = design_matrix({"view": ("PA",) * 5, "sex": ("F", "M", "", "M", "M"), "age": age})
    assert names == ("age", "sex")  # the view is the same on all films
    root = np.sqrt(2)
    np.testing.assert_allclose(
        matrix.T,
        [
            [-root, 0, 0, 0, root],
            [2, 0, 1, 0, 2],
            [0, 0, 1, 0, 0],
            [0, 0, 1, 0, 0],
            [1, 0, 0, 0, 0],
            [0, 1, 0, 1, 1],
        ],
        atol=1e-6,
    )


def test_rare_views_share_a_column():
    matrix, _ = design_matrix({"view": ("PA",) * 10 + ("AP",) * 9 + ("L",) * 2})
    np.testing.assert_array_equal(matrix.sum(axis=0), [10, 11])


@pytest.mark.parametrize("columns", [{}, {"sex": ("F",) * 3}, {"age": ("",) * 3}])
def test_columns_that_tell_nothing_are_not_used(columns):
    assert design_matrix(columns)[1] == ()


SEX = tuple("FM"[number % 2] for number in range(80))
ABOUT_SEX = np.repeat(np.arange(80)[:, None] % 2, 2, axis=1)
ABOUT_SEX[::10] = 1  # an eighth of the women have the findings of men


def test_a_finding_of_one_sex_is_found_by_metadata_alone():
    rng = np.random.default_rng(1)
    data = replace(some_data(train=80, valid=0), columns={"sex": SEX})
    held = held_out(ABOUT_SEX, rng.normal(size=(80, 2)), np.arange(80) // 2 % 4)
    found = measure_yardsticks(data, held, range(80), np.full((80, 2), 0.5, np.float32), OPTIONS)["metadata"]
    assert found["columns"] == ["sex"]
    # 32 of 40 women without the finding lie below all men; the others and the men have the same sex as some positives
    assert found["macro_auc"]["value"] > 0.8
    assert set(found["auc"]) == {"F0", "F1"}
    assert found["brier"] < 0.15
    own = np.mean([held.auc(c).value for c in range(2)])
    assert found["difference"]["value"] == pytest.approx(own - found["macro_auc"]["value"])
    assert found["difference"]["high"] < 0


def test_labels_that_age_does_not_know_have_an_auc_near_a_half():
    rng = np.random.default_rng(2)
    data = replace(some_data(train=400, valid=0), columns={"age": tuple(map(str, rng.integers(20, 90, 400)))})
    held = held_out(rng.integers(0, 2, (400, 2)), folds=np.arange(400) % 4)
    found = measure_yardsticks(data, held, range(400), np.full((400, 2), 0.5, np.float32), OPTIONS)["metadata"]
    assert found["macro_auc"]["value"] == pytest.approx(0.5, abs=0.07)


def test_validation_films_get_the_probe_of_the_training_films():
    labels = np.concatenate([ABOUT_SEX[:60], 1 - ABOUT_SEX[60:]])  # the other way round on the validation films
    data = replace(some_data(train=60, valid=20), columns={"sex": SEX}, labels=labels.astype(np.float32))
    held = held_out(labels[60:], np.arange(40).reshape(20, 2))
    prob = np.full((20, 2), 0.5, np.float32)
    found = measure_yardsticks(data, held, range(60, 80), prob, OPTIONS)["metadata"]
    assert found["macro_auc"]["value"] < 0.1


def test_training_films_of_one_patient_have_no_probe():
    data = replace(some_data(train=4, valid=4), columns={"sex": SEX[:8]}, patients=("1",) * 4 + (None,) * 4)
    held = held_out(ABOUT_SEX[:4])
    assert measure_yardsticks(data, held, range(4, 8), np.zeros((4, 2), np.float32), OPTIONS)["metadata"] is None
