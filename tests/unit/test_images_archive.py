"""Films in zip archives: found by content, read where they lie, and none of them lost in silence."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from corpus_bytes import archive, chest, dicom, png, with_flags

from cxrscore.images import (
    ImageCache,
    Preprocessing,
    Status,
    decode_film,
    find_films,
    preprocess,
    read_bytes,
    read_film,
)
from cxrscore.images import archive as room
from cxrscore.images.film import MAX_BYTES

FILM = png(chest())


def put(folder: Path, data: bytes, name: str = "export.zip") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def test_a_film_in_an_archive_is_the_film_of_its_bytes(tmp_path: Path) -> None:
    put(tmp_path, archive({"series 1/a.png": FILM, "labels.csv": b"film\n", "b.PNG": FILM}))
    found = find_films(tmp_path)
    assert found.paths == ("export.zip/b.PNG", "export.zip/series 1/a.png")
    assert (found.others.as_dict(), found.unreadable) == ({"not_opened": {".csv": 1}}, ())
    film = read_film(tmp_path / found.paths[1])
    assert film == decode_film(FILM)
    np.testing.assert_array_equal(film.pixels, chest())
    assert read_bytes(tmp_path / found.paths[1]) == FILM


def test_members_and_archives_without_suffix_are_told_by_content(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    put(tmp_path, archive({"IM1": dicom(), "README": b"words", "DICOMDIR": dicom(), "._a.png": FILM}), "disc")
    found = find_films(tmp_path)
    kinds = {"not_opened": {"DICOMDIR": 1, "macOS ._ file": 1}, "no_film": {"without suffix": 1}}
    assert (found.paths, found.others.as_dict()) == (("disc/IM1",), kinds)
    assert read_film(tmp_path / "disc/IM1").status == Status.OK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (with_flags(archive({"a.png": FILM}), encrypted=True), Status.UNREADABLE, "in the archive, it is encrypted"),
        (with_flags(archive({"a.png": FILM}), method=99), Status.UNREADABLE, "cannot be read (NotImplementedError)"),
        (archive({"a.png": FILM}).replace(b"a.png", b"b.png", 1), Status.UNREADABLE, "(BadZipFile)"),
        (archive({"a.png": FILM}, packed=False).replace(b"IDAT", b"IDAZ", 1), Status.UNREADABLE, "(BadZipFile)"),
        (archive({"a.png": bytes(MAX_BYTES + 2)}), Status.TOO_LARGE, "more than 268,435,456 bytes"),
        (archive({"a.png": FILM[:-20]}), Status.DAMAGED, "truncated"),
        (archive({"a.png": b""}), Status.EMPTY, "zero bytes"),
    ],
    ids=["encrypted", "unknown packing", "two names", "bad checksum", "bomb", "cut before packing", "empty"],
)
def test_a_member_that_cannot_be_used_is_a_film_with_a_status(
    tmp_path: Path, data: bytes, status: Status, words: str
) -> None:
    put(tmp_path, data)
    assert find_films(tmp_path).paths == ("export.zip/a.png",)
    film = read_film(tmp_path / "export.zip/a.png")
    assert film.status == status
    assert words in film.message


def test_a_member_without_suffix_that_cannot_be_read_is_a_film_with_a_status(tmp_path: Path) -> None:
    put(tmp_path, with_flags(archive({"IM1": FILM}), encrypted=True))
    assert find_films(tmp_path).paths == ("export.zip/IM1",)


def test_members_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    whole = archive({"a.png": FILM})
    start, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    entry, last = whole[start:end], bytearray(whole[end:])
    twice = entry + entry.replace(b"a.png", b"b.png")  # one run of bytes, named as two members
    struct.pack_into("<HHL", last, 8, 2, 2, len(twice))
    put(tmp_path, whole[:start] + twice + last)
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == ((), ("export.zip",))


def test_a_table_of_contents_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, archive({f"{number}.png": b"" for number in range(20)}))
    assert len(find_films(tmp_path).paths) == 20
    monkeypatch.setattr(room, "LARGEST_DIRECTORY", 5)

    def opened(*_: object) -> None:
        raise AssertionError("zipfile reads the whole table of contents")

    monkeypatch.setattr(room.zipfile, "ZipFile", opened)
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == ((), ("export.zip",))


@pytest.mark.parametrize("length", [4, 30, 1000, -1])
def test_an_archive_that_was_cut_is_named(tmp_path: Path, length: int) -> None:
    put(tmp_path, archive({"a.png": FILM})[:length])
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == ((), ("export.zip",))


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc/passwd.png", "/etc/passwd.png", "./../a.png", "a/./../../b.png", "//a.png", "a/" * 2100 + "b.png"),
        *("..\\a.png", "a\\..\\..\\b.png", "\\a.png", "C:\\a.png", "C:/a.png", "a.png/.", "./" * 2100 + "b.png"),
    ],
)
def test_a_member_that_leads_elsewhere_is_named_and_not_read(tmp_path: Path, name: str) -> None:
    put(tmp_path, archive({"good.png": FILM, name: FILM}))
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == (("export.zip/good.png",), (f"export.zip/{name}",))


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a.png", "a.png"), ("a//b.png", "a/b.png"), ("././a/./b//c.png", "a/b/c.png"), (".//a.png", "a.png")],
)
def test_superfluous_parts_of_a_path_are_left_out(tmp_path: Path, name: str, path: str) -> None:
    put(tmp_path, archive({"z.png": png(chest(1)), name: FILM, "./IM1": FILM}))
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == (
        tuple(sorted((f"export.zip/{path}", "export.zip/IM1", "export.zip/z.png"))),
        (),
    )
    assert read_bytes(tmp_path / "export.zip" / path) == FILM


@pytest.mark.parametrize("names", [("a.png", "./a.png"), ("x/a.png", "x//a.png")])
def test_members_that_become_one_path_are_named(tmp_path: Path, names: tuple[str, str]) -> None:
    put(tmp_path, archive({names[0]: FILM, names[1]: png(chest(1)), "c.png": FILM}))
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == (
        ("export.zip/c.png",),
        tuple(sorted(f"export.zip/{name}" for name in names)),
    )


@pytest.mark.parametrize("name", ["disc", "1.2.840.99.101", "export.ZIP", "films.backup"])
def test_an_archive_is_told_by_its_bytes(tmp_path: Path, name: str) -> None:
    put(tmp_path, archive({"1.2.3.4": FILM, "CR.1.2": FILM, "a.csv": b"a", "b.tif": b"II*\0"}), name)
    found = find_films(tmp_path)
    assert found.paths == (f"{name}/1.2.3.4", f"{name}/CR.1.2")
    assert found.others.as_dict() == {"not_opened": {".csv": 1}, "not_supported": {"TIFF image": 1}}
    assert read_film(tmp_path / found.paths[0]).status == Status.OK


@pytest.mark.parametrize(
    "inside",
    [
        ["[Content_Types].xml", "word/media/image1.png"],
        ["mimetype", "Thumbnails/thumbnail.png"],
        ["META-INF/MANIFEST.MF", "icon.png"],
        ["archive/data.pkl", "archive/0.png"],
        ["metadata.json", "config.json", "picture.png"],
        ["a.npy", "b.npy"],
    ],
)
def test_a_zip_container_of_another_kind_is_no_archive_of_films(tmp_path: Path, inside: list[str]) -> None:
    data = archive(dict.fromkeys(inside, FILM))
    put(tmp_path, data, "unknown.thing")
    put(tmp_path, data, "known.docx")
    found = find_films(tmp_path)
    assert found.paths == ()
    assert found.others.as_dict() == {
        "not_opened": {".docx": 1},
        "not_supported": {"document or model that is a zip archive": 1},
    }


def test_an_archive_without_members_is_counted(tmp_path: Path) -> None:
    put(tmp_path, archive({}))
    assert find_films(tmp_path).others.as_dict() == {"no_film": {"empty archive": 1}}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_named(tmp_path: Path) -> None:
    data = archive({"a.png": FILM, "b.png": FILM, "c.png": FILM})
    put(tmp_path, data.replace(b"b.png", b"a.png"))
    found = find_films(tmp_path)
    assert (found.paths, found.unreadable) == (("export.zip/c.png",), ("export.zip/a.png",))


@pytest.mark.parametrize("name", ["n" * 300 + ".png", "f" * 300 + "/a.png"])
def test_a_member_may_have_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    put(tmp_path, archive({name: FILM}))
    (path,) = find_films(tmp_path).paths
    assert read_film(tmp_path / path).status == Status.OK
    assert read_film(tmp_path / name).status == Status.UNREADABLE


def test_an_archive_in_an_archive_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path, archive({"inner.zip": archive({"a.png": FILM}), "inner": archive({"a.png": FILM})}))
    found = find_films(tmp_path)
    assert (found.paths, found.others.as_dict()) == ((), {"not_opened": {"zip archive in an archive": 2}})


def test_an_archive_of_too_many_members_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LARGEST_DIRECTORY", 2)
    put(tmp_path, archive({"a.png": FILM, "b.png": FILM, "c.png": FILM}))
    assert find_films(tmp_path).unreadable == ("export.zip",)


def test_an_archive_that_is_replaced_is_opened_anew(tmp_path: Path) -> None:
    path = put(tmp_path, archive({"a.png": FILM}))
    assert read_film(path / "a.png").status == Status.OK
    put(tmp_path, archive({"a.png": b"no film at all"}))
    assert read_film(path / "a.png").status == Status.NOT_AN_IMAGE
    path.unlink()
    assert read_film(path / "a.png").status == Status.UNREADABLE


def test_a_store_is_made_anew_for_a_changed_archive(tmp_path: Path) -> None:
    films, cache, size = tmp_path / "films", tmp_path / "cache", Preprocessing(size=8)
    films.mkdir()
    for seed in (0, 1):
        put(films, archive({"a.png": png(chest(seed))}))
        store = ImageCache.build(films, ["export.zip/a.png"], size, cache, workers=1)
        np.testing.assert_array_equal(store.raw(0), preprocess(chest(seed), size))


def test_another_archive_of_the_same_name_size_and_mtime_is_opened_anew(tmp_path: Path) -> None:
    path = put(tmp_path, archive({"a.png": FILM}, packed=False))
    before = path.stat()
    assert read_bytes(path / "a.png") == FILM
    put(tmp_path, archive({"a.png": FILM[::-1]}, packed=False), "other.zip").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert read_bytes(path / "a.png") == FILM[::-1]
