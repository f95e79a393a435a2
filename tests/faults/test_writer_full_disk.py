"""No room: the limit on the size of a file stands in for a full disk, which needs no rights to set up."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import made_run
import pytest
from made_run import contents, made_file, merge, score

import cxrscore.scores.merge
from cxrscore.contract import Array
from cxrscore.errors import WriteError
from cxrscore.files.atomic import write_all
from cxrscore.scores import safefile
from cxrscore.scores.shards import read_values

FILMS = 330


def _work(output: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, made_run.__file__, str(output), str(FILMS), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("room", [0.0, 0.1, 0.3, 0.5, 0.8, 0.99])
def test_a_full_disk_is_an_error_that_leaves_the_old_output_and_can_be_resumed(tmp_path: Path, room: float) -> None:
    wanted = made_file(tmp_path / "undisturbed" / "out.h5", FILMS)
    output = tmp_path / "out.h5"
    output.write_bytes(b"of another run")
    limit = int(room * wanted.stat().st_size)

    failed = _work(output, "--overwrite", "--largest-file", str(limit))

    assert failed.returncode == WriteError.exit_code, failed.stderr
    assert "WriteError: cannot write" in failed.stderr
    assert output.read_bytes() == b"of another run"
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]

    resumed = _work(output)
    if limit == 0:  # not even the manifest was written, so nothing says that the output may be replaced
        assert resumed.returncode == 1
        resumed = _work(output, "--overwrite")
    assert resumed.returncode == 0, resumed.stderr
    assert contents(output) == contents(wanted)


class _Disk:
    """Takes a number of writes, then none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.writes = 0

    def __call__(self, descriptor: int, data: memoryview) -> None:
        self.writes += 1
        if self.writes > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(descriptor, data)


def test_libhdf5_survives_a_failure_at_any_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = _Disk(10**6)
    monkeypatch.setattr(safefile, "write_all", large)
    wanted = contents(made_file(tmp_path / "undisturbed" / "out.h5"))
    assert large.writes > 20

    run = made_run.made_run(tmp_path / "out.h5")
    score(run)
    for room in range(0, large.writes, 3):
        monkeypatch.setattr(safefile, "write_all", _Disk(room))
        with pytest.raises(WriteError, match="No space left on device"):
            merge(run)
        assert not run.output.exists()
    monkeypatch.undo()
    assert contents(merge(run)) == wanted


def test_a_merge_ends_at_the_first_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_run.made_run(tmp_path / "out.h5")
    score(run)
    read: list[Path] = []

    def counted(path: Path, fingerprint: str, rows: range) -> dict[str, Array]:
        read.append(path)
        return read_values(path, fingerprint, rows)

    monkeypatch.setattr(cxrscore.scores.merge, "read_values", counted)
    monkeypatch.setattr(safefile, "write_all", _Disk(0))
    with pytest.raises(WriteError):
        merge(run)
    assert [path.name for path in read] == ["s00000000.h5"]
