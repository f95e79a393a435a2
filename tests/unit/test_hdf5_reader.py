"""Any HDF5 file, read with distrust: what passes, and what is checked without knowing a layout."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cxrscore.errors import FileFormatError
from cxrscore.io.hdf5 import reader
from cxrscore.io.hdf5.reader import open_guarded, read_attribute, read_dataset, read_names, read_number, read_text


def refused(path: Path, words: str) -> None:
    with pytest.raises(FileFormatError, match=words) as error, open_guarded(path):
        pass
    assert str(path) in str(error.value)


def changed(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def test_weights_in_nested_groups_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with h5py.File(path, "w") as file:
        file.create_dataset("conv1/conv1/kernel:0", data=kernel, compression="gzip", shuffle=True, fletcher32=True)
        file["bn/moving_mean"] = kernel[0].astype(np.float16)
        file.attrs["layer_names"] = np.array([b"conv1", b"bn"])
        file.attrs["backend"] = np.bytes_("tensorflow 2.21.0 on cpu")
        file.attrs["keras_version"] = "3.15.1"
        file.attrs["half"] = 0.5
    with open_guarded(path) as file:
        assert set(file.groups) == {"", "conv1", "conv1/conv1", "bn"}
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
        with pytest.raises(FileFormatError, match="layer_names is not a text"):
            read_text(file, "layer_names")
        with pytest.raises(FileFormatError, match="half is not a whole number"):
            read_number(file, "half")


TYPES = ["u1", "i1", "<u2", ">u2", "<i4", ">i4", "<u8", ">i8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "S5", "?"]


@pytest.mark.parametrize("name", TYPES)
def test_values_of_every_type_are_those_of_libhdf5(tmp_path: Path, name: str) -> None:
    """As scalars, lists and squares, in datasets and in attributes."""
    values = np.random.default_rng(0).integers(0, 2, 12).astype(name)
    shapes = {"one": values[3], "some": values, "square": values.reshape(3, 4), "none": values[:0]}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for shape, part in shapes.items():
            file[shape] = part
            file.attrs[shape] = part
    with open_guarded(tmp_path / "a.h5") as file, h5py.File(tmp_path / "a.h5") as other:
        for shape in shapes:
            found, wanted = read_dataset(file, shape), other[shape][()]
            assert (found.dtype, found.shape, found.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())
            found, wanted = read_attribute(file, shape), other.attrs[shape]
            assert type(found) is type(wanted)
            assert (found.dtype, found.tobytes()) == (wanted.dtype, wanted.tobytes())


OTHERS: dict[str, tuple[Any, str]] = {
    "texts of any length": ("word", "has texts of any length; only"),
    "records": (np.zeros(3, "i4,f4"), "has records"),
    "complex": (np.zeros(3, complex), "has records"),
    "bytes": (np.zeros(3, "V5"), "has opaque bytes"),
    "long floats": (np.zeros(3, np.longdouble), r"has values of an unusual kind \(1, of 16 bytes\)"),
    "arrays": (np.dtype(("i4", (2,))), r"has values of an unusual kind \(10, of 8 bytes\)"),
    "colours": (h5py.enum_dtype({"RED": 0, "BLUE": 1}), "has values of an unusual kind"),
    "references": (h5py.ref_dtype, "has references"),
    "lists of any length": (h5py.vlen_dtype("i4"), "has texts of any length|lists"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_types_are_refused_by_name(tmp_path: Path, name: str) -> None:
    values, words = OTHERS[name]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if isinstance(values, np.dtype):
            file.create_dataset("x", (3,), values)
        else:
            file["x"] = values
    refused(tmp_path / "a.h5", f"/x {words}")


def test_names_are_texts_of_any_length_or_of_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("layer")
        group.attrs["fixed"] = np.array([b"a", b"longer"])
        group.attrs["varied"] = ["a", "", "longer \N{EM DASH} é"]
        group.attrs["one"] = "alone"
        group.attrs["none"] = np.array([], "S1")
        group.attrs["number"] = 7
    with open_guarded(tmp_path / "a.h5") as file:
        assert read_names(file, "fixed", group="layer") == ["a", "longer"]
        assert read_names(file, "varied", group="layer") == ["a", "", "longer \N{EM DASH} é"]
        assert read_names(file, "one", group="layer") == ["alone"]
        assert read_names(file, "none", group="layer") == []
        assert read_names(file, "nothing", group="layer") is None
        with pytest.raises(FileFormatError, match="number of /layer is not a list of texts"):
            read_names(file, "number", group="layer")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"GCOL\1", b"GCOL\2", "heap of texts that is none"),
        (b"GCOL\1\0\0\0\0\x10", b"GCOL\1\0\0\0\0\xff", "beyond its end|leads in circles"),
        (b"\5\0\0\0\0\0\0\0alone", b"\4\0\0\0\0\0\0\0alone", "text that is not there"),
    ],
)
def test_a_damaged_heap_of_texts_is_refused(tmp_path: Path, old: bytes, new: bytes, words: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["x"] = "alone"
    changed(tmp_path / "a.h5", old, new)
    with pytest.raises(FileFormatError, match=words), open_guarded(tmp_path / "a.h5") as file:
        read_names(file, "x", group="")


def test_texts_that_name_one_place_again_and_again_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes each in the file, a long text each in memory."""
    monkeypatch.setattr(reader, "MAX_TEXT_BYTES", 5000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["x"] = ["long" * 1000, "a", "b"]
    with open_guarded(tmp_path / "a.h5") as file:
        assert [len(name) for name in read_names(file, "x", group="") or []] == [4000, 1, 1]
    data = (tmp_path / "a.h5").read_bytes()
    at = data.index((4000).to_bytes(4, "little"))
    (tmp_path / "a.h5").write_bytes(data[: at + 16] + 2 * data[at : at + 16] + data[at + 48 :])
    with pytest.raises(FileFormatError, match="texts that are too long"), open_guarded(tmp_path / "a.h5") as file:
        read_names(file, "x", group="")


def test_the_number_of_objects_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_OBJECTS", 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in "abcdef":
            file.create_group(name)
    refused(tmp_path / "a.h5", "one of over 5 objects")


def test_a_group_of_many_members_is_read(tmp_path: Path) -> None:
    """Their links fill several blocks of a tree of two floors."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(3000):
            file.create_group(f"group {number}")
    with open_guarded(tmp_path / "a.h5") as file:
        assert file.groups.keys() - {""} == {f"group {number}" for number in range(3000)}


def test_groups_within_groups_are_bounded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("/".join("abcdefghijklmnopqrst"))
    with open_guarded(tmp_path / "a.h5") as file:
        assert len(file.groups) == 21
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_group("/".join("abcdefghijklmnopqrstuv"))
    refused(tmp_path / "a.h5", "lies in over 20 groups")


def test_declared_bytes_may_exceed_the_stored_in_proportion(tmp_path: Path) -> None:
    """gzip turns equal values into almost nothing; that is no bomb, within 64 MiB or a thousand times."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("small", (16 << 20,), "f4", chunks=(1 << 18,))
    with open_guarded(path) as file:
        assert file.datasets["small"].declared == 64 << 20
    with h5py.File(path, "w") as file:
        large = file.create_dataset("large", ((16 << 20) + 1,), "f4", chunks=(1 << 20,))
        large[: 1 << 20] = 1
    with open_guarded(path) as file:
        assert file.datasets["large"].declared == 68 << 20  # the last chunk sticks out
    with h5py.File(path, "w") as file:
        file.create_dataset("large", ((16 << 20) + 1,), "f4", chunks=(1 << 20,))
    refused(path, "/large declares 71303168 bytes but stores 0")


def test_values_that_lie_at_one_place_are_stored_once(tmp_path: Path) -> None:
    """Else a small file could declare a thousand times what it claims to store."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(10_000.0)
        place = file["x"].id.get_offset().to_bytes(8, "little")
        for number in range(3):
            file.create_dataset(f"y{number}", (10_000,), "f8")
    size = (80_000).to_bytes(8, "little")
    data = path.read_bytes()
    assert data.count(b"\xff" * 8 + size) == 3
    path.write_bytes(data.replace(b"\xff" * 8 + size, place + size))
    refused(path, "says that it stores more than the file has left")


def test_half_of_the_memory_is_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_half_of_memory", lambda: 79)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(10)
    refused(tmp_path / "a.h5", "declares over 79 bytes")


@pytest.mark.parametrize(
    ("name", "words"),
    [(b"\xff\xfemeless", "not UTF-8"), (b"name/ess", "has a slash"), (b"\0ameless", "is empty")],
)
def test_an_odd_name_is_refused(tmp_path: Path, name: bytes, words: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["nameless"] = 1
    changed(tmp_path / "a.h5", b"nameless", name)
    refused(tmp_path / "a.h5", rf"/ has a member whose name .*{words}")


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["two"] = 1, 2
    changed(tmp_path / "a.h5", b"two\0", b"one\0")
    refused(tmp_path / "a.h5", "/one has two names, or is one of two with this name")


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (h5py.SoftLink("/x"), "/ has link, a soft link"),
        (h5py.ExternalLink("b.h5", "/x"), "/ has a message of the kind link"),
    ],
)
def test_links_to_elsewhere_are_refused(tmp_path: Path, link: Any, words: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
        file["link"] = link
    refused(tmp_path / "a.h5", words)


def test_a_cut_file_says_how_much_is_missing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(100)
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(data[:-100])
    refused(tmp_path / "a.h5", rf"it is cut short: it has {len(data) - 100} of {len(data)} bytes")


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(100)
    with open_guarded(tmp_path / "a.h5") as file:
        os.truncate(tmp_path / "a.h5", 100)
        with pytest.raises(FileFormatError, match="/x became shorter while it was read"):
            read_dataset(file, "x")


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"userblock_size": 512}])
def test_files_of_other_kinds_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "a.h5", "w", **options) as file:
        file["x"] = 1
    refused(tmp_path / "a.h5", r"not a readable HDF5 file: it (does not begin as|has a superblock of another kind)")


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(FileFormatError, match="it is a pipe, expected a file"), open_guarded(tmp_path / "pipe.h5"):
        pass
