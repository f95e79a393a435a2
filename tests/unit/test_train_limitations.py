"""The warnings at the end of training: each holds, and does not hold."""

from copy import deepcopy

import pytest

from cxrscore.training.limitations import find_limitations, words


def figure(value, half=0.03):
    return {"value": value, "low": value - half, "high": value + half}


def finding(positives=40, spread=0.1, few=False, auc=0.7):
    return {"positives": positives, "few_positives": few, "spread": spread, "auc": {"value": auc}}


GOOD = {
    "on": "folds",
    "films": 400,
    "macro_auc": figure(0.7),
    "brier_skill": 0.05,
    "spread": 0.1,
    "findings": {"Effusion": finding(), "Mass": finding()},
    "test": {"films": 150, "macro_auc": figure(0.68)},
    "yardsticks": {
        "metadata": {
            "columns": ["age", "sex", "view"],
            "macro_auc": figure(0.6),
            "difference": {"value": 0.1, "low": 0.05, "high": 0.15},
        }
    },
}
POSITIVES = {"Effusion": 20, "Mass": 10}


def warnings(positives=POSITIVES, **changed):
    return find_limitations({**deepcopy(GOOD), **changed}, positives)


def only(found):
    assert len(found) == 1, found
    return found[0]


def test_a_good_model_has_no_warning():
    assert warnings() == []
    assert warnings(on="valid", films=100) == []
    assert warnings(test=None, positives={}) == []


def test_few_test_films():
    found = only(warnings(test={"films": 99, "macro_auc": figure(0.68)}))
    assert found.startswith("there are only 99 test films, expected 100 or more, so chance")
    assert found.endswith("read the cross-validated figures first")


def test_few_positive_test_films():
    found = only(warnings(positives={"Effusion": 20, "Mass": 9, "Hernia": 0}))
    assert found.startswith("fewer than 10 positive test films of Mass (9) and Hernia (0): ")


def test_many_findings_are_counted():
    found = only(warnings(positives={f"F{number}": number for number in range(8)}))
    assert "F4 (4), F5 (5) and 2 more: " in found


def test_a_validated_model_has_no_cross_validated_figures_to_read():
    found = only(warnings(on="valid", test={"films": 99, "macro_auc": figure(0.68)}))
    assert "cross-validated" not in found


def test_findings_without_coefficients():
    found = only(warnings(findings={"Mass": finding(), "Hernia": finding(positives=3, spread=0.0, few=True)}))
    assert found.startswith("too few positive or negative films of Hernia (3) to learn from: every film gets the")


def test_choices_on_few_films():
    found = only(warnings(on="valid", films=44))
    assert "the calibration were chosen on 44 validation films, expected 100 or more" in found
    assert warnings(on="folds", films=44) == []


def test_probabilities_that_do_not_spread():
    findings = {"Effusion": finding(spread=0.01), "Mass": finding(spread=0.01)}
    found = only(warnings(spread=0.049, findings=findings))
    assert found.startswith("the probabilities differ by 0.049 between the 5th and the 95th percentile")
    assert warnings(spread=0.05) == []


def test_findings_that_do_not_spread():
    findings = {"Effusion": finding(), "Mass": finding(spread=0.019), "Nodule": finding(spread=0.02)}
    found = only(warnings(findings=findings))
    assert found.startswith("the probabilities of Mass (0.019) differ by less than 0.02")


@pytest.mark.parametrize(("test", "apart"), [(0.66, False), (0.65, True), (0.74, False), (0.75, True)])
def test_test_films_far_from_the_others(test, apart):
    # both intervals have 0.03 to each side: that of the difference has 0.03 times the root of 2, 0.042
    found = warnings(test={"films": 150, "macro_auc": figure(test)})
    assert bool(found) == apart
    if apart:
        start = f"macro AUC is 0.700 on the cross-validated films and {test:.3f} on the test films"
        assert only(found).startswith(start)
        assert "(0.042)" in found[0]


def test_a_limit_of_an_interval_that_is_clipped_is_not_used():
    close = {"value": 0.98, "low": 0.90, "high": 1.0}
    assert warnings(macro_auc=close, test={"films": 150, "macro_auc": {"value": 0.9, "low": 0.82, "high": 0.98}}) == []


@pytest.mark.parametrize(
    "undefined", [{"value": None, "low": None, "high": None}, {"value": 0.2, "low": None, "high": 1}]
)
def test_undefined_figures_are_not_compared(undefined):
    assert warnings(test={"films": 150, "macro_auc": undefined}) == []


def test_a_model_that_is_no_better_than_metadata():
    metadata = {**GOOD["yardsticks"]["metadata"], "difference": {"value": 0.04, "low": -0.001, "high": 0.08}}
    found = only(warnings(yardsticks={"metadata": metadata}))
    assert "than age, sex and view alone, which reach a macro AUC of 0.600 (difference 0.040, -0.001 to 0.080)" in found
    assert warnings(yardsticks={"metadata": None}) == []
    nothing = {"value": None, "low": None, "high": None}
    assert warnings(yardsticks={"metadata": {**metadata, "difference": nothing}}) == []


@pytest.mark.parametrize(("skill", "bad"), [(-0.01, True), (0.0, True), (0.001, False), (None, False)])
def test_a_model_that_is_no_better_than_the_prevalence(skill, bad):
    found = warnings(brier_skill=skill)
    assert bool(found) == bad
    if bad:
        assert only(found).startswith(f"the Brier skill is {skill:.3f}, expected above 0")


def test_names_as_in_a_sentence():
    assert words(["age", "sex", "view"]) == "age, sex and view"
    assert words(["age", "sex"]) == "age and sex"
    assert words(["age"]) == "age"


def test_no_auc():
    findings = {"Effusion": finding(), "Mass": finding(auc=None), "Hernia": finding(auc=None, few=True)}
    found = [line for line in warnings(findings=findings) if "Hernia" not in line]
    assert only(found).startswith("the cross-validated AUC of Mass is undefined")
    found = [line for line in warnings(findings=findings, on="valid") if "Hernia" not in line]
    assert only(found).startswith("the validation films have one class only of Mass")
