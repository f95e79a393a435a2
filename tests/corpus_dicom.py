"""DICOM films, sound ones and others."""

from __future__ import annotations

import numpy as np
from corpus_bytes import (
    BASELINE,
    DEFLATED,
    EXPLICIT_BIG,
    EXTENDED,
    IMPLICIT,
    JPEG_2000,
    JPEG_LS,
    LOSSLESS,
    MPEG2,
    PROCESS_14,
    RUN_LENGTH,
    SIDE,
    chest,
    dicom,
    frame,
    lookup_table,
    zeroed,
)
from corpus_case import UNDECODED, Case, damaged, fine, refused, unseen

from cxrscore.images import Status

COMPRESSED = (
    ("rle", RUN_LENGTH, "run-length coded"),
    ("jpeg", BASELINE, "JPEG baseline"),
    ("lossless", LOSSLESS, "JPEG lossless"),
    ("jpeg-ls", JPEG_LS, "JPEG-LS"),
    ("jpeg-2000", JPEG_2000, "JPEG 2000"),
)


def dicom_cases() -> list[Case]:
    return [*_sound(), *_compressed(), *_cut(), *_pixels(), *_values(), *_sizes(), *_not_chest(), *_unsupported()]


def _sound() -> list[Case]:
    film, table = chest(), lookup_table(range(256), 8)
    deep = film.astype(np.uint16) * 4
    return [
        fine("plain.dcm", "DICOM", dicom()),
        fine("bare.dcm", "DICOM without preamble", dicom(bare=True)),
        fine("dicom.png", "DICOM named .png: content counts", dicom()),
        fine("implicit.dcm", "DICOM, implicit", dicom(syntax=IMPLICIT)),
        fine("big-endian.dcm", "DICOM, big-endian", dicom(deep, bits=10, syntax=EXPLICIT_BIG)),
        fine("10-bit.dcm", "DICOM of 10 bits in 16", dicom(deep, bits=10)),
        fine("signed.dcm", "DICOM of signed values", dicom(film.astype(np.int16) - 100, bits=12)),
        fine("monochrome1.dcm", "DICOM with MONOCHROME1", dicom(PhotometricInterpretation="MONOCHROME1"), "inverted"),
        fine("window.dcm", "DICOM with a VOI window", dicom(WindowCenter=128, WindowWidth=100), "VOI window"),
        fine("voi-lut.dcm", "DICOM with a VOI LUT", dicom(VOILUTSequence=table), "VOI LUT"),
        fine("modality-lut.dcm", "DICOM with a modality LUT", dicom(ModalityLUTSequence=table), "modality LUT"),
        fine(
            "rescaled.dcm",
            "DICOM with rescale slope and intercept",
            dicom(RescaleSlope=2, RescaleIntercept=-5),
            "rescaled",
        ),
        fine("one-frame.dcm", "DICOM of one frame", dicom(NumberOfFrames=1)),
        fine("zeros-behind.dcm", "DICOM with padded pixels", dicom(PixelData=film.tobytes() + bytes(10))),
    ]


def _compressed() -> list[Case]:
    """Each kind, whole and cut."""
    import imagecodecs

    films = []
    for name, syntax, words in COMPRESSED:
        packed = frame(syntax)
        cut = packed[: len(packed) * 2 // 3]
        said = UNDECODED if syntax == RUN_LENGTH else "truncated"
        films += [
            fine(f"whole-{name}.dcm", f"DICOM, {words}", dicom(syntax=syntax, frame=packed)),
            damaged(f"cut-{name}.dcm", f"DICOM, {words}, cut within its pixels", dicom(syntax=syntax, frame=cut), said),
        ]
    deep = chest().astype(np.uint16) * 16
    extended = bytes(imagecodecs.jpeg8_encode(deep, level=95, bitspersample=12))
    process14 = bytes(imagecodecs.jpeg8_encode(deep, lossless=True, predictor=2, bitspersample=12))
    return [
        *films,
        fine("12-bit-jpeg.dcm", "DICOM, JPEG of 12 bits", dicom(deep, bits=12, syntax=EXTENDED, frame=extended)),
        fine("12-bit-lossless.dcm", "DICOM, JPEG lossless", dicom(deep, bits=12, syntax=PROCESS_14, frame=process14)),
    ]


def _cut() -> list[Case]:
    whole = dicom()
    return [
        damaged("preamble.dcm", "DICOM cut within its header", whole[:132], "DICOM without pixels"),
        damaged("cut-in-header.dcm", "DICOM cut within its header", whole[:300], "DICOM without pixels"),
        damaged("cut-in-half.dcm", "DICOM cut within its pixels", whole[: len(whole) // 2]),
        damaged("cut-by-one-byte.dcm", "DICOM without its last byte", whole[:-1]),
        damaged("no-pixels.dcm", "DICOM without pixels", dicom(without=["PixelData"]), "DICOM without pixels"),
    ]


def _pixels() -> list[Case]:
    """More pixels, fewer, or other ones than the data set says."""
    import imagecodecs

    run_length, baseline = frame(RUN_LENGTH), frame(BASELINE)
    deeper = bytes(imagecodecs.jpeg2k_encode(chest().astype(np.uint32), reversible=True, codecformat="j2k"))
    return [
        damaged(
            "32-bit-jpeg-2000.dcm",
            "DICOM with another bit depth in its compressed pixels",
            dicom(syntax=JPEG_2000, frame=deeper),
            "the bit depth of its pixels does not match its header",
        ),
        damaged("empty-pixels.dcm", "DICOM without pixels", dicom(PixelData=b"")),
        damaged("rows-missing.dcm", "DICOM with missing rows", dicom(Rows=SIDE + 1)),
        damaged(
            "rows-too-many.dcm",
            "DICOM with extra pixels",
            dicom(Rows=SIDE - 1),
            "it has more pixels than its header says",
        ),
        damaged(
            "narrower.dcm",
            "DICOM with extra pixels",
            dicom(Columns=SIDE - 1),
            "it has more pixels than its header says",
        ),
        damaged(
            "narrower-rle.dcm",
            "DICOM with extra pixels",
            dicom(syntax=RUN_LENGTH, frame=run_length, Columns=SIDE - 1),
        ),
        damaged(
            "narrower-jpeg.dcm",
            "DICOM with a JPEG of another size",
            dicom(syntax=BASELINE, frame=baseline, Columns=SIDE - 1),
            "size of its compressed pixels differs from its header",
        ),
        unseen("zeroed-jpeg.dcm", "DICOM with zeroed JPEG data", dicom(syntax=BASELINE, frame=zeroed(baseline))),
        damaged(
            "not-jpeg-ls.dcm",
            "DICOM whose compressed pixels are not an image",
            dicom(syntax=JPEG_LS, frame=bytes(200)),
            "JPEG without a frame header",
        ),
    ]


def _values() -> list[Case]:
    """Numbers of the display chain that mean nothing."""
    return [
        damaged("no-bits.dcm", "DICOM without its bit depth", dicom(without=["BitsStored"])),
        damaged(
            "slope-nan.dcm",
            "DICOM with an invalid rescale slope",
            dicom(RescaleSlope="NaN", RescaleIntercept="0"),
            "rescale slope or intercept",
        ),
        damaged(
            "slope-text.dcm",
            "DICOM with an invalid rescale slope",
            dicom(RescaleSlope="1.25", RescaleIntercept="0").replace(b"1.25", b"wxyz"),
        ),
        damaged(
            "slope-0.dcm",
            "DICOM with a rescale slope of 0",
            dicom(RescaleSlope=0, RescaleIntercept=1),
            "all its values are equal",
        ),
        damaged(
            "window-0.dcm",
            "DICOM with a VOI window of width 0",
            dicom(WindowCenter=1, WindowWidth=0),
            "its VOI window is out of range",
        ),
        damaged(
            "window-nan.dcm",
            "DICOM with an invalid VOI window",
            dicom(WindowCenter="NaN", WindowWidth="NaN"),
            "its VOI window is out of range",
        ),
        damaged(
            "lut-short.dcm",
            "DICOM with a truncated lookup table",
            dicom(VOILUTSequence=lookup_table(range(10), 8, entries=256)),
            "lookup table",
        ),
    ]


def _sizes() -> list[Case]:
    film = chest()
    return [
        refused(Status.TOO_SMALL, "rows-0.dcm", "DICOM of height 0", dicom(Rows=0), "96 x 0 pixels"),
        refused(
            Status.TOO_LARGE,
            "huge.dcm",
            "more than 100 million pixels",
            dicom(Rows=60000, Columns=60000),
            "60000 x 60000",
        ),
        refused(Status.BLANK, "blank.dcm", "constant grey", dicom(film * 0), "blank"),
        refused(
            Status.SEVERAL_FRAMES, "two-frames.dcm", "DICOM of several frames", dicom(NumberOfFrames=2), "2 frames"
        ),
        refused(
            Status.SEVERAL_FRAMES,
            "two-frames-unsaid.dcm",
            "DICOM with pixels of several frames",
            dicom(PixelData=film.tobytes() * 2),
            "pixels of several frames",
        ),
    ]


def _not_chest() -> list[Case]:
    return [
        refused(
            Status.NOT_CHEST,
            "ct.dcm",
            "DICOM of another modality",
            dicom(Modality="CT"),
            "modality CT, expected one of CR, DX, RG",
        ),
        refused(
            Status.NOT_CHEST,
            "report.dcm",
            "DICOM report",
            dicom(Modality="SR", without=["PixelData"]),
            "modality SR",
        ),
        refused(
            Status.NOT_CHEST,
            "no-modality.dcm",
            "DICOM of unknown modality",
            dicom(without=["Modality"]),
            "modality unknown",
        ),
        refused(
            Status.NOT_CHEST,
            "foot.dcm",
            "DICOM of another body part",
            dicom(BodyPartExamined="FOOT"),
            "another body part",
        ),
    ]


def _unsupported() -> list[Case]:
    film = chest()
    deep = film.astype(np.uint16)
    return [
        refused(
            Status.UNSUPPORTED,
            "colour.dcm",
            "DICOM in colour",
            dicom(PhotometricInterpretation="RGB", SamplesPerPixel=3, PixelData=film.tobytes() * 3),
            "DICOM in colour",
        ),
        refused(
            Status.UNSUPPORTED,
            "palette.dcm",
            "DICOM in colour",
            dicom(PhotometricInterpretation="PALETTE COLOR"),
            "DICOM in colour",
        ),
        refused(Status.UNSUPPORTED, "deflated.dcm", "DICOM, deflated", dicom(syntax=DEFLATED), "deflated DICOM"),
        refused(
            Status.UNSUPPORTED,
            "mpeg.dcm",
            "DICOM of another transfer syntax",
            dicom(syntax=MPEG2, frame=bytes(10)),
            f"DICOM transfer syntax {MPEG2}",
        ),
        refused(
            Status.UNSUPPORTED,
            "unknown-syntax.dcm",
            "DICOM of another transfer syntax",
            dicom(syntax="1.2.3"),
            "DICOM transfer syntax unknown",
        ),
        refused(
            Status.UNSUPPORTED,
            "17-of-16-bits.dcm",
            "DICOM with an unsupported bit depth",
            dicom(deep, bits=17),
            "17 bits stored in 16",
        ),
        refused(
            Status.UNSUPPORTED,
            "0-bits.dcm",
            "DICOM with an unsupported bit depth",
            dicom(deep, bits=0, HighBit=0),
            "0 bits stored in 16",
        ),
        refused(
            Status.UNSUPPORTED,
            "32-bits.dcm",
            "DICOM with an unsupported bit depth",
            dicom(film.astype(np.uint32), bits=32),
            "32 bits stored in 32",
        ),
        refused(
            Status.UNSUPPORTED,
            "high-bit.dcm",
            "DICOM with an unsupported high bit",
            dicom(deep, bits=12, HighBit=15),
            "12 bits stored in 16",
        ),
        refused(
            Status.UNSUPPORTED,
            "cubic.dcm",
            "DICOM with an unknown VOI function",
            dicom(WindowCenter=1, WindowWidth=10, VOILUTFunction="CUBIC"),
            "VOI function",
        ),
    ]
