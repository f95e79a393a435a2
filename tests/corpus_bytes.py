"""Films written byte for byte, so that each can be wrong in the one way that is expected."""

from __future__ import annotations

import base64
import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from cxrscore.synthetic.phantoms import phantom

SIDE = 96
_PNG = b"\x89PNG\r\n\x1a\n"
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Column, row, step across, step down of the seven passes of an interlaced PNG."""


@functools.cache
def chest(seed: int = 0, side: int = SIDE) -> Any:
    """A synthetic film uint8 [S,S]; every seed is another patient."""
    pixels, _ = phantom(seed, (), side)
    return pixels


# --- PNG


def chunk(name: bytes, content: bytes, crc: int | None = None) -> bytes:
    own = zlib.crc32(name + content) if crc is None else crc
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", own)


def png_head(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return _PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(
    pixels: Any, *, depth: int = 8, colour: int = 0, interlace: bool = False, before: bytes = b"", parts: int = 1
) -> bytes:
    """A PNG of the samples [H,W] or [H,W,channels].

    before  chunks between the header and the pixels
    parts   IDAT chunks that the pixels are spread over
    """
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    rows = b"".join(_rows(pixels[y::dy, x::dx], depth) for x, y, dx, dy in passes)
    packed = zlib.compress(rows)
    size = -(-len(packed) // parts)
    idat = b"".join(chunk(b"IDAT", packed[at : at + size]) for at in range(0, len(packed), size))
    head = png_head(pixels.shape[1], pixels.shape[0], depth, colour, int(interlace))
    return head + before + idat + chunk(b"IEND", b"")


def _rows(samples: Any, depth: int) -> bytes:
    flat = samples.reshape(len(samples), -1)
    if depth < 8:
        bits = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        return b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    kind = ">u2" if depth == 16 else "u1"
    return b"".join(b"\0" + row.tobytes() for row in flat.astype(kind))


def png_of_zeros(side: int) -> bytes:
    """A large black film in few bytes."""
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    packed = b"".join(packer.compress(row * min(64, side - at)) for at in range(0, side, 64)) + packer.flush()
    return png_head(side, side) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


# --- JPEG


def jpeg(pixels: Any | None = None, *params: int) -> bytes:
    return bytes(cv2.imencode(".jpg", chest() if pixels is None else pixels, params)[1])


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG with a segment more, right behind its start."""
    return data[:2] + segment(marker, content) + data[2:]


def with_frame_marker(data: bytes, marker: int) -> bytes:
    """The JPEG with another letter in its frame header: how its pixels are said to be coded."""
    at = next(i for i in range(len(data)) if data[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return data[: at + 1] + bytes([marker]) + data[at + 2 :]


ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9"
    "lnN+gXz/yQALCAAoACgBAREA/8wABgAQEAX/2gAIAQEAAD8A/wB0pMrAaeU+PNpfcxu7MkHZg3jG8dGSQLSPiN1PAV3XhPHRzJc+t5r5aqwzYASo"
    "e86RnZN1q/dbGl/oDkSjY6GRKLL8CjmfKHO2MNInk7OMMAessKZ1noyafx4CXEPyK33+vy8Ilbva+ny4Uev2lbzNm2tGvobqf89YmP8AkS5DWI+E"
    "4WmsTt+hafvjksGgL+KM/wAKC59vKbgLPom7zci9dBqBaVFAYVj3RlM504zlUWLzfxKEdrNG9h74v7aaLAjgWTlSjfG8kx4bZak9rrEvQV7iqpI3"
    "QCIGUSncV1VdM1o/FP/Z"
)
"""A drawn film of 40 x 40 pixels with arithmetic coding, which no encoder of the test environment writes."""


def exif(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + b"\0\0\0\0"


def zeroed(data: bytes, count: int = 100) -> bytes:
    """The bytes with some in the middle overwritten by zeros, as a bad sector leaves them."""
    middle = len(data) // 2
    return data[:middle] + bytes(count) + data[middle + count :]


# --- DICOM

IMPLICIT, EXPLICIT, EXPLICIT_BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RUN_LENGTH, BASELINE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"
LOSSLESS, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
EXTENDED, PROCESS_14, MPEG2 = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.100"


def dicom(
    pixels: Any | None = None,
    *,
    bits: int = 8,
    syntax: str = EXPLICIT,
    frame: bytes | None = None,
    without: Sequence[str] = (),
    bare: bool = False,
    **elements: Any,
) -> bytes:
    """A DICOM film.

    frame     compressed pixels, for the syntaxes that want them
    without   keywords of elements to leave out
    bare      no preamble and no meta information: the data set alone
    elements  keywords with values of others
    """
    import pydicom
    from pydicom.encaps import encapsulate

    pixels = chest() if pixels is None else pixels
    big = syntax == EXPLICIT_BIG
    with any_value_may_be_written():
        ds = _dataset(pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")), bits)
        for name, value in elements.items():
            setattr(ds, name, value)
        if frame is not None:
            ds.PixelData = encapsulate([frame])
            ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB" if pixels.itemsize == 1 or frame is not None else "OW"
        for name in without:
            delattr(ds, name)
        out = io.BytesIO()
        if bare:
            pydicom.dcmwrite(out, ds, implicit_vr=True, little_endian=True)
            return out.getvalue()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = syntax
        known = syntax in (IMPLICIT, DEFLATED)
        coding = {} if known else {"implicit_vr": False, "little_endian": not big}
        pydicom.dcmwrite(out, ds, enforce_file_format=True, **coding)
        return out.getvalue()


@contextmanager
def any_value_may_be_written() -> Iterator[None]:
    import pydicom

    settings = pydicom.config.settings
    before = settings.reading_validation_mode, settings.writing_validation_mode
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        yield
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = before


def _dataset(pixels: Any, bits: int) -> Any:
    import pydicom

    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "DX", "MONOCHROME2", 1
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = pixels.itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    return ds


@functools.cache
def frame(syntax: str) -> bytes:
    """The chest film as one compressed frame of a transfer syntax."""
    import imagecodecs

    pixels = chest()
    if syntax == RUN_LENGTH:
        return _run_length(pixels)
    return bytes(
        {
            BASELINE: lambda: imagecodecs.jpeg8_encode(pixels, level=95),
            LOSSLESS: lambda: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1),
            JPEG_LS: lambda: imagecodecs.jpegls_encode(pixels),
            JPEG_2000: lambda: imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="j2k"),
        }[syntax]()
    )


def _run_length(pixels: Any) -> bytes:
    """PS3.5 annex G, every row in literal runs of at most 128 bytes."""
    rows = b"".join(
        bytes([len(run) - 1]) + run
        for row in pixels
        for run in (row[at : at + 128].tobytes() for at in range(0, len(row), 128))
    )
    return struct.pack("<16I", 1, 64, *[0] * 14) + rows + bytes(len(rows) % 2)


def lookup_table(values: Sequence[int], bits: int, *, entries: int | None = None) -> Any:
    """A LUT sequence; ``entries`` is what it claims to have."""
    import pydicom

    item = pydicom.Dataset()
    item.LUTDescriptor = [len(values) if entries is None else entries, 0, bits]
    item.LUTData = list(values)
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return pydicom.Sequence([item])


# --- zip


def archive(members: Mapping[str, bytes], *, packed: bool = True) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as opened:
        for name, data in members.items():
            opened.writestr(zipfile.ZipInfo(name), data, compress_type=opened.compression)
    return out.getvalue()


def with_flags(data: bytes, *, encrypted: bool = False, method: int | None = None) -> bytes:
    """An archive whose members all claim to be encrypted, or packed by another method."""
    changed = bytearray(data)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            changed[at + flags] |= int(encrypted)
            if method is not None:
                struct.pack_into("<H", changed, at + flags + 2, method)
            at = data.find(signature, at + 4)
    return bytes(changed)
