"""The lock file: one holder at a time, and none that has ended."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cxrscore.errors import InputError, WriteError
from cxrscore.files import locked
from cxrscore.files.lock import _take_over


@pytest.fixture
def ended() -> int:
    """The number of a process that was there and is not any more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def _take(path: Path) -> None:
    with locked(path):
        pass


def test_a_lock_names_its_holder_and_goes_with_the_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        assert path.read_text().split() == [socket.gethostname(), str(os.getpid())]
        with pytest.raises(InputError, match=f"process {os.getpid()} on {socket.gethostname()}"):
            _take(path)
        assert path.exists()
    assert not path.exists()
    _take(path)


def test_a_lock_goes_with_a_block_that_fails(tmp_path: Path) -> None:
    def failing() -> None:
        with locked(tmp_path / "lock"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert not (tmp_path / "lock").exists()


def test_the_lock_of_a_process_that_ended_is_taken_over(tmp_path: Path, ended: int) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{socket.gethostname()} {ended} \n")
    with locked(path):
        assert path.read_text().split() == [socket.gethostname(), str(os.getpid())]


def test_only_one_of_two_takes_over(tmp_path: Path, ended: int) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{socket.gethostname()} {ended}\n")
    assert _take_over(path)
    with pytest.raises(InputError, match="is held by"):
        _take_over(path)


def test_a_lock_that_was_given_back_is_not_taken_over(tmp_path: Path) -> None:
    assert not _take_over(tmp_path / "lock")


@pytest.mark.parametrize("text", ["", "elsewhere 1", "elsewhere", "a b c", "\udcff", f"{socket.gethostname()} x"])
def test_a_lock_of_another_host_or_without_a_name_is_respected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match=r"is held by .*remove the file"):
        _take(path)
    assert path.read_text(errors="surrogateescape") == text


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path: Path, ended: int) -> None:
    target = tmp_path / "target"
    target.write_text(f"{socket.gethostname()} {ended}\n")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(WriteError):
        _take(tmp_path / "lock")
    assert target.read_text().split()[1] == str(ended)
