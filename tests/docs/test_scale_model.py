"""The simulation behind docs/scale.md: by hand where it can be, and the page against what it gives."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():
    spec = importlib.util.spec_from_file_location("scale_model", ROOT / "benchmarks" / "scale_model.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # its dataclasses look themselves up there
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def costs(model):
    """Nothing fails, all are equal, and the store of films is endless."""
    endless = {"bandwidth": np.inf, "mtbf": np.inf}
    return model.Costs(rate=10, start=5, shard=1, find=0.001, merge=0.002, film=1000, spread=0, restart=60, **endless)


def test_one_worker_that_never_fails(model, costs):
    # 640 films are 10 shards of 64, each 6.4 s of scoring and 1 s of writing, after 5 s of start.
    found = model.simulate(640, 1, costs)
    assert found.score == pytest.approx(5 + 10 * (6.4 + 1))
    assert (found.find, found.merge, found.ideal) == pytest.approx((0.64, 1.28, 64))
    assert found.scoring == pytest.approx(64 / 79)
    assert found.whole == pytest.approx(64 / (79 + 0.64 + 1.28))
    assert (found.failures, found.again) == (0, 0)


def test_shards_that_do_not_divide_evenly(model, costs):
    # 10 shards of 7.4 s for 4 workers: two of them take three.
    assert model.simulate(640, 4, costs).score == pytest.approx(5 + 3 * 7.4)


def test_each_share_starts_anew(model, costs):
    # 2 shares of 5 shards for one worker.
    assert model.simulate(640, 1, costs, shares=2).score == pytest.approx(2 * 5 + 10 * 7.4)


def test_the_store_of_films_bounds_all_workers_together(model, costs):
    # 20,000 bytes a second are 20 films a second, whatever the number of workers.
    slow = replace(costs, bandwidth=20_000.0, shard=0.0, start=0.0)
    assert model.simulate(640, 4, slow).score == pytest.approx(10 / 4 // 1 * 64 / 5 + 64 / 5)


def test_a_failure_costs_the_films_in_hand_and_the_time_to_come_back(model, costs):
    worker = model._Worker(10.0, costs, np.random.default_rng(0))
    worker.fails = 3.0  # in the middle of a shard begun at 0
    assert worker.score(0.0, 64) == (3 + 60 + 5, False)
    assert (worker.failures, worker.lost) == (1, 30)
    assert worker.score(68.0, 64) == (pytest.approx(68 + 7.4), True)


@pytest.mark.parametrize("shares", [0, 1, 8])
def test_a_run_with_failures_ends_and_is_never_faster_than_its_workers(model, costs, shares):
    often = replace(costs, mtbf=100.0, spread=0.3)
    found = model.simulate(20_000, 7, often, shares=shares, seed=3)
    assert found.failures > 20
    assert 0 < found.whole < found.scoring < 1
    assert found == model.simulate(20_000, 7, often, shares=shares, seed=3)


def test_what_the_page_says_of_64_workers(model):
    """Equal to or better than 0.9 in the model, as the page says, where the store of films keeps up."""
    record = model.read_record()
    for device in ("cpu-fp32", "cpu-int8"):
        for workers in (4, 16, 64):
            assert model.simulate(record["films"], workers, model.costs_of(record, device)).whole >= 0.9
