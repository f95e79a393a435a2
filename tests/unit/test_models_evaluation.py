"""What a model file records of its own figures is read as it stands, and whatever stands there instead does no harm."""

import copy
import math
from dataclasses import fields

import pytest
from made_evaluation import figure, made_evaluation, made_probe

from cxrscore.models.evaluation import (
    LONGEST_WARNING,
    MOST_POINTS,
    MOST_STRENGTHS,
    MOST_WARNINGS,
    UNUSED_BY_PROBE,
    Evaluation,
    read_evaluation,
    read_probe,
    used_recipe,
)
from cxrscore.training.options import EPOCH_OPTIONS, TrainOptions

FINDINGS = ("Mass", "Edema")
NAN, INF = math.nan, math.inf
ODD = [None, 7, -1, True, "text", [], [1, [2]], {}, {"value": "x"}, NAN, INF, 10**400, ["a"] * 10_000]


def read(**changed):
    found = read_evaluation({"evaluation": made_evaluation(FINDINGS, **changed)}, FINDINGS)
    assert isinstance(found, Evaluation)
    return found


def test_what_stands_there_is_read():
    found = read()
    assert (found.on, found.films, found.patients, found.brier_skill) == ("folds", 40, 38, 0.04)
    assert found.where == "5-fold cross-validation on 40 training films of 38 patients"
    assert found.macro_auc.text == "0.650 (0.60 to 0.70)"
    assert found.brier.precise == "0.080 (0.070 to 0.090)"
    assert (found.has_test, found.test_films, found.test_auc.value) == (True, 10, 0.62)
    mass, edema = found.findings
    assert (mass.positives, mass.mark, mass.auc.interval) == (12, "", (0.6, 0.72))
    assert edema.mark == "prevalence only: 4 positive training films"
    assert edema.auc.text == "0.500"
    assert found.marks == {"Edema": edema.mark}
    assert found.warnings == ("10 test films are few.",)


def test_the_rarer_class_is_named():
    findings = made_evaluation(FINDINGS)["findings"]
    findings["Edema"] |= {"positives": 39, "negatives": 1}
    assert read(findings=findings).marks == {"Edema": "prevalence only: 1 negative training film"}
    findings["Edema"] |= {"positives": "many", "negatives": None}
    assert read(findings=findings).marks == {"Edema": "prevalence only"}


def test_without_test_films_the_cross_validated_figure_is_the_models():
    assert "the cross-validated figure is the model's figure" in read(test=None).caution
    assert "the model's figure" not in read().caution
    assert not read(test=None).has_test
    valid = read(on="valid", folds=0, test=None)
    assert valid.where == "40 validation films"
    assert "flatter the model" in valid.caution


@pytest.mark.parametrize(("low", "holds_zero"), [(-0.01, True), (0.01, False)])
def test_the_difference_to_age_and_view_by_hand(low, holds_zero):
    sticks = made_evaluation(FINDINGS)["yardsticks"]
    sticks["metadata"]["difference"] = figure(0.04, low, 0.09)
    found = read(yardsticks=sticks).yardsticks
    assert [one.name for one in found.without] == ["Always “no”", "Prevalence", "Age and view alone"]
    assert [one.macro_auc.value for one in found.without] == [0.5, 0.5, 0.61]
    assert found.sentence.startswith("The model minus age and view alone: +0.040 (")
    assert ("contains 0" in found.sentence) is holds_zero


def test_a_table_without_age_sex_and_view():
    sticks = {**made_evaluation(FINDINGS)["yardsticks"], "metadata": None}
    found = read(yardsticks=sticks).yardsticks
    assert (found.columns, found.sentence, len(found.without)) == ("", "", 2)


def test_the_sentence_of_the_learning_curve():
    whole = made_evaluation(FINDINGS)["learning_curve"]
    assert read().curve.sentence == (
        "With 40 training films the macro AUC is 0.650; the power law predicts 0.690 (0.65 to 0.73) with 80 films of "
        "the same kind."
    )
    for changed in ({"law": None}, {"predicted": []}):
        assert "nothing is predicted" in read(learning_curve={**whole, **changed}).curve.sentence
    assert read(learning_curve=None).curve is None
    assert read(learning_curve={**whole, "films": [10]}).curve is None


def test_the_probe_by_hand():
    found = read_probe({"training": {"probe": made_probe(FINDINGS)}})
    assert (found.strengths, found.tried) == ((0.001,), ((0.0001, 0.31), (0.001, 0.3), (0.01, 0.33)))
    assert (
        found.sentence
        == "linear probe, strength C 0.001 for all findings, chosen by 5-fold cross-validation by patient"
    )
    several = made_probe(FINDINGS) | {"strengths": {"Mass": 0.01, "Edema": 0.1}}
    words = read_probe({"training": {"probe": several}}).strength_words
    assert words == "C 0.01 to 0.1, one for each finding"
    assert read_probe({"training": {}}) is None


def test_a_probe_uses_no_option_of_the_epoch_loop():
    recipe = {"epochs": 80, "folds": 5, "learning_rate": 1e-5}
    assert used_recipe({"recipe": recipe}) == recipe
    assert used_recipe({"recipe": recipe, "probe": {}}) == {"folds": 5}
    known = {field.name for field in fields(TrainOptions)}
    limits = {"rotation", "shift", "shear", "zoom", "flip"}  # of augmented copies, which a probe has none of
    assert set(UNUSED_BY_PROBE) <= known
    assert set(UNUSED_BY_PROBE) - limits <= set(EPOCH_OPTIONS)


@pytest.mark.parametrize("document", [*ODD, {"evaluation": None}, {"evaluation": [1]}, {"training": {"probe": "x"}}])
def test_no_evaluation_is_none(document):
    assert read_evaluation(document, FINDINGS) is None
    assert read_probe(document) is None


def places(tree, *above):
    """The keys that lead to every value of a document."""
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places(value, *above, key)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_any_value_in_any_place_is_read(odd):
    whole = {"evaluation": made_evaluation(FINDINGS), "training": {"probe": made_probe(FINDINGS)}}
    for keys in places(whole):
        document = copy.deepcopy(whole)
        above = document
        for key in keys[:-1]:
            above = above[key]
        above[keys[-1]] = odd
        found, probe = read_evaluation(document, FINDINGS), read_probe(document)
        for text in () if found is None else (found.where, found.caution, *found.marks.values(), found.macro_auc.text):
            assert "nan" not in text
            assert "inf" not in text
        if found is not None and found.curve is not None:
            assert "nan" not in found.curve.sentence
        if found is not None and found.yardsticks is not None:
            assert "nan" not in found.yardsticks.sentence
        if probe is not None:
            assert "nan" not in probe.sentence


def test_long_lists_are_cut():
    many = list(range(1, 5001))
    found = read(
        warnings=["w" * 5000] * 5000,
        findings={f"finding {place}": {} for place in many},
        learning_curve={"films": many, "macro_auc": [0.5] * 5000, "error": [0.1] * 5000, "predicted": [{}] * 5000},
    )
    assert len(found.warnings) == MOST_WARNINGS
    assert max(map(len, found.warnings)) == LONGEST_WARNING
    assert (found.findings, len(found.curve.points), found.curve.predicted) == ((), MOST_POINTS, ())
    probe = read_probe(
        {"training": {"probe": {"tried": many, "log_loss": many, "strengths": dict.fromkeys(map(str, many), 1)}}}
    )
    assert len(probe.tried) == len(probe.strengths) == MOST_STRENGTHS
