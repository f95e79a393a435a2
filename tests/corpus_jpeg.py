"""JPEG of every kind, and what is no film at all."""

from __future__ import annotations

import io
import struct

import cv2
from corpus_bytes import ARITHMETIC, SIDE, archive, chest, exif, jpeg, png, with_frame_marker, with_segment, zeroed
from corpus_case import Case, damaged, fine, refused, unseen
from PIL import Image

from cxrscore.images import Status

CUT = "JPEG is truncated: its end marker is missing"
AFTER = "bytes after its end ignored"


def jpeg_cases() -> list[Case]:
    return [*_cut_or_changed(), *_headers(), *_kinds(), *_sound(), *_other_files()]


def _saved(kind: str, mode: str = "L") -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(chest())
    (image if mode == "L" else image.convert("RGB").convert(mode)).save(out, kind)
    return out.getvalue()


def _lossless() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg8_encode(chest(), lossless=True, predictor=1))


def _of_height(rows: int) -> bytes:
    """The film, with another height in its header."""
    film = jpeg()
    at = film.index(b"\xff\xc0") + 5
    return film[:at] + struct.pack(">H", rows) + film[at + 2 :]


def _cut_or_changed() -> list[Case]:
    film, restarts = jpeg(), jpeg(None, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    lost, table = restarts.index(b"\xff\xd2"), film.index(b"\xff\xdb")
    return [
        damaged("cut-after-magic.jpg", "JPEG cut within its header", film[:3], "JPEG without a frame header"),
        damaged("cut-in-half.jpg", "JPEG cut within its pixels", film[: len(film) // 2], CUT),
        damaged("cut-before-end.jpg", "JPEG without its end marker", film[:-2], CUT),
        damaged("cut-by-one-byte.jpg", "JPEG without its last byte", film[:-1], CUT),
        damaged(
            "tables-missing.jpg", "JPEG without its tables", film[:table] + film[film.index(b"\xff\xc0") :], "damaged: "
        ),
        unseen("zeroed.jpg", "JPEG with zeroed pixel data", zeroed(film)),
        unseen("restart-lost.jpg", "JPEG with a lost restart marker", restarts[:lost] + restarts[lost + 2 :]),
    ]


def _headers() -> list[Case]:
    film = jpeg()
    size = film.index(b"\xff\xc0") + 4
    return [
        unseen("rows-missing.jpg", "JPEG with missing rows", _of_height(SIDE * 4)),
        unseen("rows-too-many.jpg", "JPEG with extra rows", _of_height(SIDE // 2)),
        refused(Status.TOO_SMALL, "no-rows.jpg", "JPEG of height 0", _of_height(0), "96 x 0 pixels"),
        refused(
            Status.TOO_LARGE,
            "huge.jpg",
            "more than 100 million pixels",
            film[: size + 1] + b"\xff\xff\xff\xff" + film[size + 5 :],
            "65535 x 65535",
        ),
    ]


def _kinds() -> list[Case]:
    film = jpeg()
    size = film.index(b"\xff\xc0") + 4
    return [
        refused(
            Status.UNSUPPORTED,
            "12-bit.jpg",
            "JPEG of 12 bits",
            film[:size] + b"\x0c" + film[size + 1 :],
            "SOF0 with 12 bits",
        ),
        refused(Status.UNSUPPORTED, "lossless.jpg", "lossless JPEG", _lossless(), "JPEG of type SOF3"),
        fine("arithmetic.jpg", "JPEG with arithmetic coding", ARITHMETIC),
        refused(
            Status.UNSUPPORTED,
            "hierarchical.jpg",
            "hierarchical JPEG",
            with_frame_marker(film, 197),
            "JPEG of type SOF5",
        ),
    ]


def _sound() -> list[Case]:
    film, restarts = jpeg(), jpeg(None, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    return [
        fine("zeros-behind.jpg", "JPEG padded with zeros", film + bytes(9)),
        fine("newline-behind.jpg", "JPEG followed by other bytes", film + b"\r\n", AFTER),
        fine("script-behind.jpg", "JPEG followed by other bytes", film + b"<script>", AFTER),
        fine("two-films.jpg", "two JPEG in one file: the first is used", film + jpeg(chest(1)), AFTER),
        fine("progressive.jpg", "progressive JPEG", jpeg(None, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        fine("restarts.jpg", "JPEG with restart markers", restarts),
        fine("colour.jpg", "JPEG in colour, turned into grey", jpeg(cv2.cvtColor(chest(), cv2.COLOR_GRAY2BGR))),
        fine("cmyk.jpg", "JPEG in CMYK, turned into grey", _saved("JPEG", "CMYK")),
        fine("upright.jpg", "JPEG with orientation tag 1", with_segment(film, 225, exif(1))),
        fine(
            "turned.jpg", "JPEG with an orientation tag", with_segment(film, 225, exif(6)), "orientation tag 6 ignored"
        ),
        fine("script-inside.jpg", "JPEG with a comment", with_segment(film, 254, b"<script>alert(1)</script>")),
    ]


def _other_files() -> list[Case]:
    """What is named as a film and is none, or is another kind of film than its name says."""
    words = "neither PNG nor JPEG nor DICOM"
    return [
        refused(Status.EMPTY, "empty.png", "file of zero bytes", b"", "file of zero bytes"),
        refused(Status.EMPTY, "empty.dcm", "file of zero bytes", b"", "file of zero bytes"),
        refused(Status.NOT_AN_IMAGE, "text.png", "text named as a film", b"film,finding\n", words),
        refused(
            Status.NOT_AN_IMAGE, "page.png", "HTML named as a film", b"<!DOCTYPE html><script>alert(1)</script>", words
        ),
        refused(Status.NOT_AN_IMAGE, "zeros.png", "zeros named as a film", bytes(5000), words),
        refused(Status.NOT_AN_IMAGE, "animation.png", "GIF", _saved("GIF"), words),
        refused(Status.NOT_AN_IMAGE, "bitmap.png", "BMP", _saved("BMP"), words),
        refused(Status.NOT_AN_IMAGE, "scan.jpg", "TIFF", _saved("TIFF"), words),
        refused(Status.NOT_AN_IMAGE, "web.jpg", "WebP", _saved("WEBP"), words),
        refused(Status.NOT_AN_IMAGE, "letter.dcm", "PDF", _saved("PDF"), words),
        refused(
            Status.NOT_AN_IMAGE,
            "archive.dcm",
            "archive named as a film",
            archive({"a.png": png(chest())}),
            words,
        ),
        fine("photo.png", "JPEG named .png: content counts", jpeg()),
        fine("picture.dcm", "PNG named .dcm: content counts", png(chest())),
    ]
