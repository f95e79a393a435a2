"""Workers of an executor killed every few shards: nothing is missing, nothing is there twice, and the file is that of a
run that nobody disturbed."""

import pytest
from made_run import contents, made_file, made_run, merge
from made_work import KilledRun

from cxrscore.executors import executors
from cxrscore.scorefile import open_scores

FILMS = 64 * 60 - 11
"""Sixty shards, the last one shorter."""


def check(tmp_path, executor, every, kills):
    wanted = contents(made_file(tmp_path / "undisturbed" / "out.h5", FILMS))
    run = made_run(tmp_path / "out.h5", FILMS)
    killed = KilledRun(run, tmp_path / "notes", every)
    killed.go(executor, processes=2)
    assert killed.kills >= kills
    assert killed.told == dict.fromkeys(range(60), 1)
    assert set(killed.computed) == set(range(60))
    assert sum(killed.computed.values()) - 60 <= killed.kills, "more than one shard was computed again for a kill"
    found = contents(merge(run))
    assert found == wanted
    assert len(set(open_scores(run.output).films.path)) == FILMS


@pytest.mark.slow
def test_local_workers_killed_every_three_shards(tmp_path):
    check(tmp_path, executors[0], every=3, kills=15)


@pytest.mark.slow
def test_ray_actors_killed_every_twenty_shards(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    from cxrscore_ray import cxrscore_executors

    check(tmp_path, cxrscore_executors()[0], every=20, kills=2)
