"""Intervals: DeLong by hand and by its definition, means, differences and accuracies over films."""

import math
import sys

import numpy as np
import pytest
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from cxrscore.errors import InputError
from cxrscore.metrics import (
    Estimate,
    auc,
    auc_binormal,
    auc_trapezoid,
    balanced_accuracy_estimate,
    delong,
    difference,
    label_accuracy,
    label_accuracy_estimate,
    mean_estimate,
    micro_auc,
    verdict,
)
from cxrscore.metrics.confidence_intervals import _t_quantile
from cxrscore.metrics.roc import number_below

NAN = math.nan
RNG = np.random.default_rng(5)


def made(films: int, shift: float, decimals: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores, rounded so that they tie, with a few unknown."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(films) < 0.3).astype(float)
    score = np.round(rng.normal(0, 1, films) + shift * truth, decimals)
    truth[rng.random(films) < 0.1] = NAN
    return truth, score


def by_definition(truth: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """The covariance matrix of the areas, from DeLong's equations 4 to 6, pair by pair."""
    ones, zeros = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    above = [[[np.sign(s[i] - s[j]) / 2 + 0.5 for j in zeros] for i in ones] for s in scores]
    v10 = np.array([np.mean(pairs, axis=1) for pairs in above])
    v01 = np.array([np.mean(pairs, axis=0) for pairs in above])
    return np.atleast_2d(np.cov(v10)) / len(ones) + np.atleast_2d(np.cov(v01)) / len(zeros)


def test_delong_by_hand() -> None:
    # Positives 3 and 1, negatives 2 and 0. Below 3 lie both negatives, below 1 one: 1 and 1/2, mean 3/4. Above 2 lies
    # one of two positives, above 0 both. Both variances are 2 (1/4)^2 / 1 = 1/8, and 1/8 / 2 + 1/8 / 2 = 1/8.
    found = delong(np.array([1, 0, 1, 0, NAN]), np.array([3.0, 2.0, 1.0, 0.0, 9.0]))
    assert found.value == 0.75
    assert found.error == pytest.approx(math.sqrt(1 / 8))
    # Four terms of one size: 3 * 4 - 3 = 9 degrees of freedom, for which t is 2.262. The log odds of 3/4 are ln 3, and
    # 2.262 sqrt(1/8) / (3/4 * 1/4) is 4.265: from -3.167 to 5.364.
    assert found.degrees_of_freedom == pytest.approx(9)
    assert found.interval == pytest.approx((0.0404, 0.9953), abs=3e-4)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_delong_is_what_its_paper_defines(decimals: int) -> None:
    truth, score = made(90, 1.0, decimals, seed=decimals)
    found = delong(truth, score)
    assert found.value == pytest.approx(auc(truth, score), abs=1e-12)
    assert found.error**2 == pytest.approx(by_definition(truth, score)[0, 0], rel=1e-10)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_the_paired_difference_is_what_delong_defines(decimals: int) -> None:
    truth, one = made(90, 1.0, decimals, seed=decimals)
    other = np.round(one + np.random.default_rng(9).normal(0, 0.7, len(one)), decimals)
    wanted = by_definition(truth, one, other)
    found = difference(delong(truth, one), delong(truth, other))
    assert found.error**2 == pytest.approx(wanted[0, 0] + wanted[1, 1] - 2 * wanted[0, 1], rel=1e-9)
    assert found.value == pytest.approx(auc(truth, one) - auc(truth, other))


def test_the_number_below_by_hand_and_by_the_ranks_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[number_below.__module__], "BLOCK", 3)
    assert number_below(np.array([1, 2, 2, 5, 3]), np.array([3, 2, 2])).tolist() == [0, 1, 1, 3, 2.5]
    one, other = np.round(RNG.normal(size=(2, 100)), 1)
    among_all = rankdata(np.concatenate([one, other]))[:100]
    np.testing.assert_allclose(number_below(one, other), among_all - rankdata(one), atol=1e-12)


@pytest.mark.parametrize(
    ("truth", "score", "value", "why"),
    [
        ([0, 0, 0], [1, 2, 3], NAN, "0 positive and 3 negative films"),
        ([1, 1, NAN], [1, 2, 3], NAN, "2 positive and 0 negative films"),
        ([1, 0, 0], [2, 1, 3], 0.5, "one positive film only"),
        ([1, 1, 0], [2, 1, 3], 0.0, "one negative film only"),
        ([1, 1, 0, 0], [4, 3, 2, 1], 1.0, "no positive and negative film overlap"),
        ([1, 1, 0, 0], [1, 2, 3, 4], 0.0, "no positive and negative film overlap"),
    ],
)
def test_where_there_is_no_interval_it_says_why(truth: list, score: list, value: float, why: str) -> None:
    found = delong(np.array(truth, float), np.array(score, float))
    assert found.value == pytest.approx(value, nan_ok=True)
    assert found.why.startswith(why)
    assert all(map(math.isnan, (found.error, *found.interval)))


def test_a_constant_score_has_an_area_of_one_half_and_no_interval() -> None:
    found = delong(np.array([1, 1, 0, 0.0]), np.zeros(4))
    assert found.value == 0.5
    assert found.why == "all scores are equal, which leaves the formula no variance"
    assert all(map(math.isnan, found.interval))


def test_answers_that_are_all_right_have_no_interval() -> None:
    # Its formula gives 0 for any number of films, as if the accuracy of all films were known.
    truth = np.array([[1, 0], [0, 0], [1, 1.0]])
    found = label_accuracy_estimate(truth, truth)
    assert (found.value, found.why) == (1, "all films agree, which leaves the formula no variance")
    assert all(map(math.isnan, found.interval))


def test_a_mean_has_no_interval_unless_all_have_one() -> None:
    truth = np.array([[1, 1], [1, 0], [0, 0], [0, 0.0]])
    score = np.array([[3, 3], [1, 2], [2, 1], [0, 0.0]])
    both, one = (delong(truth[:, c], score[:, c]) for c in (0, 1))
    assert one.why == "one positive film only"
    mean = mean_estimate([both, one])
    assert mean.value == (0.75 + 1) / 2
    assert mean.why == "1 of 2 findings have none: one positive film only"
    assert all(map(math.isnan, mean.interval))
    assert mean_estimate([both, both]).interval == pytest.approx(both.interval)
    assert mean_estimate([one, one]).why == "one positive film only"


def test_the_mean_of_differences_has_an_interval_around_it() -> None:
    influence = np.array([0.1, -0.1])
    one, other = (Estimate(value=value, influence=influence, least=-1.0) for value in (-0.1, -0.3))
    half = 1.959964 * math.sqrt(0.02)  # 0.277, below 0 and above it
    assert mean_estimate([one, other]).interval == pytest.approx((-0.2 - half, -0.2 + half))


def test_the_quantile_of_student_is_scipys() -> None:
    degrees = np.exp(np.linspace(0, 7, 300))
    assert [_t_quantile(one) for one in degrees] == pytest.approx(student.ppf(0.975, degrees), rel=0.004)


def few_positives(rng: np.random.Generator, positives: list[int], apart: float) -> tuple[np.ndarray, ...]:
    """Labels of 100 films, and two scores of them whose classes are `apart` and 0.3 * `apart`."""
    truth = np.zeros((100, len(positives)))
    for column, count in enumerate(positives):
        truth[rng.choice(100, count, replace=False), column] = 1
    one = rng.normal(size=truth.shape)
    return truth, one + apart * truth, 0.7 * one + 0.714 * rng.normal(size=truth.shape) + 0.3 * apart * truth


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0.5, 2.0])
@pytest.mark.parametrize("positives", [[5] * 5, [3] * 8, [2, 3, 4, 10, 20]])
def test_macro_and_micro_intervals_and_differences_hold_with_few_positives(positives: list[int], apart: float) -> None:
    """AUCs of 0.64 and 0.92; a plain interval of the lower macro AUC holds in 85 to 91 of 100 samples."""
    rng, draws, findings = np.random.default_rng(5), 300, range(len(positives))
    true = norm.cdf(apart / math.sqrt(2))
    true_difference = norm.cdf(0.3 * apart / math.sqrt(2)) - true
    held: list[list[bool]] = [[], [], []]
    for _ in range(draws):
        truth, one, other = few_positives(rng, positives, apart)
        macros = [mean_estimate([delong(truth[:, c], score[:, c]) for c in findings]) for score in (one, other)]
        found = ((macros[0], true), (micro_auc(truth, one), true), (difference(macros[1], macros[0]), true_difference))
        for place, (estimate, value) in enumerate(found):
            low, high = estimate.interval
            if not math.isnan(low):
                held[place].append(low <= value <= high)
    shares = [sum(one) / len(one) for one in held]
    # Three standard errors of the share of so many draws below 0.95, and 0.02 for what the approximation may lack.
    least = [0.93 - 3 * math.sqrt(0.95 * 0.05 / len(one)) for one in held]
    assert all(share > low for share, low in zip(shares, least, strict=True)), shares


def test_findings_of_a_single_positive_film_have_no_macro_interval() -> None:
    truth, one, other = few_positives(np.random.default_rng(0), [1] * 5, 1.0)
    macros = [mean_estimate([delong(truth[:, c], score[:, c]) for c in range(5)]) for score in (one, other)]
    for found in (*macros, difference(macros[1], macros[0])):
        assert found.why == "one positive film only"
        assert all(map(math.isnan, found.interval))


@pytest.mark.slow
def test_macro_and_micro_intervals_hold_what_they_should_in_95_of_100_draws() -> None:
    rng, prevalence, films = np.random.default_rng(11), np.array([0.4, 0.25, 0.15, 0.1]), 120

    def drawn(number: int) -> tuple[np.ndarray, np.ndarray]:
        # What is common to the findings of a film makes its labels and its scores correlated.
        common = rng.normal(size=(number, 1))
        latent = (common + rng.normal(size=(number, 4))) / math.sqrt(2)
        truth = (latent > norm.ppf(1 - prevalence)).astype(float)
        return truth, 0.8 * latent + 0.3 * common + rng.normal(size=(number, 4))

    truth, score = drawn(400_000)
    true_macro = float(np.mean([auc(truth[:, c], score[:, c]) for c in range(4)]))
    true_micro = auc(truth.ravel(), score.ravel())
    held = np.zeros((400, 2))
    for place in range(len(held)):
        truth, score = drawn(films)
        macro, micro = mean_estimate([delong(truth[:, c], score[:, c]) for c in range(4)]), micro_auc(truth, score)
        for column, (found, true) in enumerate(((macro, true_macro), (micro, true_micro))):
            low, high = found.interval
            held[place, column] = low <= true <= high
    # The standard error of a share of 0.95 of 400 draws is 0.011.
    assert (held.mean(axis=0) > 0.92).all(), held.mean(axis=0)
    assert (held.mean(axis=0) < 0.985).all(), held.mean(axis=0)


def test_the_interval_holds_what_it_should_in_95_of_100_draws() -> None:
    true = norm.cdf(1 / math.sqrt(2))
    held = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        truth = np.repeat([1.0, 0.0], [25, 75])
        low, high = delong(truth, rng.normal(size=100) + truth).interval
        held += low <= true <= high
    assert 0.91 <= held / 400 <= 0.98


def test_the_mean_of_a_figure_with_itself_is_itself_and_its_difference_nothing() -> None:
    one = delong(*made(80, 1.0, 3, seed=1))
    both = mean_estimate([one, one])
    assert (both.value, both.error) == (pytest.approx(one.value), pytest.approx(one.error))
    none = difference(one, one)
    assert (none.value, none.error, none.interval) == (0, 0, (0, 0))
    assert verdict(none) == "no difference shown"


def test_the_mean_leaves_out_what_is_undefined() -> None:
    one = delong(*made(80, 1.0, 3, seed=1))
    nothing = delong(np.zeros(80), np.zeros(80))
    assert mean_estimate([one, nothing]).value == one.value
    assert math.isnan(mean_estimate([nothing]).value)
    assert mean_estimate([nothing]).why
    assert mean_estimate([]).why


def test_the_mean_of_two_findings_counts_what_they_share() -> None:
    # The same labels and nearly the same scores twice: the mean is no surer than one. Of different films it would be.
    truth, score = made(200, 1.0, 6, seed=3)
    one, twin = delong(truth, score), delong(truth, score + 1e-9 * np.arange(200))
    assert mean_estimate([one, twin]).error == pytest.approx(one.error, rel=0.01)
    odd = np.where(np.arange(200) % 2, truth, NAN)
    even = np.where(np.arange(200) % 2, NAN, truth)
    parts = [delong(odd, score), delong(even, score)]
    assert mean_estimate(parts).error == pytest.approx(math.hypot(*(part.error for part in parts)) / 2)


def test_better_and_worse_need_an_interval_without_zero() -> None:
    truth = np.repeat([1.0, 0.0], 60)
    rng = np.random.default_rng(0)
    good, chance = rng.normal(size=120) + 2 * truth, rng.normal(size=120)
    assert verdict(difference(delong(truth, good), delong(truth, chance))) == "better"
    assert verdict(difference(delong(truth, chance), delong(truth, good))) == "worse"
    undefined = delong(np.zeros(120), chance)
    assert verdict(difference(undefined, delong(truth, good))) == "no difference shown"
    with pytest.raises(InputError, match="120 films cannot be paired with 3"):
        difference(undefined, delong(truth[:3], good[:3]))


def test_label_accuracy_by_hand() -> None:
    # Film 1 has both labels right, film 2 one of two, film 3 its only known one wrong: 3 of 5. How far each is from
    # its share: 2 - 2 * 0.6 = 0.8, 1 - 1.2 = -0.2, 0 - 0.6 = -0.6, over 5, times sqrt(3 / 2).
    truth = np.array([[1, 0], [1, 0], [0, NAN]])
    prob = np.array([[0.9, 0.1], [0.2, 0.5], [0.8, 0.9]])
    found = label_accuracy_estimate(truth, prob)
    assert found.value == pytest.approx(0.6) == label_accuracy(truth, prob)
    assert found.error == pytest.approx(math.sqrt(1.5 * (0.8**2 + 0.2**2 + 0.6**2)) / 5)
    # Films 1 and 2 of one patient, who moves it by 0.6, film 3 of another, by -0.6: times sqrt(2 / 1).
    over_two = label_accuracy_estimate(truth, prob, np.array([7, 7, 2]))
    assert over_two.error == pytest.approx(math.sqrt(2 * (0.6**2 + 0.6**2)) / 5)
    assert label_accuracy_estimate(truth, prob, np.zeros(3)).why == "films of one patient only"
    assert label_accuracy_estimate(truth[:1], prob[:1]).why == "one film only"
    assert label_accuracy_estimate(np.full((2, 2), NAN), prob[:2]).why == "no label is known"


def test_balanced_accuracy_by_hand() -> None:
    # Sensitivity 1 of 2, specificity 2 of 3: the mean is 7/12. Variances of the shares: 1/4 * 2 / 1 / 2 = 1/4 and
    # 2/9 * 3 / 2 / 3 = 1/9; a quarter of their sum.
    truth, prob = np.array([1, 1, 0, 0, 0, NAN]), np.array([0.9, 0.2, 0.1, 0.2, 0.7, 0.9])
    found = balanced_accuracy_estimate(truth, prob)
    assert found.value == pytest.approx(7 / 12)
    assert found.error == pytest.approx(math.sqrt((1 / 4 + 1 / 9) / 4))
    assert balanced_accuracy_estimate(np.ones(3), prob[:3]).why == "3 positive and 0 negative films"
    assert balanced_accuracy_estimate(truth[[0, 2, 3]], prob[[0, 2, 3]]).why == "one positive film only"


def test_an_answer_that_is_always_no_is_worth_one_half() -> None:
    truth, _ = made(50, 1.0, 2, seed=7)
    assert balanced_accuracy_estimate(truth, np.zeros(50)).value == 0.5


def test_the_area_by_trapezoids_is_that_by_ranks() -> None:
    for decimals in (0, 1, 9):
        truth, score = made(70, 0.5, decimals, seed=decimals)
        assert auc_trapezoid(truth, score) == pytest.approx(auc(truth, score), abs=1e-12)
    assert math.isnan(auc_trapezoid(np.ones(3), np.arange(3.0)))
    assert math.isnan(auc_trapezoid(np.array([NAN]), np.arange(1.0)))


def test_the_binormal_area_by_hand() -> None:
    # Positives 3 and 5: mean 4, variance 2. Negatives 1, 2, 3: mean 2, variance 1. Phi(2 / sqrt 3).
    found = auc_binormal(np.array([1, 1, 0, 0, 0, NAN]), np.array([3.0, 5.0, 1.0, 2.0, 3.0, 99.0]))
    assert found == pytest.approx(norm.cdf(2 / math.sqrt(3)))


def test_the_binormal_area_of_normal_scores_is_the_area() -> None:
    truth = np.repeat([1.0, 0.0], 20_000)
    score = np.random.default_rng(0).normal(size=40_000) * np.where(truth > 0.5, 2, 1) + truth
    assert auc_binormal(truth, score) == pytest.approx(auc(truth, score), abs=0.005)
    # It is a model: a change of scale that keeps the order keeps the area, and not this one.
    assert abs(auc_binormal(truth, np.exp(score)) - auc(truth, score)) > 0.02


@pytest.mark.parametrize("truth", [[1, 0, 0], [1, 1, 0], [1, 1, 1], []])
def test_the_binormal_area_needs_two_films_of_each_class(truth: list[float]) -> None:
    assert math.isnan(auc_binormal(np.array(truth, float), np.arange(len(truth), dtype=float)))
    assert math.isnan(auc_binormal(np.array([1, 1, 0, 0.0]), np.ones(4)))


def test_terms_that_cancel_leave_no_interval():
    # Patient 0 has the positive films of scores 0 and 5 and the negative film of 3: (0 - 4/9 + 1 - 4/9 + 1/3 - 4/9) / 3
    # is 0, so what one film of the patient adds to the AUC, another takes away; so it is for patient 1.
    truth, score = np.array([1, 1, 1, 0, 0, 0.0]), np.array([2, 0, 5, 1, 4, 3.0])
    assert all(0 < end < 1 for end in delong(truth, score).interval)
    found = delong(truth, score, np.array([1, 0, 0, 1, 1, 0]))
    assert found.value == pytest.approx(4 / 9)
    assert found.why == "all films agree, which leaves the formula no variance"
    half = Estimate(value=0.7, influence=np.array([0.1, -0.1]))
    mean = mean_estimate([half, Estimate(value=0.5, influence=-half.influence)])
    assert (mean.value, mean.why) == (pytest.approx(0.6), found.why)
    assert np.isnan(mean.interval).all()
