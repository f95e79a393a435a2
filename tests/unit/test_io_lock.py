"""The lock file: one holder at a time, and none that has ended."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cxrscore.errors import InputError, WriteError
from cxrscore.io import file_lock


@pytest.fixture
def ended() -> int:
    """The number of a process that was there and is not any more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def _take(path: Path) -> None:
    with file_lock(path):
        pass


def test_a_lock_names_its_holder_and_goes_with_the_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path):
        assert path.read_text().split() == [socket.gethostname(), str(os.getpid())]
        with pytest.raises(InputError, match=f"process {os.getpid()} on {socket.gethostname()}"):
            _take(path)
        assert path.exists()
    assert not path.exists()
    _take(path)


def test_a_lock_goes_with_a_block_that_fails(tmp_path: Path) -> None:
    def failing() -> None:
        with file_lock(tmp_path / "lock"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert not (tmp_path / "lock").exists()


def test_the_lock_of_a_process_that_ended_is_taken_over(tmp_path: Path, ended: int) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{socket.gethostname()} {ended}\n")
    with file_lock(path):
        assert path.read_text().split() == [socket.gethostname(), str(os.getpid())]


def test_what_a_process_left_that_was_stopped_while_signing_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for left in ("", f"{socket.gethostname()} 1"):
        path.write_text(left)
        _take(path)
        assert not path.exists()


def test_a_lock_whose_number_another_process_has_now_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{socket.gethostname()} {os.getppid()}\n")
    _take(path)
    assert not path.exists()


@pytest.mark.parametrize("text", ["elsewhere 1\n", "elsewhere\n", "a b c\n", "\n", f"{socket.gethostname()} x\n"])
def test_a_lock_of_another_host_or_of_nobody_known_is_respected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(text)
    with pytest.raises(InputError, match=r"is held by .*remove the file"):
        _take(path)
    assert path.read_text() == text


def test_a_lock_that_is_about_to_be_signed_is_respected(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="an unnamed process"):
            _take(tmp_path / "lock")
    _take(tmp_path / "lock")


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_flock")
def test_without_flock_the_name_decides(tmp_path: Path, ended: int) -> None:
    path = tmp_path / "lock"
    with file_lock(path), pytest.raises(InputError, match=f"process {os.getpid()} on"):
        _take(path)
    path.write_text(f"{socket.gethostname()} {ended}\n")
    _take(path)
    assert not path.exists()
    path.write_text("")
    with pytest.raises(InputError, match="an unnamed process"):
        _take(path)


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path: Path, ended: int) -> None:
    target = tmp_path / "target"
    target.write_text(f"{socket.gethostname()} {ended}\n")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(WriteError):
        _take(tmp_path / "lock")
    assert target.read_text().split()[1] == str(ended)
