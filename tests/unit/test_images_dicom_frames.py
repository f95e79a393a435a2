"""What lies behind or around the pixels of a DICOM film: padding, tails, fragments, offset tables, second frames."""

from __future__ import annotations

import struct

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("imagecodecs")
from corpus_bytes import BASELINE, JPEG_2000, JPEG_LS, LOSSLESS, RUN_LENGTH, SIDE, chest, dicom, frame

from cxrscore.images import Film, Status, decode_film
from cxrscore.images.dicom_pixels import REST_IGNORED

SYNTAXES = [BASELINE, LOSSLESS, JPEG_LS, JPEG_2000, RUN_LENGTH]
NATIVE = chest().tobytes()


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def decoded(syntax: str, items: bytes) -> Film:
    """The film whose Pixel Data are these items."""
    data = dicom(syntax=syntax, frame=b"\0\0")
    written = item(struct.pack("<I", 0)) + item(b"\0\0")
    assert data.count(written) == 1
    return decode_film(data.replace(written, items))


def even(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


@pytest.fixture(params=SYNTAXES)
def syntax(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("pad", [b"", b"\0", b"\xff", b" ", b"\xd9", b"\xff\0", bytes(510)])
def test_a_pad_byte_and_zeros_behind_a_frame_are_nothing(syntax: str, pad: bytes) -> None:
    film, plain = (
        decoded(syntax, item(b"") + item(frame(syntax) + pad)),
        decode_film(dicom(syntax=syntax, frame=frame(syntax))),
    )
    assert (film.status, film.message) == (Status.OK, "")
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("tail", [b"0123456789", b"\xff" * 512, b"\xff\xd9\xff\xd9", b"\0\0\0x"])
def test_a_longer_tail_is_passed_over_with_a_note(syntax: str, tail: bytes) -> None:
    film, plain = (
        decoded(syntax, item(b"") + item(frame(syntax) + tail)),
        decode_film(dicom(syntax=syntax, frame=frame(syntax))),
    )
    assert (film.status, film.message) == (Status.OK, REST_IGNORED)
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_truncated_frame_is_damaged(syntax: str, share: float) -> None:
    cut = frame(syntax)[: int(share * len(frame(syntax)))]
    assert decoded(syntax, item(b"") + item(even(cut))).status == Status.DAMAGED


@pytest.mark.parametrize("tail", [b"\xff\xd9", bytes(100)])
def test_an_end_marker_behind_a_truncated_jpeg_2000_is_not_its_end(tail: bytes) -> None:
    whole = frame(JPEG_2000)
    film = decoded(JPEG_2000, item(b"") + item(even(whole[: len(whole) * 9 // 10] + tail)))
    assert (film.status, "truncated" in film.message) == (Status.DAMAGED, True)


def test_a_jpeg_2000_whose_last_tile_part_goes_on_to_the_end_marker() -> None:
    whole = bytearray(frame(JPEG_2000))
    at = whole.index(b"\xff\x90\x00\x0a")
    whole[at + 6 : at + 10] = bytes(4)  # Psot, ISO/IEC 15444-1 A.4.2
    film = decoded(JPEG_2000, item(b"") + item(bytes(whole) + b" "))
    assert (film.status, film.message) == (Status.OK, "")
    np.testing.assert_array_equal(film.pixels, chest())


TABLES = {
    "empty": item(b""),
    "right": item(struct.pack("<I", 0)),
    "wrong": item(struct.pack("<I", 123456)),
    "two entries": item(struct.pack("<2I", 0, 50)),
    "of odd length": item(b"\0\0\0\0\0"),
}


@pytest.mark.parametrize("table", TABLES)
def test_the_offset_table_decides_nothing(syntax: str, table: str) -> None:
    film = decoded(syntax, TABLES[table] + item(even(frame(syntax))))
    assert (film.status, film.message) == (Status.OK, "")


def test_an_extended_offset_table_decides_nothing(syntax: str) -> None:
    tables = {"ExtendedOffsetTable": struct.pack("<2Q", 0, 77), "ExtendedOffsetTableLengths": struct.pack("<2Q", 5, 6)}
    film = decode_film(dicom(syntax=syntax, frame=frame(syntax), **tables))
    assert (film.status, film.message) == (Status.OK, "")


def test_a_missing_offset_table(syntax: str) -> None:
    film = decoded(syntax, item(even(frame(syntax))))
    assert (film.status, film.message) == (Status.OK, "")


def test_a_frame_in_fragments(syntax: str) -> None:
    whole = even(frame(syntax))
    pieces = b"".join(item(whole[at : at + 1000]) for at in range(0, len(whole), 1000))
    assert decoded(syntax, item(b"") + pieces).status == Status.OK
    if syntax != RUN_LENGTH:  # its fragments have no marks of their own
        assert decoded(syntax, pieces).status == Status.OK


def test_a_second_frame_is_seen(syntax: str) -> None:
    for second in (item(even(frame(syntax))) * 2, item(frame(syntax)) + item(frame(syntax) + b"\0")):
        film = decoded(syntax, item(b"") + second)
        assert (film.status, "several frames" in film.message) == (Status.SEVERAL_FRAMES, True)


def test_pixels_that_are_not_encapsulated_as_they_should_be() -> None:
    assert "but its pixels are not" in decoded(JPEG_LS, frame(JPEG_LS)).message
    assert decoded(JPEG_LS, b"").message == "damaged: its Pixel Data is empty"
    assert decoded(JPEG_LS, item(b"")).message == "damaged: its Pixel Data is empty"
    assert "fragment of its pixels is truncated" in decoded(JPEG_LS, item(b"") + item(frame(JPEG_LS))[:-500]).message
    compressed = dicom(syntax=JPEG_LS, frame=frame(JPEG_LS))
    native = compressed.replace(JPEG_LS.encode(), b"1.2.840.10008.1.2.1".ljust(len(JPEG_LS), b"\0"))
    assert "compressed, but its transfer syntax is not" in decode_film(native).message
    at = compressed.index(b"\x08\x00\x16\x00UI")  # without preamble and meta information
    assert "compressed, but Transfer Syntax UID is missing" in decode_film(compressed[at:]).message


@pytest.mark.parametrize(
    ("rest", "status", "note"),
    [
        (b"\0\0", Status.OK, REST_IGNORED),
        (b"ab", Status.OK, REST_IGNORED),
        (bytes(512), Status.OK, REST_IGNORED),
        (b"\xff" * 512, Status.OK, REST_IGNORED),
        (NATIVE[: SIDE - 2], Status.OK, REST_IGNORED),
        (NATIVE[40 * SIDE : 42 * SIDE], Status.DAMAGED, "it has more pixels than its header says"),
        (NATIVE, Status.SEVERAL_FRAMES, "pixels of several frames"),
        (NATIVE * 2, Status.SEVERAL_FRAMES, "pixels of several frames"),
        (NATIVE + b"abcd", Status.SEVERAL_FRAMES, "pixels of several frames"),
        (bytes(len(NATIVE)), Status.SEVERAL_FRAMES, "pixels of several frames"),
    ],
)
def test_bytes_behind_native_pixels(rest: bytes, status: Status, note: str) -> None:
    film = decode_film(dicom(PixelData=NATIVE + rest))
    assert (film.status, note in film.message) == (status, True)
    if status == Status.OK:
        np.testing.assert_array_equal(film.pixels, chest())


def test_run_length_coding_by_hand() -> None:
    # PS3.5 G.3: a header of -3 repeats a byte 4 times, one of 2 is followed by 3 bytes, -128 by none.
    row = bytes([256 - 31, 7, 128, 31]) + bytes(range(32)) + bytes([256 - 31, 200])  # 32 times 7, 0 to 31, 32 times 200
    rows = row * 32
    data = struct.pack("<16I", 1, 64, *[0] * 14) + rows
    pixels = np.tile(np.r_[np.full(32, 7), np.arange(32), np.full(32, 200)].astype(np.uint8), (32, 1))
    film = decode_film(dicom(pixels, syntax=RUN_LENGTH, frame=even(data)))
    np.testing.assert_array_equal(film.pixels, pixels)


def test_run_length_coding_of_16_bits() -> None:
    pixels = chest().astype(np.uint16) * 16 + 5
    planes = [
        b"".join(bytes([95]) + bytes(row.astype(np.uint8)) for row in plane) for plane in (pixels >> 8, pixels & 255)
    ]
    head = struct.pack("<16I", 2, 64, 64 + len(planes[0]), *[0] * 13)
    film = decode_film(dicom(pixels, bits=12, syntax=RUN_LENGTH, frame=head + b"".join(planes)))
    np.testing.assert_array_equal(film.pixels, decode_film(dicom(pixels, bits=12)).pixels)
    wrong = decode_film(dicom(syntax=RUN_LENGTH, frame=head + b"".join(planes)))  # two planes of 8 bits
    assert (wrong.status, "number of its run-length coded segments" in wrong.message) == (Status.DAMAGED, True)
