"""Convert a DICOM film to grey pixels as a viewer shows them: modality LUT, VOI, then MONOCHROME1 inversion.

Only the elements in _TAGS are read, so no name, number or date of a patient is in memory, in a message or in a warning.
Compressed pixels are decoded by imagecodecs, whatever plugins pydicom finds, so that a film has the same pixels on
every installation; native and run-length coded pixels are decoded by pydicom.

Source of the display chain: DICOM PS3.3 C.11.1 (modality LUT), C.11.2.1 (VOI LUT and window) and C.7.6.3.1.2
(photometric interpretation).
"""

from __future__ import annotations

import functools
import importlib
import logging
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.images.codecs import check_jpeg_strictly
from cxrscore.images.dicom_display import displayed
from cxrscore.images.file_signatures import check_jpeg_end, jpeg2000_header, jpeg_header
from cxrscore.images.film import FilmError, Header, Pixels, Status, check_sides

INSTALL = 'pip install "cxrscore[dicom]"'
CHEST_MODALITIES = ("CR", "DX", "RG")

_TAGS = (
    *("Modality", "ViewPosition", "BodyPartExamined", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PixelData"),
)
# PS3.3 C.7.3.1.1.1, those that a folder of films may contain.
_MODALITIES = frozenset(
    (
        *("CR", "DX", "RG", "CT", "MR", "US", "NM", "PT", "XA", "RF", "MG", "IO", "PX", "BMD", "BI", "DG", "ES", "GM"),
        *("OP", "OPT", "OCT", "SM", "XC", "TG", "OT", "ECG", "HD", "EPS", "AU", "SR", "KO", "PR", "DOC", "SEG", "REG"),
        *("PLAN", "SMR", "RTIMAGE", "RTDOSE", "RTPLAN", "RTSTRUCT", "RTRECORD"),
    )
)
# PS3.3 C.8.1.1.1.1 and C.8.11.5.1, and common nonstandard spellings.
_VIEWS = frozenset(
    (
        *("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LAO", "RAO", "LPO", "RPO"),
        *("LAT", "LATERAL", "OBL", "OBLIQUE"),
    )
)
# pydicom inflates a deflated data set completely, whatever its size, before any element can be checked.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_RUN_LENGTH = "1.2.840.10008.1.2.5"
_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_CODECS = {
    _BASELINE: "jpeg8_decode",
    "1.2.840.10008.1.2.4.51": "jpeg8_decode",  # JPEG extended, 12 bits
    "1.2.840.10008.1.2.4.57": "jpeg8_decode",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "jpeg8_decode",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "jpegls_decode",
    "1.2.840.10008.1.2.4.81": "jpegls_decode",
    **dict.fromkeys(_JPEG_2000, "jpeg2k_decode"),
}

# Exceptions that pydicom raised for mutated files, besides its own two classes and the parents of these.
# StopIteration comes from pydicom's generators; RuntimeError covers imagecodecs' errors; Warning is raised if
# warnings are errors.
# from pydicom's generators; RuntimeError covers imagecodecs' errors; Warning is raised where warnings are errors.
_RAISED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError),
    *(StopIteration, TypeError, ValueError, Warning, struct.error),
)

# Terms of PS3.16 annex L for body parts that a chest film does not show; films with unknown terms are accepted.
_OTHER_PARTS = re.compile(
    r"\b(ABDOMEN|ANKLE|ARM|BREAST|CALCANEUS|CLAVICLE|COCCYX|CSPINE|ELBOW|EXTREMITY|FEMUR|FINGER|FOOT|FOREARM|HAND"
    r"|HEAD|HIP|HUMERUS|JAW|KNEE|LEG|LSPINE|MANDIBLE|MAXILLA|NECK|PATELLA|PELVIS|RADIUS|SCAPULA|SHOULDER|SKULL"
    r"|SPINE|SSPINE|TIBIA|TOE|TSPINE|ULNA|WRIST|ZYGOMA)\b"
)
_CHEST_PARTS = ("CHEST", "THORA", "TORAX", "LUNG", "RIB", "PULM")


def open_dicom(data: bytes, *, any_modality: bool) -> tuple[Header, Callable[[], tuple[Pixels, str]]]:
    """Header of a DICOM film, and the function that decodes it to pixels and a note on what was applied.

    uint8 where the film has plain 8-bit values, else uint16 over the window or the range of the stored bits.
    Both raise FilmError and nothing else.
    """
    if _DEFLATED in data:
        raise FilmError(Status.UNSUPPORTED, "deflated DICOM: write it without deflate, e.g. with dcmconv +te")
    pydicom = _module("pydicom")
    _silence_pydicom()
    with _pydicom_reported_damage():
        dataset = pydicom.dcmread(BytesIO(data), force=True, specific_tags=list(_TAGS))
        header = Header(
            width=int(dataset.get("Columns") or 0),
            height=int(dataset.get("Rows") or 0),
            modality=_if_known(dataset.get("Modality"), _MODALITIES),
            view=_if_known(dataset.get("ViewPosition"), _VIEWS),
        )
    return header, lambda: _decode(dataset, header, any_modality=any_modality)


def _decode(dataset: Any, header: Header, *, any_modality: bool) -> tuple[Pixels, str]:
    with _pydicom_reported_damage():
        if not any_modality:
            _check_chest(header.modality, _tag_text(dataset.get("BodyPartExamined")), "PixelData" in dataset)
        _check_layout(dataset)
        check_sides(header)
        return displayed(_stored(dataset, header), dataset)


def _check_chest(modality: str, body_part: str, has_pixels: bool) -> None:
    if not modality and not has_pixels:  # truncated, or not a film
        raise FilmError(Status.DAMAGED, "DICOM without pixels")
    if modality not in CHEST_MODALITIES:
        wanted = ", ".join(CHEST_MODALITIES)
        raise FilmError(Status.NOT_CHEST, f"modality {modality or 'unknown'}, expected one of {wanted}")
    if _OTHER_PARTS.search(body_part.replace("_", " ")) and not any(part in body_part for part in _CHEST_PARTS):
        raise FilmError(Status.NOT_CHEST, "another body part, expected the chest")


def _check_layout(dataset: Any) -> None:
    """Raises FilmError unless the data set holds one grey frame of 8 or 16 bits, its high bit on top."""
    if "PixelData" not in dataset:
        raise FilmError(Status.DAMAGED, "DICOM without pixels")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise FilmError(Status.SEVERAL_FRAMES, f"{int(dataset.NumberOfFrames)} frames, expected one film per file")
    if dataset.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise FilmError(Status.UNSUPPORTED, "DICOM in colour, expected MONOCHROME1 or MONOCHROME2")
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    top = int(dataset.get("HighBit", stored - 1))
    if allocated not in (8, 16) or not 1 <= stored <= allocated or top != stored - 1:
        raise FilmError(Status.UNSUPPORTED, f"{stored} bits stored in {allocated}, expected up to 8 in 8 or 16 in 16")


def _stored(dataset: Any, header: Header) -> NDArray[Any]:
    """Stored values [H,W], signed or unsigned, of 8 or 16 bits."""
    syntax = _transfer_syntax(dataset)
    if syntax in _CODECS:
        pixels = _by_imagecodecs(dataset, syntax, header)
    elif syntax in (_IMPLICIT_LITTLE, _EXPLICIT_LITTLE, _EXPLICIT_BIG, _RUN_LENGTH):
        pixels = _by_pydicom(dataset, syntax, header)
    else:
        raise FilmError(Status.UNSUPPORTED, f"DICOM transfer syntax {_uid(syntax)}")
    if pixels.shape != (header.height, header.width):
        raise FilmError(Status.DAMAGED, "damaged: its pixels do not match its header")
    return pixels


def _is_signed(dataset: Any) -> bool:
    return bool(int(dataset.get("PixelRepresentation") or 0))


def _stored_bits(pixels: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """The stored bits as numbers: shifted to the top and back, which drops overlays and extends the sign."""
    shift = pixels.itemsize * 8 - int(dataset.BitsStored)
    if shift < 0 or pixels.itemsize > 2:
        raise FilmError(Status.DAMAGED, "damaged: the bit depth of its pixels does not match its header")
    kind = "i" if _is_signed(dataset) else "u"
    return (pixels.astype(f"{kind}{pixels.itemsize}") << shift) >> shift


def _transfer_syntax(dataset: Any) -> str:
    named = dataset.file_meta.get("TransferSyntaxUID")
    if named:
        return str(named)
    implicit, little = dataset.original_encoding
    if implicit:
        return _IMPLICIT_LITTLE
    return _EXPLICIT_LITTLE if little else _EXPLICIT_BIG


def _by_pydicom(dataset: Any, syntax: str, header: Header) -> NDArray[Any]:
    one_frame = header.width * header.height * int(dataset.BitsAllocated) // 8
    if syntax != _RUN_LENGTH and len(dataset.PixelData) >= 2 * one_frame:
        raise FilmError(Status.SEVERAL_FRAMES, "pixels of several frames, expected one film per file")
    one_line = min(header.width, header.height) * int(dataset.BitsAllocated) // 8
    if syntax != _RUN_LENGTH and len(dataset.PixelData) >= one_frame + one_line:  # more than padding
        raise FilmError(Status.DAMAGED, "damaged: it has more pixels than its header says")
    layout = {
        "rows": header.height,
        "columns": header.width,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": int(dataset.BitsAllocated),
        "bits_stored": int(dataset.BitsAllocated),
        "pixel_representation": 0,
        "pixel_keyword": "PixelData",
        "pixel_vr": dataset["PixelData"].VR,
    }
    # Without its padding, about which pydicom warns; the codec's frames have other lengths.
    data = dataset.PixelData if syntax == _RUN_LENGTH else dataset.PixelData[: one_frame + one_frame % 2]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*RLE segment contains non-conformant padding")
        pixels, _ = _module("pydicom.pixels").get_decoder(syntax).as_array(data, raw=True, **layout)
    return _stored_bits(np.asarray(pixels), dataset)


def _by_imagecodecs(dataset: Any, syntax: str, header: Header) -> NDArray[Any]:
    encaps, imagecodecs = _module("pydicom.encaps"), _module("imagecodecs")
    frame = encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    _check_frame(frame, syntax, header)
    pixels: NDArray[Any] = np.asarray(getattr(imagecodecs, _CODECS[syntax])(frame))
    if pixels.dtype.kind == "u" and pixels.itemsize <= 2 and not _is_signed(dataset):
        # A lossy codec may exceed the stored bits; dropping the high bit would turn white into black.
        return pixels.clip(max=2 ** int(dataset.BitsStored) - 1)
    return _stored_bits(pixels, dataset)


def _check_frame(frame: bytes, syntax: str, header: Header) -> None:
    """Raise FilmError if the compressed frame is truncated or has another size than the data set says."""
    if syntax in _JPEG_2000:
        found = jpeg2000_header(frame)
        complete = frame.rstrip(b"\0").endswith(b"\xff\xd9")
    else:
        found, _, _ = jpeg_header(frame)
        check_jpeg_end(frame)
        if syntax == _BASELINE:
            check_jpeg_strictly(frame)
        complete = True
    if not complete:
        raise FilmError(Status.DAMAGED, "JPEG 2000 is truncated: its end marker is missing")
    if (found.width, found.height) != (header.width, header.height):
        raise FilmError(Status.DAMAGED, "damaged: the size of its compressed pixels differs from its header")


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise FilmError(Status.UNSUPPORTED, f"this DICOM film needs {package}: {INSTALL}") from None


@functools.cache
def _silence_pydicom() -> None:
    """Suppress messages of pydicom on stderr and in logs: they quote unusual values, which may identify a patient."""
    config = _module("pydicom.config")
    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom|cxrscore\.films\.dicom")


@contextmanager
def _pydicom_reported_damage() -> Iterator[None]:
    errors = _module("pydicom.errors")
    try:
        yield
    except ImportError:
        raise FilmError(Status.UNSUPPORTED, f"this DICOM film needs a codec of imagecodecs: {INSTALL}") from None
    except (*_RAISED, errors.InvalidDicomError, errors.BytesLengthException) as error:
        # The texts of these errors may quote the file, so only their type is reported and the chain is cut.
        raise FilmError(Status.DAMAGED, f"damaged: it cannot be decoded ({type(error).__name__})") from None


def _tag_text(value: Any) -> str:
    return str(value or "").strip().upper()


def _if_known(value: Any, words: frozenset[str]) -> str:
    """The value if it is one of the terms, else "": a field that goes into outputs may contain anything, even a
    name."""
    word = _tag_text(value)
    return word if word in words else ""


def _uid(text: str) -> str:
    """A UID of the standard; "" for all others, which may be private."""
    return text if re.fullmatch(r"1\.2\.840\.10008\.[0-9.]{1,49}", text) else "unknown"
