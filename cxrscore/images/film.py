"""Result of decoding one film: its status, its metadata, and its pixels if there are any."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrscore.status import Status as Status

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""Grey, 0 black; full scale (255 or 65535) white."""

MAX_BYTES = 256 * 1024**2
MAX_PIXELS = 100_000_000
MIN_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Film:
    """One film as decoded.

    status    OK, or why there are no pixels
    message   the reason in words; for an OK film a note on how it was read, usually ""
    sha256    hex digest of the file's bytes; "" if they could not be read
    width     of the film as stored, pixels; 0 if unknown
    height    of the film as stored, pixels; 0 if unknown
    pixels    [H,W] grey; None unless OK
    kind      "png", "jpeg", "dicom", or "" if it is none of these
    modality  DICOM modality, "" for others
    view      DICOM view position, "" for others
    """

    status: Status
    message: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    pixels: Pixels | None = field(default=None, repr=False, compare=False)
    kind: str = ""
    modality: str = ""
    view: str = ""


class FilmError(Exception):
    """A film cannot be used. Raised and caught inside this package: decode_film turns it into a Film with this
    status."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Header:
    """Header data of a film, known before its pixels are decoded."""

    width: int
    height: int
    modality: str = ""
    view: str = ""


def check_sides(header: Header) -> None:
    """Raise FilmError unless both sides have at least 32 pixels and the film has at most 100 million pixels."""
    size = f"{header.width} x {header.height} pixels"
    if min(header.width, header.height) < MIN_SIDE:
        raise FilmError(Status.TOO_SMALL, f"{size}, expected a side of at least {MIN_SIDE}")
    if header.width * header.height > MAX_PIXELS:
        raise FilmError(Status.TOO_LARGE, f"{size}, expected at most {MAX_PIXELS:,} in all")
