"""One film written in many ways has the same pixels; padding; windows of functional groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
imagecodecs = pytest.importorskip("imagecodecs")
from corpus_bytes import IMPLICIT, JPEG_2000, JPEG_LS, dicom, lookup_table  # noqa: E402
from pydicom.dataset import Dataset  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402

from cxrscore.images import Status, decode_film, dicom_display  # noqa: E402
from cxrscore.images.dicom_pixels import REST_IGNORED  # noqa: E402
from cxrscore.images.grey_range import RANGE_FROM_PIXELS  # noqa: E402


def drawn(side: int = 96) -> np.ndarray:
    """A film 0..1 as float64 [S,S]: two dark lungs on a bright body, smooth patches, all values used."""
    y, x = np.mgrid[0:side, 0:side] / side
    lungs = sum(np.exp(-((x - c) ** 2 / 0.02 + (y - 0.5) ** 2 / 0.08)) for c in (0.3, 0.7))
    patches = cv2.resize(np.random.default_rng(0).random((5, 5)), (side, side), interpolation=cv2.INTER_CUBIC)
    film = 0.75 - 0.6 * lungs + 0.6 * patches
    return np.asarray((film - film.min()) / (film.max() - film.min()))


FILM = drawn()
TWELVE = np.rint(FILM * 4095).astype(np.uint16)
GUESS = f"{RANGE_FROM_PIXELS}: 0 to 4095 of 0 to 65535"


def shown(data: bytes) -> tuple[np.ndarray, str]:
    """The pixels, 0..1, and the note."""
    film = decode_film(data)
    assert film.status == Status.OK, film.message
    return film.pixels / float(np.iinfo(film.pixels.dtype).max), film.message


def codestream(pixels: np.ndarray, bits: int, form: str = "j2k") -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat=form, bitspersample=bits))


def from_value(first: int) -> Sequence:
    """A LUT of 12 bits that changes nothing, from this value on."""
    table = lookup_table(range(4096), 12)
    table[0].LUTDescriptor = [4096, first, 12]
    return table


def packed_words() -> list[int]:
    """A LUT that changes nothing, two entries in each word."""
    return [low | (low + 1) << 8 for low in range(0, 256, 2)]


def group(name: str, **elements: Any) -> Sequence:
    """A functional group with one item of one module."""
    inner, outer = Dataset(), Dataset()
    for keyword, value in elements.items():
        setattr(inner, keyword, value)
    setattr(outer, name, Sequence([inner]))
    return Sequence([outer])


def padded(pixels: np.ndarray, value: int) -> np.ndarray:
    """The film with a border of 8 pixels of this value."""
    framed = pixels.copy()
    framed[:8] = framed[-8:] = value
    framed[:, :8] = framed[:, -8:] = value
    return framed


def by_a_voi_lut_of_12_bits_in_16() -> bytes:
    return dicom(TWELVE, bits=12, VOILUTSequence=lookup_table(range(4096), 16))


WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
WRITTEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "8 bits": (lambda: dicom(np.rint(FILM * 255).astype(np.uint8)), ""),
    "16 bits": (lambda: dicom(np.rint(FILM * 65535).astype(np.uint16), bits=16), ""),
    "12 bits in 16": (lambda: dicom(TWELVE, bits=16), GUESS),
    "12 bits in 16, implicit": (lambda: dicom(TWELVE, bits=16, syntax=IMPLICIT), GUESS),
    "10 bits in 16": (lambda: dicom(TWELVE // 4, bits=16), f"{RANGE_FROM_PIXELS}: 0 to 1023 of 0 to 65535"),
    "8 bits in 16": (lambda: dicom(TWELVE // 16, bits=16), f"{RANGE_FROM_PIXELS}: 0 to 255 of 0 to 65535"),
    "12 bits in 16, told": (
        lambda: dicom(TWELVE, bits=16, SmallestImagePixelValue=0, LargestImagePixelValue=4095),
        "range of its largest pixel value: 0 to 4095",
    ),
    "12 bits in 16, told wrongly": (
        lambda: dicom(TWELVE, bits=16, SmallestImagePixelValue=0, LargestImagePixelValue=255),
        GUESS,
    ),
    "12 bits in 16, with a window": (lambda: dicom(TWELVE, bits=16, **WINDOW), "VOI window"),
    "12 bits in 16, window of 16": (
        lambda: dicom(TWELVE, bits=16, WindowCenter=32768, WindowWidth=65536),
        f"{GUESS}, VOI window ignored: it contradicts the pixels",
    ),
    "12 bits in 16, window outside": (
        lambda: dicom(TWELVE, bits=16, WindowCenter=40000, WindowWidth=1000),
        f"{GUESS}, VOI window ignored: it contradicts the pixels",
    ),
    "second window": (
        lambda: dicom(TWELVE, bits=12, WindowCenter=[0, 2048], WindowWidth=[0, 4096]),
        "VOI window ignored: width 0, VOI window",
    ),
    "LUT of 12 bits in 16": (by_a_voi_lut_of_12_bits_in_16, "VOI LUT"),
    "12 bits in 16, inverted": (
        lambda: dicom(4095 - TWELVE, bits=16, PhotometricInterpretation="MONOCHROME1"),
        f"{GUESS}, inverted",
    ),
    "inverted, with its presentation LUT shape": (
        lambda: dicom(4095 - TWELVE, bits=12, PhotometricInterpretation="monochrome1", PresentationLUTShape="INVERSE"),
        "inverted",
    ),
    "signed": (lambda: dicom(TWELVE.astype(np.int16) - 2048, bits=12), ""),
    "signed, in 16": (
        lambda: dicom(TWELVE.astype(np.int16) - 2048, bits=16),
        f"{RANGE_FROM_PIXELS}: -2048 to 2047 of -32768 to 32767",
    ),
    "signed, in 16, mostly positive": (
        lambda: dicom((TWELVE // 4).astype(np.int16) * 5 - 1024, bits=16),
        f"{RANGE_FROM_PIXELS}: -1024 to 4095 of -32768 to 32767",
    ),
    "signed, none negative": (
        lambda: dicom((TWELVE // 2).astype(np.int16), bits=12),
        f"{RANGE_FROM_PIXELS}: 0 to 2047 of -2048 to 2047",
    ),
    "rescaled": (lambda: dicom(TWELVE, bits=12, RescaleSlope=2, RescaleIntercept=-1000), "rescaled"),
    "rescaled to the negative": (
        lambda: dicom(4095 - TWELVE, bits=12, RescaleSlope=-1, RescaleIntercept=0),
        "rescaled",
    ),
    "left-aligned": (lambda: dicom(TWELVE << 4 | 5, bits=12, HighBit=15), ""),
    "wrong high bit": (
        lambda: dicom(TWELVE, bits=12, HighBit=15),
        "high bit 15 ignored: it contradicts the pixels",
    ),
    "12 bits of which 8 are said to be stored": (
        lambda: dicom(TWELVE, bits=8, HighBit=7),
        "12 bits as in its pixels",
    ),
    "LUT from a negative value that is written as unsigned": (
        lambda: dicom(TWELVE, bits=12, RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=from_value(65536 - 1024)),
        "rescaled, VOI LUT",
    ),
    "LUT of 8 bits, two in a word": (
        lambda: dicom(
            np.rint(FILM * 255).astype(np.uint8), VOILUTSequence=lookup_table(packed_words(), 8, entries=256)
        ),
        "VOI LUT",
    ),
    "code stream in boxes, followed by others": (
        lambda: dicom(TWELVE, bits=12, syntax=JPEG_2000, frame=codestream(TWELVE, 12, "jp2") + b"\0\0\0\x08free"),
        REST_IGNORED,
    ),
    "code stream of fewer bits": (
        lambda: dicom(TWELVE, bits=16, syntax=JPEG_2000, frame=codestream(TWELVE, 12)),
        "range of its code stream: 0 to 4095",
    ),
    "code stream of more bits": (
        lambda: dicom(TWELVE, bits=8, HighBit=7, syntax=JPEG_2000, frame=codestream(TWELVE, 12)),
        "12 bits as in its code stream",
    ),
    "code stream with a wrong high bit": (
        lambda: dicom(TWELVE, bits=12, HighBit=15, syntax=JPEG_2000, frame=codestream(TWELVE, 12)),
        "high bit 15 ignored: it contradicts the pixels",
    ),
    "code stream of left-aligned values": (
        lambda: dicom(TWELVE, bits=12, HighBit=15, syntax=JPEG_2000, frame=codestream(TWELVE << 4, 16)),
        "16 bits as in its code stream",
    ),
    "code stream of 16 bits, with 12 of 8": (
        lambda: dicom(TWELVE, bits=8, HighBit=7, syntax=JPEG_LS, frame=bytes(imagecodecs.jpegls_encode(TWELVE))),
        f"{GUESS}, 16 bits as in its code stream",
    ),
    "shared functional group": (
        lambda: dicom(TWELVE, bits=16, SharedFunctionalGroupsSequence=group("FrameVOILUTSequence", **WINDOW)),
        "VOI window",
    ),
    "functional group of the frame": (
        lambda: dicom(TWELVE, bits=16, PerFrameFunctionalGroupsSequence=group("FrameVOILUTSequence", **WINDOW)),
        "VOI window",
    ),
    "rescale in a functional group": (
        lambda: dicom(
            TWELVE,
            bits=16,
            SharedFunctionalGroupsSequence=group(
                "PixelValueTransformationSequence", RescaleSlope=0.5, RescaleIntercept=-10
            ),
            WindowCenter=1014,
            WindowWidth=2048,
        ),
        "rescaled, VOI window",
    ),
    "letters": (lambda: dicom(with_letters(TWELVE, 65535), bits=16), GUESS),
    "letters, inverted": (
        lambda: dicom(65535 - with_letters(TWELVE, 65535), bits=16, PhotometricInterpretation="MONOCHROME1"),
        f"{RANGE_FROM_PIXELS}: 61440 to 65535 of 0 to 65535, inverted",
    ),
}


def with_letters(pixels: np.ndarray, value: int) -> np.ndarray:
    """The film with a burned-in letter of 25 pixels, far brighter than all else."""
    marked = pixels.copy()
    marked[2:7, 2:7] = value
    return marked


@pytest.mark.parametrize("name", WRITTEN)
def test_one_film_written_in_many_ways_has_the_same_pixels(name: str) -> None:
    write, note = WRITTEN[name]
    plain, none = shown(dicom(TWELVE, bits=12))
    assert none == ""
    pixels, message = shown(write())
    assert message == note
    pixels, plain = pixels[8:, 8:], plain[8:, 8:]  # without the letters
    assert np.abs(pixels - plain).max() < 0.006


PADDED: dict[str, dict[str, Any]] = {
    "black": {"value": 0, "PixelPaddingValue": 0},
    "white": {"value": 4095, "PixelPaddingValue": 4095},
    "in a range": {"value": 4090, "PixelPaddingValue": 4085, "PixelPaddingRangeLimit": 4095},
    "in a range the other way round": {"value": 4090, "PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4085},
    "above the stored bits": {"value": 0xF000, "PixelPaddingValue": 0xF000},
}


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 3000}])
@pytest.mark.parametrize("name", PADDED)
def test_padding_is_black_and_changes_nothing_else(name: str, window: dict[str, int], interpretation: str) -> None:
    elements = dict(PADDED[name])
    stored = TWELVE.clip(1, 4080)
    framed = padded(stored, elements.pop("value"))
    common = {"bits": 12, "PhotometricInterpretation": interpretation, **window}
    plain, note = shown(dicom(stored, **common))
    pixels, message = shown(dicom(framed, **common, **elements))
    assert message == ", ".join(filter(None, [note, "padding"]))
    np.testing.assert_array_equal(pixels[8:-8, 8:-8], plain[8:-8, 8:-8])
    assert not padded(pixels, 0)[0].any()
    assert pixels[:8].max() == pixels[-8:].max() == pixels[:, :8].max() == pixels[:, -8:].max() == 0


@pytest.mark.parametrize("representation", [b"SS", b"US"])
def test_padding_of_signed_values(representation: bytes) -> None:
    stored, window = TWELVE.astype(np.int16) - 2048, {"WindowCenter": 0, "WindowWidth": 4096}
    plain, _ = shown(dicom(stored, bits=16, **window))
    data = dicom(padded(stored, -32768), bits=16, PixelPaddingValue=-32768, **window)
    element = b"\x28\x00\x20\x01"
    assert data.count(element + b"SS") == 1
    pixels, message = shown(data.replace(element + b"SS", element + representation))
    assert message == "VOI window, padding"
    np.testing.assert_array_equal(pixels[8:-8, 8:-8], plain[8:-8, 8:-8])
    assert pixels[0].max() == 0


def test_padding_does_not_hide_the_range_of_the_film() -> None:
    pixels, message = shown(dicom(padded(TWELVE, 65535), bits=16, PixelPaddingValue=65535))
    assert message == f"{GUESS}, padding"
    assert np.abs(pixels - padded(FILM, 0)).max() < 0.002


def test_padding_that_no_pixel_has_needs_no_note() -> None:
    assert shown(dicom(TWELVE.clip(1), bits=12, PixelPaddingValue=0))[1] == ""
    assert shown(dicom(TWELVE, bits=12, PixelPaddingRangeLimit=4095))[1] == ""  # a limit without a value


def test_padding_that_would_leave_no_film_is_none() -> None:
    pixels, message = shown(dicom(TWELVE, bits=12, PixelPaddingValue=0, PixelPaddingRangeLimit=4000))
    assert message == "padding value ignored: it would leave no film"
    np.testing.assert_array_equal(pixels, shown(dicom(TWELVE, bits=12))[0])


def test_a_clinical_window_is_left_alone() -> None:
    # Narrow: 40 % of the pixels are black or white; wide: the film uses 60 % of the grey levels.
    for center, width in ((2048, 1500), (2048, 6800)):
        assert shown(dicom(TWELVE, bits=12, WindowCenter=center, WindowWidth=width))[1] == "VOI window"


@pytest.mark.parametrize("width", [1, 2])
def test_a_window_that_leaves_black_and_white_only_is_passed_over(width: int) -> None:
    _, message = shown(dicom(TWELVE, bits=12, WindowCenter=2048, WindowWidth=width))
    assert message == "VOI window ignored: it contradicts the pixels"


def test_overlays_above_the_stored_bits_are_dropped() -> None:
    overlay = np.zeros_like(TWELVE)
    overlay[20:60:4, 10:80] = overlay[20:60, 10:80:7] = 0xF000
    pixels, message = shown(dicom(TWELVE | overlay, bits=12))
    assert message == ""
    np.testing.assert_array_equal(pixels, shown(dicom(TWELVE, bits=12))[0])


def test_values_above_the_stored_bits_count_in_a_film_of_many_edges() -> None:
    # White lines: their edges jump further with the upper bits than without, all other pixels do not.
    film = np.rint(drawn(384) * 4095).astype(np.uint16)
    film[:, ::40] = 4095
    pixels, message = shown(dicom(film << 4, bits=12))
    assert message == "16 bits as in its pixels"
    assert np.abs(pixels - shown(dicom(film, bits=12))[0]).max() < 0.001


def test_empty_lookup_tables_say_nothing() -> None:
    table = lookup_table([0], 16)
    table[0].LUTDescriptor = table[0].LUTData = None
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        pixels, message = shown(dicom(TWELVE, bits=12, **{name: table}, **WINDOW))
        assert message == "VOI window"
        np.testing.assert_array_equal(pixels, shown(dicom(TWELVE, bits=12, **WINDOW))[0])


def test_few_values_slightly_above_the_stored_bits_are_white() -> None:
    above = TWELVE.astype(np.uint16)
    above[:, 40:42] += np.linspace(0, 120, 192).astype(np.uint16).reshape(96, 2)
    above[TWELVE >= 4000] += 150
    pixels, message = shown(dicom(above, bits=12))
    assert message == ""
    np.testing.assert_array_equal(pixels, shown(dicom(above.clip(max=4095), bits=12))[0])


def test_optional_elements_of_another_kind_do_not_make_a_film_damaged() -> None:
    assert shown(dicom(TWELVE, bits=12, PixelPaddingValue=[1, 2], PixelPaddingRangeLimit=[3, 4]))[1] == ""
    assert shown(dicom(TWELVE, bits=12, SmallestImagePixelValue=[1, 2], LargestImagePixelValue=[3, 4]))[1] == ""
    assert shown(dicom(TWELVE, bits=12, VOILUTFunction="CUBIC"))[1] == ""  # without a window


def test_a_window_of_8_bits_for_a_film_of_12_is_passed_over() -> None:
    _, message = shown(dicom(TWELVE, bits=12, WindowCenter=128, WindowWidth=256))
    assert message == "VOI window ignored: it contradicts the pixels"


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
def test_a_small_film_on_a_large_plate_keeps_its_window(interpretation: str) -> None:
    # A newborn: 6 % of the plate, the rest black, with noise, below the window.
    plate = np.random.default_rng(0).integers(0, 60, (400, 400)).astype(np.uint16)
    plate[100:196, 100:196] = TWELVE.clip(100)
    stored = plate if interpretation == "MONOCHROME2" else 4095 - plate
    center = 2100 if interpretation == "MONOCHROME2" else 4095 - 2100
    data = dicom(stored, bits=12, PhotometricInterpretation=interpretation, WindowCenter=center, WindowWidth=4000)
    assert shown(data)[1] == ("VOI window" if interpretation == "MONOCHROME2" else "VOI window, inverted")


def test_noise_is_no_film_whatever_its_range() -> None:
    noise = np.random.default_rng(0).integers(0, 200, (960, 960)).astype(np.uint16)
    assert decode_film(dicom(noise, bits=16)).status == Status.BLANK


# --- the display, for a presentation state


@pytest.mark.parametrize(
    ("bits", "elements"),
    [
        (12, {}),
        (16, {}),  # no window, and a quarter of the range is used: it is a guess
        (12, {"WindowCenter": 1500, "WindowWidth": 2500}),
        (12, {"WindowCenter": 1500, "WindowWidth": 2500, "VOILUTFunction": "LINEAR_EXACT"}),
        (12, {"WindowCenter": -9000, "WindowWidth": 10}),  # contradicts the pixels
        (12, {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 2000, "WindowWidth": 5000}),
        (12, {"PhotometricInterpretation": "MONOCHROME1"}),
    ],
)
def test_the_display_gives_the_pixels_of_the_film(bits: int, elements: dict[str, Any]) -> None:
    data = dicom(TWELVE, bits=bits, **elements)
    display = dicom_display(data)
    slope, intercept = display.modality or (1, 0)
    values = TWELVE * slope + intercept
    center, width = display.voi.center, display.voi.width
    if display.voi.function == "LINEAR":
        center, width = center - 0.5, width - 1
    grey = np.clip((values - center) / width + 0.5, 0, 1)
    wanted, _ = shown(data)
    np.testing.assert_allclose(1 - grey if display.inverted else grey, wanted, atol=1e-4)


def test_a_lut_of_the_film_is_its_display() -> None:
    table = np.arange(256, dtype=np.uint16)[::-1] * 257
    data = dicom(np.rint(FILM * 255).astype(np.uint8), VOILUTSequence=lookup_table(table.tolist(), 16))
    display = dicom_display(data)
    assert display.modality is None
    assert (display.voi.first, display.voi.top, display.voi.table.tolist()) == (0, 65535, table.tolist())
