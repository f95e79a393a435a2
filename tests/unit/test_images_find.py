"""Which files are films, and in which order."""

import os
import struct
from pathlib import Path

import pytest

from cxrscore.errors import InputError
from cxrscore.images import find_films

PNG = b"\x89PNG\r\n\x1a\n"


def make(folder: Path, *names: str, data: bytes = b"x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_films_are_found_at_any_depth_in_sorted_order(tmp_path: Path) -> None:
    make(tmp_path, "b.PNG", "a/z.jpeg", "a/b/c.dcm", "B.jpg", "a.DICOM", "labels.csv", "a/notes.txt", "film.png.bak")
    found = find_films(tmp_path)
    assert found.paths == ("B.jpg", "a.DICOM", "a/b/c.dcm", "a/z.jpeg", "b.PNG")
    assert (found.others, found.unreadable) == (3, ())


def test_files_without_suffix_are_told_by_content(tmp_path: Path) -> None:
    make(tmp_path, "IM0001", data=bytes(128) + b"DICM")
    make(tmp_path, "IM0002", data=PNG)
    make(tmp_path, "IM0003", data=b"\x08\x00\x00\x00" + struct.pack("<I", 4) + bytes(4))
    make(tmp_path, "README", "LICENSE")
    make(tmp_path, "DICOMDIR", data=bytes(128) + b"DICM")
    make(tmp_path, "._IM0001", "._a.png", data=PNG)
    found = find_films(tmp_path)
    assert found.paths == ("IM0001", "IM0002", "IM0003")
    assert found.others == 5


def test_links_to_files_are_followed_and_to_folders_not(tmp_path: Path) -> None:
    make(tmp_path, "films/a.png", "elsewhere/b.png", data=PNG)
    (tmp_path / "films" / "loop").symlink_to(tmp_path / "films")
    (tmp_path / "films" / "outside").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "films" / "linked.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "films" / "broken.png").symlink_to(tmp_path / "nowhere")
    found = find_films(tmp_path / "films")
    assert found.paths == ("a.png", "linked.png")
    assert (found.others, found.unreadable) == (2, ("broken.png",))


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    assert find_films(tmp_path).paths == ()


def test_what_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "open/a.png", "shut/b.png", data=PNG)
    real = os.scandir

    def refuse(path: Path) -> object:  # chmod would not stop root
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == (("open/a.png",), ("shut",))
    with pytest.raises(InputError, match="cannot be listed"):
        find_films(tmp_path / "shut")


def test_a_name_that_is_not_utf8_is_set_aside(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/f\xfcr.png", "wb") as file:
        file.write(PNG)
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == ((), ("f\\udcfcr.png",))


@pytest.mark.parametrize("name", ["absent", "file"])
def test_only_a_folder_will_do(tmp_path: Path, name: str) -> None:
    make(tmp_path, "file")
    with pytest.raises(InputError, match="not a folder"):
        find_films(tmp_path / name)


def test_an_empty_folder_has_no_films(tmp_path: Path) -> None:
    assert find_films(tmp_path).paths == ()
