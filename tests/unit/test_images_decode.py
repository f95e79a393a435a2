"""Films of every kind of wrongness get their status, and good ones their exact pixels."""

import hashlib
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrscore.images import Status, decode, decode_film, read_film
from cxrscore.images.film import MAX_BYTES, Header
from cxrscore.io import sha256_file


def grey(height: int = 40, width: int = 50, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width), dtype=dtype)


def encoded(pixels: np.ndarray, suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1])


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_claiming(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_comes_out_as_it_went_in(dtype: type) -> None:
    pixels = grey(dtype=dtype)
    data = encoded(pixels)
    film = decode_film(data)
    assert (film.status, film.message, film.kind) == (Status.OK, "", "png")
    assert (film.width, film.height) == (50, 40)
    assert film.sha256 == hashlib.sha256(data).hexdigest()
    assert film.pixels is not None
    assert film.pixels.dtype == dtype
    np.testing.assert_array_equal(film.pixels, pixels)


def test_jpeg_is_decoded_to_grey() -> None:
    smooth = cv2.GaussianBlur(grey(64, 48), (0, 0), 4)
    stretched = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    film = decode_film(encoded(cv2.cvtColor(stretched, cv2.COLOR_GRAY2BGR), ".jpg"))
    assert (film.status, film.kind, film.width, film.height) == (Status.OK, "jpeg", 48, 64)
    assert film.pixels is not None
    assert np.abs(film.pixels.astype(int) - stretched).max() <= 6  # JPEG is lossy


@pytest.mark.parametrize(("alpha", "note"), [(255, ""), (254, "transparency ignored")])
def test_transparent_film_is_read_and_noted(alpha: int, note: str) -> None:
    pixels = grey()
    film = decode_film(encoded(np.dstack([pixels] * 3 + [np.full_like(pixels, alpha)])))
    assert (film.status, film.message) == (Status.OK, note)
    np.testing.assert_array_equal(film.pixels, pixels)


def test_a_single_transparent_pixel_is_noted() -> None:
    pixels = grey()
    alpha = np.full_like(pixels, 255)
    alpha[3, 4] = 0
    assert decode_film(encoded(np.dstack([pixels] * 3 + [alpha]))).message == "transparency ignored"


def test_orientation_tag_is_not_followed() -> None:
    jpeg = encoded(grey(40, 60), ".jpg")
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # orientation 6: turn by 90 degrees
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + b"\0\0\0\0"
    film = decode_film(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert (film.status, film.width, film.height) == (Status.OK, 60, 40)
    assert film.pixels is not None
    assert film.pixels.shape == (40, 60)


def test_animated_png_is_several_frames() -> None:
    data = encoded(grey())
    two = data[:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + data[33:]
    one = data[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + data[33:]
    assert decode_film(two).status == Status.SEVERAL_FRAMES
    assert decode_film(one).status == Status.OK


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", Status.EMPTY),
        (b"film,finding\n", Status.NOT_AN_IMAGE),
        (b"GIF89a" + bytes(100), Status.NOT_AN_IMAGE),
        (b"\x89PNG\r\n\x1a\n", Status.DAMAGED),
        (b"\xff\xd8\xff", Status.DAMAGED),
        (encoded(grey())[:-300], Status.DAMAGED),
        (encoded(grey(), ".jpg")[:-200], Status.DAMAGED),
        (encoded(grey(), ".jpg")[:-2], Status.DAMAGED),
        (encoded(grey(), ".jpg") + bytes(7), Status.OK),
        (encoded(grey(31, 400)), Status.TOO_SMALL),
        (encoded(grey(32, 32)), Status.OK),
        (png_claiming(60_000, 60_000), Status.TOO_LARGE),
        (png_claiming(10_000, 10_001), Status.TOO_LARGE),
        (png_claiming(10_000, 10_000), Status.DAMAGED),  # of the size allowed, so it is looked into
        (png_claiming(0, 0), Status.TOO_SMALL),
    ],
)
def test_status_says_what_is_wrong(data: bytes, status: Status) -> None:
    film = decode_film(data)
    assert film.status == status
    assert (film.pixels is None) == (status != Status.OK)
    assert (film.message == "") == (status == Status.OK)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(
    "tail", [b"\n", b"\xff", b"\x20", b"<!DOCTYPE html>", encoded(grey(), ".jpg"), encoded(grey())]
)
def test_a_whole_picture_followed_by_something_is_read_and_noted(suffix: str, tail: bytes) -> None:
    data = encoded(grey(), suffix)
    film = decode_film(data + tail)
    assert (film.status, film.message) == (Status.OK, "bytes after its end ignored")
    np.testing.assert_array_equal(film.pixels, decode_film(data).pixels)


def test_a_header_that_promises_more_rows_than_there_are_is_damage() -> None:
    data = encoded(grey())
    header = struct.pack(">II", 50, 41) + data[24:29]
    assert decode_film(data[:8] + chunk(b"IHDR", header) + data[33:]).status == Status.DAMAGED


def test_decoded_size_must_be_that_of_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "png_header", lambda data: (Header(width=50, height=39), False))
    film = decode_film(encoded(grey()))
    assert (film.status, film.height) == (Status.DAMAGED, 39)
    assert "its decoded size differs from its header" in film.message


def test_one_flipped_bit_of_a_png_is_found() -> None:
    data = bytearray(encoded(grey()))
    data[len(data) // 2] ^= 1
    assert decode_film(bytes(data)).status == Status.DAMAGED


def test_progressive_jpeg_is_read_and_a_lossless_one_refused() -> None:
    progressive = bytes(cv2.imencode(".jpg", grey(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    assert decode_film(progressive).status == Status.OK
    at = progressive.index(b"\xff\xc2")
    film = decode_film(progressive[: at + 1] + b"\xc3" + progressive[at + 2 :])
    assert film.status == Status.UNSUPPORTED
    assert "SOF3" in film.message


@pytest.mark.parametrize(
    ("dtype", "step", "status"),
    [
        (np.uint8, 0, "BLANK"),
        (np.uint8, 1, "BLANK"),
        (np.uint8, 3, "OK"),
        (np.uint16, 30, "BLANK"),
        (np.uint16, 256, "OK"),  # 9 bits in 16
    ],
)
def test_blank_is_a_spread_below_one_of_255_levels_or_below_32_levels_of_65536(
    dtype: type, step: int, status: str
) -> None:
    pixels = np.full((40, 40), 100, dtype)
    pixels[:20] += step  # standard deviation: half a step
    assert decode_film(encoded(pixels)).status.name == status


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert read_film(tmp_path / "absent.png").status == Status.UNREADABLE
    assert read_film(tmp_path).status == Status.UNREADABLE
    os.mkfifo(tmp_path / "pipe.png")
    assert read_film(tmp_path / "pipe.png").status == Status.UNREADABLE
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    huge = read_film(tmp_path / "huge.png")
    assert (huge.status, huge.sha256) == (Status.TOO_LARGE, sha256_file(tmp_path / "huge.png"))


def test_read_film_is_decode_film_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(encoded(grey()))  # the name does not matter
    film = read_film(tmp_path / "a.dcm")
    assert film == decode_film(encoded(grey()))
    np.testing.assert_array_equal(film.pixels, grey())


def test_status_numbers_are_what_files_hold() -> None:
    names = "NOT_WRITTEN OK EMPTY NOT_AN_IMAGE DAMAGED BLANK TOO_LARGE TOO_SMALL SEVERAL_FRAMES NOT_CHEST UNSUPPORTED"
    assert [status.name for status in Status] == [*names.split(), "UNREADABLE", "CRASHED", "TIMED_OUT", "MODEL_FAILED"]
    assert [status.value for status in Status] == list(range(15))


@pytest.mark.slow
@pytest.mark.shared
def test_all_real_films_are_read(shared: Path) -> None:
    films = sorted((shared / "data" / "nih442" / "films").iterdir())
    assert len(films) == 442
    read = [read_film(path) for path in films]
    assert {(film.status, film.message, film.kind) for film in read} == {(Status.OK, "", "png")}
    sides = [(film.width, film.height) for film in read]
    assert (sides.count((1024, 1024)), sides.count((512, 512))) == (255, 187)
