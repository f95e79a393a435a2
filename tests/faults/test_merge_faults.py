"""Shares and merges that are killed or run out of room: nothing half-made under any final name, and all can go on."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import made_parts
import pytest
from made_parts import made_whole, merged
from made_run import contents

from cxrscore.errors import CxrscoreError, WriteError
from cxrscore.io.atomic import write_all
from cxrscore.scorefile import Partition, safefile

FILMS = 200


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = contents(made_whole(tmp_path_factory.mktemp("whole") / "whole.h5", FILMS))
    del found["@provenance"]
    return found


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return made_parts.made_parts(tmp_path_factory.mktemp("parts"), FILMS, 3)


def without_provenance(path: Path) -> Any:
    found = contents(path)
    del found["@provenance"]
    return found


class Disk:
    """Takes a number of writes, then fails, or ends the process."""

    def __init__(self, room: int, *, kills: bool = False) -> None:
        self.room, self.writes, self._kills = room, 0, kills

    def __call__(self, descriptor: int, data: memoryview) -> None:
        self.writes += 1
        if self.writes > self.room:
            if self._kills:
                write_all(descriptor, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(descriptor, data)


@pytest.mark.parametrize("virtual", [False, True])
def test_a_failure_at_any_write_of_a_merge_leaves_nothing(
    tmp_path: Path, parts: list[Path], monkeypatch: pytest.MonkeyPatch, virtual: bool
) -> None:
    own = [tmp_path / path.name for path in parts]
    for path, one in zip(parts, own, strict=True):
        one.write_bytes(path.read_bytes())
    there = sorted(path.name for path in tmp_path.iterdir())
    large = Disk(10**6)
    monkeypatch.setattr(safefile, "write_all", large)
    merged(own, tmp_path / "out.h5", virtual=virtual)
    (tmp_path / "out.h5").unlink()
    assert large.writes > 10
    for room in range(0, large.writes, 4):
        monkeypatch.setattr(safefile, "write_all", Disk(room))
        with pytest.raises(WriteError, match="No space left on device"):
            merged(own, tmp_path / "out.h5", virtual=virtual)
        assert sorted(path.name for path in tmp_path.iterdir()) == there


def in_a_child(work: Any) -> int:
    """Exit code, negative if a signal ended it, of a process of its own."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        work()
        code = 0
    except CxrscoreError as error:
        code = error.exit_code
    finally:
        os._exit(code)


def test_a_killed_merge_leaves_no_output_and_the_next_one_clears_up(
    tmp_path: Path, parts: list[Path], wanted: Any
) -> None:
    output = tmp_path / "out.h5"
    for room in (0, 3, 9, 25):

        def work(room: int = room) -> None:
            safefile.write_all = Disk(room, kills=True)
            merged(parts, output)

        assert in_a_child(work) == -signal.SIGKILL
        assert not output.exists()
    merged(parts, output)
    assert without_provenance(output) == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_a_merge_that_cannot_write_keeps_the_old_output(tmp_path: Path, parts: list[Path]) -> None:
    output = tmp_path / "out.h5"
    merged(parts, output)
    before = output.read_bytes()

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        merged(parts, output)

    assert in_a_child(work) == WriteError.exit_code
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


SHARE = """
import sys
from pathlib import Path
import made_run
from cxrscore.scorefile import Partition
made_run._doom(int(sys.argv[3]))
import made_parts
made_parts.made_part(Path(sys.argv[1]), int(sys.argv[2]), Partition(number=2, count=3))
"""


@pytest.mark.slow
def test_a_share_whose_worker_is_killed_anywhere_ends_as_if_undisturbed(tmp_path: Path, wanted: Any) -> None:
    own = made_parts.made_parts(tmp_path, FILMS, 3)
    whole = contents(own[1])
    own[1].unlink()
    kills = 0
    for die_at in (3, 9, 14, 20, 26, 40, 60, 100, 10**6):
        command = [sys.executable, "-c", SHARE, str(own[1]), str(FILMS), str(die_at)]
        code = subprocess.run(command, check=False, cwd=Path(made_parts.__file__).parent).returncode
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        if own[1].exists():
            assert contents(own[1]) == whole
    assert kills >= 3
    assert Partition(number=2, count=3).rows(FILMS, 8) == range(64, 128)
    merged(own, tmp_path / "out.h5")
    assert without_provenance(tmp_path / "out.h5") == wanted
