"""PNG: files, chunks, headers and pixels of every kind."""

from __future__ import annotations

import struct

import numpy as np
from corpus_bytes import SIDE, chest, chunk, exif, png, png_head, png_of_zeros
from corpus_case import Case, damaged, fine, refused

from cxrscore.images import Status

CUT = "PNG is truncated: its end chunk is missing"


def png_cases() -> list[Case]:
    return [
        *_cut_or_changed(),
        *_chunks(),
        *_sizes(),
        *_odd_but_sound(),
        *_depths(),
        *_few_bits(),
        *_transparent(),
        *_greys(),
    ]


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _animation(frames: int) -> bytes:
    return png(chest(), before=chunk(b"acTL", struct.pack(">II", frames, 0)))


def _cut_or_changed() -> list[Case]:
    film = png(chest())
    return [
        damaged("cut-after-magic.png", "PNG cut within its header", film[:8], "PNG without a header"),
        damaged("cut-in-header.png", "PNG cut within its header", film[:20], "PNG without a header"),
        damaged("cut-after-header.png", "PNG cut after its header", film[:33], CUT),
        damaged("cut-in-half.png", "PNG cut within its pixels", film[: len(film) // 2], CUT),
        damaged("cut-before-end.png", "PNG without its last chunk, IEND", film[:-12], CUT),
        damaged("cut-by-one-byte.png", "PNG without its last byte", film[:-1], CUT),
        damaged("bit-in-pixels.png", "PNG with one bit changed", _flipped(film, len(film) // 2)),
        damaged("bit-in-checksum.png", "PNG with a wrong checksum", _flipped(film, len(film) - 13)),
        damaged("bit-in-header.png", "PNG with a wrong checksum", _flipped(film, 29)),
    ]


def _chunks() -> list[Case]:
    """Chunks and headers that are not what they must be."""
    film = png(chest())
    rest, end = film[33:], chunk(b"IEND", b"")
    return [
        damaged(
            "length-lies.png",
            "PNG with a chunk longer than the file",
            film[:33] + b"\x7f\xff\xff\xff" + film[37:],
            CUT,
        ),
        damaged(
            "header-second.png",
            "PNG with a misplaced header",
            film[:8] + chunk(b"tEXt", b"a\x00b") + film[8:],
            "PNG without a header",
        ),
        damaged("depth-3.png", "PNG with an invalid bit depth", png_head(SIDE, SIDE, 3) + rest),
        damaged("colour-5.png", "PNG with an invalid colour type", png_head(SIDE, SIDE, 8, 5) + rest),
        damaged("rows-missing.png", "PNG with missing rows", png_head(SIDE, SIDE + 1) + rest),
        damaged("wider.png", "PNG with short rows", png_head(SIDE + 4, SIDE) + rest),
        damaged("no-pixels.png", "PNG without pixels", png_head(SIDE, SIDE) + end),
        damaged("empty-pixels.png", "PNG without pixels", png_head(SIDE, SIDE) + chunk(b"IDAT", b"") + end),
        damaged(
            "not-packed.png",
            "PNG whose pixels cannot be decompressed",
            png_head(SIDE, SIDE) + chunk(b"IDAT", bytes(500)) + end,
        ),
        damaged(
            "unknown-chunk.png",
            "PNG with an unknown critical chunk",
            png(chest(), before=chunk(b"ABCD", b"x")),
        ),
        damaged("palette-missing.png", "PNG without its palette", png(chest(), colour=3)),
    ]


def _sizes() -> list[Case]:
    rest = png(chest())[33:]
    return [
        refused(Status.SEVERAL_FRAMES, "animated.png", "animated PNG", _animation(2), "animated PNG"),
        refused(Status.TOO_SMALL, "zero-side.png", "PNG of size 0", png_head(0, 0) + rest, "0 x 0 pixels"),
        refused(
            Status.TOO_SMALL,
            "31-rows.png",
            "a side below 32 pixels",
            png(chest()[:31]),
            "96 x 31 pixels, expected a side of at least 32",
        ),
        refused(
            Status.TOO_LARGE,
            "60000.png",
            "more than 100 million pixels",
            png_head(60000, 60000) + rest,
            "60000 x 60000 pixels, expected at most 100,000,000",
        ),
        refused(
            Status.TOO_LARGE,
            "bomb.png",
            "PNG bomb: 268 million pixels in 260 kB",
            png_of_zeros(16384),
            "16384 x 16384 pixels",
        ),
        refused(Status.BLANK, "largest.png", "100 million pixels, all black", png_of_zeros(10000), "blank"),
    ]


def _odd_but_sound() -> list[Case]:
    film = png(chest())
    return [
        fine("one-frame.png", "animated PNG of one frame", _animation(1)),
        fine("no-frame.png", "animated PNG of no frame but its picture", _animation(0)),
        fine("newline-behind.png", "PNG followed by other bytes", film + b"\n", "bytes after its end ignored"),
        fine("gamma.png", "PNG with a gamma of 10", png(chest(), before=chunk(b"gAMA", struct.pack(">I", 1_000_000)))),
        fine(
            "turned.png",
            "PNG with an orientation tag",
            film[:-12] + chunk(b"eXIf", exif(6)[6:]) + film[-12:],
            "orientation tag 6 ignored",
        ),
        fine("script-behind.png", "PNG followed by other bytes", film + b"<script>", "bytes after its end ignored"),
        fine(
            "two-films.png",
            "two PNG in one file: the first is used",
            film + png(chest(1)),
            "bytes after its end ignored",
        ),
        fine("in-three-parts.png", "PNG with its pixels in several chunks", png(chest(), parts=3)),
        fine("empty-part.png", "PNG with an empty chunk of pixels", png(chest(), before=chunk(b"IDAT", b""))),
        fine(
            "long-text.png",
            "PNG with a long comment",
            png(chest(), before=chunk(b"tEXt", b"Comment\x00" + b"x" * (1 << 20))),
        ),
        fine(
            "profile-broken.png",
            "PNG with a broken colour profile",
            png(chest(), before=chunk(b"iCCP", b"x\x00\x00" + bytes(1000))),
        ),
    ]


def _depths() -> list[Case]:
    film = chest()
    deep = film.astype(np.uint16) * 257
    levels = chunk(b"PLTE", bytes(np.repeat(np.arange(256, dtype=np.uint8), 3)))
    return [
        fine("1-bit.png", "PNG of 1 bit", png(film >> 7, depth=1)),
        fine("2-bit.png", "PNG of 2 bits", png(film >> 6, depth=2)),
        fine("4-bit.png", "PNG of 4 bits", png(film >> 4, depth=4)),
        fine("16-bit.png", "PNG of 16 bits", png(deep, depth=16)),
        fine("interlaced.png", "interlaced PNG", png(film, interlace=True)),
        fine("palette.png", "PNG with a palette", png(film, colour=3, before=levels)),
        fine("colour.png", "PNG in colour, turned into grey", png(np.dstack([film, film // 2, film // 3]), colour=2)),
        fine("colour-16-bit.png", "PNG in colour of 16 bits", png(np.dstack([deep] * 3), colour=2, depth=16)),
        fine("32-rows.png", "32 pixels high, the minimum", png(film[:32])),
    ]


def _few_bits() -> list[Case]:
    """Films of fewer bits than their file has."""
    film = chest()
    twelve = np.rint(film / 255 * 4095).astype(np.uint16)
    ten = np.rint(film / 255 * 1023).astype(np.uint16)
    guessed = "grey range taken from its pixels"
    return [
        fine("12-in-16.png", "PNG of 16 bits whose film has 12 or 10", png(twelve, depth=16), guessed),
        fine("10-in-16.png", "PNG of 16 bits whose film has 12 or 10", png(ten, depth=16), guessed),
        fine("dark.png", "film that uses less than a quarter of its 8 bits", png(film // 5), guessed),
        fine(
            "significant-12.png",
            "PNG of 16 bits that says it has 12",
            png(twelve, depth=16, before=chunk(b"sBIT", b"\x0c")),
            "12 significant bits (sBIT)",
        ),
        fine(
            "scaled-up.png",
            "PNG of 12 bits scaled up to 16",
            png(twelve << 4 | twelve >> 8, depth=16, before=chunk(b"sBIT", b"\x0c")),
        ),
        refused(
            Status.BLANK,
            "noise.png",
            "noise in a small part of the range",
            png(np.random.default_rng(0).integers(8000, 8400, (SIDE, SIDE), np.uint16), depth=16),
            "blank: its grey values vary by noise only",
        ),
    ]


def _transparent() -> list[Case]:
    film, ignored = chest(), "transparency ignored"
    levels = chunk(b"PLTE", bytes(np.repeat(np.arange(256, dtype=np.uint8), 3)))
    clear = chunk(b"tRNS", bytes(range(256)))
    return [
        fine("palette-clear.png", "PNG with transparency", png(film, colour=3, before=levels + clear), ignored),
        fine("grey-clear.png", "PNG with transparency", png(film, before=chunk(b"tRNS", b"\x00\x80")), ignored),
        fine(
            "grey-alpha.png",
            "PNG with an alpha channel, opaque",
            png(np.dstack([film, np.full_like(film, 255)]), colour=4),
        ),
        fine("grey-alpha-clear.png", "PNG with transparency", png(np.dstack([film, film]), colour=4), ignored),
        fine("colour-alpha-clear.png", "PNG with transparency", png(np.dstack([film] * 4), colour=6), ignored),
    ]


def _greys() -> list[Case]:
    film = chest()
    return [
        refused(
            Status.BLANK,
            "palette-short.png",
            "PNG whose palette is all black",
            png(film, colour=3, before=chunk(b"PLTE", bytes(30))),
            "blank",
        ),
        refused(
            Status.BLANK,
            "blank.png",
            "constant grey",
            png(np.full_like(film, 77)),
            "blank: standard deviation 0.00",
        ),
        refused(
            Status.BLANK,
            "nearly-blank.png",
            "standard deviation below 1 of 255 grey levels",
            png(77 + (film & 1)),
            "blank: standard deviation 0.",
        ),
    ]
