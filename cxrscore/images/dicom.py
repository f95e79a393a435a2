"""Convert a DICOM film to grey pixels as a viewer shows them: modality LUT, VOI, then MONOCHROME1 inversion.

Only the elements in _TAGS are read, and of the functional groups those of the display, so no name, number or date of a
patient is in a message or in a warning. What is a film is decided in dicom_selection, its stored values are read in
dicom_pixels, and shown in dicom_display.
"""

from __future__ import annotations

import functools
import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from cxrscore.images.dicom_display import Display, display_of, displayed
from cxrscore.images.dicom_pixels import DEFLATED, EXPLICIT_LITTLE, INSTALL, layout_of, module, stored_values
from cxrscore.images.dicom_selection import MODALITIES_WITHOUT_IMAGES, check_chest, check_pixels
from cxrscore.images.film import MAX_BYTES, FilmError, Header, Pixels, Status, check_sides

_TAGS = (
    *("SOPClassUID", "Modality", "ViewPosition", "BodyPartExamined", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL"),
)
HEADER_BYTES = 1 << 20
"""Number of bytes at the start of a file in which modality and view are looked for."""
# PS3.3 C.7.3.1.1.1, those that a folder of films may contain.
_MODALITIES = MODALITIES_WITHOUT_IMAGES.union(
    ("CR", "DX", "RG", "CT", "MR", "US", "NM", "PT", "XA", "RF", "MG", "IO", "PX", "BMD", "BI", "DG", "ES", "GM"),
    ("OP", "OPT", "OCT", "SM", "XC", "TG", "OT", "SEG", "RTIMAGE", "RTDOSE"),
)
# PS3.3 C.8.1.1.1.1 and C.8.11.5.1, and common nonstandard spellings.
_VIEWS = frozenset(
    (
        *("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LAO", "RAO", "LPO", "RPO"),
        *("LAT", "LATERAL", "OBL", "OBLIQUE"),
    )
)

# Exceptions that pydicom raised for mutated files, besides its own two classes and the parents of these.
# StopIteration comes from pydicom's generators; RuntimeError covers imagecodecs' errors; Warning is raised if
# warnings are errors.
_RAISED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError),
    *(StopIteration, TypeError, ValueError, Warning, struct.error),
)


def open_dicom(data: bytes, *, any_modality: bool) -> tuple[Header, Callable[[], tuple[Pixels, str]]]:
    """Header of a DICOM film, and the function that decodes it to pixels and a note on what was applied.

    uint8 where the film has plain 8-bit values, else uint16 over the window or the range of the stored bits.
    Both raise FilmError and nothing else.
    """
    _silence_pydicom()
    with _pydicom_reported_damage():
        dataset, header = _read(data)
    return header, lambda: _decode(dataset, header, any_modality=any_modality)


def dicom_modality_and_view(data: bytes) -> tuple[str, str]:
    """Modality and View Position from the first bytes of a DICOM file, at least HEADER_BYTES of them unless it is
    shorter; "" for what is missing or no usual term. FilmError if they cannot be read."""
    pydicom = module("pydicom")
    _silence_pydicom()
    with _pydicom_reported_damage():
        start = BytesIO(_inflated(data[:HEADER_BYTES], whole=False))
        names = ["Modality", "ViewPosition"]
        dataset = pydicom.dcmread(start, force=True, specific_tags=names, stop_before_pixels=True)
        return known_modality(dataset.get("Modality")), known_view(dataset.get("ViewPosition"))


def dicom_display(data: bytes) -> Display:
    """How open_dicom() displays the film, for a presentation state of it. Raises FilmError and nothing else."""
    _silence_pydicom()
    with _pydicom_reported_damage():
        dataset, header = _read(data)
        check_pixels(dataset, header.modality)
        check_sides(header)
        return display_of(stored_values(dataset, layout_of(dataset), header), dataset)


def _read(data: bytes) -> tuple[Any, Header]:
    dataset = module("pydicom").dcmread(BytesIO(_inflated(data)), force=True, specific_tags=list(_TAGS))
    header = Header(
        width=int(dataset.get("Columns") or 0),
        height=int(dataset.get("Rows") or 0),
        modality=known_modality(dataset.get("Modality")),
        view=known_view(dataset.get("ViewPosition")),
    )
    return dataset, header


def _decode(dataset: Any, header: Header, *, any_modality: bool) -> tuple[Pixels, str]:
    with _pydicom_reported_damage():
        if not any_modality:
            check_chest(dataset, header.modality, _tag_text(dataset.get("BodyPartExamined")))
        check_pixels(dataset, header.modality)
        layout = layout_of(dataset)
        check_sides(header)
        return displayed(stored_values(dataset, layout, header), dataset)


def _inflated(data: bytes, *, whole: bool = True) -> bytes:
    """The file with its data set inflated if its transfer syntax is the deflated one; else the file as it is. Unless
    whole, the data set may be truncated, and is inflated to HEADER_BYTES at most.

    pydicom would inflate it completely, whatever its size, before any element can be checked. PS3.5 A.5.
    """
    syntax, start = _transfer_syntax(data)
    if syntax != DEFLATED:
        return data
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        dataset = inflater.decompress(data[start:], MAX_BYTES + 1 if whole else HEADER_BYTES)
    except zlib.error:
        raise FilmError(Status.DAMAGED, "damaged: its deflated data set cannot be inflated") from None
    if len(dataset) > MAX_BYTES:
        raise FilmError(Status.TOO_LARGE, f"more than {MAX_BYTES:,} bytes when inflated")
    if whole and not inflater.eof:
        raise FilmError(Status.DAMAGED, "damaged: its deflated data set is truncated")
    return data[:start].replace(DEFLATED.encode(), EXPLICIT_LITTLE.encode().ljust(len(DEFLATED), b"\0")) + dataset


def _transfer_syntax(data: bytes) -> tuple[str, int]:
    """Transfer Syntax UID in the file meta information, "" without one, and the position after it."""
    start = 132 if data[128:132] == b"DICM" else 0
    for implicit in (False, True):  # always explicit by PS3.10 7.1; pydicom reads implicit ones, too
        file = BytesIO(data)
        file.seek(start)
        meta = module("pydicom.filereader").read_dataset(file, implicit, True, stop_when=_is_behind_the_meta)
        try:
            return str(meta.get("TransferSyntaxUID") or "").strip("\0 "), file.tell()
        except NotImplementedError:  # pydicom's word for a value representation that there is not
            continue
    return "", start


def _is_behind_the_meta(tag: int, _vr: str | None, _length: int) -> bool:
    return tag >> 16 != 2


@functools.cache
def _silence_pydicom() -> None:
    """Suppress messages of pydicom on stderr and in logs: they quote unusual values, which may identify a patient."""
    config = module("pydicom.config")
    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom|cxrscore\.images\.dicom")


@contextmanager
def _pydicom_reported_damage() -> Iterator[None]:
    errors = module("pydicom.errors")
    try:
        yield
    except ImportError:
        raise FilmError(Status.UNSUPPORTED, f"this DICOM film needs a codec of imagecodecs: {INSTALL}") from None
    except (*_RAISED, errors.InvalidDicomError, errors.BytesLengthException) as error:
        # The texts of these errors may quote the file, so only their type is reported and the chain is cut.
        raise FilmError(Status.DAMAGED, f"damaged: it cannot be decoded ({type(error).__name__})") from None


def known_modality(value: Any) -> str:
    """A Modality if it is a defined term, else ""."""
    return _if_known(value, _MODALITIES)


def known_view(value: Any) -> str:
    """A View Position if it is a usual term, else ""."""
    return _if_known(value, _VIEWS)


def _tag_text(value: Any) -> str:
    return str(value or "").strip("\0 \t\r\n").upper()


def _if_known(value: Any, words: frozenset[str]) -> str:
    """The value if it is one of the terms, else "": a field that goes into outputs may contain anything, even a
    name."""
    word = _tag_text(value)
    return word if word in words else ""
