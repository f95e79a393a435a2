"""Files that appear whole or not at all, and their digests."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from cxrscore.errors import WriteError
from cxrscore.io import atomic_write, atomic_write_bytes, sha256_bytes, sha256_file
from cxrscore.io.atomic import write_all


def test_a_file_is_written_and_replaced_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_write_bytes(path, b"one")
    atomic_write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_write(path) as part:
            part.write_bytes(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_refusing_disk_is_a_write_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(WriteError, match="No space left on device") as error:
        atomic_write_bytes(path, b"new")
    assert str(path) in str(error.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_is_not_there_is_a_write_error(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file"):
        atomic_write_bytes(tmp_path / "none" / "a", b"")


def test_the_bytes_are_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (steps.append("sync"), sync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("replace"), replace(*names))[1])
    atomic_write_bytes(tmp_path / "a", b"x")
    assert steps == ["sync", "replace", "sync"]


def test_writing_goes_on_where_the_system_took_only_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    with open(tmp_path / "a", "wb", buffering=0) as file:
        write_all(file.fileno(), b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_digests_of_a_known_text(tmp_path: Path) -> None:
    # FIPS 180-4's own example.
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_bytes(b"abc") == sha256_file(tmp_path / "a") == wanted
    (tmp_path / "b").write_bytes(bytes(3 << 20))
    assert sha256_file(tmp_path / "b") == hashlib.sha256(bytes(3 << 20)).hexdigest()
