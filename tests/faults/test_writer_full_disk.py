"""No room: the limit on the size of a file stands in for a full disk, which needs no rights to set up."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import made_run
import pytest
from made_model import document, golden
from made_run import contents, made_file, merge, score

import cxrscore.scorefile.merge
from cxrscore.contract import Array, ModelSpec
from cxrscore.errors import CxrscoreError, InputError, WriteError
from cxrscore.io.atomic import write_all
from cxrscore.models.model_file import save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.scorefile import open_scores, safefile
from cxrscore.scorefile.shards import read_values
from cxrscore.synthetic.phantoms import make_phantoms

FILMS = 330
LEVELS = 40


def _work(output: Path, *, overwrite: bool = False, largest_file: int = resource.RLIM_INFINITY) -> int:
    """Exit code, negative if a signal ended it, of a process that works on a run with so much room for each file."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        run = made_run.made_run(output, FILMS, overwrite=overwrite)
        score(run)
        merge(run)
        code = 0
    except CxrscoreError as error:
        code = error.exit_code
    finally:
        os._exit(code)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_file(tmp_path_factory.mktemp("undisturbed") / "out.h5", FILMS)


@pytest.mark.slow
@pytest.mark.parametrize("level", range(LEVELS))
def test_a_full_disk_is_an_error_that_leaves_the_old_output_and_can_be_resumed(
    tmp_path: Path, wanted: Path, level: int
) -> None:
    output = tmp_path / "out.h5"
    output.write_bytes(b"of another run")
    limit = level * (wanted.stat().st_size - 1) // (LEVELS - 1)

    assert _work(output, overwrite=True, largest_file=limit) == WriteError.exit_code
    assert output.read_bytes() == b"of another run"
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]

    frozen = (tmp_path / "out.h5.parts" / "manifest.jsonl").exists()
    resumed = _work(output)
    if not frozen:  # not even the manifest was written, so nothing says that the output may be replaced
        assert resumed == InputError.exit_code
        resumed = _work(output, overwrite=True)
    assert resumed == 0
    assert contents(output) == contents(wanted)


@pytest.mark.slow
def test_a_full_disk_ends_the_command_with_its_exit_code(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    make_phantoms(tmp_path, films=4, side=32, seed=0)
    spec = ModelSpec(architecture="tinycnn", findings=("Mass",), size=32)
    tensors = initial_tensors(spec, 0)
    save_model(tmp_path / "model.safetensors", tensors, document(spec, golden=golden(spec, tensors)))
    (tmp_path / "out.h5").write_bytes(b"of another run")
    command = [sys.executable, "-m", "cxrscore", "score", "films", "-o", "out.h5"]
    command += ["--backend", "openvino", "--overwrite"]
    options: dict[str, Any] = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}

    failed = subprocess.run(
        command, check=False, **options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    )

    assert failed.returncode == WriteError.exit_code, failed.stderr
    assert "cxrscore: cannot write" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (tmp_path / "out.h5").read_bytes() == b"of another run"
    subprocess.run(command[:-1], check=True, **options)
    assert len(open_scores(tmp_path / "out.h5").films.path) == 4


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

    monkeypatch.setattr(cxrscore.scorefile.merge, "read_values", counted)
    monkeypatch.setattr(safefile, "write_all", _Disk(0))
    with pytest.raises(WriteError):
        merge(run)
    assert [path.name for path in read] == ["s00000000.h5"]
