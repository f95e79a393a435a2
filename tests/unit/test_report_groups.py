"""Groups of films against all others."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrscore.errors import InputError
from cxrscore.metrics import bootstrap_auc, delong
from cxrscore.reporting.groups import LabelledSet, SubgroupAnalysis, chosen_columns, subgroup_analysis

NAN = math.nan


def made(films: int = 300, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    cells = random.choice(["F", "M"], films).tolist()
    truth = (random.random((films, 2)) < 0.4).astype(np.float32)
    ease = np.where(np.array(cells) == "F", 2.0, 0.5)[:, None]
    return cells, truth, (1 / (1 + np.exp(-random.normal(0, 1, (films, 2)) - ease * truth))).astype(np.float32)


def grouped(
    cells: list[str], truth: np.ndarray, prob: np.ndarray, column: str = "sex", **changes: object
) -> SubgroupAnalysis:
    patients = changes.get("patients", np.arange(len(cells)))
    films = LabelledSet(
        findings=("Mass", "Edema"),
        truth=truth,
        prob=prob,
        ranked=prob,
        thresholds=np.array([0.6, NAN]),
        patients=patients,
    )
    return subgroup_analysis(column, cells, films)


def test_areas_gaps_and_errors_by_hand() -> None:
    cells, truth, prob = made()
    found = grouped(cells, truth, prob)
    women = np.array(cells) == "F"
    assert [group.name for group in found.groups] == ["F", "M"]
    one = found.groups[0].findings[0]
    here, there = (roc_auc_score(truth[rows, 0], prob[rows, 0]) for rows in (women, ~women))
    assert one.area.value == pytest.approx(here)
    assert one.gap.value == pytest.approx(here - there)
    errors = [delong(truth[rows, 0], prob[rows, 0]).error for rows in (women, ~women)]
    assert one.area.error == pytest.approx(errors[0])
    assert one.gap.error == pytest.approx(math.hypot(*errors))  # two sets of films: variances add up
    assert one.gap.interval[0] > 0
    called = prob[women, 0] >= 0.6
    assert one.decisions.missed.value == pytest.approx((~called[truth[women, 0] == 1]).mean())
    assert one.decisions.false_alarms.value == pytest.approx(called[truth[women, 0] == 0].mean())
    assert math.isnan(found.groups[0].findings[1].decisions.missed.value)  # no threshold
    assert found.groups[0].gap.value == pytest.approx(-found.groups[1].gap.value)
    assert found.as_dict()["groups"][0]["findings"]["Mass"]["auc"]["value"] == pytest.approx(here)


def test_gaps_of_patients_with_films_on_both_sides_are_clustered() -> None:
    random = np.random.default_rng(4)
    truth = np.repeat((random.random(150) < 0.5).astype(np.float32), 4)[:, None]
    own = np.repeat(random.normal(0, 1.5, 150), 4)[:, None]
    prob = (truth + own + random.normal(0, 0.5, (600, 1))).astype(np.float32)
    cells, patients = ["PA", "AP"] * 300, np.arange(600) // 4
    films = LabelledSet(
        findings=("Mass",), truth=truth, prob=prob, ranked=prob, thresholds=np.array([NAN]), patients=patients
    )
    found = subgroup_analysis("view", cells, films).groups[0].findings[0]
    inside = np.array(cells) == "AP"
    drawn = [
        bootstrap_auc(np.where(rows[:, None], truth, np.nan), prob, patients, resamples=400, seed=1).values
        for rows in (inside, ~inside)
    ]
    assert found.gap.error == pytest.approx((drawn[0] - drawn[1]).std(), rel=0.15)
    assert found.area.error == pytest.approx(drawn[0].std(), rel=0.15)


def test_small_groups_are_dropped_with_the_reason() -> None:
    cells, truth, prob = made()
    cells[:9] = ["X"] * 9
    cells[9:40] = ["rare"] * 31
    truth[9:40] = 0
    truth[9:13, 0] = 1
    found = grouped(cells, truth, prob)
    assert dict(found.dropped) == {
        "X": "labelled films: 9, fewer than 10",
        "rare": "no finding with positive and negative films of 5 patients each",
    }


def test_findings_with_too_few_of_a_class_are_left_out() -> None:
    cells, truth, prob = made()
    women = np.flatnonzero(np.array(cells) == "F")
    truth[women, 1] = 0
    truth[women[:4], 1] = 1
    found = grouped(cells, truth, prob)
    assert found.groups[0].left_out == ("Edema",)
    assert [one.finding for one in found.groups[0].findings] == ["Mass"]
    edema = found.groups[1].findings[1]
    assert math.isnan(edema.gap.value)
    assert edema.gap.why.startswith("too few patients: 4 with positive and ")
    assert found.groups[1].gap.value == pytest.approx(-found.groups[0].gap.value)  # over Mass alone


def test_many_films_of_few_patients_are_few() -> None:
    cells, truth, prob = made()
    women = np.array(cells) == "F"
    patients = np.where(women & (truth[:, 0] == 1), np.arange(300) % 4, np.arange(300) + 4)
    found = grouped(cells, truth, prob, patients=np.unique(patients, return_inverse=True)[1])
    assert found.groups[0].left_out == ("Mass",)


def test_films_without_a_value_are_a_group_of_their_own() -> None:
    cells, truth, prob = made()
    cells[:60] = [""] * 60
    assert [group.name for group in grouped(cells, truth, prob).groups] == ["F", "M", "unknown"]


def test_unlabelled_films_do_not_make_a_group() -> None:
    cells, truth, prob = made()
    truth[np.array(cells) == "F"] = np.nan
    assert dict(grouped(cells, truth, prob).dropped) == {"F": "labelled films: 0, fewer than 10"}
    nothing = grouped(cells, np.full_like(truth, np.nan), prob)
    assert not nothing.groups


def test_ages_become_bands_in_their_order() -> None:
    columns = {"age": ["5", "17", "18", "80", "101", "", "x", "60"], "site": ["a"] * 8}
    bands = chosen_columns(columns, ["age"])["age"]
    assert list(bands) == ["0–17", "0–17", "18–39", "80 and above", "80 and above", "", "", "60–79"]
    random = np.random.default_rng(0)
    cells = random.choice(["80 and above", "0–17", "18–39"], 300).tolist()
    _, truth, prob = made()
    assert [group.name for group in grouped(cells, truth, prob, "age").groups] == ["0–17", "18–39", "80 and above"]


def test_columns_that_are_not_there() -> None:
    with pytest.raises(InputError, match="has no column scanner; it has sex, site"):
        chosen_columns({"sex": [], "site": []}, ["scanner"])
    with pytest.raises(InputError, match="none of sex, age, view; name a column with --group-by: it has site"):
        chosen_columns({"site": []}, [])
    assert list(chosen_columns({"view": ["PA"], "site": ["a"], "sex": ["F"]}, [])) == ["sex", "view"]


def test_values_are_no_groups() -> None:
    _, truth, prob = made()
    with pytest.raises(InputError, match="column id has 300 different values"):
        grouped([str(row) for row in range(300)], truth, prob, "id")
