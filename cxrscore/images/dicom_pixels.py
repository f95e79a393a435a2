"""Stored values of a DICOM film: what its data set says of its pixels, and the pixels themselves, native or compressed.

Compressed pixels are decoded by imagecodecs, whatever plugins pydicom finds, so that a film has the same pixels on
every installation; native pixels are decoded by pydicom, run-length coded ones here.

What the standard allows behind a whole picture is no damage; what is missing or contradicts itself is. Sources: DICOM
PS3.3 C.7.6.3, PS3.5 8.1.1 (native pixels), 8.2 and annex A.4 (encapsulated frames), annex G (run-length coding).
"""

from __future__ import annotations

import importlib
import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.images.codecs import check_jpeg_strictly
from cxrscore.images.file_signatures import (
    REST_IGNORED,
    check_jpeg2000_end,
    check_jpeg_end,
    jpeg2000_header,
    jpeg_header,
)
from cxrscore.images.film import FilmError, Header, Status

INSTALL = 'pip install "cxrscore[dicom]"'
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
RUN_LENGTH = "1.2.840.10008.1.2.5"
_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)
CODECS = {
    _BASELINE: "jpeg8_decode",
    "1.2.840.10008.1.2.4.51": "jpeg8_decode",  # JPEG extended, 12 bits
    "1.2.840.10008.1.2.4.57": "jpeg8_decode",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "jpeg8_decode",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "jpegls_decode",
    "1.2.840.10008.1.2.4.81": "jpegls_decode",
    **dict.fromkeys(_JPEG_2000, "jpeg2k_decode"),
}
_PICTURE_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
_COLOURS = re.compile(r"RGB|ARGB|CMYK|HSV|YBR_(FULL|FULL_422|PARTIAL_422|PARTIAL_420|ICT|RCT)")
_GREY = "MONOCHROME1 or MONOCHROME2"
_BEYOND = 0.005
"""Share of pixels clearly above the stored bits from which on the code stream's own bits count."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Layout of the pixel cells, as in PS3.3 C.7.6.3: bits allocated, bits stored, high bit, signed or not."""

    allocated: int
    stored: int
    high: int
    signed: bool


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Stored values of a film.

    values     [H,W], int8, int16, uint8 or uint16
    bits       number of bits of a value, sign included
    precision  number of bits by the header of the code stream; that of ``bits`` for native pixels
    cells      [H,W], the pixel cells with the bits above the stored ones; None for code streams
    notes      on what was passed over
    """

    values: NDArray[Any]
    bits: int
    precision: int
    cells: NDArray[Any] | None
    notes: tuple[str, ...]

    @property
    def nominal(self) -> tuple[int, int]:
        """The range of values that the bits hold."""
        return _limits(self.bits, signed=self.values.dtype.kind == "i")


def photometric_interpretation(dataset: Any) -> str:
    """Photometric Interpretation in upper case, without blanks and zero bytes."""
    value = dataset.get("PhotometricInterpretation")
    first = value[0] if value and not isinstance(value, str) else value
    return re.sub(r"[\s\0]+", " ", str(first or "")).strip().upper().replace("MONOCHROME ", "MONOCHROME")


def layout_of(dataset: Any) -> Layout:
    """The layout of a data set with Pixel Data; raises FilmError unless it is one grey frame that can be read."""
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise FilmError(Status.SEVERAL_FRAMES, f"{int(dataset.NumberOfFrames)} frames, expected one film per file")
    _check_grey(photometric_interpretation(dataset), dataset.get("SamplesPerPixel"))
    for keyword in ("Rows", "Columns"):
        _required(dataset, keyword)
    allocated, stored = _required(dataset, "BitsAllocated"), _required(dataset, "BitsStored")
    high, sign = _optional(dataset, "HighBit", stored - 1), _optional(dataset, "PixelRepresentation", 0)
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise FilmError(Status.UNSUPPORTED, f"{stored} bits stored in {allocated}, expected up to 8 in 8 or 16 in 16")
    if not stored - 1 <= high < allocated:
        said = f"{stored} bits stored in {allocated} with high bit {high}, expected {stored - 1}"
        raise FilmError(Status.UNSUPPORTED, said)
    if sign not in (0, 1):
        raise FilmError(Status.DAMAGED, f"damaged: Pixel Representation {sign}, expected 0 or 1")
    return Layout(allocated=allocated, stored=stored, high=high, signed=bool(sign))


def _check_grey(interpretation: str, samples: Any) -> None:
    if interpretation in ("MONOCHROME1", "MONOCHROME2"):
        if samples is not None and int(samples) != 1:
            said = f"damaged: {int(samples)} samples per pixel contradict {interpretation}, expected 1"
            raise FilmError(Status.DAMAGED, said)
        return
    if not interpretation:  # without it, black and white may be the other way round
        said = f"Photometric Interpretation (0028,0004) is missing, expected {_GREY}"
    elif interpretation == "PALETTE COLOR":
        said = f"DICOM with a colour palette (PALETTE COLOR), expected {_GREY}"
    elif _COLOURS.fullmatch(interpretation):
        said = f"DICOM in colour ({interpretation}), expected {_GREY}"
    else:
        said = f"unknown Photometric Interpretation (0028,0004), expected {_GREY}"
    raise FilmError(Status.UNSUPPORTED, said)


def _required(dataset: Any, keyword: str) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword)
        raise FilmError(Status.DAMAGED, f"damaged: {words} is missing")
    return int(value)


def _optional(dataset: Any, keyword: str, default: int) -> int:
    value = dataset.get(keyword)
    return default if value is None or value == "" else int(value)


def stored_values(dataset: Any, layout: Layout, header: Header) -> Stored:
    """The stored values [H,W]; raises FilmError if they are damaged or of a transfer syntax that is not read."""
    syntax = _transfer_syntax(dataset)
    if not dataset.PixelData:
        raise FilmError(Status.DAMAGED, "damaged: its Pixel Data is empty")
    if syntax in CODECS:
        stored = _by_imagecodecs(dataset, syntax, layout, header)
    elif syntax == RUN_LENGTH:
        stored = _of_cells(*_run_length_coded(dataset, layout, header), layout)
    elif syntax in NATIVE:
        stored = _of_cells(*_native(dataset, syntax, layout, header), layout)
    else:
        raise FilmError(Status.UNSUPPORTED, f"DICOM transfer syntax {_uid(syntax)}")
    if stored.values.shape != (header.height, header.width):
        raise FilmError(Status.DAMAGED, "damaged: its pixels do not match its header")
    return stored


def _transfer_syntax(dataset: Any) -> str:
    named = dataset.file_meta.get("TransferSyntaxUID")
    if named:
        return str(named).strip("\0 ")
    implicit, little = dataset.original_encoding
    if implicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if little else EXPLICIT_BIG


def _uid(text: str) -> str:
    """A UID of the standard; "unknown" for all others, which may be private."""
    return text if re.fullmatch(r"1\.2\.840\.10008\.[0-9.]{1,49}", text) else "unknown"


def _limits(bits: int, *, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


# --- Native and run-length coded pixels


def _of_cells(cells: NDArray[Any], notes: tuple[str, ...], layout: Layout) -> Stored:
    cells = cells.astype(f"u{cells.itemsize}", copy=False)  # of this machine's byte order
    high = layout.high
    if high != layout.stored - 1 and _are_right_aligned(cells, layout):
        high = layout.stored - 1
        notes += (f"high bit {layout.high} ignored: it contradicts the pixels",)
    bits, top = layout.stored, 2**layout.stored - 1
    within = cells
    if not layout.signed and high < bits and _belong_to_the_values(cells, bits):
        if np.count_nonzero(cells > top + top // 16) > _BEYOND * cells.size:
            bits = int(cells.max()).bit_length()
            high = bits - 1
            notes += (f"{bits} bits as in its pixels",)
        else:
            within = cells.clip(max=top)
    values = _bits_of(within, high, bits, signed=layout.signed)
    return Stored(values=values, bits=bits, precision=bits, cells=cells, notes=notes)


def _belong_to_the_values(cells: NDArray[Any], stored: int) -> bool:
    """Whether there are bits above the stored ones, and they belong to the values.

    Where these bits differ between neighbours, values that belong together stay close with them and jump without them;
    at the edge of an overlay, they jump with them only. Every eighth row tells.
    """
    if int(cells.max()) < 2**stored:
        return False
    rows = cells[::8].astype(np.int32)
    with_all, without = (np.abs(np.diff(each, axis=1)) for each in (rows, rows & (2**stored - 1)))
    edges = np.diff(rows >> stored, axis=1) != 0
    return bool(2 * np.count_nonzero(with_all[edges] < without[edges]) > np.count_nonzero(edges))


def _are_right_aligned(cells: NDArray[Any], layout: Layout) -> bool:
    """Whether the cells hold values in their lowest bits, although the data set has a higher high bit."""
    below = 2 ** (layout.high + 1 - layout.stored) - 1
    return int(cells.max()) < 2**layout.stored and bool((cells & below).any())


def _bits_of(cells: NDArray[Any], high: int, stored: int, *, signed: bool) -> NDArray[Any]:
    """These bits as numbers: shifted to the top and back, which drops overlays and extends the sign."""
    width = cells.itemsize * 8
    if cells.itemsize > 2 or width < stored:
        raise FilmError(Status.DAMAGED, "damaged: the bit depth of its pixels does not match its header")
    numbers = cells.astype(f"{'i' if signed else 'u'}{cells.itemsize}", copy=False)
    if stored == width:
        return numbers
    return (numbers << (width - 1 - high)) >> (width - stored)


def _native(dataset: Any, syntax: str, layout: Layout, header: Header) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The pixel cells [H,W] and notes."""
    if dataset["PixelData"].is_undefined_length:
        named = dataset.file_meta.get("TransferSyntaxUID")
        said = "its transfer syntax is not" if named else "Transfer Syntax UID is missing"
        raise FilmError(Status.DAMAGED, f"damaged: its pixels are compressed, but {said}")
    data = dataset.PixelData
    one_frame = header.width * header.height * layout.allocated // 8
    if len(data) < one_frame:
        raise FilmError(Status.DAMAGED, f"damaged: {len(data):,} bytes of pixels, expected {one_frame:,}")
    notes = _notes_on_rest(data[one_frame:], one_frame, min(header.width, header.height) * layout.allocated // 8)
    arguments = {
        "rows": header.height,
        "columns": header.width,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": layout.allocated,
        "bits_stored": layout.allocated,
        "pixel_representation": 0,
        "pixel_keyword": "PixelData",
        "pixel_vr": dataset["PixelData"].VR,
    }
    decoder = module("pydicom.pixels").get_decoder(syntax)
    # Without its padding, about which pydicom warns.
    pixels, _ = decoder.as_array(data[: one_frame + one_frame % 2], raw=True, **arguments)
    return np.asarray(pixels), notes


def _notes_on_rest(rest: bytes, one_frame: int, one_line: int) -> tuple[str, ...]:
    """Notes on the bytes behind one frame of native pixels; raises FilmError if they are pixels.

    PS3.5 8.1.1 asks receivers to accept excess padding. Equal bytes, and less than a row or column, are no pixels;
    whole frames are, whatever they show.
    """
    if len(rest) <= 1:
        return ()
    if not _is_filler(rest) or len(rest) % one_frame <= 1:
        if len(rest) >= one_frame:
            raise FilmError(Status.SEVERAL_FRAMES, "pixels of several frames, expected one film per file")
        if len(rest) >= one_line:
            raise FilmError(Status.DAMAGED, "damaged: it has more pixels than its header says")
    return (REST_IGNORED,)


def _is_filler(rest: bytes) -> bool:
    """Whether all bytes are equal, apart from the last, which may be a pad byte."""
    return rest[:-1].count(rest[:1]) == len(rest) - 1


def _run_length_coded(dataset: Any, layout: Layout, header: Header) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The pixel cells [H,W] of a run-length coded frame, and notes. PS3.5 annex G."""
    pieces = _pieces(dataset.PixelData, is_run_length=True)
    if any(_is_run_length_header(piece) for piece in pieces[1:]):
        raise FilmError(Status.SEVERAL_FRAMES, "pixels of several frames, expected one film per file")
    frame = b"".join(pieces)
    count, *starts = struct.unpack_from("<16I", frame)
    if count != layout.allocated // 8:
        raise FilmError(Status.DAMAGED, "damaged: the number of its run-length coded segments contradicts its header")
    size, one_line = header.width * header.height, min(header.width, header.height)
    planes, rests = [], []
    for start, end in itertools.pairwise([*starts[:count], len(frame)]):
        plane, rest = _unpacked(frame[start:end], size)
        if len(plane) != size or (not _is_filler(rest) and len(_unpacked(rest, one_line)[0]) >= one_line):
            raise FilmError(Status.DAMAGED, "damaged: its run-length coded pixels do not match its header")
        planes.append(np.frombuffer(bytes(plane), np.uint8).reshape(header.height, header.width))
        rests.append(rest)
    cells = planes[0] if count == 1 else planes[0].astype(np.uint16) << 8 | planes[1]
    return cells, (REST_IGNORED,) * any(len(rest.rstrip(b"\0")) > 1 for rest in rests)


def _is_run_length_header(piece: bytes) -> bool:
    return piece[:8] in (struct.pack("<2I", count, 64) for count in (1, 2, 3))


def _unpacked(segment: bytes, size: int) -> tuple[bytearray, bytes]:
    """At least so many bytes of a segment, fewer if it ends before; and the bytes of it that were not needed."""
    found, at = bytearray(), 0
    while len(found) < size and at < len(segment):
        head = segment[at]
        if head < 128:
            found += segment[at + 1 : at + 2 + head]
            at += head + 2
        elif head > 128:
            found += segment[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    return found, segment[at:]


# --- Code streams


def _pieces(data: bytes, *, is_run_length: bool) -> list[bytes]:
    """The fragments of Pixel Data without the Basic Offset Table, which one frame does not need, right or wrong."""
    items = list(_items(data))
    if not items:
        raise FilmError(Status.DAMAGED, "damaged: its transfer syntax is compressed, but its pixels are not")
    starts = _is_run_length_header if is_run_length else _starts_picture
    pieces = items if len(items) == 1 or any(map(starts, items[:1])) else items[1:]
    if not any(pieces):
        raise FilmError(Status.DAMAGED, "damaged: its Pixel Data is empty")
    return pieces


def _items(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHI", data, at)
        if (group, element) != (0xFFFE, 0xE000):  # the delimiter, or no items at all
            return
        if at + 8 + length > len(data):
            raise FilmError(Status.DAMAGED, "damaged: a fragment of its pixels is truncated")
        yield data[at + 8 : at + 8 + length]
        at += 8 + length


def _starts_picture(piece: bytes) -> bool:
    return piece.startswith(_PICTURE_STARTS)


def _by_imagecodecs(dataset: Any, syntax: str, layout: Layout, header: Header) -> Stored:
    imagecodecs = module("imagecodecs")
    frame = b"".join(_pieces(dataset.PixelData, is_run_length=False))
    precision, rest = _checked(frame, syntax, header)
    notes = _notes_on_tail(rest)
    picture = frame[: len(frame) - len(rest)] if frame.startswith(_PICTURE_STARTS[:2]) else frame  # boxes go on
    pixels = np.asarray(getattr(imagecodecs, CODECS[syntax])(picture))
    values, bits = _fitting(pixels, layout, precision)
    if bits != layout.stored:
        notes += (f"{bits} bits as in its code stream",)
    elif layout.high != layout.stored - 1:  # the values of a code stream are numbers, whatever cells they came from
        notes += (f"high bit {layout.high} ignored: it contradicts the pixels",)
    return Stored(values=values, bits=bits, precision=precision, cells=None, notes=notes)


def _checked(frame: bytes, syntax: str, header: Header) -> tuple[int, bytes]:
    """Bits per value of a code stream and the bytes after its end; raises FilmError if it is truncated or has another
    size than the data set says."""
    if syntax in _JPEG_2000:
        found, precision = jpeg2000_header(frame)
        rest = check_jpeg2000_end(frame)
    else:
        found, _, precision = jpeg_header(frame)
        rest = check_jpeg_end(frame)
        if syntax == _BASELINE:
            check_jpeg_strictly(frame[: len(frame) - len(rest)])
    if (found.width, found.height) != (header.width, header.height):
        raise FilmError(Status.DAMAGED, "damaged: the size of its compressed pixels differs from its header")
    return precision, rest


def _notes_on_tail(rest: bytes) -> tuple[str, ...]:
    """Notes on the bytes behind a picture: one is the pad byte to an even length (PS3.5 A.4), of any value."""
    if any(_starts_picture(rest[at:]) for at in (0, 1)):
        raise FilmError(Status.SEVERAL_FRAMES, "pixels of several frames, expected one film per file")
    return (REST_IGNORED,) if len(rest.rstrip(b"\0")) > 1 else ()


def _fitting(pixels: NDArray[Any], layout: Layout, precision: int) -> tuple[NDArray[Any], int]:
    """The decoded values as numbers of the stored bits, or of the code stream's if they clearly exceed the stored ones;
    and that number of bits."""
    bits = layout.stored
    width = pixels.itemsize * 8
    if bits < precision <= width <= 16 and (pixels.dtype.kind == "i" or int(pixels.max()) >= 2**bits):
        own = _bits_of(pixels, precision - 1, precision, signed=layout.signed)
        low, high = _limits(bits, signed=layout.signed)
        margin = (high - low) // 16
        beyond = np.count_nonzero((own > high + margin) | (own < low - margin))
        if beyond > _BEYOND * own.size:
            return own, precision
    if pixels.dtype.kind == "u" and pixels.itemsize <= 2 and not layout.signed:
        # A lossy codec may exceed the stored bits; dropping the high bit would turn white into black.
        return pixels.clip(max=2**bits - 1), bits
    return _bits_of(pixels, bits - 1, bits, signed=layout.signed), bits


def module(name: str) -> ModuleType:
    """The module; raises FilmError that names the extra if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise FilmError(Status.UNSUPPORTED, f"this DICOM film needs {package}: {INSTALL}") from None
