"""The prevalence of findings in the films that a queue was drawn from, out of the marks of the queue."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxrscore.metrics import Proportion
from cxrscore.metrics.proportions import wilson
from cxrscore.reading.queue_csv import QueuedRow

RANDOM, STRATIFIED = "random", "stratified"


def queue_prevalence(
    labels: Mapping[str, Mapping[str, str]], queue: Mapping[str, QueuedRow], findings: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The prevalence of each finding in the films that a queue was drawn from.

    Parameters
    ----------
    labels
        The cell of the label table, "1" or "0", by film of the queue and finding; others are no labels.
    queue
        Its films by digest. Without weights nothing follows, and the result is empty.
    findings
        The findings.

    Returns
    -------
    dict
        By finding: films (of the queue with a label), value, low and high (95 %). The interval of a random sample is
        Wilson's. That of strata is Wilson's for as many films as a random sample of the same variance has, where each
        stratum counts half a positive and half a negative film more: one without positive films may have some that were
        not drawn. Without a label in a stratum the value is NaN.
    """
    kinds = {row.drawn for row in queue.values()}
    if kinds not in ({RANDOM}, {STRATIFIED}) or not all(row.weight for row in queue.values()):
        return {}
    sizes: dict[str, float] = defaultdict(float)
    for row in queue.values():
        sizes[row.stratum] += float(row.weight)
    found = {}
    for finding in findings:
        counts: dict[str, list[int]] = {stratum: [0, 0] for stratum in sizes}
        for sha256, row in queue.items():
            cell = labels.get(sha256, {}).get(finding, "")
            if cell in ("0", "1"):
                counts[row.stratum][cell == "1"] += 1
        found[finding] = {**_figure(counts, sizes), "queue": len(queue)}
    return found


def _figure(counts: Mapping[str, Sequence[int]], sizes: Mapping[str, float]) -> dict[str, Any]:
    films = sum(map(sum, counts.values()))
    if len(counts) == 1:
        ((negative, positive),) = counts.values()
        one = Proportion(hits=positive, total=negative + positive)
        low, high = one.interval
        return {"films": films, "value": one.value, "low": low, "high": high}
    value, low, high = stratified([(sizes[name], negative, positive) for name, (negative, positive) in counts.items()])
    return {"films": films, "value": value, "low": low, "high": high}


def stratified(strata: Sequence[tuple[float, int, int]]) -> tuple[float, float, float]:
    """The share of positive films of all strata with its 95 % interval, from (films, negative, positive drawn films) of
    each; see queue_prevalence."""
    total = sum(size for size, _, _ in strata)
    if not all(negative + positive for _, negative, positive in strata):
        return math.nan, math.nan, math.nan
    value = middle = variance = 0.0
    for size, negative, positive in strata:
        part, count = size / total, negative + positive
        share = (positive + 0.5) / (count + 1)
        value += part * positive / count
        middle += part * share
        variance += part**2 * max(0.0, 1 - count / size) * share * (1 - share) / count
    if not variance:  # every film was drawn
        return value, value, value
    films = middle * (1 - middle) / variance
    return value, *wilson(value, films)


def describe_prevalence(prevalence: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each finding."""
    for finding, one in prevalence.items():
        if math.isnan(one["value"]):
            yield f"prevalence of {finding}: not known, because a stratum has no label"
        else:
            yield (
                f"prevalence of {finding}: {one['value']:.1%} ({one['low']:.1%} to {one['high']:.1%}), of the films "
                f"that the queue was drawn from; {one['films']:,} of {one['queue']:,} films of the queue have a label"
            )
