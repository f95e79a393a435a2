"""The range that a film is spread over, by counts and pixels worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxrscore.images import Status
from cxrscore.images.film import FilmError, Pixels
from cxrscore.images.grey_range import (
    check_content,
    check_spread,
    in_used_range,
    range_note,
    range_of_bits,
    spread,
    used_range,
)

WIDE = (0, 65535)


def counted(values: dict[int, int], first: int = 0) -> NDArray[np.int64]:
    """Counts from ``first`` on, of value: number of pixels."""
    counts = np.zeros(max(values) - first + 1, np.int64)
    for value, number in values.items():
        counts[value - first] = number
    return counts


def body(side: int, top: int) -> NDArray[np.uint16]:
    """A smooth film [S,S] of 0 to top."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    return np.rint((x + y) / 2 * top).astype(np.uint16)


@pytest.mark.parametrize(
    ("values", "declared", "used"),
    [
        ({0: 5, 900: 5, 4095: 5}, WIDE, (0, 4095)),  # 12 bits in 16
        ({0: 5, 900: 5, 3000: 5}, WIDE, (0, 4095)),  # 3001 values are more than a quarter of 4096
        ({3: 5, 500: 5, 1023: 5}, WIDE, (0, 1023)),  # 10 bits
        ({3: 5, 100: 5, 255: 5}, WIDE, (0, 255)),  # 8 bits
        ({0: 5, 16382: 5}, WIDE, (0, 16383)),  # 16383 values, less than a quarter of 65536
        ({0: 5, 16383: 5}, WIDE, (0, 16383)),  # 16384 values are a quarter, but no more
        ({0: 5, 16384: 5}, WIDE, None),
        ({49153: 5, 65535: 5}, WIDE, (49153, 65535)),  # the same at the white end: no depth has these
        ({49152: 5, 65535: 5}, WIDE, None),
        ({32768: 5, 36863: 5}, WIDE, (32768, 36863)),  # signed values of 12 bits, shifted
        ({4000: 5, 4095: 5}, WIDE, (4000, 4095)),  # 96 of 4096 values
        ({0: 5, 63: 5}, (0, 255), (0, 63)),  # a dark film of 8 bits
        ({0: 5, 64: 5}, (0, 255), None),
        ({0: 5, 900: 5, 4095: 5}, (0, 4095), None),
        ({0: 5, 900: 5}, (0, 4095), (0, 1023)),
    ],
)
def test_range_of_the_depth_that_holds_the_values(
    values: dict[int, int], declared: tuple[int, int], used: tuple[int, int] | None
) -> None:
    assert used_range(counted(values), 0, *declared) == used


def test_signed_values_have_a_depth_with_a_sign() -> None:
    counts = counted({-1000: 5, 0: 5, 900: 5}, first=-2048)
    assert used_range(counts, -2048, -32768, 32767) == (-1024, 1023)  # 1901 of 2048 values of 11 bits
    counts = counted({-2048: 5, 0: 5, 2047: 5}, first=-2048)
    assert used_range(counts, -2048, -32768, 32767) == (-2048, 2047)


@pytest.mark.parametrize(
    ("smallest", "largest", "expected"),
    [(0, 0, (0, 0)), (7, 8, (0, 15)), (-1, 0, (-1, 0)), (-1025, 4096, (-2048, 8191)), (-2000, -1000, (-2048, 0))],
)
def test_range_of_bits_by_hand(smallest: int, largest: int, expected: tuple[int, int]) -> None:
    assert range_of_bits(smallest, largest) == expected


def test_counts_may_begin_at_any_value() -> None:
    assert used_range(counted({1000: 5, 4000: 5}, first=1000), 1000, *WIDE) == (0, 4095)


@pytest.mark.parametrize(
    ("letters", "between", "used"),
    [
        (500, 0, (0, 4095)),  # 5 percent of 10,000 pixels
        (501, 0, None),
        (460, 30, (0, 4095)),  # edges of letters: a sixteenth of the 490 pixels above
        (460, 31, (0, 8191)),  # these 31 are film
    ],
)
def test_burned_in_letters_do_not_hide_the_range(letters: int, between: int, used: tuple[int, int] | None) -> None:
    values = {0: 5000, 4000: 5000 - letters - between, 5000: between, 65535: letters}
    assert used_range(counted(values), 0, *WIDE) == used


@pytest.mark.parametrize(
    ("bright", "between", "used"),
    [
        (25, 0, (0, 4095)),  # half a percent of 10,000 pixels, of two values
        (26, 0, None),
        (24, 1, (0, 4095)),  # one in 10,000 between the film and the marker
        (24, 2, (0, 8191)),  # these two are film
    ],
)
def test_a_bright_marker_does_not_hide_the_range(bright: int, between: int, used: tuple[int, int] | None) -> None:
    values = {0: 5000, 4000: 5000 - 2 * bright - between, 5000: between, 60000: bright, 65535: bright}
    assert used_range(counted(values), 0, *WIDE) == used


def test_letters_of_some_size_leave_the_film_its_range() -> None:
    film = body(400, 4095)
    film[100:160, 20:120] = 65535  # 4 percent
    pixels, note = in_used_range(film)
    assert note == "grey range taken from its pixels: 0 to 4095 of 0 to 65535"
    assert np.abs(pixels[200:].astype(float) - film[200:] / 4095 * 65535).max() < 1


@pytest.mark.parametrize("values", [{}, {77: 10}, {77: 5, 78: 5}, {500: 5, 530: 5}, {100: 996, 65535: 4}])
def test_blank_has_no_range(values: dict[int, int]) -> None:
    assert used_range(counted(values) if values else np.zeros(9, np.int64), 0, *WIDE) is None


@pytest.mark.parametrize(("step", "used"), [(1, None), (2, (100, 102)), (30, (100, 130))])
def test_a_film_of_few_levels_has_one_if_it_varies_by_a_grey_level(step: int, used: tuple[int, int] | None) -> None:
    # The standard deviation is half a step: 0.5, 1 and 15 of 255 grey levels.
    assert used_range(counted({100: 5, 100 + step: 5}), 0, 0, 255) == used


def test_spread_by_hand() -> None:
    film = np.array([[0, 1000, 2000, 3000, 4000]], np.uint16)
    assert spread(film, (1000, 3000)).tolist() == [[0, 0, 32768, 65535, 65535]]
    eight = np.array([[0, 15, 30]], np.uint8)
    assert spread(eight, (0, 30)).tolist() == [[0, 32768, 65535]]


def test_note_names_both_ranges() -> None:
    assert range_note((0, 4095), 0, 65535) == "grey range taken from its pixels: 0 to 4095 of 0 to 65535"


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_bits_in_16_give_the_film_and_a_note(bits: int) -> None:
    top = 2**bits - 1
    pixels, note = in_used_range(body(96, top))
    assert note == f"grey range taken from its pixels: 0 to {top} of 0 to 65535"
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, np.rint(body(96, top) / top * 65535))


@pytest.mark.parametrize("film", [body(96, 65535), body(96, 255).astype(np.uint8), body(96, 70).astype(np.uint8)])
def test_a_film_that_uses_its_range_stays_as_it_is(film: Pixels) -> None:
    pixels, note = in_used_range(film)
    assert pixels is film
    assert note == ""


def test_a_declared_range_needs_no_note() -> None:
    film = body(96, 3000)
    pixels, note = in_used_range(film, 4095)
    assert note == ""
    np.testing.assert_array_equal(pixels, np.rint(film / 4095 * 65535))


def test_a_declared_range_that_the_pixels_exceed_is_passed_over() -> None:
    pixels, note = in_used_range(body(96, 5000), 4095)
    assert note == "grey range taken from its pixels: 0 to 8191 of 0 to 65535"
    np.testing.assert_array_equal(pixels, np.rint(body(96, 5000) / 8191 * 65535))


def test_a_declared_range_may_be_far_too_wide_as_well() -> None:
    pixels, note = in_used_range(body(96, 255), 4095)
    assert note == "grey range taken from its pixels: 0 to 255 of 0 to 4095"
    assert (pixels.min(), pixels.max()) == (0, 65535)


def test_few_bright_rows_do_not_decide() -> None:
    """Rows that are looked at first show the letters only; all pixels are counted then."""
    film = body(400, 4095)
    film[0, :100] = 65535  # 100 of 160,000 pixels
    _, note = in_used_range(film)
    assert note == "grey range taken from its pixels: 0 to 4095 of 0 to 65535"


@pytest.mark.parametrize("side", [96, 1024])
@pytest.mark.parametrize("deviation", [8, 100, 1500])
def test_noise_is_blank_and_a_faint_body_in_noise_is_not(side: int, deviation: int) -> None:
    noise = np.random.default_rng(0).normal(8000, deviation, (side, side))
    with pytest.raises(FilmError, match="noise only") as caught:
        in_used_range(np.rint(noise).astype(np.uint16))
    assert caught.value.status == Status.BLANK
    faint = np.rint(noise + 2 * deviation * (body(side, 100) / 100.0 - 0.5)).astype(np.uint16)
    assert in_used_range(faint)[1].startswith("grey range taken from its pixels: ")


def test_noise_is_told_by_what_averaging_leaves_of_it() -> None:
    # Stripes of 1 pixel average out over 8 x 8 pixels; stripes of 8 pixels do not.
    thin = np.tile(np.array([0, 65535], np.uint16), (64, 32))
    with pytest.raises(FilmError, match="noise only"):
        check_spread(thin)
    check_spread(cv2.resize(thin, (512, 512), interpolation=cv2.INTER_NEAREST))


def test_content_is_a_deviation_of_one_grey_level() -> None:
    film = np.full((40, 40), 100, np.uint8)
    film[:20] = 101  # a standard deviation of 0.5
    with pytest.raises(FilmError, match=r"blank: standard deviation 0\.50 of 255 grey levels"):
        check_content(film)
    film[:20] = 102
    check_content(film)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_content_in_some_rows_suffices_and_its_absence_there_does_not_matter(kind: type) -> None:
    level = 257 if kind == np.uint16 else 1
    film = np.full((64, 40), 100 * level, kind)
    film[:, ::2][::16] += 12 * level  # deviations: 6 of every 16th row, and 1.5 or more of all rows
    assert film.std() / level > 1.45
    check_content(film)
    film = np.full((64, 40), 100 * level, kind)
    film[1::2] += 4 * level  # every 16th row is plain; 2 of all rows
    check_content(film)
