"""Every state that a kill, and many that a loss of power, can leave of a run: nothing acknowledged is lost, and nothing
is read that was not written."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from crash_model import Disk, recorded
from made_run import FINDINGS, GIVEN, contents, made_file, made_run, made_shard, merge

from cxrscore.scorefile import Manifest, Run, open_scores

FILMS = 200
LOSSES = 3
"""Losses of power tried after each change."""
RESUMED = 15
"""Every so many states, the run is gone on with."""

FILMS_OF_RUN = tuple(sorted(f"ward {row % 3}/{row:06d}.png" for row in range(FILMS)))
MANIFEST = Manifest(paths=FILMS_OF_RUN, findings=FINDINGS, given=GIVEN)

Tree = dict[str, bytes | None]


class Recorder:
    """States of the disk with what had been acknowledged by then: the numbers of shards, and the run's end as -1."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.killed: list[tuple[Tree, int]] = []
        self.unpowered: list[tuple[Tree, int]] = []
        self._rng = random.Random(4)

    def __call__(self, disk: Disk) -> None:
        count = len(self.acknowledged)
        self.killed.append((disk.after_kill(), count))
        self.unpowered += [(disk.after_power_loss(self._rng), count) for _ in range(LOSSES)]


def work(output: Path, recorder: Recorder, *, overwrite: bool) -> None:
    run = made_run(output, FILMS, overwrite=overwrite)
    for shard, rows in enumerate(run.shards):
        run.write(shard, made_shard(rows))
        recorder.acknowledged.append(shard)
    merge(run)
    recorder.acknowledged.append(-1)


def laid_out(tree: Tree, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, data in tree.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
    return folder / "out.h5"


def check(output: Path, before: bytes | None, wanted: dict[str, object], acknowledged: list[int]) -> None:
    """The output is the old one or the whole new one; shards are whole or not there; what was acknowledged is there."""
    is_old = output.exists() and before is not None and output.read_bytes() == before
    if output.exists() and not is_old:
        open_scores(output)
        assert contents(output) == wanted
    assert output.exists() or before is None
    if -1 in acknowledged:
        assert output.exists()
        assert not is_old
    if not output.exists() or is_old:
        run = Run(output=output, manifest=MANIFEST)
        done = {shard for shard in range(len(run.shards)) if is_done(run, shard)}
        assert set(acknowledged) - {-1} <= done


KNOWN: dict[tuple[int, bytes], bool] = {}
"""What was found out of the bytes of a shard, as most states share most files."""


def is_done(run: Run, shard: int) -> bool:
    """Whether a shard counts as done; then it must be the one that was written."""
    path = run._path(shard)
    if not path.exists():
        return False
    known = (shard, path.read_bytes())
    if known not in KNOWN:
        KNOWN[known] = run.done(shard)
        if KNOWN[known]:
            found, made = run.read(shard), made_shard(run.shards[shard])
            assert found.logit.tobytes() == made.logit.tobytes()
            assert list(found.message) == list(made.message)
            assert found.heat_maps.map.tobytes() == made.heat_maps.map.tobytes()
    return KNOWN[known]


def go_on(output: Path, overwrite: bool, wanted: dict[str, object]) -> None:
    run = made_run(output, FILMS, overwrite=overwrite)
    if not run.complete:
        for shard, rows in enumerate(run.shards):
            if not run.done(shard):
                run.write(shard, made_shard(rows))
        merge(run)
    assert contents(output) == wanted
    left = {path.name for path in output.parent.iterdir()}
    assert left - {"out.h5.lock"} == {"out.h5"}  # the lock of a process that is gone is nobody's


def record(folder: Path, before: bytes | None) -> Recorder:
    recorder = Recorder()
    folder.mkdir()
    with recorded(
        folder, lambda disk: None if before and "out.h5" not in disk.after_kill() else recorder(disk)
    ) as disk:
        if before is not None:
            descriptor = os.open(folder / "out.h5", os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, before)
            os.fsync(descriptor)
            os.close(descriptor)
            disk.sync(".")
            recorder.killed.clear()
            recorder.unpowered.clear()
        work(folder / "out.h5", recorder, overwrite=before is not None)
    return recorder


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwriting"])
def test_every_state_is_readable_true_and_can_be_gone_on_with(tmp_path: Path, overwrite: bool) -> None:
    wanted = contents(made_file(tmp_path / "undisturbed" / "out.h5", FILMS))
    before = made_file(tmp_path / "old" / "out.h5", 5).read_bytes() if overwrite else None
    recorder = record(tmp_path / "recorded", before)
    assert len(recorder.killed) >= 250
    assert len(recorder.unpowered) >= 500
    for states in (recorder.killed, recorder.unpowered):
        for number, (tree, count) in enumerate(states):
            output = laid_out(tree, tmp_path / "state")
            check(output, before, wanted, recorder.acknowledged[:count])
            if number % RESUMED == 0:
                go_on(output, overwrite, wanted)


def test_the_model_loses_what_was_not_synced(tmp_path: Path) -> None:
    """A file that is renamed without a sync is found empty, or under its old name, or not at all."""
    states: list[Tree] = []
    folder = tmp_path / "disk"
    folder.mkdir()

    def careless(sync: Callable[[Path], None]) -> set[object]:
        states.clear()
        with recorded(folder, lambda disk: None) as disk:
            descriptor = os.open(folder / "part", os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, b"x" * 9000)
            os.close(descriptor)
            sync(folder / "part")
            os.replace(folder / "part", folder / "whole")
            sync(folder)
        rng = random.Random(0)
        left = [disk.after_power_loss(rng) for _ in range(300)]
        (folder / "whole").unlink()
        return {(name, data == b"x" * 9000) for tree in left for name, data in (*tree.items(), ("none", None))}

    def synced(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    lost = careless(lambda path: None)
    assert {("whole", True), ("whole", False), ("part", False)} <= lost
    assert careless(synced) == {("whole", True), ("none", False)}
