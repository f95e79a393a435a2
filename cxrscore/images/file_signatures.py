"""File type and image size from the bytes alone; file names are ignored.

Sizes are parsed from the headers, so that a film of absurd size is rejected before a decoder allocates it. Sources: PNG
specification (third edition) 5.2, 11.2.1 and 11.3.1.1; ITU-T T.81 annex B; DICOM PS3.10 7.1; ISO/IEC 15444-1 annex A;
ITU-T T.87 annex C. Chunks sBIT and eXIf: PNG specification 11.3.2.6 and 11.3.4.6.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cxrscore.images.film import FilmError, Header, Status

REST_IGNORED = "bytes after its end ignored"
"""Note of a film whose picture is followed by something."""
SIGNATURE_BYTES = 132
"""Number of bytes that the signature test needs."""

_CHUNK = struct.Struct(">I4s")
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_EOI = 0xD9
_SOS = 0xDA
_DNL = 0xDC
_EXIF = b"Exif\0\0"
# SOF0..SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
# In coded data 0xFF is followed by 0 (in JPEG-LS by anything below 80) or by D0..D7, a restart; anything else ends it.
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_J2K_START = b"\xff\x4f\xff\x51"
_SOT = 0x90
_EOC = b"\xff\xd9"


def detect_format(head: bytes) -> str:
    """ "png", "jpeg", "dicom" or "" from the first 132 bytes of a file (fewer if it is shorter)."""
    if head.startswith(_PNG):
        return "png"
    if head.startswith(_JPEG):
        return "jpeg"
    return "dicom" if head[128:132] == b"DICM" or _is_bare_dicom(head) else ""


def _is_bare_dicom(head: bytes) -> bool:
    """Whether the bytes begin like a little-endian DICOM data set without preamble.

    Such files begin with an element of group 0002 or 0008 that has either the letters of its value representation or,
    implicitly, a small even length after its tag.
    """
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00") or head[3] != 0:
        return False
    letters = head[4:6]
    if letters.isalpha() and letters.isupper():
        return True
    (length,) = struct.unpack_from("<I", head, 4)
    return bool(0 < length <= 1024 and length % 2 == 0)


def png_header(data: bytes) -> tuple[Header, bool]:
    """The size of a PNG and whether it may be transparent; raises FilmError for an animated or truncated one."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise FilmError(Status.DAMAGED, "PNG without a header")
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    transparent = colour in (4, 6)
    for name, start, _ in _chunks(data):
        if name == b"IDAT":
            break
        if name == b"acTL" and data[start : start + 4] not in (b"\0\0\0\0", b"\0\0\0\1"):
            raise FilmError(Status.SEVERAL_FRAMES, "animated PNG, expected one film per file")
        transparent |= name == b"tRNS"
    return Header(width=width, height=height), transparent


@dataclass(frozen=True, kw_only=True)
class PngContent:
    """What the chunks of a whole PNG say.

    film              the PNG without the chunks that say nothing of its samples: colour spaces, texts, animation
    rest              bytes after its end
    orientation       tag of its Exif chunk, 1 to 8; 0 if it is missing or damaged
    significant_bits  of the 8 or 16 bits of a sample, by its sBIT chunk; 0 if unknown
    """

    film: bytes
    rest: bytes
    orientation: int
    significant_bits: int


def png_content(data: bytes) -> PngContent:
    """Raises FilmError unless the chunks lead to the end chunk one after the other.

    Decoders trust the length that a chunk declares: 4 GB of memory for a chunk of a few bytes.
    """
    kept, first, further, begun = [], 0, {}, False
    for name, start, end in _chunks(data):
        if end > len(data):
            break
        if name == b"IDAT":  # nearly all chunks of a film
            begun = True
            continue
        if not _says_samples(name):
            kept.append(data[first : start - 8])
            first = end
            if name == b"eXIf" or (name == b"sBIT" and not begun):
                further[name] = data[start : end - 4]
        if name == b"IEND":
            film = b"".join([*kept, data[first:end]]) if kept else data
            bits = _significant_bits(further.get(b"sBIT", b""), data[24], data[25])
            tag = _tiff_orientation(further.get(b"eXIf", b"").removeprefix(_EXIF))
            return PngContent(film=film, rest=data[end:], orientation=tag, significant_bits=bits)
    raise FilmError(Status.DAMAGED, "PNG is truncated: its end chunk is missing")


def _says_samples(name: bytes) -> bool:
    """Whether a decoder needs a chunk: the critical ones, whose first letter is a capital, and transparency."""
    return not name[0] & 0x20 or name == b"tRNS"


def _significant_bits(content: bytes, depth: int, colour: int) -> int:
    """The largest number of significant bits of a colour; 0 if the chunk is not valid, or the samples are expanded."""
    channels = {0: 1, 2: 3, 4: 1, 6: 3}.get(colour, 0)
    bits = max(content[:channels], default=0)
    return bits if depth >= 8 and bits <= depth else 0


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the content and end of each chunk of a PNG."""
    at, last, header = 8, len(data) - 8, _CHUNK.unpack_from
    while at <= last:
        length, name = header(data, at)
        start, at = at + 8, at + 12 + length
        yield name, start, at


def jpeg_header(data: bytes) -> tuple[Header, int, int]:
    """The size of a JPEG, its frame marker (0xC0 baseline, 0xC1 extended, 0xC2 progressive, 0xC3 lossless, 0xC9 and
    0xCA arithmetic coding, 0xF7 JPEG-LS) and its bits per sample; raises FilmError if there is no frame header."""
    marker, at = _frame(data)
    bits, height, width = struct.unpack_from(">BHH", data, at + 2)
    return Header(width=width, height=height or _number_of_lines(data)), marker, bits


def jpeg_components(data: bytes) -> int:
    """The number of colour components of a JPEG; raises FilmError if there is no frame header."""
    _, at = _frame(data)
    return data[at + 7]


def jpeg_with_height(data: bytes) -> bytes:
    """The JPEG with its height in the frame header, where decoders expect it, if a DNL segment has it instead."""
    _, at = _frame(data)
    lines = 0 if data[at + 3 : at + 5] != bytes(2) else _number_of_lines(data)
    return data[: at + 3] + struct.pack(">H", lines) + data[at + 5 :] if lines else data


def _frame(data: bytes) -> tuple[int, int]:
    """The marker of the frame and the position after it."""
    for marker, start in _segments(data):
        if marker in _SOF and start + 8 <= len(data):
            return marker, start
    raise FilmError(Status.DAMAGED, "JPEG without a frame header")


def _number_of_lines(data: bytes) -> int:
    """The height that a DNL segment after the first scan declares; 0 if there is none."""
    found = (start for marker, start in _segments(data) if marker == _DNL and start + 4 <= len(data))
    start = next(found, None)
    return 0 if start is None else int.from_bytes(data[start + 2 : start + 4], "big")


def jpeg_orientation(data: bytes) -> int:
    """The orientation tag of a JPEG's Exif segment, 1 to 8 (1: as stored); 0 if it is missing or damaged.

    Source: Exif 2.32, 4.6.4 A and 4.7.2; TIFF 6.0, section 2.
    """
    for marker, start in _segments(data):
        if marker == 0xE1 and data[start + 2 : start + 8] == _EXIF:
            (length,) = struct.unpack_from(">H", data, start)
            return _tiff_orientation(data[start + 8 : start + length])
        if marker == _SOS:
            break
    return 0


def _tiff_orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 0
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    if at + 2 > len(tiff):
        return 0
    (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(at + 2, min(at + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if (tag, kind) == (0x0112, 3) and value <= 8:
            return int(value)
    return 0


def check_jpeg_end(data: bytes) -> bytes:
    """The bytes after the end marker of a JPEG; raises FilmError if there is no end marker.

    Decoders fill the missing part of a truncated JPEG with grey without a warning, so this must be checked. The marker
    is searched from the start, segment by segment: a thumbnail in the Exif segment and a second picture behind the
    first one have end markers, too.
    """
    for marker, start in _segments(data):
        if marker == _EOI:
            return data[start:]
    raise FilmError(Status.DAMAGED, "JPEG is truncated: its end marker is missing")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Each marker of a JPEG with the position after it, in order; ends where the structure breaks.

    As decoders do, it passes over fill bytes and over bytes between segments that are no marker.
    """
    at = 2
    while found := _MARKER.search(data, at):
        at, marker = found.end(), data[found.end() - 1]
        yield marker, at
        if marker == _EOI:
            return
        if marker not in _NO_LENGTH:
            if at + 2 > len(data):
                return
            at += struct.unpack_from(">H", data, at)[0]
        if marker == _SOS:
            scan = _MARKER_AFTER_SCAN.search(data, at)
            at = scan.start() if scan else len(data)


def jpeg2000_header(data: bytes) -> tuple[Header, int]:
    """The size of a JPEG 2000 codestream, with or without the JP2 boxes around it, and its bits per sample."""
    at = data.find(_J2K_START)
    if at < 0 or at + 43 > len(data):
        raise FilmError(Status.DAMAGED, "JPEG 2000 without a size header")
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    return Header(width=max(right - left, 0), height=max(bottom - top, 0)), (data[at + 42] & 0x7F) + 1


def check_jpeg2000_end(data: bytes) -> bytes:
    """The bytes after a JPEG 2000 codestream; raises FilmError if it is truncated.

    Decoders fill what is missing without a word, and the last bytes of a file may be a pad byte or anything else. So
    the tile-parts are followed from the first to the end marker, each by its length, Psot (ISO/IEC 15444-1 A.4.2). A
    length of 0 means up to the end marker; coded data hold no such marker (B.10.1, C.2).
    """
    at = data.find(_J2K_START) + 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SOT:
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    first = at
    while data[at : at + 2] == bytes((0xFF, _SOT)) and at + 10 <= len(data):
        (length,) = struct.unpack_from(">I", data, at + 6)
        if 0 < length < 14:  # less than the header of a tile-part
            break
        at = at + length if length else data.find(_EOC, at)
        if data[at - 2 : at] == _EOC and data[at : at + 2] != _EOC:  # a length that counts the end marker
            at -= 2
    if at <= first or data[at : at + 2] != _EOC:
        raise FilmError(Status.DAMAGED, "JPEG 2000 is truncated: its end marker is missing")
    return data[at + 2 :]
