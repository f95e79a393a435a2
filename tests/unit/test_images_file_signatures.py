"""Headers worked out by hand, byte for byte."""

import struct

import pytest

from cxrscore.images.file_signatures import (
    check_jpeg2000_end,
    check_jpeg_end,
    detect_format,
    jpeg2000_header,
    jpeg_header,
    png_header,
)
from cxrscore.images.film import FilmError, Status

SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def frame(marker: int, height: int, width: int, bits: int = 8) -> bytes:
    return segment(marker, struct.pack(">BHHB", bits, height, width, 1) + b"\x01\x11\x00")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (bytes(128) + b"DICM", "dicom"),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR", "dicom"),  # explicit, no preamble
        (b"\x08\x00\x00\x00\x04\x00\x00\x00\xa0\x01\x00\x00", "dicom"),  # implicit group length
        (b"\x02\x00\x00\x00UL\x04\x00", "dicom"),
        (b"\x08\x00\x05\x00\xff\xff\xff\x7f", ""),  # a length of 2 GB
        (b"\x08\x00\x05\x00\x03\x00\x00\x00", ""),  # an odd length
        (b"\x08\x00\x05\x00", ""),
        (b"", ""),
        (b"film,split\na.png,train\n", ""),
        (b"PK\x03\x04", ""),
    ],
)
def test_kind_is_told_from_the_first_bytes(head: bytes, kind: str) -> None:
    assert detect_format(head) == kind


def test_png_header_looks_at_all_chunks_before_the_pixels() -> None:
    ihdr = struct.pack(">I4sIIBBBBB", 13, b"IHDR", 700, 500, 8, 3, 0, 0, 0) + bytes(4)
    trns = struct.pack(">I4s", 1, b"tRNS") + b"\x00" + bytes(4)
    idat = struct.pack(">I4s", 0, b"IDAT") + bytes(4)
    header, transparent = png_header(b"\x89PNG\r\n\x1a\n" + ihdr + trns + idat)
    assert (header.width, header.height, transparent) == (700, 500, True)
    assert png_header(b"\x89PNG\r\n\x1a\n" + ihdr + idat + trns)[1] is False


def test_jpeg_header_skips_other_segments_and_fill_bytes() -> None:
    table = segment(0xC4, b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01")  # a frame header inside a table is none
    data = SOI + segment(0xE0, b"JFIF") + table + b"\xff" + frame(0xC0, 500, 700)
    header, marker, bits = jpeg_header(data)
    assert (header.width, header.height, marker, bits) == (700, 500, 0xC0, 8)


def test_jpeg_without_frame_is_damaged() -> None:
    with pytest.raises(FilmError, match="without a frame header") as caught:
        jpeg_header(SOI + segment(0xE0, b"JFIF") + EOI)
    assert caught.value.status == Status.DAMAGED


SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")


@pytest.mark.parametrize(
    ("tail", "rest"),
    [
        (SCAN + b"\x12\xff\x00\x34\xff\xd0\x56" + EOI, b""),
        (SCAN + b"\x12" + SCAN + b"\x34" + EOI, b""),  # progressive: several scans
        (SCAN + b"\x12\xff\xff" + EOI, b""),  # fill bytes before the marker
        (SCAN + b"\x12\xff\x00\x34" + EOI + bytes(3), bytes(3)),
        (SCAN + b"\x12\xff\x7f\x34" + EOI, b""),  # JPEG-LS stuffs otherwise
        (SCAN + b"\x12" + segment(0xDC, b"\x00\x08") + EOI, b""),  # the number of lines after the first scan
        (SCAN + b"\x12" + EOI + b"\n", b"\n"),
        (SCAN + b"\x12" + EOI + b"\xff", b"\xff"),
        (SCAN + b"\x12" + EOI + SOI + EOI, SOI + EOI),
        (segment(0xE1, b"Exif" + SOI + EOI) + SCAN + b"\x12" + EOI + b"x", b"x"),  # a thumbnail inside
    ],
)
def test_what_follows_the_end_marker_of_a_jpeg_is_returned(tail: bytes, rest: bytes) -> None:
    assert check_jpeg_end(SOI + frame(0xC0, 8, 8) + tail) == rest


@pytest.mark.parametrize(
    "tail", [SCAN + b"\x12\xff\x00\x34", SCAN + b"\x12\xff", segment(0xE1, b"Exif" + SOI + EOI) + SCAN + b"\x12", b""]
)
def test_jpeg_must_have_its_end_marker(tail: bytes) -> None:
    with pytest.raises(FilmError, match="truncated"):
        check_jpeg_end(SOI + frame(0xC0, 8, 8) + tail)


SIZ = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII16xHBBB", 41, 0, 710, 520, 10, 20, 1, 11, 1, 1)


def test_jpeg_2000_size_is_corner_minus_origin() -> None:
    header, bits = jpeg2000_header(b"\x00\x00\x00\x0cjP  " + SIZ)
    assert (header.width, header.height, bits) == (700, 500, 12)
    with pytest.raises(FilmError):
        jpeg2000_header(b"\xff\x4f\xff\x51")


def tile_part(content: bytes, length: int | None = None) -> bytes:
    """SOT with its length Psot, SOD and the coded data."""
    length = 14 + len(content) if length is None else length
    return b"\xff\x90" + struct.pack(">HHIBB", 10, 0, length, 0, 1) + b"\xff\x93" + content


@pytest.mark.parametrize(
    ("parts", "rest"),
    [
        (tile_part(b"abc") + EOI, b""),
        (tile_part(b"abc") + tile_part(b"d") + EOI + b"\xff", b"\xff"),
        (tile_part(b"abc", 0) + EOI + b" tail", b" tail"),
        (tile_part(b"abc", 14 + 5) + EOI + b"x", b"x"),  # a length that counts the end marker
        (tile_part(b"abc") + EOI + EOI, EOI),
    ],
)
def test_jpeg_2000_ends_where_its_tile_parts_end(parts: bytes, rest: bytes) -> None:
    assert check_jpeg2000_end(SIZ + parts) == rest


@pytest.mark.parametrize(
    "parts",
    [
        b"",
        EOI,
        tile_part(b"abc"),
        tile_part(b"abc")[:-1] + EOI,
        tile_part(b"abc", 0),
        tile_part(b"abc", 13) + EOI,
        tile_part(b"abc", 2**32 - 1) + EOI,  # an end marker at the end is none where a tile-part goes on
        tile_part(b"abc") + b"\xff\x90",
    ],
)
def test_jpeg_2000_that_is_truncated(parts: bytes) -> None:
    with pytest.raises(FilmError, match="truncated") as caught:
        check_jpeg2000_end(SIZ + parts)
    assert caught.value.status == Status.DAMAGED
