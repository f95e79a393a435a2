"""JPEG of every kind that is sound: the same grey with and without the extra "strict", and never inverted."""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from corpus_bytes import ARITHMETIC, chest, exif, jpeg, png, segment, with_segment, zeroed
from PIL import Image

from cxrscore.images import Status, codecs, decode_film

FILM = chest()
COLOURS = np.dstack([FILM, np.rint(FILM * 0.8), np.rint(FILM * 0.6)]).astype(np.uint8)
SAMPLINGS = [getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}") for name in ("411", "420", "422", "440", "444")]
NOTE = "bytes after its end ignored"


def saved(pixels: Any, mode: str | None = None, **options: Any) -> bytes:
    """A JPEG that PIL writes; as CMYK, of inverted inks with an Adobe marker, as Photoshop does."""
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def grey_by_pil(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


def with_height_behind(data: bytes, marker: int = 0xC0) -> bytes:
    """The JPEG with its height in a DNL segment after the scan, as scanners write that know it only then."""
    at = data.index(bytes([0xFF, marker])) + 5
    return data[:at] + bytes(2) + data[at + 2 : -2] + segment(0xDC, data[at : at + 2]) + data[-2:]


SOUND = {
    "grey": saved(FILM),
    "grey, sampling 2 x 2": saved(FILM).replace(b"\x01\x01\x11\x00", b"\x01\x01\x22\x00", 1),
    "grey, restarts": jpeg(None, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "grey, fill bytes": jpeg().replace(b"\xff\xda", b"\xff\xff\xff\xda", 1)[:-2] + b"\xff\xff\xff\xd9",
    "progressive": saved(COLOURS, progressive=True),
    **{f"sampling {one:x}": jpeg(COLOURS, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, one) for one in SAMPLINGS},
    "RGB": saved(COLOURS, keep_rgb=True),
    **{f"CMYK, sampling {one}": saved(COLOURS, "CMYK", subsampling=one) for one in (0, 1, 2)},
    "height behind": with_height_behind(jpeg()),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", SOUND)
def test_sound_jpeg_gives_the_grey_that_another_decoder_gives(
    kind: str, strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if strict:
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(codecs, "_simplejpeg", lambda: None)
    film = decode_film(SOUND[kind])
    assert (film.status, film.message) == (Status.OK, "")
    assert film.pixels is not None
    same = jpeg() if kind == "height behind" else SOUND[kind]  # PIL does not read this
    assert np.abs(film.pixels.astype(int) - grey_by_pil(same)).max() <= 2


@pytest.mark.parametrize("sampling", [0, 2])
def test_inks_are_no_negative(sampling: int) -> None:
    """A film in black ink only: where there is no ink it is white."""
    inks = np.dstack([np.zeros_like(FILM)] * 3 + [255 - FILM])
    out = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(out, "JPEG", quality=95, subsampling=sampling)
    film = decode_film(out.getvalue())
    assert film.pixels is not None
    assert np.corrcoef(film.pixels.ravel(), FILM.ravel())[0, 1] > 0.99
    assert abs(film.pixels.mean() - FILM.mean()) < 3


@pytest.mark.parametrize("lossy", ["cmyk", "ycck"])
def test_inks_of_another_encoder(lossy: str) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    inverted = np.dstack([np.full_like(FILM, 255)] * 3 + [FILM])  # as Adobe stores them
    data = imagecodecs.jpeg8_encode(inverted, level=95, colorspace="cmyk", outcolorspace=lossy)
    film = decode_film(data)
    assert film.status == Status.OK
    assert film.pixels is not None
    assert np.abs(film.pixels.astype(int) - grey_by_pil(data)).max() <= 2
    assert abs(film.pixels.mean() - FILM.mean()) < 3


def test_arithmetic_coding_is_read_where_opencv_reads_it() -> None:
    film = decode_film(ARITHMETIC)
    assert (film.status, film.message) == (Status.OK, "")
    assert film.pixels is not None
    small = cv2.resize(FILM, (40, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(film.pixels.astype(int) - small).mean() < 7  # of quality 40


def test_arithmetic_coding_that_opencv_does_not_read_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    assert decode_film(ARITHMETIC).status == Status.UNSUPPORTED
    assert decode_film(jpeg()).status == Status.DAMAGED


def test_two_components_are_no_damage() -> None:
    data = jpeg(COLOURS)
    at = data.index(b"\xff\xc0") + 9
    film = decode_film(data[:at] + b"\x02" + data[at + 1 :])
    assert film.status == Status.UNSUPPORTED
    assert "2 colour components" in film.message


def test_height_behind_the_scan_is_that_of_the_film() -> None:
    film = decode_film(with_height_behind(jpeg()))
    assert (film.width, film.height) == (96, 96)
    np.testing.assert_array_equal(film.pixels, decode_film(jpeg()).pixels)


def test_two_pictures_in_one_file_are_the_first_one() -> None:
    """As phones write them: a second picture, named in a segment of the first."""
    first, second = Image.fromarray(FILM), Image.fromarray(chest(1))
    out = io.BytesIO()
    first.save(out, "MPO", save_all=True, append_images=[second], quality=95)
    film = decode_film(out.getvalue())
    assert (film.status, film.message) == (Status.OK, NOTE)
    assert film.pixels is not None
    assert np.abs(film.pixels.astype(int) - FILM).mean() < 3


@pytest.mark.parametrize("cut", [2, 100, 1000])
def test_a_thumbnail_does_not_hide_that_a_film_is_cut(cut: int) -> None:
    """The thumbnail in the Exif segment is a whole JPEG of its own."""
    thumbnail = jpeg(cv2.resize(FILM, (40, 40)))
    whole = with_segment(jpeg(), 0xE1, exif(6) + thumbnail)
    assert decode_film(whole).message == "orientation tag 6 ignored"
    film = decode_film(whole[:-cut])
    assert (film.status, film.message) == (Status.DAMAGED, "JPEG is truncated: its end marker is missing")


def test_bytes_between_segments_are_passed_over_as_decoders_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_simplejpeg", lambda: None)
    data = jpeg()
    table = data.index(b"\xff\xdb")
    film = decode_film(data[:table] + b"\0\0\xff\0" + data[table:])
    assert film.status == Status.OK
    np.testing.assert_array_equal(film.pixels, decode_film(data).pixels)


def test_strict_still_finds_damage_in_what_it_knows() -> None:
    pytest.importorskip("simplejpeg")
    for data in (jpeg(), jpeg(COLOURS), saved(COLOURS, "CMYK", subsampling=0), saved(COLOURS, progressive=True)):
        film = decode_film(zeroed(data) + b"\n")
        assert (film.status, film.message[:26]) == (Status.DAMAGED, "damaged: Corrupt JPEG data")


def test_a_tail_of_any_kind_is_one_note() -> None:
    for tail in (b"\n", b"\xff", b"\0\0x", struct.pack(">I", 7), jpeg(), png(FILM), b"<html>"):
        assert decode_film(jpeg() + tail).message == NOTE
        assert decode_film(png(FILM) + tail).message == NOTE
    assert decode_film(jpeg() + bytes(70)).message == ""
