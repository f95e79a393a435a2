"""The figures of a training run as lines of text."""

from cxrscore.cli.train_figures import figure_lines


def figure(value, half=0.03):
    return {"value": value, "low": value - half, "high": value + half}


NOTHING = {"value": None, "low": None, "high": None}
EVALUATION = {
    "on": "folds",
    "films": 354,
    "macro_auc": figure(0.65),
    "test": {"macro_auc": figure(0.64, 0.05)},
    "yardsticks": {
        "model": {"label_accuracy": 0.91, "brier": 0.086},
        "always_no": {"label_accuracy": 0.9, "brier": 0.0997},
        "prevalence": {"label_accuracy": 0.9, "brier": 0.0877},
        "metadata": None,
    },
    "learning_curve": None,
}
BRIER = 'Brier score: model 0.0860, prevalence 0.0877, always "no" 0.0997'


def lines(**changed):
    return list(figure_lines({**EVALUATION, **changed}))


def test_the_figures_of_a_cross_validated_model():
    assert lines() == ["macro AUC: cross-validated 0.650 (0.620 to 0.680), test 0.640 (0.590 to 0.690)", BRIER]


def test_without_test_films_the_cross_validated_figure_is_the_one_of_the_model():
    assert lines(test=None)[0] == (
        "macro AUC: cross-validated 0.650 (0.620 to 0.680); no film was kept for a test, so the cross-validated figure "
        "is the model's figure"
    )


def test_a_figure_of_validation_films_says_so():
    assert lines(on="valid", macro_auc=NOTHING)[0].startswith("macro AUC: validation undefined, test 0.640")


def test_age_sex_and_view_stand_beside_the_model():
    metadata = {"columns": ["age", "view"], "macro_auc": figure(0.61), "difference": figure(0.04, 0.05)}
    found = lines(yardsticks={**EVALUATION["yardsticks"], "metadata": metadata})
    assert found[1] == "age and view alone: macro AUC 0.610; model minus this 0.040 (-0.010 to 0.090)"


def test_always_no_is_named_where_it_is_as_accurate():
    found = lines(yardsticks={**EVALUATION["yardsticks"], "model": {"label_accuracy": 0.8999, "brier": 0.086}})
    assert found[1:] == [
        BRIER,
        'label accuracy at 0.5: model 0.900, always "no" 0.900: where findings are rare, it does not measure a model',
    ]


CURVE = {"films": [36, 283], "macro_auc": [0.58, None], "error": [0.01, None], "law": None, "predicted": []}


def test_a_flat_curve_predicts_nothing():
    assert lines(learning_curve=CURVE)[2:] == [
        "learning curve: macro AUC 0.580 with 36, undefined with 283 films",
        "the curve does not rise beyond chance: no power law fits, and nothing is predicted for more labels",
    ]


def test_what_more_labels_would_bring():
    law = {"asymptote": 0.8, "factor": 1.0, "exponent": 0.5}
    predicted = [{"films": count, "macro_auc": figure(0.67)} for count in (708, 1416)]
    found = lines(learning_curve={**CURVE, "law": law, "predicted": predicted})
    assert found[3:] == [
        "with twice the labels (708 films) the power law predicts macro AUC 0.670 (0.640 to 0.700)",
        "with 4 times the labels (1416 films) the power law predicts macro AUC 0.670 (0.640 to 0.700)",
    ]
