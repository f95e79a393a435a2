"""Two workers on one run, killed at random moments."""

from pathlib import Path

import pytest
from kills import kill_workers

KILLS = 12


@pytest.mark.slow
def test_nothing_reported_is_lost_and_the_end_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    toll = kill_workers(tmp_path, KILLS, seed=5)
    assert toll.lost == []
    assert toll.kills >= KILLS
    assert toll.chains > 0
    # Each of the six shards of a chain is reported, unless its worker is killed between writing it and saying so; one
    # worker of a chain may be killed at its end, which does not count.
    assert toll.shards_written >= 5 * toll.chains - toll.kills
    assert toll.shards_written > toll.chains
