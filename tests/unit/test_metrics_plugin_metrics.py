"""Metrics of plugins: what they are given, that no value of theirs is believed, and their intervals over patients."""

import io
import math
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from cxrscore.contract import Metric
from cxrscore.metrics import auc, bootstrap_auc, call_metric, estimate_metric, plugin_metrics
from cxrscore.metrics.bootstrap import patient_resample_counts
from cxrscore.metrics.plugin_metrics import MetricEstimate, bounded_resamples

NAN = math.nan


def metric(function: Any, *, needs_threshold: bool = False) -> Metric:
    return Metric(name="mine", summary="of a plugin", function=function, needs_threshold=needs_threshold)


def mean_distance(truth: np.ndarray, score: np.ndarray) -> float:
    return float(np.abs(score - truth).mean()) if len(truth) else NAN


def f1(truth: np.ndarray, score: np.ndarray, threshold: float) -> float:
    positive, called = truth > 0.5, score >= threshold
    total = int(positive.sum() + called.sum())
    return 2 * int((positive & called).sum()) / total if total else NAN


def one(
    function: Any, truth: Any, score: Any, groups: Any = None, *, threshold: float | None = None, **options: Any
) -> MetricEstimate:
    """Of one finding; with a threshold, even NaN, the metric asks for it."""
    truth, score = np.array(truth, np.float32)[:, None], np.array(score, np.float32)[:, None]
    found = estimate_metric(
        metric(function, needs_threshold=threshold is not None),
        truth,
        score,
        thresholds=np.array([NAN if threshold is None else threshold]),
        groups=np.arange(len(truth)) if groups is None else np.asarray(groups),
        **options,
    )
    return found.estimates[0]


def made(patients: int = 40, films: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), films)
    truth = np.repeat((random.random(patients) < 0.4).astype(np.float32), films)
    score = random.random(len(groups)).astype(np.float32) * 0.7 + 0.3 * truth
    return truth, score.astype(np.float32), groups


# --- what a metric is given


def test_by_hand() -> None:
    # |0.75 - 1|, |0.5 - 0|, |0.25 - 0|: mean 1/3; a film without label and one without score are left out.
    found = one(mean_distance, [1, 0, 0, NAN, 1], [0.75, 0.5, 0.25, 0.1, NAN], resamples=0)
    assert (found.films, found.value) == (3, pytest.approx(1 / 3))


def test_f1_at_the_stored_threshold_by_hand() -> None:
    # From 0.5 on: .9 and .5 of positives, .5 of a negative; .2 is missed. 2 * 2 / (2 * 2 + 1 + 1).
    truth, score = [1, 1, 0, 0, 1], [0.9, 0.2, 0.5, 0.1, 0.5]
    assert one(f1, truth, score, threshold=0.5, resamples=0).value == pytest.approx(2 / 3)
    assert one(f1, truth, score, threshold=0.95, resamples=0).value == 0
    called = np.array(score, np.float32) >= 0.2
    assert one(f1, truth, score, threshold=float(np.float32(0.2)), resamples=0).value == pytest.approx(
        f1_score(truth, called)
    )


def test_only_known_films_are_given_as_copies_in_the_dtype_of_the_file() -> None:
    given: list[tuple[Any, ...]] = []

    def spoils(truth: np.ndarray, score: np.ndarray) -> float:
        given.append((truth.dtype, score.dtype, truth.tolist(), score.tolist()))
        value = float(score.sum())
        truth[:], score[:] = NAN, NAN
        return value

    found = one(spoils, [1, NAN, 0], [0.5, 0.5, 0.25], resamples=3)
    assert given[0] == (np.float32, np.float32, [1.0, 0.0], [0.5, 0.25])
    assert all(np.isfinite([*truth, *score]).all() for _, _, truth, score in given)
    assert found.value == 0.75
    truth, score = np.ones(2, np.float32), np.full(2, 0.5, np.float32)
    assert call_metric(metric(spoils), truth, score) == (1.0, "")
    assert (truth.tolist(), score.tolist()) == ([1, 1], [0.5, 0.5])


# --- no value is believed


def error_of_many_words(truth: Any, score: Any) -> float:
    raise ValueError("one\n  two " + "x" * 10_000)


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raises(error: BaseException) -> Any:
    def function(*arguments: Any) -> float:
        raise error

    return function


WRONG = {
    "none": (lambda t, s: None, "returned nothing, expected a float"),
    "text": (lambda t, s: "0.5", "returned a str, expected a float"),
    "bool": (lambda t, s: True, "returned a bool, expected a float"),
    "numpy bool": (lambda t, s: np.True_, "expected a float"),
    "complex": (lambda t, s: 0.5 + 0j, "returned a complex, expected a float"),
    "numpy complex": (lambda t, s: np.complex64(1), "returned a complex64, expected a float"),
    "array": (lambda t, s: s[:2], "returned an array float32 of shape [2], expected a float"),
    "array of one": (lambda t, s: np.array(0.5), "returned an array float64 of shape [], expected a float"),
    "list": (lambda t, s: [0.5], "returned a list, expected a float"),
    "time": (lambda t, s: np.timedelta64(1, "s"), "returned a timedelta64, expected a float"),
    "fraction": (lambda t, s: Fraction(1, 2), "returned a Fraction, expected a float"),
    "infinity": (lambda t, s: -math.inf, "returned an infinite number"),
    "wide infinity": (lambda t, s: np.longdouble("inf"), "returned an infinite number"),
    "endless integer": (lambda t, s: 10**400, "returned an infinite number"),
    "error": (raises(ZeroDivisionError("division by zero")), "raised ZeroDivisionError: division by zero"),
    "no message": (raises(KeyError()), "raised KeyError"),
    "unspeakable": (raises(UnspeakableError()), "raised UnspeakableError"),
    "exit": (raises(SystemExit("bye")), "raised SystemExit: bye"),
    "generator": (raises(GeneratorExit()), "raised GeneratorExit"),
    "memory": (raises(MemoryError()), "raised MemoryError"),
    "arguments": (lambda truth: 0.5, "raised TypeError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_number_is_none_and_says_why(name: str) -> None:
    function, words = WRONG[name]
    found = one(function, [1, 0, 1], [0.9, 0.1, 0.2])
    assert math.isnan(found.value)
    assert math.isnan(found.interval[0])
    assert found.why.startswith(f"mine: {words}") or (name == "numpy bool" and found.why.endswith(words))


@pytest.mark.parametrize("value", [1, np.int64(1), np.float16(1), np.longdouble(1), 1.0])
def test_what_is_a_number_is_taken(value: Any) -> None:
    assert call_metric(metric(lambda t, s: value), np.zeros(1), np.zeros(1)) == (1.0, "")


def test_a_long_message_is_one_short_line() -> None:
    found = one(error_of_many_words, [1, 0], [1, 0])
    assert found.why.startswith("mine: raised ValueError: one two xxx")
    assert found.why.endswith("xxx ...")
    assert len(found.why) < 260


def test_ctrl_c_is_not_caught() -> None:
    with pytest.raises(KeyboardInterrupt):
        one(raises(KeyboardInterrupt()), [1, 0], [1, 0])


def test_nan_is_undefined() -> None:
    found = one(auc, [0, 0, 0, NAN], [0.1, 0.2, 0.3, 0.4])
    assert math.isnan(found.value)
    assert found.why == "mine: undefined: 0 positive, 3 negative"


def test_without_a_film_or_a_threshold_it_is_not_called() -> None:
    never = raises(AssertionError("called"))
    assert one(never, [NAN, 1], [0.5, NAN]).why == "mine: no film has both a label and a score"
    assert one(never, [0, 1], [0.5, 0.5], threshold=NAN).why == "mine: no threshold is stored for this finding"


def test_what_a_metric_prints_and_warns_of_is_kept_off_the_output() -> None:
    def talks(truth: np.ndarray, score: np.ndarray) -> float:
        print("hello")  # noqa: T201 - what a plugin may do
        warnings.warn("careful", UserWarning, stacklevel=1)
        np.seterr(all="raise")
        return float(np.float64(1) / np.float64(score.sum() * 0 + 2))

    out, err = io.StringIO(), io.StringIO()
    before = np.geterr()
    with redirect_stdout(out), redirect_stderr(err):
        assert one(talks, [1, 0], [1, 0], resamples=1).value == 0.5
        assert sys.stdout is out
    assert out.getvalue() == ""
    assert "hello" in err.getvalue()
    assert np.geterr() == before


# --- intervals


@pytest.mark.parametrize("seed", [0, 3])
def test_the_interval_is_that_of_a_plain_loop_over_patients(seed: int) -> None:
    truth, score, groups = made()
    truth[::7] = NAN
    random, values = np.random.default_rng(seed), []
    for _ in range(300):
        rows = [row for patient in random.integers(0, 40, 40) for row in range(len(groups)) if groups[row] == patient]
        kept = [row for row in rows if not math.isnan(truth[row])]
        values.append(f1_score(truth[kept], score[kept] >= 0.5))
    wanted = np.percentile(values, [2.5, 97.5])
    found = one(f1, truth, score, groups, threshold=0.5, resamples=300, seed=seed)
    assert found.interval == pytest.approx(tuple(wanted), abs=1e-12)
    assert found.why == ""
    assert found.interval[0] < found.value < found.interval[1]


def test_auc_as_a_metric_has_the_interval_of_the_bootstrap() -> None:
    truth, score, groups = made()
    wanted = bootstrap_auc(truth[:, None], score[:, None], groups, resamples=100, seed=5).interval(0)
    assert one(auc, truth, score, groups, resamples=100, seed=5).interval == pytest.approx(wanted, abs=1e-12)


def test_a_draw_counts_how_often_each_patient_is_drawn() -> None:
    random = np.random.default_rng(7)
    for times in patient_resample_counts(4, 3, 7):
        drawn = random.integers(0, 4, 4).tolist()
        assert times.tolist() == [drawn.count(patient) for patient in range(4)]
    assert list(patient_resample_counts(0, 3, 0)) == []


def test_films_of_a_patient_go_together() -> None:
    truth, score, groups = made(30, 6)
    score = (np.repeat(np.random.default_rng(1).random(30), 6)).astype(np.float32)
    together, apart = (one(mean_distance, truth, score, g, resamples=200).interval for g in (groups, None))
    assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])


def fails_later(after: int, then: Any) -> Any:
    count = iter(range(10**9))

    def function(truth: np.ndarray, score: np.ndarray) -> Any:
        return mean_distance(truth, score) if next(count) < after else then()

    return function


@pytest.mark.parametrize(
    ("then", "words"), [(lambda: 1 / 0, "raised ZeroDivisionError: division by zero"), (list, "returned a list")]
)
def test_one_that_fails_in_a_resample_keeps_its_value(then: Any, words: str) -> None:
    found = one(fails_later(4, then), *made()[:2], resamples=50)
    assert math.isfinite(found.value)
    assert math.isnan(found.interval[0])
    assert found.why.startswith(f"mine: no interval: {words}")
    assert found.why.endswith(", in a resample")


@pytest.mark.parametrize(
    ("function", "truth", "groups", "words"),
    [
        (mean_distance, [1, 0, 1, 0], [0, 0, 0, 0], "films of one patient only"),
        (lambda t, s: 0.5, [1, 0, 1, 0], None, "the resamples give the same value"),
        (auc, [1, 0, 0, 0], None, "undefined in more than a tenth of the resamples"),
    ],
)
def test_no_interval_comes_with_the_reason(function: Any, truth: Any, groups: Any, words: str) -> None:
    found = one(function, truth, [0.75, 0.5, 0.25, 0.9], groups, resamples=41)
    assert math.isfinite(found.value)
    assert found.interval == pytest.approx((NAN, NAN), nan_ok=True)
    assert found.why.startswith("mine: no interval: ")
    assert words in found.why


def test_an_interval_is_finite() -> None:
    far = iter([1.0, -1.7e308, 1.7e308])  # the value, then resamples between which NumPy cannot interpolate

    def wild(truth: np.ndarray, score: np.ndarray) -> float:
        np.seterr(all="raise")
        return next(far)

    found = one(wild, [1, 0], [0.75, 0.5], resamples=2)
    assert found.why == "mine: no interval: the values of the resamples are too large"
    assert math.isnan(found.interval[0])


def test_without_resamples_there_is_a_value_without_interval() -> None:
    found = one(mean_distance, [1, 0], [0.75, 0.5], resamples=0)
    assert found.value == 0.375
    assert found.why == "mine: no interval: no resamples were asked for"


def test_a_failing_finding_does_not_touch_the_others() -> None:
    truth, score, groups = made()

    def only_balanced(t: np.ndarray, s: np.ndarray) -> float:
        if not t.any():
            raise ValueError("no positive")
        return mean_distance(t, s)

    found = estimate_metric(
        metric(only_balanced),
        np.column_stack([np.zeros_like(truth), truth]),
        np.column_stack([score, score]),
        thresholds=np.full(2, NAN),
        groups=groups,
        resamples=200,
        seed=1,
    )
    assert found.estimates[0].why == "mine: raised ValueError: no positive"
    assert found.estimates[1] == one(only_balanced, truth, score, groups, resamples=200, seed=1)
    assert found.method == "bootstrap of the 40 patients, 200 resamples, seed 1"


def test_the_work_is_bounded_by_films() -> None:
    assert bounded_resamples(1000, 30_000) == 1000
    assert bounded_resamples(1000, 60_000) == 500
    assert bounded_resamples(1000, 112_120) == 267
    assert bounded_resamples(1000, 10**7) == 200
    assert bounded_resamples(50, 10**7) == 50
    assert bounded_resamples(10_000, 442) == 10_000
    assert bounded_resamples(10, 0) == 10


def test_fewer_resamples_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_metrics, "FILMS_AT_FULL_RESAMPLES", 30)
    truth, score, groups = made()
    found = estimate_metric(
        metric(mean_distance), truth[:, None], score[:, None], thresholds=np.full(1, NAN), groups=groups
    )
    assert found.resamples == 250
    assert found.method == "bootstrap of the 40 patients, 250 resamples instead of 1,000, seed 0"


def stopped_after(resamples: int) -> tuple[MetricEstimate, str]:
    """With a clock on which a minute is over after so many resamples."""
    ticks = iter([0.0, *[0.0] * resamples, 61.0])
    truth, score, groups = made()
    found = estimate_metric(
        metric(mean_distance),
        truth[:, None],
        score[:, None],
        thresholds=np.full(1, NAN),
        groups=groups,
        clock=lambda: next(ticks),
    )
    return found.estimates[0], found.method


def test_a_slow_metric_is_stopped() -> None:
    enough, method = stopped_after(200)
    assert enough.interval == one(mean_distance, *made(), resamples=200).interval
    assert method == "bootstrap of the 40 patients, 200 resamples instead of 1,000, seed 0"
    few, method = stopped_after(199)
    assert math.isfinite(few.value)
    assert few.why == "mine: no interval: too slow, 199 resamples in 60 seconds"
    assert method == "no intervals"
