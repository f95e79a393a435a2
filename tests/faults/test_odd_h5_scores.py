"""Files that hold no scores, or more than is wanted, and one that is as it should be."""

import struct
from pathlib import Path

import h5py
import pytest
from made_run import made_file

from cxrscore.errors import FileFormatError, InputError
from cxrscore.scorefile import open_scores


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made_file(tmp_path_factory.mktemp("honest") / "out.h5").read_bytes()


def test_the_honest_file_is_read(tmp_path: Path, honest: bytes) -> None:
    path = tmp_path / "honest.h5"
    path.write_bytes(honest)
    assert open_scores(path).prob.shape == (150, 3)


def test_a_file_that_declares_more_than_the_cap_is_refused(tmp_path: Path, honest: bytes) -> None:
    path = tmp_path / "large.h5"
    path.write_bytes(honest)
    with pytest.raises(FileFormatError, match=r"large\.h5 declares over 10000 bytes"):
        open_scores(path, cap=10_000)


def test_a_file_of_the_newer_kind_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "new.h5", "w", libver="latest") as file:
        file["x"] = 1
    with pytest.raises(FileFormatError, match=r"new\.h5 .*superblock of another kind"):
        open_scores(tmp_path / "new.h5")


def test_a_head_that_names_itself_as_its_next_block_is_refused(tmp_path: Path, honest: bytes) -> None:
    data = bytearray(honest)
    root = int.from_bytes(data[64:72], "little")
    data[root + 16 : root + 40] = struct.pack("<HH4xQQ", 0x10, 16, root + 16, 24)
    (tmp_path / "round.h5").write_bytes(data)
    with pytest.raises(
        FileFormatError, match=r"round\.h5: / has a head of over 1000 blocks|round\.h5: / leads in circles"
    ):
        open_scores(tmp_path / "round.h5")


@pytest.mark.parametrize("data", [b"", b"PNG", b"\x89HDF\r\n\x1a\n", bytes(5000)])
def test_what_is_not_hdf5_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "not.h5"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"not\.h5 is not a readable HDF5 file"):
        open_scores(path)


def test_nothing_and_a_folder_are_no_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.h5"):
        with pytest.raises(InputError, match="there is no file"):
            open_scores(path)
