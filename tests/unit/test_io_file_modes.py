"""What cxrscore makes is for its owner only, whatever the umask."""

import ast
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrscore.errors import WriteError
from cxrscore.io import atomic_write_bytes, make_folder

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "cxrscore").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
MAKERS = {
    "mkdir",
    "makedirs",
    "write_text",
    "write_bytes",
    "savez",
    "savez_compressed",
    "savetxt",
    "to_csv",
    "copyfile",
}
"""Methods that make a file or a folder with a mode that depends on the umask."""
ALLOWED = {
    ("cxrscore/io/atomic.py", "mkdir"),
    ("cxrscore/compare_backends.py", "savez"),  # into memory
    ("cxrscore/reporting/pdf.py", "write_text"),  # into a private folder that is removed
    ("cxrscore/remote/fsspec_store.py", "makedirs"),  # in a store elsewhere
}


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_private_at_every_level(tmp_path: Path, umask: int) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    assert [mode(path) for path in sorted(tmp_path.rglob("*"))] == [0o700] * 3


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path, umask: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a")
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o755, 0o700)


def test_files_are_private(tmp_path: Path, umask: int) -> None:
    atomic_write_bytes(tmp_path / "a", b"x")
    assert mode(tmp_path / "a") == 0o600


def test_a_file_where_a_folder_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "gone").symlink_to("nowhere")
    for folder in ("a", "a/b", "gone", "gone/b"):
        with pytest.raises(WriteError, match="cannot make the folder"):
            make_folder(tmp_path / folder)


def test_a_path_through_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / ".." / "b")
    assert mode(tmp_path / "b") == 0o700


def test_no_other_code_makes_files_or_folders() -> None:
    found = {
        (str(source.relative_to(ROOT)), node.func.attr)
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS
    }
    assert found == ALLOWED
