"""Metrics of plugins. This module checks every value that they return.

A metric is called with the films of a finding whose label and score are both known. Its 95 % interval comes from
resampling patients, with the same resamples as the AUC for the same seed.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Metric
from cxrscore.escape_control_chars import error_words
from cxrscore.interrupts import is_interrupt
from cxrscore.metrics.bootstrap import RESAMPLES, patient_resample_counts, percentile_interval
from cxrscore.metrics.grouping import Places, class_mask, count_groups, group_codes, hard_truth

Interval = tuple[float, float]

FILMS_AT_FULL_RESAMPLES = 30_000
"""Maximum number of films for RESAMPLES resamples; with more films, the number of resamples decreases."""
MIN_RESAMPLES = 200
"""Minimum of that number; percentiles of fewer values are not reported, unless fewer were requested."""
MAX_SECONDS = 60.0
"""Time limit in seconds for starting resamples of a metric, for all findings together."""
MAX_MESSAGE_LENGTH = 200
"""Maximum number of characters shown of the message of an error in a metric."""

NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class MetricEstimate:
    """A metric of one finding.

    films     films whose label and score are known
    value     NaN where there is none
    interval  of 95 %; NaN, NaN where there is none
    why       why there is no value, or else no interval, beginning with the name of the metric; "" where there are both
    """

    films: int
    value: float
    interval: Interval = NO_INTERVAL
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class MetricEstimates:
    """A metric of C findings.

    estimates  C
    resamples  of which the intervals are made
    method     how the intervals were found, in words
    """

    estimates: tuple[MetricEstimate, ...]
    resamples: int
    method: str


def call_metric(metric: Metric, truth: Array, score: Array, threshold: float = math.nan) -> tuple[float, str]:
    """The value of a metric, or why there is none: an exception, or a result that is not a finite number.

    Parameters
    ----------
    metric : the metric; it is called with copies of the arrays, so what it writes to them is lost
    truth : [N], 0 or 1
    score : [N], probabilities
    threshold : a probability; given to a metric that needs it

    Returns
    -------
    A finite number or NaN, and the reason: "" for a number, and for NaN where the metric itself returned NaN.
    """
    arguments = (truth.copy(), score.copy(), *((threshold,) if metric.needs_threshold else ()))
    try:
        with np.errstate():  # restores the error state that a metric may change
            return _checked(metric.function(*arguments))
    except BaseException as error:
        if is_interrupt(error):
            raise
        return math.nan, f"raised {error_words(error, MAX_MESSAGE_LENGTH)}"


def estimate_metric(
    metric: Metric,
    truth: Array,
    score: Array,
    *,
    thresholds: Array,
    groups: Array,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> MetricEstimates:
    """A metric of each finding, with its percentile bootstrap interval over patients.

    Parameters
    ----------
    metric : the metric
    truth, score : [A,C], NaN where unknown; the metric is given the rows in which neither is, and the classes of soft
        labels
    thresholds : [C], the stored threshold of each finding, a probability; NaN where there is none
    groups : int [A], the same number for films of one patient
    resamples : how often patients are resampled; 0: values without intervals
    seed : the same seed gives the same resamples
    clock : seconds, of which MOST_SECONDS may pass

    Returns
    -------
    A MetricEstimates. Whatever the metric does, nothing is raised but KeyboardInterrupt.
    """
    place = group_codes(groups, len(truth))
    patients = count_groups(place, np.ones(len(place), np.bool_))
    wanted = bounded_resamples(resamples, len(truth))
    findings = [_Finding(metric, truth[:, c], score[:, c], float(thresholds[c]), place) for c in range(truth.shape[1])]
    with _quiet():
        for finding in findings:
            finding.evaluate()
        done = _resample(findings, patient_resample_counts(patients, wanted, seed), clock)
        estimates = tuple(finding.estimate(wanted, done) for finding in findings)
    method = "no intervals"
    if any(math.isfinite(one.interval[0]) for one in estimates):
        lowered = f" instead of {resamples:,}" if done < resamples else ""
        method = f"bootstrap of the {patients:,} patients, {done:,} resamples{lowered}, seed {seed}"
    return MetricEstimates(estimates=estimates, resamples=done, method=method)


def bounded_resamples(resamples: int, films: int) -> int:
    """Number of resamples to compute: fewer for many films, to limit the run time."""
    most = FILMS_AT_FULL_RESAMPLES * RESAMPLES // max(films, 1)
    return min(resamples, max(most, MIN_RESAMPLES))


class _Finding:
    """A metric of one finding: its value, then the values of resamples, until it fails."""

    def __init__(self, metric: Metric, truth: Array, score: Array, threshold: float, place: Places) -> None:
        rows = np.flatnonzero(class_mask(truth, score))
        self._metric, self._threshold = metric, threshold
        self._truth, self._score, self._place = hard_truth(truth[rows]), score[rows], place[rows]
        self._patients = count_groups(place, class_mask(truth, score))
        self._value, self._why = math.nan, ""
        self._drawn: list[float] = []

    @property
    def is_open(self) -> bool:
        """Whether resamples can still give an interval."""
        return not self._why

    def evaluate(self) -> None:
        """The value on the films without resampling."""
        self._value, self._why = self._evaluated()
        if not self._why and self._patients < 2:
            self._why = "films of one patient only"

    def _evaluated(self) -> tuple[float, str]:
        if not len(self._truth):
            return math.nan, "no film has both a label and a score"
        if self._metric.needs_threshold and not math.isfinite(self._threshold):
            return math.nan, "no threshold is stored for this finding"
        value, why = self._call(np.arange(len(self._truth)))
        if math.isnan(value) and not why:
            positives = int((self._truth > 0.5).sum())
            why = f"undefined: {positives} positive, {len(self._truth) - positives} negative"
        return value, why

    def resample(self, times: Places) -> None:
        """Computes one resample, with the given count of each patient."""
        value, why = self._call(np.repeat(np.arange(len(self._truth)), times[self._place]))
        self._drawn.append(value)
        if why:
            self._why = f"{why}, in a resample"

    def _call(self, rows: NDArray[np.intp]) -> tuple[float, str]:
        """The value on these rows of the known films; undefined without rows."""
        if not len(rows):
            return math.nan, ""
        return call_metric(self._metric, self._truth[rows], self._score[rows], self._threshold)

    def estimate(self, wanted: int, done: int) -> MetricEstimate:
        """The result, given the numbers of requested and of completed resamples."""
        interval, why = (NO_INTERVAL, self._why) if self._why else self._interval(wanted, done)
        if why:
            about = "" if math.isnan(self._value) else "no interval: "
            why = f"{self._metric.name}: {about}{why}"
        return MetricEstimate(films=len(self._truth), value=self._value, interval=interval, why=why)

    def _interval(self, wanted: int, done: int) -> tuple[Interval, str]:
        if not wanted:
            return NO_INTERVAL, "no resamples were asked for"
        if done < min(wanted, MIN_RESAMPLES):
            return NO_INTERVAL, f"too slow, {done} resamples in {MAX_SECONDS:.0f} seconds"
        low, high = percentile_interval(np.array(self._drawn))
        if math.isnan(low):
            return NO_INTERVAL, "undefined in more than a tenth of the resamples"
        if low == high:
            return NO_INTERVAL, "the resamples give the same value"
        if not (math.isfinite(low) and math.isfinite(high)):
            return NO_INTERVAL, "the values of the resamples are too large"
        return (low, high), ""


def _resample(findings: Sequence[_Finding], draws: Iterator[Places], clock: Callable[[], float]) -> int:
    """Resamples all findings until the end, a failure of all, or the time limit; returns the number of resamples."""
    start, done = clock(), 0
    for times in draws:
        there = [finding for finding in findings if finding.is_open]
        if not there or clock() - start > MAX_SECONDS:
            break
        for finding in there:
            finding.resample(times)
        done += 1
    return done


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses output of plugin code to stdout, which may be JSON, and its warnings."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _checked(found: object) -> tuple[float, str]:
    """The result of a metric as a number, or why it is not a number."""
    is_number = isinstance(found, float | int | np.floating | np.integer)
    if not is_number or isinstance(found, bool | np.timedelta64):  # which are an int and a np.integer, too
        return math.nan, f"returned {_kind(found)}, expected a float"
    try:
        value = float(found)  # type: ignore[arg-type]
    except OverflowError:
        value = math.inf
    return (math.nan, "returned an infinite number, expected a finite one or NaN") if math.isinf(value) else (value, "")


def _kind(found: object) -> str:
    if found is None:
        return "nothing"
    if isinstance(found, np.ndarray):
        return f"an array {found.dtype} of shape {list(found.shape)}"
    return f"a {type(found).__name__}"
