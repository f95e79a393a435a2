"""What files are that are no films, and how their numbers are told."""

import pytest

from cxrscore.images import OtherFiles
from cxrscore.images.file_signatures import detect_format
from cxrscore.images.other_files import HEAD_BYTES, OtherFilesCounter, foreign_format, kind_by_name, shown_suffix


def bmp(size: int) -> bytes:
    return b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + size.to_bytes(4, "little")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"II*\0\x08", "TIFF image"),
        (b"MM\0*\0", "TIFF image"),
        (b"MM\0+\0\x08", "TIFF image"),
        (bmp(40), "BMP image"),
        (bmp(41), ""),
        (b"BMW is a car, and no picture of one", ""),
        (b"GIF89a", "GIF image"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "WebP image"),
        (b"RIFF\x24\0\0\0WAVEfmt ", ""),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0", "JPEG 2000 image"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000 image"),
        (b"\0\0\0\x18ftypheic\0\0", "HEIC image"),
        (b"\0\0\0\x18ftypisom\0\0", ""),
        (b"\x5c\x01\0\0" + bytes(340) + b"n+1\0", "NIfTI image"),
        (b"\x5c\x01\0\0" + bytes(344), "Analyze or NIfTI header"),
        (b"\x1c\x02\0\0n+2\0\r\n", "NIfTI image"),
        (b"P5\n100 100\n255\n", "Netpbm image"),
        (b"P5 million", "Netpbm image"),
        (b"P8\n", ""),
        (b"\x1f\x8b\x08\0", "gzip archive"),
        (bytes(257) + b"ustar\0" + b"00", "tar archive"),
        (b"%PDF-1.7", "PDF document"),
        (b"film,Mass\n", ""),
        (b"", ""),
    ],
)
def test_formats_that_are_not_read_are_told_by_their_signature(head: bytes, kind: str) -> None:
    assert len(head) <= HEAD_BYTES
    assert (foreign_format(head), detect_format(head)) == (kind, "")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.DAT", ".dat"),
        ("a.b.jp2", ".jp2"),
        ("1.2.840", "other suffixes"),
        ("a.1234", "other suffixes"),
        ("scan.Jonathan", "other suffixes"),
        ("scan.o'brien", "other suffixes"),
        ("scan.o b", "other suffixes"),
        ("scan.\u0663a", "other suffixes"),
        ("scan.a\n", "other suffixes"),
        ("IM0001", "without suffix"),
    ],
)
def test_a_suffix_is_shown_only_if_it_is_short_and_plain(name: str, suffix: str) -> None:
    assert shown_suffix(name) == suffix


def test_names_of_discs_and_systems_are_known() -> None:
    kinds = [kind_by_name(name) for name in ("dicomdir", "._a.dcm", "THUMBS.DB", "Desktop.ini", "a.XLSX", "a.ima", "a")]
    assert kinds == ["DICOMDIR", "macOS ._ file", "system file", "system file", ".xlsx", "", ""]


def counted(names: list[str]) -> OtherFiles:
    counter = OtherFilesCounter()
    for name in names:
        counter.add_head(name, b"x")
    return counter.result()


def test_ten_thousand_suffixes_are_few_kinds() -> None:
    own = [f"film.{number:x}f" for number in range(10_000)]
    found = counted([*own, "a.dat", "b.dat", "a.1"])
    assert len(found.no_film) == 20
    assert (found.total, found.no_film[".dat"], found.no_film["other suffixes"]) == (10_003, 2, 10_003 - 2 - 18)
    assert list(found.no_film)[:2] == ["other suffixes", ".dat"]
    assert found.sentence() == (
        "10,003 other files: 9,983 with other suffixes, 2 .dat, 1 .0f, 1 .1000f, 16 of other kinds (opened, no film)"
    )
    assert counted([*own[::-1], "a.1", "b.dat", "a.dat"]) == found


def test_suffixes_that_may_be_names_are_not_shown_where_names_are_hidden() -> None:
    found = counted(["a.smith", "b.smith", "c.dat", "d.1"]).without_unusual_suffixes()
    assert found.as_dict() == {"no_film": {"other suffixes": 3, ".dat": 1}}


def test_one_file_is_told_as_one() -> None:
    assert OtherFiles(not_supported={"TIFF image": 1}).sentence() == "1 other file: 1 TIFF image (not supported)"
    assert OtherFiles().sentence() == ""


def test_a_record_of_anything_is_read_as_far_as_it_goes() -> None:
    odd = {"not_opened": {".csv": 2, ".txt": -1, ".a": True, ".b": "3", "x" * 61: 1}, "no_film": [1], "more": {"a": 1}}
    assert OtherFiles.from_record(odd) == OtherFiles(not_opened={".csv": 2})
    assert OtherFiles.from_record(None) == OtherFiles()
    found = OtherFiles(no_film={".dat": 1})
    assert OtherFiles.from_record(found.as_dict()) == found
