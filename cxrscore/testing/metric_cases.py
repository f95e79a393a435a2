"""Cases of a metric."""

from __future__ import annotations

import math
import unittest

import numpy as np

from cxrscore.contract import Array, Metric
from cxrscore.testing.cases import Cases, expect

FILMS = 40


def _truth_and_score(*, ties: bool = False) -> tuple[Array, Array]:
    """float32 [N] each: 0 or 1, and 0..1, higher for positives more often than not."""
    rng = np.random.default_rng(0)
    truth = (np.arange(FILMS) % 3 == 0).astype(np.float32)
    score = (0.3 * truth + 0.7 * rng.random(FILMS)).astype(np.float32)
    return truth, np.round(score, 1) if ties else score


def _value(metric: Metric, truth: Array, score: Array, threshold: float = 0.5) -> float:
    """The figure, with the threshold for a metric that needs one; an AssertionError unless it is a number."""
    found = metric.function(truth, score, threshold) if metric.needs_threshold else metric.function(truth, score)
    expect(isinstance(found, float | np.floating), f"it returned a {type(found).__name__}, expected a float")
    return float(found)


def _same(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(first) and math.isnan(second))


class MetricCases(Cases):
    """Cases of a metric, M01 to M08. Fixture: ``metric``, an object that cxrscore_metrics returns."""

    def test_m01_the_descriptor_is_well_formed(self, metric: Metric) -> None:
        """It is a ``Metric`` whose ``name`` is one word, with a summary and a function; ``needs_threshold`` is a
        bool."""
        expect(isinstance(metric, Metric), f"it is a {type(metric).__name__}, expected a Metric")
        expect(isinstance(metric.name, str) and len(metric.name.split()) == 1, f"name is {metric.name!r}, not one word")
        expect(isinstance(metric.summary, str) and metric.summary, "summary is empty, expected a few words")
        expect(callable(metric.function), f"function is {metric.function!r}, expected a function")
        needed = metric.needs_threshold
        expect(isinstance(needed, bool), f"needs_threshold is {needed!r}, expected True or False")

    def test_m02_the_value_is_a_finite_float(self, metric: Metric) -> None:
        """For films of both classes it is a finite float, for float32 and float64 scores and with ties."""
        for ties in (False, True):
            truth, score = _truth_and_score(ties=ties)
            for kind in (np.float32, np.float64):
                found = _value(metric, truth.astype(kind), score.astype(kind))
                expect(math.isfinite(found), f"{np.dtype(kind)}, ties {ties}: it is {found}, expected a finite figure")

    def test_m03_zero_films_give_nan(self, metric: Metric) -> None:
        """Without films it is NaN, and nothing is raised."""
        found = _value(metric, np.zeros(0, np.float32), np.zeros(0, np.float32))
        expect(math.isnan(found), f"without films it is {found}, expected NaN")

    def test_m04_one_class_gives_a_value_or_nan(self, metric: Metric) -> None:
        """If all films are positive, or all negative, it is finite or NaN: never infinite, never an error."""
        score = _truth_and_score()[1]
        for label in (0.0, 1.0):
            found = _value(metric, np.full(FILMS, label, np.float32), score)
            expect(not math.isinf(found), f"where every label is {label:g} it is {found}, expected a figure or NaN")

    def test_m05_the_order_of_films_does_not_matter(self, metric: Metric) -> None:
        """The order of films does not change its value."""
        _expect_same_in_any_order(metric, *_truth_and_score())

    def test_m06_the_order_of_ties_does_not_matter(self, metric: Metric) -> None:
        """If some or all scores are equal, the order of these films does not change it."""
        truth, score = _truth_and_score(ties=True)
        _expect_same_in_any_order(metric, truth, score)
        _expect_same_in_any_order(metric, truth, np.full_like(score, 0.5))

    def test_m07_arguments_are_not_modified(self, metric: Metric) -> None:
        """It accepts read-only arrays and does not write to them."""
        truth, score = _truth_and_score()
        original = truth.copy(), score.copy()
        for writeable in (False, True):
            truth.flags.writeable = score.flags.writeable = writeable
            _value(metric, truth, score)
        expect(np.array_equal(truth, original[0]) and np.array_equal(score, original[1]), "an argument was changed")

    def test_m08_the_threshold_is_used(self, metric: Metric) -> None:
        """If ``needs_threshold`` is True, it is finite or NaN for thresholds below, among and above the scores, and not
        the same for all."""
        if not metric.needs_threshold:
            raise unittest.SkipTest("the metric needs no threshold")
        truth, score = _truth_and_score()
        thresholds = (0.0, 0.2, float(score[0]), 0.5, 0.8, 1.0)
        found = [_value(metric, truth, score, threshold) for threshold in thresholds]
        for threshold, value in zip(thresholds, found, strict=True):
            expect(not math.isinf(value), f"at the threshold {threshold:.3g} it is {value}, expected a figure or NaN")
        same = all(_same(value, found[0]) for value in found)
        expect(not same, f"it is {found[0]:.6g} at every threshold from 0 to 1, expected a figure that depends on it")


def _expect_same_in_any_order(metric: Metric, truth: Array, score: Array) -> None:
    first = _value(metric, truth, score)
    for words, order in (("positives first", np.argsort(-truth)), ("negatives first", np.argsort(truth))):
        found = _value(metric, truth[order], score[order])
        expect(_same(found, first), f"with {words} it is {found:.6g}, in the order given {first:.6g}")
