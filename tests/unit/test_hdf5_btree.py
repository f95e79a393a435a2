"""Trees and heads that lead in circles come to an end."""

import struct
from pathlib import Path

import pytest

from cxrscore.io.hdf5.btree import btree_leaves
from cxrscore.io.hdf5.object_header import FileBytes, MalformedHDF5Error, read_object_header

UNDEFINED = 2**64 - 1
SIZE = 24 + 2 * 16 + 8


def node(height: int, children: tuple[int, ...]) -> bytes:
    links = b"".join(struct.pack("<QQ", 0, child) for child in children)
    return struct.pack("<4sBBHQQ", b"TREE", 0, height, len(children), UNDEFINED, UNDEFINED) + links + bytes(8)


@pytest.fixture
def found(tmp_path: Path):
    """Leaves of a tree of these nodes, whose root is the first."""

    def look(*nodes: bytes) -> list[int]:
        (tmp_path / "tree").write_bytes(b"".join(nodes))
        with (tmp_path / "tree").open("rb") as file:
            return [address for _, address in btree_leaves(FileBytes(file.fileno()), 0, 0, 8)]

    return look


def test_leaves_come_in_order(found) -> None:
    assert found(node(1, (SIZE, 2 * SIZE)), node(0, (7, 8)), node(0, (9, 10))) == [7, 8, 9, 10]
    assert found(node(0, ())) == []


def test_a_node_that_names_itself_is_refused(found) -> None:
    with pytest.raises(MalformedHDF5Error, match="node that is none of it"):
        found(node(1, (0, 0)), bytes(1000))


def test_nodes_that_are_reached_in_many_ways_are_refused(found) -> None:
    """Two to the power of a hundred, if one went on."""
    nodes = [node(100 - step, ((step + 1) * SIZE,) * 2) for step in range(100)]
    with pytest.raises(MalformedHDF5Error, match="leads in circles"):
        found(*nodes, node(0, (1, 2)))


def test_a_head_of_more_messages_than_it_says_is_refused(tmp_path: Path) -> None:
    messages = struct.pack("<HHB3x", 0x0C, 0, 0) * 3
    for count in (3, 2):
        (tmp_path / "head").write_bytes(struct.pack("<BxHIII", 1, count, 1, len(messages), 0) + messages)
        with (tmp_path / "head").open("rb") as file:
            if count == 3:
                assert read_object_header(FileBytes(file.fileno()), 0) == {0x0C: [b""] * 3}
            else:
                with pytest.raises(MalformedHDF5Error, match="more messages than its head says"):
                    read_object_header(FileBytes(file.fileno()), 0)


@pytest.mark.parametrize("cut", range(8))
def test_a_message_that_is_longer_than_its_block_is_refused(tmp_path: Path, cut: int) -> None:
    block = struct.pack("<HHB3x", 0x0C, 8, 0) + bytes(cut)
    (tmp_path / "head").write_bytes(struct.pack("<BxHIII", 1, 1, 1, len(block), 0) + block)
    with (tmp_path / "head").open("rb") as file, pytest.raises(MalformedHDF5Error, match="longer than its block"):
        read_object_header(FileBytes(file.fileno()), 0)
