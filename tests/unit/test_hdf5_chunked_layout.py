"""Values unpacked by hand: those of libhdf5 where a file is sound, a refusal where libhdf5 would believe it."""

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cxrscore.errors import FileFormatError
from cxrscore.io.hdf5.reader import open_guarded, read_dataset, read_rows

RANDOM = np.random.default_rng(0)
VALUES = {
    "floats": RANDOM.normal(size=(70, 3)).astype("<f4"),
    "halves": RANDOM.normal(size=(9, 5, 4)).astype("<f2"),
    "bytes": RANDOM.integers(0, 256, (33, 7), dtype=np.uint8),
    "texts": np.array([f"film {row} é".encode() for row in range(50)]),
    "big-endian": RANDOM.integers(0, 1000, 40).astype(">i4"),
    "zeros": np.zeros((64, 64), "<f8"),
}
PACKED = [
    {},
    {"compression": "gzip"},
    {"shuffle": True, "compression": "gzip", "fletcher32": True},
    {"fletcher32": True},
    {"shuffle": True},
]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("options", PACKED, ids=lambda options: "+".join(options) or "plain")
def test_values_are_those_of_libhdf5(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    values = VALUES[name]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunks = tuple(max(1, side // 3 + 1) for side in values.shape)  # the last ones stick out
        file.create_dataset("x", data=values, chunks=chunks, **options)
    with open_guarded(tmp_path / "a.h5") as file:
        found = read_dataset(file, "x")
    with h5py.File(tmp_path / "a.h5") as file:
        assert found.tobytes() == values.tobytes() == file["x"][()].tobytes()
        assert (found.dtype, found.shape) == (file["x"].dtype, values.shape)


def test_checksums_of_long_and_odd_chunks(tmp_path: Path) -> None:
    values = RANDOM.integers(0, 256, 5_000_001, dtype=np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=values.shape, fletcher32=True)
        file.create_dataset("white", data=values | 255, chunks=values.shape, fletcher32=True)
    with open_guarded(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(read_dataset(file, "x"), values)
        assert read_dataset(file, "white").min() == 255


ROWS = [{}, {"chunks": (5, 2)}, {"chunks": (4, 3), "compression": "gzip", "fletcher32": True}]


@pytest.mark.parametrize("options", ROWS, ids=["in one piece", "small chunks", "packed"])
def test_rows_are_those_of_all_values(tmp_path: Path, options: dict[str, Any]) -> None:
    values = np.arange(69).reshape(23, 3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=values, **options)
        file.create_dataset("none", shape=(0, 3))
    with open_guarded(tmp_path / "a.h5") as opened:
        for start in range(23):
            for stop in range(start, 24):
                np.testing.assert_array_equal(read_rows(opened, "a", range(start, stop)), values[start:stop])
        assert read_rows(opened, "none", range(0)).shape == (0, 3)
        with pytest.raises(FileFormatError, match="has no dataset b"):
            read_rows(opened, "b", range(1))


def test_rows_far_from_a_damaged_chunk_are_read(tmp_path: Path) -> None:
    """And those in it are not."""
    values = np.full((12, 3), 7.5)
    values[8:] = 1234.5678
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=values, chunks=(4, 3), fletcher32=True)
    changed(tmp_path / "a.h5", np.float64(1234.5678).tobytes() * 12, np.float64(1234.5679).tobytes() * 12)
    with open_guarded(tmp_path / "a.h5") as opened:
        assert (read_rows(opened, "a", range(8)) == 7.5).all()
        with pytest.raises(FileFormatError, match="wrong checksum"):
            read_rows(opened, "a", range(7, 9))


def test_rows_of_a_chunk_that_is_not_there_are_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", shape=(12, 3), chunks=(4, 3))[:4] = 1
    with open_guarded(tmp_path / "a.h5") as opened:
        assert (read_rows(opened, "a", range(4)) == 1).all()
        with pytest.raises(FileFormatError, match="has 1 of its 2 chunks"):
            read_rows(opened, "a", range(3, 5))


def test_a_chunk_that_is_not_there_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (10,), "f4", chunks=(4,))[4:8] = 1
    with pytest.raises(FileFormatError, match="has 1 of its 3 chunks"), open_guarded(tmp_path / "a.h5") as file:
        read_dataset(file, "x")


def chunk(data: bytes, mask: int = 0) -> Any:
    return lambda dataset: dataset.id.write_direct_chunk((0,), data, mask)


SUMMED = b"x" * 100 + (0x12345678).to_bytes(4, "little")
GZIP, SUM = {"compression": "gzip"}, {"fletcher32": True}


@pytest.mark.parametrize(
    ("options", "put", "words"),
    [
        (GZIP, chunk(zlib.compress(bytes(99))), "chunk of 99 bytes, expected 100"),
        (GZIP, chunk(zlib.compress(bytes(101))), "chunk of 101 bytes"),
        (GZIP, chunk(zlib.compress(bytes(1 << 24))), "chunk of 101 bytes"),  # no more than that is unpacked
        (GZIP, chunk(zlib.compress(bytes(100))[:-8]), "chunk of"),
        (GZIP, chunk(b"no deflate stream"), "cannot be unpacked"),
        (GZIP, chunk(bytes(100), mask=1), "leaves out filters"),
        (SUM, chunk(SUMMED), "wrong checksum"),
        (SUM, chunk(b"abc"), "wrong checksum"),
    ],
)
def test_a_chunk_that_is_not_what_it_should_be_is_refused(
    tmp_path: Path, options: dict[str, Any], put: Any, words: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        put(file.create_dataset("x", (100,), "u1", chunks=(100,), **options))
    with pytest.raises(FileFormatError, match=words), open_guarded(tmp_path / "a.h5") as file:
        read_dataset(file, "x")


def changed(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def test_a_type_of_another_size_than_the_chunks_have_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.full(30, b"x" * 57), chunks=(10,))
    changed(tmp_path / "a.h5", b"\x13\x01\x00\x00\x39\x00", b"\x13\x01\x00\x00\x39\x7f")
    with pytest.raises(FileFormatError, match=r"/x has .* of another size than"), open_guarded(tmp_path / "a.h5"):
        pass


def test_a_chunk_that_is_longer_than_it_should_be_is_refused(tmp_path: Path) -> None:
    """libhdf5 writes it over whatever lies behind its memory."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.ones(1000, np.uint8), chunks=(333,))
    last = bytes(4) + (666).to_bytes(8, "little")
    changed(tmp_path / "a.h5", (333).to_bytes(4, "little") + last, (400).to_bytes(4, "little") + last)
    with (
        pytest.raises(FileFormatError, match="chunk of 400 bytes, expected 333"),
        open_guarded(tmp_path / "a.h5") as file,
    ):
        read_dataset(file, "x")


def test_a_message_that_libhdf5_would_pass_over_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.ones(1000), compression="gzip")
    filters = b"\x0b\x00\x20\x00\x01\x00\x00\x00"
    changed(tmp_path / "a.h5", filters, b"\x0b\x80" + filters[2:])
    with pytest.raises(FileFormatError, match="/x has a message of the kind 32779"), open_guarded(tmp_path / "a.h5"):
        pass


def test_values_in_one_piece_must_lie_within_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(100.0)
        file["none"] = np.zeros((0, 5))
        file.create_dataset("unwritten", (7,))
        offset = file["x"].id.get_offset()
    with open_guarded(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(read_dataset(file, "x"), np.arange(100.0))
        assert read_dataset(file, "none").shape == (0, 5)
        with pytest.raises(FileFormatError, match="0 of its 1 chunks"):
            read_dataset(file, "unwritten")
    place, size = b"\x03\x01" + offset.to_bytes(8, "little"), (800).to_bytes(8, "little")
    changed(tmp_path / "a.h5", place + size, b"\x03\x01" + (1 << 40).to_bytes(8, "little") + size)
    with (
        pytest.raises(FileFormatError, match=r"/x has a chunk of 800|says that it stores more|beyond its end"),
        open_guarded(tmp_path / "a.h5") as file,
    ):
        read_dataset(file, "x")


def test_chunks_in_odd_places_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.ones(1000, np.uint8), chunks=(333,))
    changed(tmp_path / "a.h5", (666).to_bytes(8, "little"), (1332).to_bytes(8, "little"))
    with pytest.raises(FileFormatError, match=r"chunk at \(1332,\)"), open_guarded(tmp_path / "a.h5") as file:
        read_dataset(file, "x")


def test_values_within_a_head_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT8, h5py.h5s.create_simple((5,)), plist)
    with pytest.raises(FileFormatError, match="within its head"), open_guarded(tmp_path / "a.h5"):
        pass


def test_a_filter_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.zeros(100), compression="lzf")
    with pytest.raises(FileFormatError, match="/x is packed with filter 32000"), open_guarded(tmp_path / "a.h5"):
        pass
