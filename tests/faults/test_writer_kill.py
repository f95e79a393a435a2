"""Workers killed in the middle of a write, a sync or a rename, started again until the run is done."""

import random
import subprocess
import sys
from pathlib import Path

import made_run
import pytest
from made_run import contents, made_file

from cxrscore.scorefile import open_scores

FILMS = 330
KILLS = 20


def _work(output: Path, die_at: int) -> int:
    command = [sys.executable, made_run.__file__, str(output), str(FILMS), "--die-at", str(die_at)]
    return subprocess.run(command, check=False).returncode


@pytest.mark.slow
def test_killed_workers_end_with_the_file_of_an_undisturbed_one(tmp_path: Path) -> None:
    wanted = contents(made_file(tmp_path / "undisturbed" / "out.h5", FILMS))
    draw, kills, chains = random.Random(20), 0, 0
    while kills < KILLS:
        output = tmp_path / str(chains) / "out.h5"
        output.parent.mkdir()
        # The first make the manifest, and only those who live for long come to the merge.
        while (code := _work(output, draw.randrange(1, draw.choice([12, 60, 240])))) != 0:
            assert code == -9
            kills += 1
            if output.exists():
                assert open_scores(output).findings == made_run.FINDINGS
        assert contents(output) == wanted
        assert [path.name for path in output.parent.iterdir()] == ["out.h5"]
        chains += 1
    assert chains > 0
