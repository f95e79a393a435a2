"""PNG chunks beside the samples: they change no grey, and what they say of the film is used or noted."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from corpus_bytes import chest, chunk, exif, png
from numpy.typing import NDArray

from cxrscore.images import Status, decode_film

FILM = chest()
DEEP = FILM.astype(np.uint16) * 257
TWELVE = np.rint(FILM / 255 * 4095).astype(np.uint16)
LEVELS = chunk(b"PLTE", bytes(np.repeat(np.arange(256, dtype=np.uint8), 3)))
GAMMAS = [chunk(b"gAMA", struct.pack(">I", value)) for value in (0, 1000, 45455, 100_000, 10_000_000)]
COLOUR_SPACES = [
    *GAMMAS,
    chunk(b"sRGB", b"\0"),
    chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 90000, 10000, 10000, 90000, 5000, 1000)),
    chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200))),
    chunk(b"cICP", bytes([9, 16, 0, 1])),
    chunk(b"bKGD", b"\0\x80"),
]


def samples(colour: int, deep: bool) -> NDArray[Any]:
    film = DEEP if deep else FILM
    opaque = np.full_like(film, 65535 if deep else 255)
    return {0: film, 2: np.dstack([film] * 3), 3: film, 4: np.dstack([film, opaque])}.get(
        colour, np.dstack([film] * 3 + [opaque])
    )


@pytest.mark.parametrize(
    ("colour", "depth"), [(0, 8), (2, 8), (3, 8), (4, 8), (6, 8), (0, 16), (2, 16), (4, 16), (6, 16)]
)
def test_colour_spaces_change_no_grey(colour: int, depth: int) -> None:
    for space in COLOUR_SPACES:
        data = png(samples(colour, depth == 16), colour=colour, depth=depth, before=space + LEVELS * (colour == 3))
        film = decode_film(data)
        assert (film.status, film.message) == (Status.OK, "")
        np.testing.assert_array_equal(film.pixels, DEEP if depth == 16 else FILM)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("interlace", [False, True])
def test_few_bits_are_spread_over_the_whole_range(depth: int, interlace: bool) -> None:
    """Sample s of k bits is s / (2^k - 1): of 2 bits 0, 85, 170 and 255."""
    few = FILM >> (8 - depth)
    film = decode_film(png(few, depth=depth, interlace=interlace))
    assert film.message == ""
    np.testing.assert_array_equal(film.pixels, few * (255 // (2**depth - 1)))


@pytest.mark.parametrize("tag", [2, 3, 6, 8])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_orientation_is_noted_before_and_after_the_pixels(tag: int, prefix: bytes) -> None:
    turned = chunk(b"eXIf", prefix + exif(tag)[6:])
    plain = png(FILM)
    for data in (png(FILM, before=turned), plain[:-12] + turned + plain[-12:]):
        film = decode_film(data)
        assert (film.status, film.message) == (Status.OK, f"orientation tag {tag} ignored")
        np.testing.assert_array_equal(film.pixels, FILM)


@pytest.mark.parametrize("content", [b"", b"II", exif(1)[6:], exif(9)[6:], b"II*\0\xff\xff\xff\xff"])
def test_upright_and_damaged_orientations_need_no_note(content: bytes) -> None:
    assert decode_film(png(FILM, before=chunk(b"eXIf", content))).message == ""


def test_significant_bits_are_the_range_where_the_samples_are_not_scaled_up() -> None:
    film = decode_film(png(TWELVE, depth=16, before=chunk(b"sBIT", b"\x0c")))
    assert film.message == "12 significant bits (sBIT)"
    np.testing.assert_array_equal(film.pixels, np.rint(TWELVE / 4095 * 65535))


def test_dark_films_keep_their_grey_where_the_bits_are_known() -> None:
    """Of 2000 of 4095 levels nothing is guessed."""
    dark = TWELVE // 2
    film = decode_film(png(dark, depth=16, before=chunk(b"sBIT", b"\x0c")))
    np.testing.assert_array_equal(film.pixels, np.rint(dark / 4095 * 65535))


@pytest.mark.parametrize("bits", [b"\x0c", b"\x00", b"\x11", b"", b"\x10"])
def test_samples_that_are_scaled_up_stay_as_they_are(bits: bytes) -> None:
    """As the specification says: 12 bits s become s * 16 + s // 256. Numbers of bits that cannot be say nothing."""
    scaled = TWELVE << 4 | TWELVE >> 8
    film = decode_film(png(scaled, depth=16, before=chunk(b"sBIT", bits)))
    assert film.message == ""
    np.testing.assert_array_equal(film.pixels, scaled)


def test_significant_bits_of_colours_and_of_8_bits() -> None:
    colours = png(np.dstack([TWELVE] * 3), colour=2, depth=16, before=chunk(b"sBIT", b"\x0c\x0c\x0c"))
    eight = png(FILM >> 2, before=chunk(b"sBIT", b"\x06"))
    for data, bits, film in ((colours, 12, TWELVE), (eight, 6, FILM >> 2)):
        found = decode_film(data)
        assert found.message == f"{bits} significant bits (sBIT)"
        np.testing.assert_array_equal(found.pixels, np.rint(film / (2**bits - 1) * 65535))


@pytest.mark.parametrize("top", [255, 1023, 4095])
def test_fewer_bits_without_a_word_are_guessed_and_noted(top: int) -> None:
    few = np.rint(FILM / 255 * top).astype(np.uint16)
    alike = (png(few, depth=16), png(np.dstack([few] * 3), colour=2, depth=16))
    for data in alike:
        film = decode_film(data)
        assert film.message == f"grey range taken from its pixels: 0 to {top} of 0 to 65535"
        np.testing.assert_array_equal(film.pixels, np.rint(few / top * 65535))


def test_all_notes_of_a_film_are_in_its_message() -> None:
    clear = np.dstack([TWELVE, TWELVE])
    data = png(clear, colour=4, depth=16, before=chunk(b"eXIf", exif(6)[6:])) + b"\n"
    assert decode_film(data).message == (
        "transparency ignored, orientation tag 6 ignored, bytes after its end ignored, "
        "grey range taken from its pixels: 0 to 4095 of 0 to 65535"
    )
