"""Patients drawn anew; figures over patients without drawing; all labels thrown together."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrscore.errors import InputError
from cxrscore.metrics import auc, bootstrap_auc, delong, difference, micro_auc, p_value
from cxrscore.metrics.bootstrap import _SortedScores
from cxrscore.metrics.grouping import group_codes

NAN = math.nan


def made(patients: int, films: int, seed: int, *, own: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patients with some films each, whose labels are one and whose scores share a part of spread ``own``."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), films)
    truth = np.repeat((random.random(patients) < 0.4).astype(float), films)
    score = truth + np.repeat(random.normal(0, own, patients), films) + random.normal(0, 0.7, patients * films)
    return truth, score.round(1), groups


def test_weights_by_hand() -> None:
    # Scores 1 1 2 3 with labels 0 1 0 1: the first patient (films 0, 1) twice, the second (2, 3) once, or not at all.
    finding = _SortedScores(np.array([0, 1, 0, 1.0]), np.array([1.0, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))
    # Positives: 1 (weight 2) and 3 (1); negatives: 1 (2) and 2 (1). Beaten: 1 beats half of 2, 3 beats 3: 2*1 + 3 of 9.
    assert finding.auc(np.array([2.0, 1.0])) == pytest.approx(5 / 9)
    assert finding.auc(np.array([0.0, 2.0])) == 1.0
    assert math.isnan(_SortedScores(np.array([1, 0, NAN]), np.ones(3), np.arange(3)).auc(np.array([1.0, 0.0, 1.0])))


@pytest.mark.parametrize("seed", range(4))
def test_a_resamples_area_is_scikit_learns(seed: int) -> None:
    truth, score, groups = made(30, 3, seed)
    drawn = np.random.default_rng(seed).multinomial(30, np.full(30, 1 / 30)).astype(float)
    wanted = roc_auc_score(truth, score, sample_weight=drawn[groups])
    assert _SortedScores(truth, score, groups).auc(drawn) == pytest.approx(wanted, abs=1e-12)
    assert _SortedScores(truth, score, groups).auc(np.ones(30)) == pytest.approx(auc(truth, score), abs=1e-12)


def test_one_film_a_patient_spreads_as_delong_says() -> None:
    truth, score, _ = made(300, 1, 1)
    found = bootstrap_auc(truth[:, None], score[:, None], np.arange(300), resamples=800)
    assert found.values.std() == pytest.approx(delong(truth, score).error, rel=0.1)
    assert found.interval(0) == pytest.approx(delong(truth, score).interval, abs=0.01)


def test_films_of_a_patient_are_drawn_together() -> None:
    truth, score, groups = made(150, 4, 2)
    spread = bootstrap_auc(truth[:, None], score[:, None], groups, resamples=800).values.std()
    single = delong(truth, score).error
    assert spread > 1.5 * single
    assert delong(truth, score, groups).error == pytest.approx(spread, rel=0.1)


def test_clusters_of_one_film_change_nothing() -> None:
    truth, score, _ = made(40, 1, 3)
    found = delong(truth, score)
    assert delong(truth, score, np.random.default_rng(0).permutation(40)).error == pytest.approx(found.error, abs=1e-12)


def test_copies_of_a_film_add_nothing_known() -> None:
    truth, score, _ = made(60, 1, 4)
    threefold = delong(np.repeat(truth, 3), np.repeat(score, 3), np.repeat(np.arange(60), 3))
    assert threefold.error == pytest.approx(delong(truth, score).error, rel=1e-9)


def test_films_of_patients_by_hand() -> None:
    # Patient 0 has the positive films 3 and 1, patient 1 the positive 4; negatives 2 and 0 are of patients 2 and 3.
    # Below 3 and 4 lie both negatives, below 1 one: 1, 1/2, 1, mean 5/6. Patient 0 moves it by (1/6 - 1/3) / 3, patient
    # 1 by (1/6) / 3, each times sqrt(2 / 1), as two patients have positive films. Above 2 lie two of three positives,
    # above 0 all: 1/6 away from the mean, over 2, times sqrt(2 / 1).
    truth, score = np.array([1, 0, 1, 0, 1.0]), np.array([3.0, 2.0, 1.0, 0.0, 4.0])
    found = delong(truth, score, np.array([0, 2, 0, 3, 1]))
    assert found.value == pytest.approx(5 / 6)
    assert found.error == pytest.approx(math.sqrt(2 * 2 * (1 / 18) ** 2 + 2 * 2 * (1 / 12) ** 2))
    assert len(found.influence) == 4


@pytest.mark.parametrize(
    ("groups", "wanted"), [([2, 0, 1, 0], [2, 0, 1, 0]), ([5, 9, 5, -1], [1, 2, 1, 0]), ([1, 2, 1, 3], [0, 1, 0, 2])]
)
def test_groups_are_numbered_without_a_gap(groups: list[int], wanted: list[int]) -> None:
    assert group_codes(np.array(groups), 4).tolist() == wanted
    assert group_codes(np.array(groups, float), 4).tolist() == wanted


def test_a_class_of_one_patient_has_no_interval() -> None:
    truth, score = np.array([1, 1, 1, 0, 0, 0.0]), np.array([1, 4, 5, 0, 2, 3.0])
    assert delong(truth, score, np.array([0, 0, 0, 1, 2, 3])).why == "positive films of one patient only"
    assert delong(truth, score, np.array([0, 1, 2, 3, 3, 3])).why == "negative films of one patient only"
    assert math.isnan(p_value(delong(truth, score, np.array([0, 0, 0, 1, 2, 3]))))
    assert delong(truth, score, np.array([0, 0, 1, 2, 2, 3])).why == ""
    assert delong(np.r_[truth, NAN], np.r_[score, 9], np.array([0, 0, 0, 1, 2, 3, 4])).why  # an unknown film is none


@pytest.mark.parametrize(("patients", "films"), [(40, 3), (25, 8)])
def test_models_that_are_equally_good_differ_in_one_draw_of_twenty(patients: int, films: int) -> None:
    # Films of a patient look alike to a model, and otherwise to the other model.
    groups = np.r_[np.repeat(np.arange(patients), films), np.arange(patients, patients + 150)]
    truth = (groups < patients).astype(float)
    below = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        one, other = (
            truth + random.normal(0, 1, patients + 150)[groups] + random.normal(0, 0.5, len(truth)) for _ in "12"
        )
        below += p_value(difference(delong(truth, other, groups), delong(truth, one, groups))) < 0.05
    assert 0.02 < below / 400 < 0.09


def test_differences_are_clustered_alike() -> None:
    truth, score, groups = made(100, 3, 5)
    other = score + np.random.default_rng(0).normal(0, 1, len(score))
    paired = difference(delong(truth, score, groups), delong(truth, other, groups))
    drawn = [bootstrap_auc(truth[:, None], s[:, None], groups, resamples=600, seed=8).values for s in (score, other)]
    assert paired.error == pytest.approx((drawn[0] - drawn[1]).std(), rel=0.1)


def test_the_same_seed_gives_the_same() -> None:
    truth, score, groups = made(30, 2, 6)
    one, same, another = (
        bootstrap_auc(truth[:, None], score[:, None], groups, resamples=20, seed=seed).values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != another).any()


def test_findings_that_are_rarely_defined_have_no_interval() -> None:
    truth, score, groups = made(40, 1, 7)
    rare = np.zeros(40)
    rare[0] = 1
    found = bootstrap_auc(
        np.column_stack([truth, rare, np.zeros(40)]), np.column_stack([score] * 3), groups, resamples=99
    )
    assert all(map(math.isfinite, found.interval(0)))
    assert all(map(math.isnan, found.interval(1)))  # in a third of the resamples the only positive is not drawn
    assert np.isnan(found.values[:, 2]).all()
    low, high = found.macro_interval()
    assert 0 < low < high < 1


@pytest.mark.parametrize("films", [0, 2])
def test_next_to_nothing(films: int) -> None:
    found = bootstrap_auc(np.full((films, 2), NAN), np.zeros((films, 2)), np.arange(films), resamples=5)
    assert np.isnan(found.values).all()
    assert all(map(math.isnan, found.macro_interval()))


def test_groups_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="groups of 3 films"):
        bootstrap_auc(np.zeros((4, 1)), np.zeros((4, 1)), np.arange(3))
    with pytest.raises(InputError, match="groups of 3 films"):
        delong(np.zeros(4), np.zeros(4), np.arange(3))


def test_micro_is_the_area_of_all_labels() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((80, 3)) < [0.1, 0.3, 0.6]).astype(float)
    score = random.normal(0, 1, (80, 3)) + truth
    truth[:7, 1] = NAN
    known = ~np.isnan(truth)
    found = micro_auc(truth, score)
    assert found.value == pytest.approx(roc_auc_score(truth[known], score[known]), abs=1e-12)
    drawn = []
    for _ in range(400):
        rows = random.integers(0, 80, 80)
        kept = known[rows]
        drawn.append(roc_auc_score(truth[rows][kept], score[rows][kept]))
    assert found.error == pytest.approx(np.std(drawn), rel=0.12)
