"""Which files are films, and in which order."""

import os
import struct
from pathlib import Path

import pytest

from cxrscore.errors import InputError
from cxrscore.images import find, find_films, require_films

PNG = b"\x89PNG\r\n\x1a\n"


def make(folder: Path, *names: str, data: bytes = b"x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_films_are_found_at_any_depth_in_sorted_order(tmp_path: Path) -> None:
    make(tmp_path, "b.PNG", "a/z.jpeg", "a/b/c.dcm", "B.jpg", "a.DICOM", "labels.csv", "a/notes.txt", "film.png.bak")
    found = find_films(tmp_path)
    assert found.paths == ("B.jpg", "a.DICOM", "a/b/c.dcm", "a/z.jpeg", "b.PNG")
    assert found.others.as_dict() == {"not_opened": {".csv": 1, ".txt": 1}, "no_film": {".bak": 1}}
    assert found.unreadable == ()


def test_files_without_suffix_are_told_by_content(tmp_path: Path) -> None:
    make(tmp_path, "IM0001", data=bytes(128) + b"DICM")
    make(tmp_path, "IM0002", data=PNG)
    make(tmp_path, "IM0003", data=b"\x08\x00\x00\x00" + struct.pack("<I", 4) + bytes(4))
    make(tmp_path, "README", "LICENSE")
    make(tmp_path, "DICOMDIR", data=bytes(128) + b"DICM")
    make(tmp_path, "._IM0001", "._a.png", data=PNG)
    found = find_films(tmp_path)
    assert found.paths == ("IM0001", "IM0002", "IM0003")
    kinds = {"DICOMDIR": 1, "macOS ._ file": 2}
    assert found.others.as_dict() == {"not_opened": kinds, "no_film": {"without suffix": 2}}


def test_links_to_files_are_followed_and_to_folders_not(tmp_path: Path) -> None:
    make(tmp_path, "films/a.png", "elsewhere/b.png", data=PNG)
    (tmp_path / "films" / "loop").symlink_to(tmp_path / "films")
    (tmp_path / "films" / "outside").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "films" / "linked.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "films" / "broken.png").symlink_to(tmp_path / "nowhere")
    found = find_films(tmp_path / "films")
    assert found.paths == ("a.png", "linked.png")
    assert (found.others.as_dict(), found.unreadable) == ({"not_opened": {"folder link": 2}}, ("broken.png",))


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    found = find_films(tmp_path)
    assert (found.paths, found.others.as_dict()) == ((), {"not_opened": {"pipe, socket or device file": 2}})


NAMES = (
    *("1.2.840.99.101", "CR.1.2.276.4", "IM0001", "0001.IMA", "a.DC3", "a.dic", "a.jfif", "a.jpe", "17", "x.dcm~"),
    *("a.zip", "a.tif", "Smith^John", "scan.", ".hidden"),
)


@pytest.mark.parametrize("head", [PNG, b"\xff\xd8\xff\xe0", bytes(128) + b"DICM"], ids=["png", "jpeg", "dicom"])
@pytest.mark.parametrize("name", NAMES)
def test_a_film_is_told_by_its_bytes_under_any_name(tmp_path: Path, name: str, head: bytes) -> None:
    make(tmp_path, f"{name}", f"ward/{name}", data=head)
    found = find_films(tmp_path)
    assert (found.paths, found.others.total) == (tuple(sorted((name, f"ward/{name}"))), 0)


def test_each_other_file_is_counted_by_what_it_is(tmp_path: Path) -> None:
    make(tmp_path, "a.CSV", "b/a.csv", "notes.txt", "model.safetensors", "Thumbs.db", ".DS_Store", ".rsync", "._b.tif")
    make(tmp_path, "a.dat", "b.dat", "1.2.3", "x.Smith-Jones", "y.toolong", "z.é", "README")
    make(tmp_path, "empty.raw", data=b"")
    make(tmp_path, "scan.tif", "1.2.4", data=b"II*\0")
    found = find_films(tmp_path)
    assert found.paths == ()
    assert found.others.as_dict() == {
        "not_opened": {".csv": 2, ".safetensors": 1, ".txt": 1, "macOS ._ file": 1, "system file": 2},
        "no_film": {".dat": 2, "other suffixes": 4, "without suffix": 1, "empty file": 1, "hidden file": 1},
        "not_supported": {"TIFF image": 2},
    }
    assert found.others.total == 18
    with pytest.raises(InputError, match=r"there is no film .* It has 18 other files: 2 \.csv, 2 system files, 1 "):
        require_films(tmp_path)


def test_a_film_suffix_and_a_known_one_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.png", "b.JPG", "c.dcm", "d.csv", "e.docx", "f.pt", "g.h5", "DICOMDIR", "Thumbs.db", "._x")

    def opened(*_: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(find, "open_regular", opened)
    assert find_films(tmp_path).paths == ("a.png", "b.JPG", "c.dcm")


def test_a_file_that_is_gone_before_it_is_opened_is_none_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.png", "temporary")

    def gone(path: Path) -> object:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(find, "open_regular", gone)
    found = find_films(tmp_path)
    assert (found.paths, found.others.total, found.unreadable) == (("a.png",), 0, ())


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
