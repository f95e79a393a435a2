"""Any HDF5 file, read with distrust: what passes, and what is checked without knowing a layout."""

import os
from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import FileFormatError
from cxrscore.files import guard
from cxrscore.files.guard import check_dataset, check_link, h5py, open_guarded, read_dataset, read_text


def test_weights_in_nested_groups_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with h5py.File(path, "w") as file:
        file.create_dataset("conv1/conv1/kernel:0", data=kernel, compression="gzip", shuffle=True, fletcher32=True)
        file["bn/moving_mean"] = kernel[0].astype(np.float16)
        file.attrs["layer_names"] = np.array([b"conv1", b"bn"])
        file.attrs["backend"] = np.bytes_("tensorflow 2.21.0 on cpu")
        file.attrs["keras_version"] = "3.15.1"
    with open_guarded(path) as file:
        np.testing.assert_array_equal(read_dataset(file, "conv1/conv1/kernel:0"), kernel)
        assert read_dataset(file, "bn/moving_mean").dtype == np.float16
        assert read_text(file, "backend") == "tensorflow 2.21.0 on cpu"
        with pytest.raises(FileFormatError, match="no dataset conv1/conv1/bias:0"):
            read_dataset(file, "conv1/conv1/bias:0")
        with pytest.raises(FileFormatError, match="no dataset conv1"):
            read_dataset(file, "conv1")
        with pytest.raises(FileFormatError, match="backend is longer than 20 bytes"):
            read_text(file, "backend", longest=20)
        with pytest.raises(FileFormatError, match="keras_version is neither numbers nor text of a fixed length"):
            read_text(file, "keras_version")


def test_an_error_of_h5py_in_the_block_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(FileFormatError, match=r"a\.h5 is not a readable HDF5 file: .*y"), open_guarded(path) as file:
        file["y"]


def test_a_file_is_opened_for_reading_only(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]
    before = path.read_bytes()
    with pytest.raises(FileFormatError), open_guarded(path) as file:
        file["x"][0] = 7
    assert path.read_bytes() == before


def test_the_number_of_objects_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MEMBERS", 5)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name in "abcdef":
            file.create_group(name)
    with pytest.raises(FileFormatError, match="over 5 objects"), open_guarded(path):
        pass


def test_declared_bytes_may_exceed_the_stored_in_proportion(tmp_path: Path) -> None:
    """gzip turns equal values into almost nothing; that is no bomb, within 64 MiB or a thousand times."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        small = file.create_dataset("small", (16 << 20,), "f4", chunks=(1 << 18,))
        assert check_dataset(small) == small.nbytes == 64 << 20
        large = file.create_dataset("large", ((16 << 20) + 1,), "f4", chunks=(1 << 18,))
        with pytest.raises(FileFormatError, match="declares 67108868 bytes but stores 0"):
            check_dataset(large)
        large[: 1 << 18] = 1
        assert large.id.get_storage_size() * guard.RATIO > large.nbytes
        assert check_dataset(large) == large.nbytes


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["nameless"] = 1
    path.write_bytes(path.read_bytes().replace(b"nameless", b"\xff\xfemeless"))
    with pytest.raises(FileFormatError, match=r"member of / is not UTF-8"), open_guarded(path):
        pass


def test_links_by_kind(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
        file["soft"] = h5py.SoftLink("/x")
        file["outer"] = h5py.ExternalLink("b.h5", "/x")
        check_link(file, "x")
        with pytest.raises(FileFormatError, match="/soft is a soft link"):
            check_link(file, "soft")
        with pytest.raises(FileFormatError, match="/outer is a link to another file"):
            check_link(file, "outer")


def test_no_filter_is_loaded_from_a_folder() -> None:
    assert os.environ["HDF5_PLUGIN_PATH"] == "::"
    assert h5py.h5pl.size() == 0
