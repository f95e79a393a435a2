"""JPEG data held to the letter, with simplejpeg (extra "strict").

A JPEG has no checksum, so damage may still go unseen: a byte changed in the coded data is found in about half of the
cases.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

from cxrscore.images.film import FilmError, Status


def check_jpeg_strictly(data: bytes) -> None:
    """Raises FilmError where libjpeg has something to say of the coded data, which decoders keep to themselves.

    Does nothing where simplejpeg is not installed.
    """
    simplejpeg = _simplejpeg()
    if simplejpeg is None:
        return
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=True)
    except ValueError as error:
        raise FilmError(Status.DAMAGED, f"damaged: {str(error)[:80]}") from None


@functools.cache
def _simplejpeg() -> Any:
    return importlib.import_module("simplejpeg") if importlib.util.find_spec("simplejpeg") else None
