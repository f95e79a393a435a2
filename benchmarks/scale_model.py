"""A run of very many films on many workers that fail at times, simulated shard by shard.

    python benchmarks/scale_model.py

What a film, a shard, a start, a row of the merge and a file in a folder cost is read from docs/scale.json, where each
figure stands with the command that measured it. What nobody measured, how often machines fail and how unequal they are,
stands there as an assumption. --write puts the tables into docs/clusters.md; a test demands that they are up to date.
"""

from __future__ import annotations

import argparse
import heapq
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.scorefile.manifest import shard_size

DOCS = Path(__file__).parents[1] / "docs"
WORKERS = (1, 16, 64, 256, 1024)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What things take; seconds, bytes and films, of one worker.

    rate       films a second that a worker scores
    start      seconds from its start to its first film
    shard      seconds that writing a shard adds
    find       seconds to list one film
    merge      seconds to merge one row, all in one process
    film       bytes of a film that are read
    bandwidth  bytes a second that the store of the films gives to all workers together
    spread     standard deviation of the logarithm of the workers' speeds
    mtbf       mean seconds between failures of a worker
    restart    seconds until a failed worker is back
    """

    rate: float
    start: float
    shard: float
    find: float
    merge: float
    film: float
    bandwidth: float
    spread: float
    mtbf: float
    restart: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a simulated run took: seconds of listing, scoring and merging, failures, and films scored in vain."""

    find: float
    score: float
    merge: float
    failures: int
    again: float
    ideal: float

    @property
    def scoring(self) -> float:
        """Efficiency of scoring: the time that these workers would take if they never failed, waited or started, by
        the time that it took."""
        return self.ideal / self.score

    @property
    def whole(self) -> float:
        """The same with listing and merging."""
        return self.ideal / (self.find + self.score + self.merge)


class _Worker:
    """Its speed, and when it fails next."""

    def __init__(self, rate: float, costs: Costs, random: np.random.Generator) -> None:
        self.rate, self._costs, self._random = rate, costs, random
        self.fails = random.exponential(costs.mtbf)
        self.failures, self.lost = 0, 0.0

    def score(self, now: float, films: int) -> tuple[float, bool]:
        """When the worker is free again after taking a shard at ``now``, and whether the shard is done."""
        end = now + films / self.rate + self._costs.shard
        if end <= self.fails:
            return end, True
        back = max(self.fails, now) + self._costs.restart + self._costs.start
        self.failures += 1
        self.lost += max(self.fails - now, 0) * self.rate
        self.fails = back + self._random.exponential(self._costs.mtbf)
        return back, False


def simulate(films: int, workers: int, costs: Costs, *, shares: int = 0, seed: int = 0) -> Outcome:
    """A run of so many films.

    shares  how many shares the run has for each worker, as by --shard i/n; 0: idle workers take the next shard, as an
            executor hands them out
    """
    random = np.random.default_rng(seed)
    speeds = np.exp(random.normal(0, costs.spread, workers))
    most = costs.bandwidth / costs.film / workers
    crew = [_Worker(min(costs.rate * speed, most), costs, random) for speed in speeds]
    size = shard_size(films, 8)
    shards = [min(size, films - first) for first in range(0, films, size)]
    parts = np.array_split(np.array(shards), workers * shares) if shares else []
    score = _by_share(crew, parts, costs) if shares else _in_turn(crew, shards, costs)
    return Outcome(
        find=costs.find * films,
        score=score,
        merge=costs.merge * films,
        failures=sum(worker.failures for worker in crew),
        again=sum(worker.lost for worker in crew),
        ideal=films / (costs.rate * speeds.sum()),
    )


def _in_turn(crew: Sequence[_Worker], shards: list[int], costs: Costs) -> float:
    """Seconds until the last shard is done, where whoever is idle takes the next one."""
    idle = [(costs.start, number) for number in range(len(crew))]
    heapq.heapify(idle)
    waiting, end = shards[::-1], 0.0
    while waiting:
        now, number = heapq.heappop(idle)
        films = waiting.pop()
        free, done = crew[number].score(now, films)
        if done:
            end = max(end, free)
        else:
            waiting.append(films)
        heapq.heappush(idle, (free, number))
    return end


def _by_share(crew: Sequence[_Worker], shares: Sequence[Sequence[int]], costs: Costs) -> float:
    """Seconds until the last share is done. Whoever is idle starts the next one, and tries its shards again where it
    failed: a scheduler that has more shares than machines."""
    idle = [(0.0, number) for number in range(len(crew))]
    end = 0.0
    for share in shares:
        now, number = heapq.heappop(idle)
        now += costs.start
        for films in share:
            done = False
            while not done:
                now, done = crew[number].score(now, int(films))
        end = max(end, now)
        heapq.heappush(idle, (now, number))
    return end


# --- the page


def costs_of(record: Mapping[str, Any], device: str) -> Costs:
    """The costs of docs/scale.json, with the speed of one of its devices."""
    figures = {name: one["value"] for part in ("measured", "assumed") for name, one in record[part].items()}
    return Costs(rate=record["devices"][device]["value"], **figures)


def tables(record: Mapping[str, Any]) -> dict[str, str]:
    """The tables of docs/clusters.md by name."""
    found = {"costs": _cost_table(record)}
    for device, one in record["devices"].items():
        found[device] = _run_table(record["films"], costs_of(record, device), one["what"])
    return found


def _cost_table(record: Mapping[str, Any]) -> str:
    rows = ["| what | value | how it was found |", "|---|---|---|"]
    for one in record["devices"].values():
        rows.append(f"| {one['what']}, films/s per worker | {one['value']:g} | {one['how']} |")
    for part in ("measured", "assumed"):
        rows += [f"| {one['what']} | {one['value']:g} | {one['how']} |" for one in record[part].values()]
    return "\n".join(rows)


def _run_table(films: int, costs: Costs, what: str) -> str:
    head = ["workers", "scoring, h", "efficiency", "listing and merging, h", "efficiency, whole", "failures"]
    head += ["scored again", "one partition each", "eight each"]
    rows = [f"{what}, {films:,} films:\n", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for workers in WORKERS:
        one = simulate(films, workers, costs)
        share, eight = (simulate(films, workers, costs, shares=number).scoring for number in (1, 8))
        times = f"{one.score / 3600:,.1f} | {one.scoring:.2f} | {(one.find + one.merge) / 3600:.1f} | {one.whole:.2f}"
        rows.append(f"| {workers} | {times} | {one.failures} | {one.again / films:.4%} | {share:.2f} | {eight:.2f} |")
    return "\n".join(rows)


def filled(page: str, record: Mapping[str, Any]) -> str:
    """The page with its tables as the record gives them, each between its two marks."""
    for name, table in tables(record).items():
        mark = re.compile(rf"(<!-- table {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = mark.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", page)
    return page


def read_record() -> dict[str, Any]:
    record: dict[str, Any] = json.loads((DOCS / "scale.json").read_text(encoding="utf-8"))
    return record


def _printed(record: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{table}\n" for table in tables(record).values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/clusters.md")
    record = read_record()
    if parser.parse_args().write:
        page = DOCS / "clusters.md"
        page.write_text(filled(page.read_text(encoding="utf-8"), record), encoding="utf-8")
        return
    sys.stdout.write("\n".join(_printed(record)))


if __name__ == "__main__":
    main()
