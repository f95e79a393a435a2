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
from corpus_case import Case, damaged, fine, refused, unseen

from cxrscore.images import Status
from cxrscore.images.grey_range import RANGE_FROM_PIXELS

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
        fine("signed.dcm", "DICOM of signed values", dicom((film.astype(np.int16) - 128) * 16, bits=12)),
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
        fine(
            "zeros-behind.dcm",
            "DICOM with excess padding after its pixels",
            dicom(PixelData=film.tobytes() + bytes(512)),
            "bytes after its end ignored",
        ),
        fine("deflated.dcm", "DICOM, deflated", dicom(syntax=DEFLATED)),
        fine("lower-case.dcm", "DICOM in lower case", dicom(PhotometricInterpretation="monochrome2 ")),
        fine(
            "12-bits-in-16.dcm",
            "DICOM of 12 bits that declares 16",
            dicom(film.astype(np.uint16) * 16, bits=16),
            f"{RANGE_FROM_PIXELS}: 0 to 4095 of 0 to 65535",
        ),
        fine(
            "12-bits-in-16-told.dcm",
            "DICOM of 12 bits that declares 16, with its largest pixel value",
            dicom(film.astype(np.uint16) * 16, bits=16, SmallestImagePixelValue=0, LargestImagePixelValue=4095),
            "range of its largest pixel value: 0 to 4095",
        ),
        fine("padding.dcm", "DICOM with a padding value", dicom(_framed(film), PixelPaddingValue=255), "padding"),
        fine(
            "window-0.dcm",
            "DICOM with a VOI window of width 0",
            dicom(WindowCenter=1, WindowWidth=0),
            "VOI window ignored: width 0",
        ),
        fine(
            "window-nan.dcm",
            "DICOM with an invalid VOI window",
            dicom(WindowCenter="NaN", WindowWidth="NaN"),
            "VOI window ignored: not a number",
        ),
        fine(
            "window-elsewhere.dcm",
            "DICOM with a VOI window outside of its pixels",
            dicom(WindowCenter=5000, WindowWidth=100),
            "VOI window ignored: it contradicts the pixels",
        ),
        fine(
            "high-bit.dcm",
            "DICOM with a high bit that is not that of its pixels",
            dicom(deep, bits=12, HighBit=15),
            "high bit 15 ignored",
        ),
    ]


def _framed(film: np.ndarray) -> np.ndarray:
    """The film with a white border of 8 pixels."""
    framed = np.minimum(film, 254)
    framed[:8] = framed[-8:] = framed[:, :8] = framed[:, -8:] = 255
    return framed


def _compressed() -> list[Case]:
    """Each kind, whole and cut."""
    import imagecodecs

    films = []
    for name, syntax, words in COMPRESSED:
        packed = frame(syntax)
        cut = packed[: len(packed) * 2 // 3]
        said = "run-length coded pixels do not match" if syntax == RUN_LENGTH else "truncated"
        films += [
            fine(
                f"padded-{name}.dcm", f"DICOM, {words}, with a pad byte", dicom(syntax=syntax, frame=packed + b"\xff")
            ),
            fine(
                f"followed-{name}.dcm",
                f"DICOM, {words}, followed by other bytes",
                dicom(syntax=syntax, frame=packed + b"0123456789"),
                "bytes after its end ignored",
            ),
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
        damaged("cut-in-half.dcm", "DICOM cut within its pixels", whole[: len(whole) // 2], "bytes of pixels"),
        damaged(
            "cut-by-one-byte.dcm", "DICOM without its last byte", whole[:-1], "9,215 bytes of pixels, expected 9,216"
        ),
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
        damaged("empty-pixels.dcm", "DICOM with missing pixels", dicom(PixelData=b""), "its Pixel Data is empty"),
        damaged("rows-missing.dcm", "DICOM with missing pixels", dicom(Rows=SIDE + 1), "bytes of pixels, expected"),
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
            "its run-length coded pixels do not match its header",
        ),
        damaged(
            "three-samples.dcm",
            "DICOM of three samples per pixel in MONOCHROME2",
            dicom(SamplesPerPixel=3),
            "3 samples per pixel contradict MONOCHROME2",
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
        damaged("no-bits.dcm", "DICOM without its bit depth", dicom(without=["BitsStored"]), "Bits Stored is missing"),
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
            "overlay.dcm",
            "DICOM of a class without pixels",
            dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", without=["PixelData"]),
            "no image",
        ),
        refused(
            Status.NOT_CHEST,
            "knees.dcm",
            "DICOM of another body part",
            dicom(BodyPartExamined="KNEES"),
            "another body part",
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
            "DICOM with a colour palette",
            dicom(PhotometricInterpretation="PALETTE COLOR"),
            "DICOM with a colour palette",
        ),
        refused(
            Status.UNSUPPORTED,
            "no-interpretation.dcm",
            "DICOM without Photometric Interpretation",
            dicom(without=["PhotometricInterpretation"]),
            "Photometric Interpretation (0028,0004) is missing",
        ),
        refused(
            Status.UNSUPPORTED,
            "floats.dcm",
            "DICOM of floating-point pixels",
            dicom(without=["PixelData"], FloatPixelData=film.astype("<f4").tobytes()),
            "Float Pixel Data",
        ),
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
            "low-high-bit.dcm",
            "DICOM with an unsupported high bit",
            dicom(deep, bits=12, HighBit=7),
            "12 bits stored in 16 with high bit 7",
        ),
        refused(
            Status.UNSUPPORTED,
            "cubic.dcm",
            "DICOM with an unknown VOI function",
            dicom(WindowCenter=1, WindowWidth=10, VOILUTFunction="CUBIC"),
            "VOI function",
        ),
    ]
